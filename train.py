"""Train, evaluate and use the networks: `python train.py`, `python train.py --help`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING

import minidl
import models
from minidl.backend import available_memory
from minidl.cli import INTERRUPTED, Commands, add_trained_flags, trained_file
from minidl.data import check_data, denormalise, download, tiny_imagenet
from minidl.errors import DataError, DivergedError, OutOfMemoryError, UsageError
from minidl.layers import Layer
from minidl.progress import Progress
from minidl.summary import Summary, align
from minidl.training import search, session
from minidl.training.callbacks import Checkpointer, ProgressBar, Records, StopRequested
from minidl.training.checkpoints import Checkpoint, export_checkpoint, load_checkpoint
from minidl.training.config import (
    FREE_ON_RESUME,
    PRESETS,
    Config,
    add_flags,
    count,
    make_config,
    positive,
    whole,
)
from minidl.training.evaluation import Evaluation, evaluate
from minidl.training.runs import Run, find_checkpoint, newest_run
from minidl.training.trainer import Trainer

if TYPE_CHECKING:
    from minidl.training.study import Study


def fit(args: argparse.Namespace) -> int:
    """Trains a network and leaves a run folder; without flags, the refined net on `shapes`."""
    given = _given(args)
    run = _run_to_resume(args)
    config = _resumed_config(run, given, args.preset) if run else make_config(args.preset or "quick", given)
    with session.blas_threads(config):
        checkpoint = load_checkpoint(run.checkpoint()) if run and run.checkpoint().is_file() else None
        data = session.load_data(config)
        model = session.make_model(config, data, models.build)
        summary = minidl.summary(model, (config.batch_size, *data.dataset.image_shape))
        trainer = session.make_trainer(config, data, model, checkpoint)
        needed = session.training_bytes(config, summary.memory)
        lines = _describe(config, data, summary, needed)
        lines.append(
            f"training {config.epochs} epochs of {len(trainer.train)} steps, {config.optimizer}, {config.schedule} "
            f"lr {config.lr:g}, weight decay {config.weight_decay:g}, {_how(config)}"
        )
        if config.init_from and checkpoint is None:
            source = load_checkpoint(find_checkpoint(Path(config.init_from)))
            new = session.initialise_from(trainer.model, source)
            lines.append(f"start    weights of {source.path}" + (f", new: {', '.join(new)}" if new else ""))
        if args.dry_run:
            print("\n".join(lines))
            return 0
        _check_memory(config, needed)
        if run is None:
            run = Run.create(Path(args.output), args.name, config)
        for line in [*lines, f"run      {run.path}"]:
            run.say(line)
        if checkpoint is not None:
            state = trainer.state
            run.say(f"resumed  {run.checkpoint()} at epoch {state.epoch + 1}, batch {state.batch}, step {state.step}")
        return _train(trainer, run, config, data)


def _train(trainer: Trainer, run: Run, config: Config, data: session.Data) -> int:
    bar = ProgressBar()
    checkpointer = Checkpointer(
        run, session.about(config, data), config.checkpoint_minutes, config.snapshot_epochs, config.keep
    )
    trainer.callbacks += [bar, Records(run, f"{config.model} on {data.dataset.name}"), checkpointer]
    try:
        with _guarded(config, checkpointer.stop):
            trainer.fit()
    except StopRequested:
        run.say(f"stopped  go on with: python train.py --resume {run.path}")
        return INTERRUPTED
    except DivergedError as error:
        good = run.checkpoint()
        raise DivergedError(f"{error}; last good checkpoint: {good if good.is_file() else 'none yet'}") from None
    finally:
        bar.close()
    state = trainer.state
    run.say(
        f"done     best val top-1 {100 * state.best_top1:.2f} % in epoch {state.best_epoch}, "
        f"{state.seconds:.0f} s; {run.path}"
    )
    return 0


@contextmanager
def _guarded(config: Config, stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call `stop`, a second Ctrl-C quits at once; out of memory names a smaller batch."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
        print("\nstopping after this step; once more to quit at once", file=sys.stderr, flush=True)
        stop()

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except MemoryError:
        raise OutOfMemoryError(
            f"out of memory at batch size {config.batch_size}: try --batch-size {max(config.batch_size // 2, 1)}"
        ) from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _check_memory(config: Config, needed: int) -> None:
    """Linux grants more memory than there is and later kills who uses it: refuse before that happens."""
    available = available_memory() if config.backend == "numpy" else None
    if available is not None and needed > available:
        fits = max(int(config.batch_size * 0.9 * available / needed), 1)
        raise OutOfMemoryError(
            f"batch size {config.batch_size} needs about {needed / 1e9:.1f} GB and "
            f"{available / 1e9:.1f} GB are free: try --batch-size {fits}"
        )


def _describe(config: Config, data: session.Data, summary: Summary, needed: int) -> list[str]:
    h, w, _ = data.dataset.image_shape
    notes = "".join(f"\n         {count:,} {what}" for what, count in data.dataset.notes.items())
    return [
        f"data     {data.dataset.name}: {len(data.train):,} train and {len(data.val):,} val images, "
        f"{len(data.dataset.classes)} classes, {h}x{w}{notes}",
        f"model    {config.model}: {summary.parameters:,} parameters, "
        f"{summary.multiply_adds / 1e6:.0f} M multiply-adds an image",
        f"memory   about {needed / 2**20:,.0f} MB for training at batch size {config.batch_size}",
    ]


def _how(config: Config) -> str:
    return f"seed {config.seed}, {config.backend} {session.engine_of(config)}"


def _given(args: argparse.Namespace) -> dict:
    """The settings given on the command line."""
    return {f: v for f, v in vars(args).items() if f in Config.__dataclass_fields__}


def _run_to_resume(args: argparse.Namespace) -> Run | None:
    if args.resume is None:
        return None
    if args.resume == "auto":
        path = newest_run(Path(args.output))
        return Run.open(path) if path else None
    path = Path(args.resume)
    return Run.open(path.parent.parent if path.is_file() else path)


def _resumed_config(run: Run, given: dict, preset: str | None) -> Config:
    saved = run.config().as_dict()
    changed = [f for f in given if f not in FREE_ON_RESUME and given[f] != saved[f]]
    if changed or preset:
        names = ", ".join("--" + f.replace("_", "-") for f in changed) or "--preset"
        raise UsageError(f"{run.path}: a resumed run keeps its settings, leave out {names} (or start a new run)")
    return Config(**{**saved, **given})


def search_settings(args: argparse.Namespace) -> int:
    """Searches for a learning rate and a weight decay as the paper did: short trainings on a part of the data."""
    from minidl.training.study import create_search, import_optuna, open_study

    import_optuna()
    folder, plan = _search_to_run(args)
    config = plan.config
    with session.blas_threads(config):
        data = session.load_data(config)
        trainer, lines = _new_trainer(config, data)
        steps = len(trainer.train)
        del trainer
        lines.append(
            f"search   {plan.trials} {plan.sampler} trials of {config.epochs} epochs of {steps} steps, "
            f"{config.optimizer}, {config.schedule} lr {plan.lr[0]:g} to {plan.lr[1]:g}, "
            f"weight decay {plan.weight_decay[0]:g} to {plan.weight_decay[1]:g}, {_how(config)}"
        )
        if folder is None:
            folder = create_search(Path(args.output), args.name, plan)
        with open_study(folder, plan) as study:
            for line in [*lines, f"folder   {folder}"]:
                study.run.say(line)
            return _run_trials(study, data)


def _search_to_run(args: argparse.Namespace) -> tuple[Path | None, search.Plan]:
    """The folder to go on with, and the plan."""
    names = search.Plan.__dataclass_fields__ | Config.__dataclass_fields__
    given = {name: value for name, value in vars(args).items() if name in names}
    if args.resume is None:
        defaults = search.Plan(Config(**search.DEFAULTS)).as_dict()
        return None, search.Plan.from_dict({**defaults, **given}, "search")
    folder = Path(args.resume)
    saved = search.read_plan(folder)
    settings = saved.as_dict()
    if changed := [name for name in given if name not in search.FREE_ON_RESUME and given[name] != settings[name]]:
        flags = ", ".join("--" + name.replace("_", "-") for name in changed)
        raise UsageError(f"{folder}: a resumed search keeps its settings, leave out {flags} (or start a new search)")
    plan = search.Plan.from_dict({**settings, **given}, str(folder))
    if plan.trials != saved.trials:
        replace(saved, trials=plan.trials).write(folder)
    return folder, plan


def _run_trials(study: Study, data: session.Data) -> int:
    plan, say = study.plan, study.run.say
    bar, interruption = ProgressBar(), search.Interruption()
    try:
        with _guarded(plan.config, interruption.stop):
            while (draw := study.next()) is not None:
                trainer = search.new_trainer(draw.config, data, models.build)
                trainer.callbacks += [bar, interruption]
                try:
                    row = study.finish(draw, *search.train_trial(trainer))
                finally:
                    bar.close()
                say(search.trial_line(row, study.write_table(), plan.trials, study.running()))
    except StopRequested:
        _show_trials(study, data)
        say(f"stopped  go on with: python train.py search --resume {study.run.path}")
        return INTERRUPTED
    _show_trials(study, data)
    elsewhere = f"; {n} more in another process" if (n := study.running()) else ""
    say(f"done     {study.run.path}{elsewhere}")
    return 0


def _show_trials(study: Study, data: session.Data) -> None:
    """The five best trials on the screen, all of them in the figure."""
    from minidl.visual.search_plots import save_search

    if not (rows := study.write_table()):
        return
    best = [
        (f"trial {row['trial']}", f"{row['lr']:.2e}", f"{row['weight_decay']:.2e}", f"{100 * row['val_top1']:.2f} %")
        for row in search.best_trials(rows, 5)
    ]
    study.run.say(align([("the best", "lr", "weight decay", "val top-1"), *best], left=1))
    config = study.plan.config
    of = f"{len(data.train):,} images of {data.dataset.name}, {config.epochs} epochs"
    title = f"{len(rows)} trials of {config.model} on {of}"
    save_search(path := study.run.path / "figures" / "search.png", rows, title)
    study.run.say(f"wrote {path}")


def find_lr(args: argparse.Namespace) -> int:
    """Raises the learning rate step by step, draws the loss over it and suggests a rate."""
    from minidl.training.range_test import range_test
    from minidl.visual.figures import picture_format
    from minidl.visual.search_plots import save_range_test

    picture = Path(args.picture)
    picture_format(picture)
    if not picture.parent.is_dir():
        raise DataError(f"{picture.parent}: no such folder")
    if args.low >= args.high:
        raise UsageError(f"--from {args.low:g} --to {args.high:g}: the lower rate comes first")
    config = make_config(args.preset or "quick", _given(args))
    with session.blas_threads(config):
        data = session.load_data(config)
        trainer, lines = _new_trainer(config, data)
        lines.append(f"training at lr {args.low:g} to {args.high:g}, {config.optimizer}, {_how(config)}")
        print("\n".join(lines))
        with Progress("range test", min(args.steps, len(trainer.train)), "step") as bar:
            test = range_test(trainer, args.low, args.high, args.steps, bar.add)
    test.write(picture.with_suffix(".csv"))
    save_range_test(picture, test, f"Learning-rate range test of {config.model} on {data.dataset.name}")
    if test.steepest is None:
        print(f"no suggestion: the loss never falls from lr {args.low:g} to {test.rates[-1]:.1e}")
    else:
        print(f"--lr {test.steepest:.1e}  suggested: the loss falls fastest there (steepest descent)")
        print(f"--lr {test.tenth:.1e}  a tenth of the rate of the lowest loss")
    print(f"wrote {picture}\nwrote {picture.with_suffix('.csv')}")
    return 0


def _new_trainer(config: Config, data: session.Data) -> tuple[Trainer, list[str]]:
    """A trainer, and the lines that describe it; raises OutOfMemoryError if it can't fit."""
    trainer = search.new_trainer(config, data, models.build)
    model = session.make_model(config, data, models.build)
    summary = minidl.summary(model, (config.batch_size, *data.dataset.image_shape))
    needed = session.training_bytes(config, summary.memory)
    _check_memory(config, needed)
    return trainer, _describe(config, data, summary, needed)


@contextmanager
def _trained(checkpoint: Checkpoint, args: argparse.Namespace) -> Iterator[tuple[Layer, ModuleType]]:
    """The checkpoint's model on the engine asked for, and its array module."""
    with session.blas_threads(args):
        yield session.on_engine(checkpoint.build(models.build), args)


def evaluate_run(args: argparse.Namespace) -> int:
    """Prints accuracy, accuracy per class and the most frequent mistakes of a trained network."""
    checkpoint = load_checkpoint(trained_file(args, models.weights_file))
    data = session.saved_data(checkpoint, args.data)
    split = getattr(data.dataset, args.split)
    with _trained(checkpoint, args) as (model, xp), Progress("evaluating", len(split), "image") as bar:
        result = evaluate(model, data.loader(split), xp, bar.add)
    _print_json(result, checkpoint, args) if args.json else _print_evaluation(result, checkpoint, args)
    return 0


def _print_evaluation(result: Evaluation, checkpoint: Checkpoint, args: argparse.Namespace) -> None:
    names = [
        f"{c} {w}" if c != w else c for c, w in zip(checkpoint.about.classes, checkpoint.about.words, strict=True)
    ]
    print(f"{checkpoint.path}, {args.split}: {result.images:,} images")
    print(f"top-1 {100 * result.top1:.2f} %   top-5 {100 * result.top5:.2f} %   loss {result.loss:.4f}")
    print("\naccuracy per class")
    for name, accuracy in sorted(zip(names, result.class_accuracy, strict=True), key=lambda row: -row[1]):
        print(f"{100 * accuracy:6.1f} %  {name}")
    print("\nmost frequent mistakes")
    for true, predicted, images in result.worst_confusions():
        print(f"{images:6}  {names[true]}  taken for  {names[predicted]}")


def _print_json(result: Evaluation, checkpoint: Checkpoint, args: argparse.Namespace) -> None:
    classes = checkpoint.about.classes
    accuracy = [None if a != a else float(a) for a in result.class_accuracy]  # NaN: a class without images
    report = {
        "checkpoint": str(checkpoint.path),
        "split": args.split,
        "images": result.images,
        "loss": result.loss,
        "top1": result.top1,
        "top5": result.top5,
        "class_accuracy": dict(zip(classes, accuracy, strict=True)),
        "confusions": [
            {"true": classes[t], "predicted": classes[p], "images": n} for t, p, n in result.worst_confusions()
        ],
    }
    print(json.dumps(report, indent=2))


def predict_images(args: argparse.Namespace) -> int:
    """Prints the five likeliest classes of photos, or writes them for the images of a split."""
    from minidl.training.prediction import predict_files, predict_split, write_predictions

    if args.pretrained and args.run:  # the first of the images has taken the place of RUN
        args.images, args.run = [args.run, *args.images], None
    if bool(args.images) == bool(args.split):
        raise UsageError("give either image files or --split")
    checkpoint = load_checkpoint(trained_file(args, models.weights_file))
    if args.images:
        with _trained(checkpoint, args) as (model, xp):
            predictions = predict_files(model, checkpoint.about, args.images, xp)
        for p in predictions:
            print(p.name)
            for c, probability in zip(p.classes, p.probabilities, strict=True):
                print(f"{100 * probability:6.1f} %  {checkpoint.about.classes[c]}  {checkpoint.about.words[c]}")
        return 0
    data = session.saved_data(checkpoint, args.data)
    split = getattr(data.dataset, args.split)
    if split is None:
        raise UsageError(f"{data.dataset.name} has no {args.split} images")
    names = getattr(split, "names", None) or [f"{args.split}_{i}" for i in range(len(split))]
    with _trained(checkpoint, args) as (model, xp), Progress("predicting", len(split), "image") as bar:
        predictions = list(predict_split(model, data.loader(split), names, xp, bar.add))
    folder = checkpoint.path.parent.parent / "predictions" if args.output is None else Path(args.output)
    for path in write_predictions(folder, args.split, predictions, checkpoint.about):
        print(f"wrote {path}")
    return 0


def export_weights(args: argparse.Namespace) -> int:
    """Writes a checkpoint to be passed on: the weights, what they mean and how they were trained."""
    checkpoint = load_checkpoint(trained_file(args, models.weights_file))
    path = Path(args.output or f"{checkpoint.about.model}.safetensors")
    export_checkpoint(path, checkpoint)
    print(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB")
    return 0


def show_batch(args: argparse.Namespace) -> int:
    """Writes a picture of the first training batch as the network sees it."""
    from minidl.visual.figures import save_batch

    config = make_config(args.preset or "quick", _given(args))
    data = session.load_data(config)
    loader = session.train_loader(config, data)
    x, y = next(iter(loader.epoch(args.epoch)))
    title = f"{data.dataset.name}, epoch {args.epoch}, augment {config.augment}, seed {config.seed}"
    save_batch(Path(args.picture), denormalise(x, data.mean, data.std), [data.dataset.words[c] for c in y], title)
    print(f"wrote {args.picture}")
    return 0


def check(args: argparse.Namespace) -> int:
    """Reads every image of a data set, lists all that is wrong with it and prints its counts."""
    report = check_data(args.folder, image_size=args.image_size)
    print(report)
    return 0 if report.ok else DataError.exit_code


def download_data(args: argparse.Namespace) -> int:
    """Downloads Tiny ImageNet (237 MB), going on where an earlier attempt stopped."""
    official = args.url == tiny_imagenet.URL
    path = download(
        args.url,
        args.folder,
        md5=args.md5 or (tiny_imagenet.MD5 if official else None),
        size=tiny_imagenet.SIZE if official else None,
    )
    print(f"{path} is complete; train on it with: python train.py --data {path}")
    return 0


def export_shapes(args: argparse.Namespace) -> int:
    """Writes the data set `shapes` in the official Tiny ImageNet layout."""
    from minidl.data.export import export_tiny_imagenet_layout
    from minidl.data.shapes import load_shapes

    export_tiny_imagenet_layout(load_shapes(args.train, args.val, args.seed), Path(args.folder))
    print(f"wrote {args.train:,} train and {args.val:,} val images to {args.folder}")
    return 0


KEPT_BY_RUNS = ("checkpoint_minutes", "snapshot_epochs", "keep")
NOT_OF_A_TRIAL = ("lr", "weight_decay", *KEPT_BY_RUNS)
NOT_OF_A_RANGE_TEST = ("epochs", "lr", "schedule", "drop_epoch", "warmup_epochs", "patience", *KEPT_BY_RUNS)


def make_commands() -> Commands:
    commands = Commands("train.py", __doc__)

    def presets(sub: argparse.ArgumentParser) -> None:
        about = "quick: the defaults below; paper: the report's settings; modern: ours for Tiny ImageNet"
        sub.add_argument("--preset", choices=list(PRESETS), help=about)

    def add_settings(sub: argparse.ArgumentParser) -> None:
        presets(sub)
        add_flags(sub, list(models.REGISTRY))

    sub = commands.add("fit", fit)
    add_settings(sub)
    sub.add_argument("--output", default="runs", metavar="DIR", help="where run folders go (default runs)")
    sub.add_argument("--name", help="name of the run folder (default: time and model)")
    sub.add_argument(
        "--resume", nargs="?", const="auto", metavar="RUN", help="go on with this run (auto: the newest in --output)"
    )
    sub.add_argument("--dry-run", action="store_true", help="print what would be done, and stop")

    sub = commands.add("search", search_settings)
    add_flags(sub, list(models.REGISTRY), NOT_OF_A_TRIAL, search.DEFAULTS)
    for name, what in (("lr", "learning rates"), ("weight_decay", "weight decays")):
        low, high = search.RANGES[name]
        sub.add_argument(
            "--" + name.replace("_", "-"), nargs=2, metavar=("LOW", "HIGH"), type=positive, default=argparse.SUPPRESS,
            help=f"{what}, drawn log-uniformly between these (default {low:g} {high:g}, ours: the paper gives none)",
        )  # fmt: skip
    sub.add_argument(
        "--trials", type=count, default=argparse.SUPPRESS, help=f"how many, in all (default {search.TRIALS})"
    )
    sub.add_argument(
        "--sampler", choices=search.SAMPLERS, default=argparse.SUPPRESS,
        help="how settings are drawn: random, tpe (Bayesian), qmc (evenly spread) (default random)",
    )  # fmt: skip
    sub.add_argument("--output", default="runs", metavar="DIR", help="where search folders go (default runs)")
    sub.add_argument("--name", help="name of the search folder (default: time and `search`)")
    sub.add_argument("--resume", metavar="FOLDER", help="go on with this search, or join in while it runs")

    sub = commands.add("find-lr", find_lr)
    presets(sub)
    add_flags(sub, list(models.REGISTRY), NOT_OF_A_RANGE_TEST)
    sub.add_argument("--from", dest="low", type=positive, default=1e-6, help="first learning rate (default 1e-06)")
    sub.add_argument("--to", dest="high", type=positive, default=10.0, help="last learning rate (default 10)")
    sub.add_argument("--steps", type=count, default=200, help="at most, within one epoch (default 200)")
    sub.add_argument(
        "--picture", default="find-lr.png", metavar="FILE",
        help="what to write, with a CSV beside it (default find-lr.png)",
    )  # fmt: skip

    sub = commands.add("eval", evaluate_run)
    add_trained_flags(sub, models.pretrained())
    sub.add_argument("--split", default="val", choices=("train", "val"), help="part of the data set (default val)")
    sub.add_argument("--json", action="store_true", help="print JSON")

    sub = commands.add("predict", predict_images)
    add_trained_flags(sub, models.pretrained())
    sub.add_argument("images", nargs="*", metavar="IMAGE", help="photos of any size")
    sub.add_argument("--split", choices=("train", "val", "test"), help="predict this part of the data set instead")
    sub.add_argument("--output", metavar="DIR", help="where its files go (default: predictions/ in the run folder)")

    sub = commands.add("export", export_weights)
    add_trained_flags(sub, models.pretrained())
    sub.add_argument("--output", metavar="FILE", help="what to write (default: MODEL.safetensors)")

    sub = commands.add("show-batch", show_batch)
    add_settings(sub)
    sub.add_argument("--epoch", type=int, default=0, help="which epoch's first batch (default 0)")
    sub.add_argument("--picture", default="batch.png", metavar="FILE", help="what to write (default batch.png)")

    sub = commands.add("check-data", check)
    sub.add_argument("folder", metavar="DATA", help="a Tiny ImageNet zip or folder, or a folder of images")
    sub.add_argument("--image-size", type=count, default=64, help="expected size (default 64)")

    sub = commands.add("download", download_data)
    sub.add_argument("folder", nargs="?", default=".", metavar="DIR", help="where to (default: here)")
    sub.add_argument("--url", default=tiny_imagenet.URL, help="another address (default %(default)s)")
    sub.add_argument("--md5", help="checksum of the file at another address")

    sub = commands.add("export-shapes", export_shapes)
    sub.add_argument("folder", metavar="DIR", help="a new or empty folder")
    sub.add_argument("--train", type=count, default=4000, help="training images (default 4000)")
    sub.add_argument("--val", type=count, default=1000, help="validation images (default 1000)")
    sub.add_argument("--seed", type=whole, default=0, help="which images (default 0)")
    return commands


def main(argv: list[str]) -> int:
    """Runs one command; without its name, `fit`."""
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv = ["fit", *argv]
    return make_commands().run(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
