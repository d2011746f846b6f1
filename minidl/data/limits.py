"""How much of another person's data set is read, and which data are the user's own and have no limits.

A small file can ask for any amount of memory, disk and time: a zip of half a megabyte can unpack to gigabytes, and a
PNG of 22 kB to an image of 180 million pixels. What exceeds a limit is refused, in one line with the number.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, fields
from pathlib import Path

from minidl.errors import DataError

TRUST = "MINIDL_TRUST"


@dataclass(frozen=True)
class Limits:
    """The most that is read; docs/data.md has a table of them."""

    entries: int = 1_000_000  # files and folders in an archive, or in a folder by way of links
    depth: int = 32  # folders in one another
    name: int = 1_024  # characters of the name of an archive's entry, or of a class
    listing: int = 48_000_000  # bytes of a zip's list of entries, characters of all names in a tar
    header: int = 256 << 10  # bytes of all that a tar says of one entry
    total: int = 32_000_000_000  # bytes that an archive unpacks to,
    ratio: int = 200  # and this many times its own size,
    free: int = 256_000_000  # from here on
    file: int = 256_000_000  # bytes of an image's file, and of the memory that unpacking a .xz takes
    text: int = 16_000_000  # bytes of wnids.txt, words.txt and val_annotations.txt
    lines: int = 1_000_000  # of such a text
    classes: int = 100_000
    pixels: int = 64_000_000  # of an image
    headers: int = 1_000  # with EXIF tags in a JPEG; there is one
    scans: int = 100  # times that a progressive JPEG goes over its pixels; programs write about 10


LIMITS = Limits()
UNLIMITED = Limits(*[sys.maxsize] * len(fields(Limits)))


def limits_of(path: str | Path) -> Limits:
    """The limits for the data at `path`; none if the user trusts its folder."""
    return UNLIMITED if trusted(path) else LIMITS


def trusted(path: str | Path) -> bool:
    """Whether `path`, with links followed, is in a folder that the environment variable MINIDL_TRUST names."""
    named = [folder for folder in os.environ.get(TRUST, "").split(os.pathsep) if folder]
    if not named:
        return False
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(os.path.realpath(os.path.expanduser(folder))) for folder in named)


def too_much(number: int, most: int, what: str) -> str:
    """The message if `number` is more than `most`."""
    return f"{number:,} {what}, at most {most:,} are read; if the data are your own, see {TRUST} in docs/data.md"


def at_most(label: str | Path, number: int, most: int, what: str) -> None:
    """Raises DataError naming `label` if `number` of `what` is more than `most`."""
    if number > most:
        raise DataError(f"{label}: {too_much(number, most, what)}")
