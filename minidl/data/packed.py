"""The packed cache: a data set decoded once into uint8 arrays on disk, and mapped into memory ever after.

    <cache>/<name>-<hash of path and size>/meta.json
        {train,val,test}_{images,labels,gray,sums,sizes}.npy and _names.json

A folder gets its name by one rename when everything in it is on the disk, so what has the name is whole. It holds the
source's stamp (see `walk`: names, sizes and times of all files), and is packed anew when that differs.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from minidl.data.base import Dataset
from minidl.data.facts import facts
from minidl.data.folder import scan_folder
from minidl.data.naming import stem
from minidl.data.opening import existing, open_source, stamp
from minidl.data.packing import only_packer, pack
from minidl.data.source import Index, Source
from minidl.data.tiny_imagenet import is_tiny_imagenet, scan_tiny_imagenet
from minidl.errors import DataError

FORMAT = 2  # of the cache folder; raise it when anything in it changes its meaning
_REMEDY = "name a folder that can be written in the environment variable MINIDL_CACHE"


class PackedSplit:
    """A Split whose images lie in a memory-mapped file.

    labels    int64 (n,), or None          gray     bool (n,): the file was gray
    names     file names in the source     sums     uint64 (n, 2, 3): sums of x and x^2 of each image
    sizes     int32 (n, 2): heights and widths of the images in their files
    """

    def __init__(self, folder: Path, name: str) -> None:
        def array(kind: str) -> np.ndarray:
            return np.load(folder / f"{name}_{kind}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)

        self._images, self.gray, self.sums, self.sizes = map(array, ("images", "gray", "sums", "sizes"))
        labels = np.array(array("labels"))
        self.labels = None if (labels < 0).any() else labels
        self.names: list[str] = json.loads((folder / f"{name}_names.json").read_text())

    def __len__(self) -> int:
        return len(self._images)

    def images(self, indices: np.ndarray) -> np.ndarray:
        return self._images[indices]


def default_cache() -> Path:
    """$MINIDL_CACHE, else $XDG_CACHE_HOME/minidl, else ~/.cache/minidl; DataError if there is no home folder."""
    if own := os.environ.get("MINIDL_CACHE"):
        return Path(os.path.expanduser(own))
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "minidl")
    except RuntimeError:
        raise DataError(f"no home folder for the packed cache: {_REMEDY}") from None


def scan(source: Source) -> Index:
    """What `source` holds, in the official Tiny ImageNet layout or as train/<class>/ folders."""
    return scan_tiny_imagenet(source) if is_tiny_imagenet(source) else scan_folder(source)


def open_packed(
    path: str | Path, *, image_size: int = 64, cache: str | Path | None = None, progress: bool = True
) -> Dataset:
    """The data set at `path` (see `open_source`) from its packed cache, which is made first if there is none.

    `val` and `test` are None where the source has none. Safe when several processes start at once: one packs, the
    others wait. Raises DataError naming the first bad file, or the cache if it can't be written (disk full).
    """
    path = existing(path)
    cache = Path(os.path.expanduser(cache)) if cache else default_cache()
    # The 1 is the number of the first format: its folders are found, and replaced
    key = hashlib.sha256(json.dumps([1, str(path), image_size]).encode()).hexdigest()[:16]
    name = stem(path) or "data"
    folder = cache / f"{name[:40]}-{key}"
    before = stamp(path)
    if (opened := _open(folder, before)) is not None:
        return opened
    source = open_source(path)
    index = scan(source)
    if index.problems:
        more = f" (and {len(index.problems) - 1} more: see train.py check-data)" if len(index.problems) > 1 else ""
        raise DataError(index.problems[0] + more)
    meta = {"format": FORMAT, "stamp": before, "name": name, "image_size": image_size, "splits": list(index.splits)}
    meta |= {"classes": index.classes, "words": index.words, "unread": len(index.unread)}
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with only_packer(cache):
            if (opened := _open(folder, before)) is None:
                pack(source, index, folder, meta, progress)
                opened = _open(folder, stamp(path))
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{cache}: the packed cache can't be written ({reason}); {_REMEDY}") from error
    if opened is None:
        raise DataError(f"{path}: changed while it was being packed, start again")
    return opened


def _open(folder: Path, state: str) -> Dataset | None:
    """What is packed in `folder`, or None if that is nothing, of another source state or format, or damaged."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        if (meta["format"], meta["stamp"]) != (FORMAT, state):
            return None
        splits = {name: PackedSplit(folder, name) for name in meta["splits"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    size, classes = meta["image_size"], meta["classes"]
    gray, sizes = ({name: getattr(split, kind) for name, split in splits.items()} for kind in ("gray", "sizes"))
    labels = splits["val"].labels if "val" in splits else None
    notes = facts(classes, gray, sizes, labels, size, meta["unread"])
    train, val, test = (splits.get(name) for name in ("train", "val", "test"))
    return Dataset(meta["name"], classes, meta["words"], (size, size, 3), train, val, test, notes)
