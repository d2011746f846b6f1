"""Train, evaluate and use the networks: `python train.py`, `python train.py --help`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import NoReturn

import minidl
import models
from minidl.backend import available_memory
from minidl.data import check_data, denormalise, download, tiny_imagenet
from minidl.errors import DataError, DivergedError, MinidlError, OutOfMemoryError, UsageError
from minidl.layers import Layer
from minidl.progress import Progress
from minidl.summary import Summary
from minidl.training import session
from minidl.training.callbacks import Checkpointer, ProgressBar, Records, StopRequested
from minidl.training.checkpoints import Checkpoint, load_checkpoint
from minidl.training.config import (
    ENGINE_HELP,
    ENGINES,
    FREE_ON_RESUME,
    PRESETS,
    THREADS_HELP,
    Config,
    add_flags,
    count,
    make_config,
    whole,
)
from minidl.training.evaluation import Evaluation, evaluate
from minidl.training.runs import Run, find_checkpoint, newest_run
from minidl.training.trainer import Trainer

INTERRUPTED = 130


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
        lines = _describe(config, data, trainer, summary, needed)
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

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
        print("\nstopping after this step; once more to quit at once", file=sys.stderr, flush=True)
        checkpointer.stop()

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        trainer.fit()
    except StopRequested:
        run.say(f"stopped  go on with: python train.py --resume {run.path}")
        return INTERRUPTED
    except DivergedError as error:
        good = run.checkpoint()
        raise DivergedError(f"{error}; last good checkpoint: {good if good.is_file() else 'none yet'}") from None
    except MemoryError:
        raise OutOfMemoryError(
            f"out of memory at batch size {config.batch_size}: try --batch-size {max(config.batch_size // 2, 1)}"
        ) from None
    finally:
        bar.close()
        for number, handler in previous.items():
            signal.signal(number, handler)
    state = trainer.state
    run.say(
        f"done     best val top-1 {100 * state.best_top1:.2f} % in epoch {state.best_epoch}, "
        f"{state.seconds:.0f} s; {run.path}"
    )
    return 0


def _check_memory(config: Config, needed: int) -> None:
    """Linux grants more memory than there is and later kills who uses it: refuse before that happens."""
    available = available_memory() if config.backend == "numpy" else None
    if available is not None and needed > available:
        fits = max(int(config.batch_size * 0.9 * available / needed), 1)
        raise OutOfMemoryError(
            f"batch size {config.batch_size} needs about {needed / 1e9:.1f} GB and "
            f"{available / 1e9:.1f} GB are free: try --batch-size {fits}"
        )


def _describe(config: Config, data: session.Data, trainer: Trainer, summary: Summary, needed: int) -> list[str]:
    h, w, _ = data.dataset.image_shape
    notes = "".join(f"\n         {count:,} {what}" for what, count in data.dataset.notes.items())
    return [
        f"data     {data.dataset.name}: {len(data.train):,} train and {len(data.val):,} val images, "
        f"{len(data.dataset.classes)} classes, {h}x{w}{notes}",
        f"model    {config.model}: {summary.parameters:,} parameters, "
        f"{summary.multiply_adds / 1e6:.0f} M multiply-adds an image",
        f"memory   about {needed / 2**20:,.0f} MB for training at batch size {config.batch_size}",
        f"training {config.epochs} epochs of {len(trainer.train)} steps, {config.optimizer}, {config.schedule} lr "
        f"{config.lr:g}, weight decay {config.weight_decay:g}, seed {config.seed}, "
        f"{config.backend} {session.engine_of(config)}",
    ]


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


@contextmanager
def _trained(checkpoint: Checkpoint, args: argparse.Namespace) -> Iterator[tuple[Layer, ModuleType]]:
    """The checkpoint's model on the engine asked for, and its array module."""
    with session.blas_threads(args):
        yield session.on_engine(checkpoint.build(models.build), args)


def evaluate_run(args: argparse.Namespace) -> int:
    """Prints accuracy, accuracy per class and the most frequent mistakes of a trained network."""
    checkpoint = load_checkpoint(find_checkpoint(Path(args.run), args.checkpoint))
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

    if bool(args.images) == bool(args.split):
        raise UsageError("give either image files or --split")
    checkpoint = load_checkpoint(find_checkpoint(Path(args.run), args.checkpoint))
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


class _Parser(argparse.ArgumentParser):
    """Answers a wrong flag with one line, not with the whole usage."""

    def error(self, message: str) -> NoReturn:
        print(f"train.py: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(UsageError.exit_code)


def make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="train.py", description=__doc__, epilog="`train.py COMMAND --help` lists the flags of a command"
    )

    def add_settings(sub: argparse.ArgumentParser) -> None:
        presets = "quick: the defaults below; paper: the report's settings"
        sub.add_argument("--preset", choices=list(PRESETS), help=presets)
        add_flags(sub, list(models.REGISTRY))

    def add_trained(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("run", metavar="RUN", help="run folder or checkpoint file")
        sub.add_argument("--checkpoint", default="best", help="which checkpoint of a run folder (default best)")
        sub.add_argument("--data", help="data set (default: the one it was trained on)")
        sub.add_argument("--backend", default="numpy", choices=("numpy", "cupy"), help="numpy (CPU) or cupy (GPU)")
        sub.add_argument("--engine", default="fused", choices=ENGINES, help=f"{ENGINE_HELP} (default fused)")
        sub.add_argument("--threads", default=0, type=whole, help=f"{THREADS_HELP} (default 0)")

    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, function) -> argparse.ArgumentParser:
        about = function.__doc__
        sub = commands.add_parser(name, help=about[0].lower() + about[1:].rstrip("."), description=about)
        sub.set_defaults(function=function)
        return sub

    sub = command("fit", fit)
    add_settings(sub)
    sub.add_argument("--output", default="runs", metavar="DIR", help="where run folders go (default runs)")
    sub.add_argument("--name", help="name of the run folder (default: time and model)")
    sub.add_argument(
        "--resume", nargs="?", const="auto", metavar="RUN", help="go on with this run (auto: the newest in --output)"
    )
    sub.add_argument("--dry-run", action="store_true", help="print what would be done, and stop")

    sub = command("eval", evaluate_run)
    add_trained(sub)
    sub.add_argument("--split", default="val", choices=("train", "val"), help="part of the data set (default val)")
    sub.add_argument("--json", action="store_true", help="print JSON")

    sub = command("predict", predict_images)
    add_trained(sub)
    sub.add_argument("images", nargs="*", metavar="IMAGE", help="photos of any size")
    sub.add_argument("--split", choices=("train", "val", "test"), help="predict this part of the data set instead")
    sub.add_argument("--output", metavar="DIR", help="where its files go (default: predictions/ in the run folder)")

    sub = command("show-batch", show_batch)
    add_settings(sub)
    sub.add_argument("--epoch", type=int, default=0, help="which epoch's first batch (default 0)")
    sub.add_argument("--picture", default="batch.png", metavar="FILE", help="what to write (default batch.png)")

    sub = command("check-data", check)
    sub.add_argument("folder", metavar="DATA", help="a Tiny ImageNet zip or folder, or a folder of images")
    sub.add_argument("--image-size", type=count, default=64, help="expected size (default 64)")

    sub = command("download", download_data)
    sub.add_argument("folder", nargs="?", default=".", metavar="DIR", help="where to (default: here)")
    sub.add_argument("--url", default=tiny_imagenet.URL, help="another address (default %(default)s)")
    sub.add_argument("--md5", help="checksum of the file at another address")

    sub = command("export-shapes", export_shapes)
    sub.add_argument("folder", metavar="DIR", help="a new or empty folder")
    sub.add_argument("--train", type=count, default=4000, help="training images (default 4000)")
    sub.add_argument("--val", type=count, default=1000, help="validation images (default 1000)")
    sub.add_argument("--seed", type=whole, default=0, help="which images (default 0)")
    return parser


def main(argv: list[str]) -> int:
    """Runs one command; every expected failure is one line on stderr and the exit code of its class."""
    parser = make_parser()
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv = ["fit", *argv]
    args = parser.parse_args(argv)
    try:
        return args.function(args)
    except MinidlError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in `train.py eval RUN | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
