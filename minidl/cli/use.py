"""The commands `eval` and `predict`: how to use a trained network."""

from __future__ import annotations

import math
import os
import sys
from argparse import Namespace
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from minidl.cli.flags import add_trained_flags, add_use_flags, execution, is_run, place, read_trained
from minidl.cli.parser import Command, Parser
from minidl.cli.pictures import which_checkpoint, which_data
from minidl.data.classes import class_names
from minidl.errors import DataError, UsageError
from minidl.layers import Layer
from minidl.models import build
from minidl.parallel.communicator import Communicator
from minidl.parallel.world import world
from minidl.storage.files import own_folder
from minidl.storage.metadata import to_json
from minidl.text.calls import program
from minidl.text.console import print_lines
from minidl.text.plural import counted
from minidl.text.progress import Progress
from minidl.training import run_data
from minidl.training.checkpoints import About, Checkpoint
from minidl.training.evaluation import Evaluation, evaluate
from minidl.training.execution import on_engine, one_blas_thread
from minidl.training.prediction import (
    BATCH,
    Prediction,
    find_photos,
    names_in_split,
    predict_files,
    predict_split,
    write_predictions,
)
from minidl.training.run_data import Data
from minidl.training.runs import run_folder
from minidl.training.together import same_data
from minidl.visual.file_names import file_name


@contextmanager
def _trained(checkpoint: Checkpoint, args: Namespace) -> Iterator[tuple[Layer, ModuleType]]:
    """The checkpoint's model on the engine of the flags, and its array module."""
    with one_blas_thread():
        yield on_engine(checkpoint.build(build), execution(args))


def evaluate_run(args: Namespace) -> int:
    """Prints accuracy, accuracy per class and the most frequent mistakes of a trained network."""
    comm = world()
    checkpoint = read_trained(args, comm)
    data = same_data(comm, lambda: run_data.saved_data(checkpoint, args.data, args.whole))
    split = data.split(args.split)
    with _trained(checkpoint, args) as (model, xp), Progress("evaluating", len(split), "image") as bar:
        result = evaluate(model, data.loader(split), xp, bar.add, comm)
    if not math.isfinite(result.loss):
        raise DataError(f"{checkpoint.path}: the loss is not a number: its weights are too large, or damaged")
    _print_json(result, checkpoint, data, args) if args.json else _print_evaluation(result, checkpoint, data, args)
    return 0


def _print_evaluation(result: Evaluation, checkpoint: Checkpoint, data: Data, args: Namespace) -> None:
    names = class_names(checkpoint.about.classes, checkpoint.about.words)
    print_lines(
        f"{checkpoint.path}, {args.split}: {counted(result.images, 'image')}{_extent(data, checkpoint, args)}"
    )
    if data.place != (trained_on := run_data.data_of_training(checkpoint)):
        print_lines(f"of {data.place}" + (f", in place of {trained_on}" if args.data else ""))
    print_lines(f"top-1 {100 * result.top1:.2f} %   top-5 {100 * result.top5:.2f} %   loss {result.loss:.4f}")
    scores = result.classes
    means = "   ".join(f"{name} {100 * mean:.2f} %" for name, mean in scores.macro().items())
    print_lines(f"means over classes: {means}".replace("f1", "F1"))
    print_lines("", "accuracy per class, beside the precision of its name and F1", " accuracy  precision        F1")
    columns = (result.class_accuracy, scores.precision, scores.f1)
    rows = list(zip(names, *columns, strict=True))
    for name, *shares in sorted((row for row in rows if row[1] == row[1]), key=lambda row: -row[1]):
        print_lines("".join(f"{100 * share:7.1f} %  " for share in shares) + name)
    for name, accuracy, *shares in rows:
        if accuracy != accuracy:  # NaN
            print_lines(
                f"{'-':>7}    "
                + "".join(f"{100 * share:7.1f} %  " for share in shares)
                + f"{name}: no {args.split} images"
            )
    mistakes = result.worst_confusions()
    print_lines("", "most frequent mistakes" if mistakes else "no mistakes")
    for true, predicted, images in mistakes:
        print_lines(f"{images:6}  {names[true]}  taken for  {names[predicted]}")


def _extent(data: Data, checkpoint: Checkpoint, args: Namespace) -> str:
    """For a part of a split: " (5 % of val ...)" and, if there is more of it, how to take that; otherwise nothing."""
    if (extent := data.extent.get(args.split)) is None:
        return ""
    config = checkpoint.about.config
    more = config.get("subset", 1) < 1 or (config.get("val_split") and not run_data.without_val(data.dataset))
    hint = f"; --whole takes all of {args.split}" if more and not args.whole else ""
    return f" ({extent}, as in training{hint})"


def _print_json(result: Evaluation, checkpoint: Checkpoint, data: Data, args: Namespace) -> None:
    classes = checkpoint.about.classes
    report = {
        "checkpoint": str(checkpoint.path),
        "data": data.place,
        "split": args.split,
        "extent": data.extent.get(args.split, args.split),
        "images": result.images,
        "loss": result.loss,
        "top1": result.top1,
        "top5": result.top5,
        "class_accuracy": dict(zip(classes, result.class_accuracy.tolist(), strict=True)),
        "class_precision": dict(zip(classes, result.classes.precision.tolist(), strict=True)),
        "class_f1": dict(zip(classes, result.classes.f1.tolist(), strict=True)),
        "macro": result.classes.macro(),
        "confusions": [
            {"true": classes[t], "predicted": classes[p], "images": n} for t, p, n in result.worst_confusions()
        ],
    }
    print_lines(*to_json(report, indent=2).splitlines())


def predict_images(args: Namespace) -> int:
    """Prints the five likeliest classes of photos, or writes them for the images of a split."""
    comm, photos = world(), _part_photos(args)
    checkpoint = read_trained(args, comm)
    if bool(photos) == bool(args.split):
        raise UsageError("give either photos (files or folders) or --split")
    if photos and (args.data or args.whole):
        raise UsageError(f"{'--data' if args.data else '--whole'} goes with --split: photos need no data set")
    return _predict_photos(checkpoint, photos, args, comm) if photos else _predict_split(checkpoint, args, comm)


def _part_photos(args: Namespace) -> list[str]:
    """Moves the photos out of args.paths. The runs stay there: the first path, and all others that are runs."""
    if args.pretrained:
        args.paths, photos = [path for path in args.paths if is_run(Path(path))], args.paths
    else:
        photos = args.paths[1:]
        args.paths = [*args.paths[:1], *(path for path in photos if is_run(Path(path)))]
    return [path for path in photos if path not in args.paths]


def _predict_photos(checkpoint: Checkpoint, photos: list[str], args: Namespace, comm: Communicator) -> int:
    paths, about = _same_photos(photos, comm), checkpoint.about
    problems: list[str] = []

    show = len(paths) > BATCH and (args.output is not None or not sys.stdout.isatty())
    with _trained(checkpoint, args) as (model, xp), Progress("predicting", len(paths), "photo", show=show) as bar:

        def complain(problem: str) -> None:
            problems.append(problem)
            bar.say(f"{program()}: {problem}")

        predictions = predict_files(model, about, paths, xp, complain, bar.add, comm)
        if args.output is not None:
            _write(Path(args.output), "photos", predictions, about, comm)
        else:
            names = class_names(about.classes, about.words)
            for p in predictions:
                print_lines(p.name)
                for c, probability in zip(p.classes, p.probabilities, strict=True):
                    print_lines(f"{100 * probability:6.1f} %  {names[c]}")
    if len(paths) == len(problems) == 1:
        return DataError.exit_code
    if problems:
        raise DataError(f"{len(problems):,} of {len(paths):,} photos can't be read")
    return 0


def _same_photos(photos: list[str], comm: Communicator) -> list[str]:
    """The photos that rank 0 finds."""
    found = find_photos(photos) if comm.rank == 0 else []
    return [*map(os.fsdecode, comm.broadcast_bytes(b"\0".join(map(os.fsencode, found))).split(b"\0"))]


def _predict_split(checkpoint: Checkpoint, args: Namespace, comm: Communicator) -> int:
    data = same_data(comm, lambda: run_data.saved_data(checkpoint, args.data, args.whole))
    split = data.split(args.split)
    names = getattr(split, "names", None)
    files = [f"{args.split}_{i}" for i in range(len(split))] if names is None else names_in_split(names)
    print_lines(f"{args.split}: {counted(len(split), 'image')}{_extent(data, checkpoint, args)}")
    run = None if args.pretrained else run_folder(checkpoint.path)
    alone = None if args.pretrained or args.output or run else checkpoint.path.stem
    other = {**which_checkpoint(args, checkpoint.path, run), **which_data(args, checkpoint)}
    name = file_name([alone, args.split], other)
    if args.output is not None:
        folder = Path(args.output)
    elif args.pretrained or comm.rank:
        folder = Path("predictions")
    else:  # of its run, else beside the checkpoint
        folder = own_folder(run or checkpoint.path.parent, "predictions")
    with _trained(checkpoint, args) as (model, xp), Progress("predicting", len(split), "image") as bar:
        predictions = predict_split(model, data.loader(split), files, xp, bar.add, comm)
        _write(folder, name, predictions, checkpoint.about, comm)
    return 0


def _write(folder: Path, name: str, predictions: Iterable[Prediction], about: About, comm: Communicator) -> None:
    """Rank 0 writes; the others take part in the predictions."""
    if comm.rank:
        deque(predictions, maxlen=0)
        return
    for path in write_predictions(folder, name, predictions, about):
        print_lines(f"wrote {path}")


def _add_eval_flags(parser: Parser) -> None:
    add_trained_flags(parser)
    add_use_flags(parser)
    parser.add_argument("--split", default="val", choices=("train", "val"), help="part of the data set (default val)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_predict_flags(parser: Parser) -> None:
    add_trained_flags(parser, photos=True)
    add_use_flags(parser)
    parser.add_argument("--split", choices=("train", "val", "test"), help="predict this part of the data set instead")
    parser.add_argument(
        "--output", type=place, metavar="DIR",
        help="write .csv and .txt files there (default: photos to the screen, a split to predictions/ of the run)",
    )  # fmt: skip


EVAL = Command(evaluate_run, _add_eval_flags, share=True)
PREDICT = Command(predict_images, _add_predict_flags, share=True)
