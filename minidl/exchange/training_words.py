"""How a network was trained and how well it did, in sentences that claim no more than its checkpoint does."""

from __future__ import annotations

from collections.abc import Iterator

from minidl.exchange.facts import Facts, in_each_class
from minidl.exchange.markup import code
from minidl.text.plural import counted
from minidl.training.config import FREE_ON_RESUME, Config

# The settings that training depends on, of those that differ from their defaults or that everybody asks for
_ALWAYS = ("epochs", "batch_size", "optimizer", "lr", "schedule", "weight_decay", "augment", "dropout", "seed")
_TOLD = ("data", "classes", "image_size", "model", "stem", "activation", "init_from", "freeze", "subset", "val_split")
_ELSEWHERE = ("engine", *FREE_ON_RESUME)  # they change nothing but rounding


def training(facts: Facts) -> Iterator[str]:
    """What the network was trained on, and how far."""
    config, state = facts.config, facts.checkpoint.state
    if facts.data is None:
        yield "The weights were imported from a file of PyTorch. It doesn't say what they were trained on."
        return
    if facts.drawn:
        yield "Trained on `shapes`, simple figures that minidl draws: a data set to try things out with."
    else:
        yield f"Trained on the data set {code(facts.data)}" + (
            " (Tiny ImageNet: 200 classes of ImageNet at 64x64 pixels)." if facts.of_imagenet else "."
        )
    if config.get("classes"):
        yield f"Of its classes only the {len(facts.checkpoint.about.classes)} that are listed below were used."
    if config.get("subset", 1) < 1:
        yield f"A part of the images was used: {in_each_class(config['subset'])}."
    if config.get("val_split"):
        yield f"A part of the training images was held out: {in_each_class(config['val_split'])}."
    if config.get("init_from"):
        frozen = (
            f"; up to the layer {code(config['freeze'])} they stayed as they were" if config.get("freeze") else ""
        )
        yield f"It began with the weights of {code(config['init_from'])}{frozen}."
    yield ""
    yield _progress(facts)
    if config.get("ema"):
        yield f"The weights are a moving average over the steps (decay {config['ema']:g})."
    if state.step:
        yield ""
        yield f"Settings: {_settings(facts)}."


def _progress(facts: Facts) -> str:
    state, planned = facts.checkpoint.state, facts.config.get("epochs")
    if not state.step:
        return "No training is recorded: the weights are those that it began with."
    inside = f" and {counted(state.batch, 'batch')} of the next one" if state.batch else ""
    of = f" of the {planned} that were planned" if planned and (state.epoch < planned or inside) else ""
    return f"The weights are those after {counted(state.epoch, 'epoch')}{inside}{of} ({counted(state.step, 'step')})."


def _settings(facts: Facts) -> str:
    default, config = Config().as_dict(), facts.config
    names = [*_ALWAYS, *(name for name in default if name not in (*_ALWAYS, *_TOLD, *_ELSEWHERE, "ema"))]
    told = [n for n in names if n in config and (n in _ALWAYS or config[n] != default[n])]
    return ", ".join(f"{name} {config[name]}" for name in told)


def accuracy(facts: Facts) -> Iterator[str]:
    """How well it did, on which images; or that nobody knows."""
    state, row = facts.checkpoint.state, facts.measured
    if row is None:
        last = state.history[-1] if state.history else None
        if last is None or facts.data is None:
            yield "None is recorded."
        else:
            yield "The accuracy of exactly these weights was not measured. After epoch"
            yield f"{last['epoch']} it was {100 * last['val_top1']:.2f} % (top-1) on {facts.part}."
        return
    data = "the drawings" if facts.drawn else code(facts.data or "")
    yield "| images | top-1 | top-5 |"
    yield "|---|---:|---:|"
    cell = data.replace("|", "\\|")
    yield f"| {cell}: {facts.part} | {100 * row['val_top1']:.2f} % | {100 * row['val_top5']:.2f} % |"
    if state.epoch == state.best_epoch and state.epoch < facts.config.get("epochs", 0):
        yield ""
        yield "Of the epochs until then it was the best one on these images. If it was chosen for that, the figure is"
        yield "a little too high for new images."
    if len(facts.checkpoint.about.classes) < 5:
        yield ""
        yield f"(Of {len(facts.checkpoint.about.classes)} classes, one is always among the first five.)"
    if facts.drawn:
        yield ""
        yield "The images are drawings made for the purpose: the figure says nothing about photographs."
