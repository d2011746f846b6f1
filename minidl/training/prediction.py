"""Predictions for images: the five likeliest classes, on the screen or in files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from minidl.backend.arrays import to_device, to_host
from minidl.data.images import read_image
from minidl.data.layout import EXTENSIONS, is_junk
from minidl.data.loader import Loader, normalise
from minidl.engine.prepare import keep
from minidl.engine.tiles.runner import available_cores
from minidl.errors import DataError, printable
from minidl.layers.base import INFER, Layer
from minidl.losses import softmax
from minidl.parallel.communicator import ALONE, Communicator
from minidl.parallel.deal import Result, collect
from minidl.storage.files import atomic
from minidl.storage.tables import csv_file
from minidl.training.checkpoints import About
from minidl.training.evaluation import predict

TOP = 5
BATCH = 100  # photos in memory at a time


@dataclass
class Prediction:
    """The likeliest classes of one image, best first."""

    name: str
    classes: list[int]
    probabilities: list[float]


def find_photos(paths: Iterable[str]) -> list[str]:
    """The paths, where each folder is replaced by the photos in it and in its subfolders, sorted. What a data set
    ignores (`is_junk`) is ignored here too.

    Raises DataError naming a folder without photos.
    """
    photos: list[str] = []
    for path in paths:
        if not os.path.isdir(path):
            photos.append(path)
            continue
        inside = sorted(
            str(p)
            for p in Path(path).rglob("*")
            if p.suffix.lower() in EXTENSIONS and not any(map(is_junk, p.relative_to(path).parts)) and p.is_file()
        )
        if not inside:
            raise DataError(f"{path}: no photos in this folder ({' '.join(EXTENSIONS)})")
        photos += inside
    return photos


def predict_files(
    model: Layer,
    about: About,
    paths: list[str],
    xp: ModuleType,
    on_error: Callable[[str], None],
    on_batch: Callable[[int], None] = lambda photos: None,
    comm: Communicator = ALONE,
) -> Iterator[Prediction]:
    """Predictions for photos of any size: the central square, resized to the size that the network was trained on.

    The photos are read one batch at a time, on all cores. `on_error` is called with one line for each photo that
    can't be read. The ranks of `comm` share the batches; each gets all predictions and problems.
    """
    size, starts = about.image_shape[0], range(0, len(paths), BATCH)
    keep(model)

    def read(path: str) -> np.ndarray | str:
        try:
            return read_image(path, size)
        except DataError as error:
            return str(error)
        except MemoryError:
            return f"{path}: too large for the memory there is"

    def answers() -> Iterator[Result]:
        """Of each batch: which photos can be read (n,), their probabilities (n, K), and lines about the others."""
        with ThreadPoolExecutor(available_cores()) as pool:
            for start in starts[comm.rank :: comm.size]:
                found = list(pool.map(read, paths[start : start + BATCH]))
                good = [i for i, image in enumerate(found) if not isinstance(image, str)]
                probabilities = np.empty((0, len(about.classes)))
                if good:
                    x = normalise(np.stack([found[i] for i in good]), about.mean, about.std)  # (n, H, W, 3)
                    probabilities = to_host(softmax(model.forward(to_device(x, xp), INFER)[0]))
                yield np.array(good, int), probabilities, np.array([p for p in found if isinstance(p, str)], str)

    for start, (good, probabilities, problems) in zip(starts, collect(answers(), starts, comm), strict=True):
        for problem in problems.tolist():
            on_error(problem)
        yield from _ranked([paths[start + i] for i in good], probabilities)
        on_batch(len(paths[start : start + BATCH]))


def predict_split(
    model: Layer,
    loader: Loader,
    names: list[str],
    xp: ModuleType,
    on_batch: Callable[[int], None],
    comm: Communicator = ALONE,
) -> Iterator[Prediction]:
    """Predictions for every image of the loader's split. The ranks of `comm` share the batches; each gets all."""
    start = 0
    for logits, _ in predict(model, loader, xp, comm):
        batch = names[start : start + len(logits)]
        yield from _ranked(batch, to_host(softmax(logits)))
        start += len(batch)
        on_batch(len(batch))


def names_in_split(names: Sequence[str]) -> list[str]:
    """Names of files in a data set as paths in their split: "val/cat/1.png" becomes "cat/1.png".

    If all images of a split are in its folder images/, as in val and test of Tiny ImageNet, that part is removed too:
    its evaluation server expects "test_0.JPEG".
    """
    inside = [name.partition("/")[2] or name for name in names]
    flat = all(name.startswith("images/") for name in inside)
    return [name.removeprefix("images/") if flat else name for name in inside]


def write_predictions(folder: Path, name: str, predictions: Iterable[Prediction], about: About) -> list[Path]:
    """Writes folder/<name>.txt with `<file> <class id>` lines, and folder/<name>.csv with the five likeliest classes.

    Raises DataError if the folder can't be made or a file can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: can't be made a folder for predictions ({error.strerror})") from error
    text, table = folder / f"{name}.txt", folder / f"{name}.csv"
    classes, words = about.classes, about.words
    with atomic(text) as temporary, temporary.open("w", encoding="utf-8") as lines, csv_file(table) as write:
        top = range(1, min(TOP, len(classes)) + 1)
        write(["file", *(f"{what}{i}" for i in top for what in ("class", "words", "probability"))])
        for p in predictions:
            lines.write(printable(f"{p.name} {classes[p.classes[0]]}") + "\n")
            ranked = zip(p.classes, p.probabilities, strict=True)
            write([p.name, *(v for c, q in ranked for v in (classes[c], words[c], f"{q:.6f}"))])
    return [text, table]


def _ranked(names: list[str], probabilities: np.ndarray) -> list[Prediction]:
    if not np.isfinite(probabilities).all():
        raise DataError(f"{names[0]}: the network's answer is not a number: its weights are too large, or damaged")
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP]
    return [
        Prediction(name, best.tolist(), row[best].tolist())
        for name, best, row in zip(names, order, probabilities, strict=True)
    ]
