"""What a trained network says about images: the five likeliest classes, on the screen or in files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from minidl.backend import to_device, to_host
from minidl.data.images import read_image
from minidl.data.loader import Loader, normalise
from minidl.files import atomic
from minidl.layers.base import INFER, Layer
from minidl.losses import softmax
from minidl.training.checkpoints import About
from minidl.training.evaluation import predict

TOP = 5


@dataclass
class Prediction:
    """The likeliest classes of one image, best first."""

    name: str
    classes: list[int]
    probabilities: list[float]


def predict_files(model: Layer, about: About, paths: list[str], xp: ModuleType) -> list[Prediction]:
    """Predictions for photos of any size: their middle square, resized to what the network was trained on."""
    size = about.image_shape[0]
    images = np.stack([read_image(path, size) for path in paths])  # (n, H, W, 3)
    logits, _ = model.forward(to_device(normalise(images, about.mean, about.std), xp), INFER)
    return _ranked(paths, to_host(softmax(logits)))


def predict_split(
    model: Layer, loader: Loader, names: list[str], xp: ModuleType, on_batch: Callable[[int], None]
) -> Iterator[Prediction]:
    """Predictions for every image of the loader's split."""
    start = 0
    for logits, _ in predict(model, loader, xp):
        batch = names[start : start + len(logits)]
        yield from _ranked(batch, to_host(softmax(logits)))
        start += len(batch)
        on_batch(len(batch))


def write_predictions(folder: Path, split: str, predictions: list[Prediction], about: About) -> list[Path]:
    """folder/<split>.txt with `<file> <class id>` lines, and folder/<split>.csv with the five likeliest classes."""
    folder.mkdir(parents=True, exist_ok=True)
    text, table = folder / f"{split}.txt", folder / f"{split}.csv"
    files = [Path(p.name).name for p in predictions]
    with atomic(text) as temporary:
        lines = (f"{file} {about.classes[p.classes[0]]}\n" for file, p in zip(files, predictions, strict=True))
        temporary.write_text("".join(lines), encoding="utf-8")
    with atomic(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        top = range(1, min(TOP, len(about.classes)) + 1)
        writer.writerow(["file", *(f"{what}{i}" for i in top for what in ("class", "words", "probability"))])
        for file, p in zip(files, predictions, strict=True):
            ranked = zip(p.classes, p.probabilities, strict=True)
            writer.writerow([file, *(v for c, q in ranked for v in (about.classes[c], about.words[c], f"{q:.6f}"))])
    return [text, table]


def _ranked(names: list[str], probabilities: np.ndarray) -> list[Prediction]:
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP]
    return [
        Prediction(name, best.tolist(), row[best].tolist())
        for name, best, row in zip(names, order, probabilities, strict=True)
    ]
