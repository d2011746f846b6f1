"""The packed cache: a data set decoded once into uint8 arrays on disk, and mapped into memory ever after.

    <cache>/<name>-<hash of path and size>/meta.json
        {train,val,test}_{images,labels,gray,sums}.npy and _names.json

A folder gets its name by one rename when everything in it is on the disk, so what has the name is whole. It holds
the modification times of the source's folders and texts (or of the archive), and is packed anew when one differs.
An image overwritten in place changes neither: delete the cache folder then.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from minidl.data.base import Dataset
from minidl.data.folder import scan_folder
from minidl.data.opening import open_source
from minidl.data.packing import only_packer, pack
from minidl.data.source import Index, Source, unchanged
from minidl.data.tiny_imagenet import is_tiny_imagenet, scan_tiny_imagenet
from minidl.errors import DataError

FORMAT = 1  # of the cache folder; raise it when anything in it changes its meaning


class PackedSplit:
    """A Split whose images lie in a memory-mapped file.

    labels    int64 (n,), or None          gray     bool (n,): the file was gray
    names     file names in the source     sums     uint64 (n, 2, 3): sums of x and x^2 of each image
    """

    def __init__(self, folder: Path, name: str) -> None:
        def array(kind: str) -> np.ndarray:
            return np.load(folder / f"{name}_{kind}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)

        self._images, self.gray, self.sums, labels = (array(kind) for kind in ("images", "gray", "sums", "labels"))
        self.labels = None if name == "test" else np.array(labels)
        self.names: list[str] = json.loads((folder / f"{name}_names.json").read_text())

    def __len__(self) -> int:
        return len(self._images)

    def images(self, indices: np.ndarray) -> np.ndarray:
        return self._images[indices]


def default_cache() -> Path:
    """$MINIDL_CACHE, else $XDG_CACHE_HOME/minidl, else ~/.cache/minidl."""
    if own := os.environ.get("MINIDL_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "minidl")


def scan(source: Source) -> Index:
    """What `source` holds, in the official Tiny ImageNet layout or as train/<class>/ folders."""
    return scan_tiny_imagenet(source) if is_tiny_imagenet(source) else scan_folder(source)


def counts(gray: dict[str, np.ndarray]) -> dict[str, int]:
    """The counts worth printing, from the gray flags of each split."""
    empty = np.zeros(0, bool)
    train, val, test = (gray.get(split, empty) for split in ("train", "val", "test"))
    rgb = len(train) - int(train.sum())
    return {
        "train images": len(train),
        "val images": len(val),
        "test images": len(test),
        "gray train images": int(train.sum()),
        "gray val images": int(val.sum()),
        "RGB train images": rgb,
        "train images with --augment paper": len(train) + rgb,
    }


def open_packed(
    path: str | Path, *, image_size: int = 64, cache: str | Path | None = None, progress: bool = True
) -> Dataset:
    """The data set at `path` (see `open_source`) from its packed cache, which is made first if there is none.

    `val` and `test` are None where the source has none. Safe when several processes start at once: one packs, the
    others wait. Raises DataError naming the first bad file, or the cache if it can't be written (disk full).
    """
    path = Path(path).expanduser().resolve()
    cache = Path(cache).expanduser() if cache else default_cache()
    key = hashlib.sha256(json.dumps([FORMAT, str(path), image_size]).encode()).hexdigest()[:16]
    folder = cache / f"{path.name.split('.')[0]}-{key}"
    if (opened := _open(folder)) is not None:
        return opened
    source = open_source(path)
    index = scan(source)
    if index.problems:
        more = f" (and {len(index.problems) - 1} more: see train.py check-data)" if len(index.problems) > 1 else ""
        raise DataError(index.problems[0] + more)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with only_packer(cache):
            if (opened := _open(folder)) is None:
                pack(source, index, folder, image_size, progress)
                opened = _open(folder)
    except OSError as error:
        raise DataError(f"{cache}: the packed cache can't be written ({error.strerror or error})") from error
    if opened is None:
        raise DataError(f"{path}: changed while it was being packed, start again")
    return opened


def _open(folder: Path) -> Dataset | None:
    """What is packed in `folder`, or None if that is nothing, of another source state, or damaged."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        if not unchanged(meta["watched"]):
            return None
        splits = {name: PackedSplit(folder, name) for name in meta["splits"]}
    except (OSError, ValueError, KeyError):
        return None
    shape = (meta["image_size"], meta["image_size"], 3)
    notes = counts({name: split.gray for name, split in splits.items()})
    train, val, test = (splits.get(name) for name in ("train", "val", "test"))
    return Dataset(meta["name"], meta["classes"], meta["words"], shape, train, val, test, notes)
