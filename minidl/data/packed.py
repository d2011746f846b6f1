"""The packed cache: a data set decoded once into uint8 arrays on disk, which later runs map into memory.

    <cache>/<name>-<hash of path and size>/meta.json
        {train,val,test}_{images,labels,gray,sums,sizes}.npy and _names.json

The folder is renamed to its name when everything in it is on the disk, so a folder with this name is complete. It
contains the source's stamp (see `walk`: names, sizes and times of all files). If the stamp differs, the data set is
packed again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data.base import Dataset, positions
from minidl.data.facts import facts
from minidl.data.folder import scan_folder
from minidl.data.layout import SPLITS
from minidl.data.limits import LIMITS, TRUST, trusted
from minidl.data.naming import stem
from minidl.data.opening import existing, open_source, stamp
from minidl.data.packing import only_packer, pack
from minidl.data.reading import read_regular
from minidl.data.source import Index, Source
from minidl.data.tiny_imagenet import is_tiny_imagenet, scan_tiny_imagenet
from minidl.errors import DataError, require_whole
from minidl.storage.files import open_regular
from minidl.text.calls import call

FORMAT = 2  # of the cache folder; raise it when anything in it changes its meaning
_REMEDY = "name a folder that can be written in the environment variable MINIDL_CACHE"


class PackedSplit:
    """A Split whose images lie in a memory-mapped file.

    labels    int64 (n,), or None          gray     bool (n,): the file was gray
    names     file names in the source     sums     uint64 (n, 2, 3): sums of x and x^2 of each image
    sizes     int32 (n, 2): heights and widths of the images in their files
    """

    def __init__(self, folder: Path, name: str, size: int, classes: int) -> None:
        self.names = _strings(_read_json(folder / f"{name}_names.json"))

        def array(kind: str, dtype: type, *shape: int) -> np.ndarray:
            return _mapped(folder / f"{name}_{kind}.npy", np.dtype(dtype), (len(self.names), *shape))

        self._images, self.gray = array("images", np.uint8, size, size, 3), array("gray", np.bool_)
        self.sums, self.sizes = array("sums", np.uint64, 2, 3), array("sizes", np.int32, 2)
        labels = np.array(array("labels", np.int64))
        if not ((labels >= -1) & (labels < classes)).all():
            raise ValueError("labels of no class")
        self.labels = None if (labels < 0).any() else labels

    def __len__(self) -> int:
        return len(self._images)

    def images(self, indices: np.ndarray) -> np.ndarray:
        return self._images[positions(indices, len(self))]


def default_cache() -> Path:
    """$MINIDL_CACHE, or $XDG_CACHE_HOME/minidl, or ~/.cache/minidl; DataError if there is no home folder."""
    if own := os.environ.get("MINIDL_CACHE"):
        return Path(os.path.expanduser(own))
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "minidl")
    except RuntimeError:
        raise DataError(f"no home folder for the packed cache: {_REMEDY}") from None


def scan(source: Source) -> Index:
    """The content of `source`, which has the official layout of Tiny ImageNet or train/<class>/ folders."""
    return scan_tiny_imagenet(source) if is_tiny_imagenet(source) else scan_folder(source)


def open_packed(
    path: str | Path, *, image_size: int = 64, cache: str | Path | None = None, progress: bool = True
) -> Dataset:
    """The data set at `path` (see `open_source`) from its packed cache, which is made first if there is none.

    `val` and `test` are None if the source has none. Several processes may start at once: one packs, the others wait.
    Raises DataError naming the first bad file, or the cache if it can't be written (disk full).
    """
    image_size = require_whole("image_size", image_size, 1)
    path = existing(path)
    cache = Path(os.path.expanduser(cache)) if cache else default_cache()
    # The 1 is the number of the first format: its folders are found, and replaced
    key = hashlib.sha256(json.dumps([1, str(path), image_size]).encode()).hexdigest()[:16]
    name = stem(path) or "data"
    folder = cache / f"{name[:40]}-{key}"
    before = stamp(path)
    meta = {"format": FORMAT, "stamp": before, "name": name, "image_size": image_size}
    if (opened := _open(folder, meta)) is not None:
        return opened
    source = open_source(path)
    index = scan(source)
    if index.problems:
        more = f" (and {len(index.problems) - 1} more: see {call('check-data')})" if len(index.problems) > 1 else ""
        raise DataError(index.problems[0] + more)
    rest = {"classes": index.classes, "words": index.words, "unread": len(index.unread), "splits": list(index.splits)}
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with only_packer(cache):
            if (opened := _open(folder, meta)) is None:
                pack(source, index, folder, meta | rest, progress)
                opened = _open(folder, meta | {"stamp": stamp(path)})
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{cache}: the packed cache can't be written ({reason}); {_REMEDY}") from error
    if opened is None:
        raise DataError(f"{path}: changed while it was being packed, start again")
    return opened


def _open(folder: Path, expected: dict[str, Any]) -> Dataset | None:
    """The data set packed in `folder`; None if there is none, or if it is damaged or of another source state or
    format.

    expected    format, stamp, name and image_size, as meta.json must have them

    Raises DataError if somebody else made the folder.
    """
    try:
        if not _is_own(folder):
            return None
        meta = _read_json(folder / "meta.json")
        if not isinstance(meta, dict) or expected.items() - {(key, meta.get(key)) for key in expected}:
            return None
        classes, words, unread = _strings(meta["classes"]), _strings(meta["words"]), meta["unread"]
        if len(classes) != len(words) or type(unread) is not int or "train" not in meta["splits"]:
            return None
        size = expected["image_size"]
        splits = {name: PackedSplit(folder, name, size, len(classes)) for name in SPLITS if name in meta["splits"]}
        gray, sizes = ({name: getattr(split, kind) for name, split in splits.items()} for kind in ("gray", "sizes"))
        labels = splits["val"].labels if "val" in splits else None
        notes = facts(classes, gray, sizes, labels, size, unread)
    except (DataError, MemoryError):
        raise
    except Exception:  # damaged files may raise anything
        return None
    train, val, test = (splits.get(name) for name in ("train", "val", "test"))
    return Dataset(expected["name"], classes, words, (size, size, 3), train, val, test, notes)


def _is_own(folder: Path) -> bool:
    """Whether only this user can have written into `folder`; DataError if it is a link or another user's."""
    status = os.lstat(folder)
    remedy = f"remove it, name a folder of your own in MINIDL_CACHE, or see {TRUST} in docs/data.md"
    if not stat.S_ISDIR(status.st_mode):
        raise DataError(f"{folder}: a link or a file, where the packed cache belongs: {remedy}")
    if os.name != "posix" or trusted(folder):
        return True
    if status.st_uid not in (0, os.geteuid()):
        raise DataError(f"{folder}: the packed cache of another user (number {status.st_uid}): {remedy}")
    mode = stat.S_IMODE(status.st_mode)
    if not mode & 0o022:
        return True
    os.chmod(folder, 0o700)
    unknown = os.lstat(folder).st_mode & 0o022  # a file system that knows no modes
    os.chmod(folder, mode)  # what was written meanwhile is seen the next time too
    return bool(unknown)


def _read_json(path: Path) -> Any:
    return json.loads(read_regular(path, LIMITS.file))


def _strings(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError("not a list of texts")
    return value


def _mapped(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """The array in a .npy file, mapped into memory. Raises ValueError if its type or shape is another."""
    with open_regular(path) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("another version")
        header, start = np.lib.format.read_array_header_1_0(file), file.tell()
        bytes_ = start + math.prod(shape) * dtype.itemsize
        if header != (shape, False, dtype) or os.fstat(file.fileno()).st_size != bytes_:
            raise ValueError("another array than expected")
        return np.memmap(file, dtype, "r", start, shape).view(np.ndarray)
