"""The names in a data set: its splits, its texts, junk of other programs, and how to find its root."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from minidl.errors import DataError

SPLITS = ("train", "val", "test")
TEXTS = ("wnids.txt", "words.txt")  # at the root, in Tiny ImageNet
ANNOTATIONS = "val/val_annotations.txt"
EXTENSIONS = (
    ".jpg",
    ".jpeg",
    ".jfif",
    ".png",
    ".bmp",
    ".webp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
)

_MARKS = ("wnids.txt", "train", "val")  # one of them stands at the root of every data set
_MEANT = {"training": "train", "trn": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}
_JUNK = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "icon\r", "$recycle.bin", "lost+found"}


def is_junk(part: str) -> bool:
    """Whether the file or folder `part` is hidden, or was left there by an operating system."""
    return part[:1] == "." or part.lower() in _JUNK


def meant(name: str) -> str | None:
    """The split that a folder with a similar name probably means ("Train", "valid"); None for any other name."""
    if name in SPLITS:
        return None
    name = name.lower()
    return name if name in SPLITS else _MEANT.get(name)


def belongs(name: str) -> bool:
    """Whether a file or folder is part of a data set: in a split, or a text or a misspelt split at the root."""
    top, _, rest = name.partition("/")
    if any(map(is_junk, name.split("/"))):
        return False
    return top in SPLITS or (not rest and (name in TEXTS or meant(name) is not None))


def find_root(path: str, names: Iterable[str], inner: Callable[[], Iterable[tuple[str, str]]]) -> str:
    """The folder that contains the data set: "" for `path` itself, or one of the folders in it.

    names    the names of the files and folders in `path`
    inner    returns (folder, name) for the content of its folders; not called if `path` itself is the data set

    Raises DataError if there is no data set, or more than one.
    """
    for is_mark in (_MARKS.__contains__, meant):  # a misspelt one only if there is no right one
        if any(map(is_mark, names)):
            return ""
        roots = sorted({folder for folder, name in inner() if not is_junk(folder) and is_mark(name)})
        if len(roots) > 1:
            some = ", ".join(map(ascii, roots[:3]))
            raise DataError(f"{path}: {len(roots)} data sets in it ({some}): give the path of one of them")
        if roots:
            return roots[0]
    raise DataError(f"{path}: no data set here: neither wnids.txt nor train/<class>/ folders")
