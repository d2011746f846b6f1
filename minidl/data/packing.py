"""Writes a packed cache folder (see packed.py): all cores decode, one process packs at a time, all or nothing."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data.images import decode_sized
from minidl.data.loader import image_sums, map_ahead
from minidl.data.source import Index, Source
from minidl.errors import DataError
from minidl.storage.files import open_own
from minidl.storage.locks import LOCKS, lock
from minidl.text.console import warn
from minidl.text.progress import Progress

CHUNK = 128  # images decoded at a time by a thread
TEMPORARY = ".minidl-packing-"  # a folder of this name is removed


@contextmanager
def only_packer(cache: Path) -> Iterator[None]:
    """Locks the folder `cache` while it is open, and removes what dead processes left there."""
    with open(open_own(cache / "packing.lock", os.O_RDWR), "r+") as file:
        if not lock(file.fileno()):
            warn(f"another process is packing into {cache}: waiting for it")
            lock(file.fileno(), wait=True)
        if LOCKS:  # else the last rename still lets only one of two packers win
            for leftover in cache.glob(TEMPORARY + "*"):
                shutil.rmtree(leftover, ignore_errors=True)
        yield


def pack(source: Source, index: Index, folder: Path, meta: dict[str, Any], progress: bool) -> None:
    """Writes the packed form of `source`, described by `meta`, into `folder`, replacing an older one."""
    size = meta["image_size"]
    total = sum(map(len, index.splits.values()))
    needed, free = total * (size * size * 3 + 200), shutil.disk_usage(folder.parent).free
    if free < needed:
        raise DataError(
            f"{folder.parent}: the packed cache needs {needed / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB free; "
            "make room, or name another folder in MINIDL_CACHE"
        )
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=folder.parent))  # only this user can read and write it
    try:
        with Progress("packing images", total, "image", show=progress) as bar:
            for split in index.splits:
                _pack_split(source, index, split, temporary, size, bar)
        _write_json(temporary / "meta.json", meta)
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
    with open(folder / f"{split}_images.npy", "xb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), size, size, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        for images, flags, pixels in map_ahead(decode_chunk, range(0, len(files), CHUNK), os.cpu_count() or 1):
            file.write(images)
            gray += flags
            sizes += pixels
            sums.append(image_sums(images))
            bar.add(len(images))
    labels = np.array([label for _, label in files], np.int64)
    arrays = {
        "gray": np.array(gray),
        "sizes": np.array(sizes, np.int32),
        "sums": np.concatenate(sums),
        "labels": labels,
    }
    for kind, array in arrays.items():
        with open(folder / f"{split}_{kind}.npy", "xb") as file:  # x: into a new file, through no link
            np.save(file, array)
    _write_json(folder / f"{split}_names.json", [name for name, _ in files])


def _write_json(path: Path, value: Any) -> None:
    with open(path, "x", encoding="utf-8") as file:
        json.dump(value, file)


def _commit(temporary: Path, folder: Path) -> None:
    """Flushes `temporary` to the disk and renames it to `folder`."""
    for path in temporary.iterdir():
        with open(path, "r+b") as file:
            os.fsync(file.fileno())
    if folder.exists():  # of an older state of the source; processes that have it mapped keep it
        folder.rename(old := temporary.with_name(temporary.name + "-old"))
        shutil.rmtree(old, ignore_errors=True)
    temporary.rename(folder)
