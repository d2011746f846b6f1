"""Writing a packed cache folder (see packed.py): decoded by all cores, one packer at a time, whole or not there."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data.images import decode_sized
from minidl.data.loader import image_sums, prefetch
from minidl.data.source import Index, Source
from minidl.errors import DataError
from minidl.locks import LOCKS, lock
from minidl.progress import Progress

CHUNK = 128  # images decoded at a time by a thread
TEMPORARY = ".tmp-"


@contextmanager
def only_packer(cache: Path) -> Iterator[None]:
    """Holds the lock of the folder `cache`, and removes what dead packers left there; it dies with its process."""
    with open(cache / "packing.lock", "a") as file:
        if not lock(file.fileno()):
            print(f"another process is packing into {cache}: waiting for it", file=sys.stderr)
            lock(file.fileno(), wait=True)
        if LOCKS:  # else the last rename still lets only one of two packers win
            for leftover in cache.glob(TEMPORARY + "*"):
                shutil.rmtree(leftover, ignore_errors=True)
        yield


def pack(source: Source, index: Index, folder: Path, meta: dict[str, Any], progress: bool) -> None:
    """Writes the packed form of `source`, described by `meta`, into `folder`, in place of an older one."""
    size = meta["image_size"]
    total = sum(map(len, index.splits.values()))
    needed, free = total * (size * size * 3 + 200), shutil.disk_usage(folder.parent).free
    if free < needed:
        raise DataError(
            f"{folder.parent}: the packed cache needs {needed / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB free; "
            "make room, or name another folder in MINIDL_CACHE"
        )
    temporary = folder.with_name(f"{TEMPORARY}{os.getpid()}-{folder.name}")
    temporary.mkdir()
    try:
        with Progress("packing images", total, "image", show=progress) as bar:
            for split in index.splits:
                _pack_split(source, index, split, temporary, size, bar)
        (temporary / "meta.json").write_text(json.dumps(meta))
        _commit(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _pack_split(source: Source, index: Index, split: str, folder: Path, size: int, bar: Progress) -> None:
    files = index.splits[split]

    def decode_chunk(start: int) -> tuple[np.ndarray, list[bool], list[tuple[int, int]]]:
        names = [name for name, _ in files[start : start + CHUNK]]
        exact, limits = index.exact_size, source.limits
        decoded = (decode_sized(source.read(n), source.label(n), size, exact, limits) for n in names)
        images, gray, sizes = zip(*decoded, strict=True)
        return np.stack(images), list(gray), list(sizes)

    gray: list[bool] = []
    sizes: list[tuple[int, int]] = []
    sums = []
    # Written, not mapped: a full disk is then an error, not the signal SIGBUS.
    with open(folder / f"{split}_images.npy", "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), size, size, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        for images, flags, pixels in prefetch(decode_chunk, range(0, len(files), CHUNK), os.cpu_count() or 1):
            file.write(images)
            gray += flags
            sizes += pixels
            sums.append(image_sums(images))
            bar.add(len(images))
    np.save(folder / f"{split}_gray.npy", np.array(gray))
    np.save(folder / f"{split}_sizes.npy", np.array(sizes, np.int32))
    np.save(folder / f"{split}_sums.npy", np.concatenate(sums))
    np.save(folder / f"{split}_labels.npy", np.array([label for _, label in files], np.int64))
    (folder / f"{split}_names.json").write_text(json.dumps([name for name, _ in files]))


def _commit(temporary: Path, folder: Path) -> None:
    """Makes `temporary`, once it is on the disk, the folder `folder`."""
    for path in temporary.iterdir():
        with open(path, "r+b") as file:
            os.fsync(file.fileno())
    if folder.exists():  # of an older state of the source; processes that have it mapped keep it
        folder.rename(old := temporary.with_name(temporary.name + "-old"))
        shutil.rmtree(old, ignore_errors=True)
    temporary.rename(folder)
