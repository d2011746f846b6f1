"""`train.py eval`, `predict` and `export`: what a trained network is good for."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from minidl.cli import trained_file
from minidl.errors import UsageError
from minidl.layers import Layer
from minidl.progress import Progress
from minidl.training import session
from minidl.training.checkpoints import Checkpoint, export_checkpoint, load_checkpoint
from minidl.training.evaluation import Evaluation, evaluate
from minidl.training.prediction import predict_files, predict_split, write_predictions


@contextmanager
def _trained(checkpoint: Checkpoint, args: Namespace) -> Iterator[tuple[Layer, ModuleType]]:
    """The checkpoint's model on the engine asked for, and its array module."""
    with session.blas_threads(args):
        yield session.on_engine(checkpoint.build(args.models.build), args)


def evaluate_run(args: Namespace) -> int:
    """Prints accuracy, accuracy per class and the most frequent mistakes of a trained network."""
    checkpoint = load_checkpoint(trained_file(args))
    data = session.saved_data(checkpoint, args.data)
    split = getattr(data.dataset, args.split)
    with _trained(checkpoint, args) as (model, xp), Progress("evaluating", len(split), "image") as bar:
        result = evaluate(model, data.loader(split), xp, bar.add)
    _print_json(result, checkpoint, args) if args.json else _print_evaluation(result, checkpoint, args)
    return 0


def _print_evaluation(result: Evaluation, checkpoint: Checkpoint, args: Namespace) -> None:
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


def _print_json(result: Evaluation, checkpoint: Checkpoint, args: Namespace) -> None:
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


def predict_images(args: Namespace) -> int:
    """Prints the five likeliest classes of photos, or writes them for the images of a split."""
    if args.pretrained and args.run:  # the first of the images has taken the place of RUN
        args.images, args.run = [args.run, *args.images], None
    if bool(args.images) == bool(args.split):
        raise UsageError("give either image files or --split")
    checkpoint = load_checkpoint(trained_file(args))
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
    beside = Path() if args.pretrained else checkpoint.path.parent.parent
    folder = beside / "predictions" if args.output is None else Path(args.output)
    for path in write_predictions(folder, args.split, predictions, checkpoint.about):
        print(f"wrote {path}")
    return 0


def export_weights(args: Namespace) -> int:
    """Writes a checkpoint to be passed on: the weights, what they mean and how they were trained."""
    checkpoint = load_checkpoint(trained_file(args))
    path = Path(args.output or f"{checkpoint.about.model}.safetensors")
    export_checkpoint(path, checkpoint)
    print(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB")
    return 0
