"""A miniature data set in Tiny ImageNet's official layout, made of noise, to be broken in many ways by tests."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

WNIDS = ("n00000003", "n00000001", "n00000002")  # not sorted: the order is the file's


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (64, 64), gray: bool = False, **options) -> Path:
    """Smooth coloured noise, so that JPEG keeps it nearly unchanged."""
    rng = np.random.default_rng(seed)
    noise = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    (noise.convert("L") if gray else noise).save(path, **({"quality": 95} | options))
    return path


def make_tiny(root: Path, wnids: tuple[str, ...] = WNIDS, train: int = 4, val: int = 2, test: int = 2) -> Path:
    """Image 0 of every class's training images is gray, and so is the first validation image."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in wnids))
    (root / "words.txt").write_text("".join(f"{wnid}\tword {wnid[-1]}, synonym\n" for wnid in sorted(wnids)))
    annotations = []
    for label, wnid in enumerate(wnids):
        for i in range(train):
            write_image(
                root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", 100 * label + i, gray=i == 0, format="JPEG"
            )
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text(
            "".join(f"{wnid}_{i}.JPEG\t0\t0\t9\t9\n" for i in range(train))
        )
        for _ in range(val):
            name = f"val_{len(annotations)}.JPEG"
            write_image(root / "val" / "images" / name, 7000 + len(annotations), gray=not annotations, format="JPEG")
            annotations.append(f"{name}\t{wnid}\t0\t0\t63\t63\n")
    (root / "val" / "val_annotations.txt").write_text("".join(annotations))
    for i in range(test):
        write_image(root / "test" / "images" / f"test_{i}.JPEG", 9000 + i, format="JPEG")
    return root


def make_folders(
    root: Path, classes: tuple[str, ...] = ("cat", "dog"), train: int = 3, val: int = 2, size=(80, 50)
) -> Path:
    """The generic layout: train/<class>/<i>.png and val/<class>/<i>.png."""
    for label, name in enumerate(classes):
        for split, count in (("train", train), ("val", val)):
            for i in range(count):
                write_image(root / split / name / f"{i}.png", 100 * label + i, size)
    return root


def zip_folder(root: Path, path: Path, inside: str = "tiny-imagenet-200") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, f"{inside}/{file.relative_to(root)}" if inside else file.relative_to(root))
    return path


def tar_folder(root: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        archive.add(root, "tiny-imagenet-200")
    return path
