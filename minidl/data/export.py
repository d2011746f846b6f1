"""Writes any data set as JPEG files in the official layout of Tiny ImageNet (see tiny_imagenet.py)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from minidl.data.base import Dataset, Split
from minidl.errors import DataError, UsageError
from minidl.text.progress import Progress

QUALITY = 95  # of 100; chroma is kept at full resolution
CHUNK = 128  # images in memory at a time


def export_tiny_imagenet_layout(dataset: Dataset, folder: str | Path, progress: bool = True) -> Path:
    """Writes `dataset` into `folder`, which must be new or empty, and returns it.

        wnids.txt, words.txt
        train/<id>/images/<id>_<k>.JPEG, train/<id>/<id>_boxes.txt     k counts within the class
        val/images/val_<k>.JPEG, val/val_annotations.txt
        test/images/test_<k>.JPEG                                      only if there is a test split

    Every box is the whole image. Nothing appears in the folder's place before all of it is written.

    Raises DataError if `folder` is not empty or can't be written, UsageError for a class without training images
    and for an image of train or val without a label: such a data set can't be read.
    """
    if len(without := np.setdiff1d(np.arange(len(dataset.classes)), dataset.train.labels)):
        raise UsageError(
            f"{len(dataset.train):,} training images, and none of class {dataset.classes[without[0]]}: "
            f"each of the {len(dataset.classes):,} classes needs one"
        )
    for name, split in (("train", dataset.train), ("val", dataset.val)):
        if split.labels is None or (np.asarray(split.labels) < 0).any():
            raise UsageError(f"an image of {name} has no label: this layout needs one for each, so leave it out")
    folder = Path(folder).absolute()
    splits = [split for split in (dataset.train, dataset.val, dataset.test) if split is not None]
    temporary = None
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(f"{folder}: not an empty folder; name a new one, nothing is overwritten")
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=folder.parent))
        temporary.chmod(0o755)
        with Progress("writing images", sum(map(len, splits)), "image", show=progress) as bar:
            _write(dataset, temporary, bar)
        if folder.exists():  # and is empty; it stays, because the user may be in it
            for path in sorted(temporary.iterdir()):
                os.replace(path, folder / path.name)
        else:
            os.replace(temporary, folder)
    except OSError as error:
        raise DataError(f"can't write {folder}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write(dataset: Dataset, root: Path, bar: Progress) -> None:
    classes = dataset.classes
    _lines(root / "wnids.txt", classes)
    _lines(root / "words.txt", [f"{wnid}\t{words}" for wnid, words in zip(classes, dataset.words, strict=True)])
    height, width, _ = dataset.image_shape
    box = f"0\t0\t{width - 1}\t{height - 1}"

    boxes: dict[str, list[str]] = {wnid: [] for wnid in classes}
    for wnid in classes:
        (root / "train" / wnid / "images").mkdir(parents=True)
    for i, image in _images(dataset.train, bar):
        wnid = classes[dataset.train.labels[i]]
        name = f"{wnid}_{len(boxes[wnid])}.JPEG"
        _save(image, root / "train" / wnid / "images" / name)
        boxes[wnid].append(f"{name}\t{box}")
    for wnid in classes:
        _lines(root / "train" / wnid / f"{wnid}_boxes.txt", boxes[wnid])

    for part, split in (("val", dataset.val), ("test", dataset.test)):
        (root / part / "images").mkdir(parents=True)
        for i, image in _images(split, bar):
            _save(image, root / part / "images" / f"{part}_{i}.JPEG")
    labels = dataset.val.labels
    _lines(
        root / "val" / "val_annotations.txt",
        [f"val_{i}.JPEG\t{classes[label]}\t{box}" for i, label in enumerate(labels)],
    )


def _images(split: Split | None, bar: Progress) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(split) if split is not None else 0, CHUNK):
        indices = np.arange(start, min(start + CHUNK, len(split)))
        yield from zip(indices.tolist(), split.images(indices), strict=True)
        bar.add(len(indices))


def _save(image: np.ndarray, path: Path) -> None:
    Image.fromarray(image).save(path, "JPEG", quality=QUALITY, subsampling=0)


def _lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
