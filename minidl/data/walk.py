"""Everything that lies in a data set's folder, and a stamp of it that changes when anything does."""

from __future__ import annotations

import hashlib
import os
from array import array
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from minidl.data.layout import SPLITS, belongs, is_junk

_THREADS = 8  # they wait for the disk, not for the CPU
_BY_HANDLE = os.scandir in os.supports_fd  # a file's status by its name alone is quicker than by its whole path


@dataclass
class Walk:
    """What lies below a folder, by name relative to it ("train/cat/1.jpg"); junk and what can't belong is left out.

    files      names; also of links that lead nowhere or back, and of what is no regular file
    folders    names
    refused    names of folders that can't be listed, and why
    stamp      a hash of all names and of each file's size, time of modification and time of change
    """

    files: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    refused: list[tuple[str, str]] = field(default_factory=list)
    stamp: str = ""


def walk(root: Path) -> Walk:
    """What lies below `root`; raises OSError if `root` itself can't be listed.

    The time of change (ctime) belongs to the stamp because programs that copy often restore the time of modification;
    nobody can set it back. A `chmod` changes it too: packing once too often is better than old pixels.
    """
    found, digests = Walk(), []
    level: list[tuple[str, frozenset]] = [("", frozenset())]
    with ThreadPoolExecutor(_THREADS) as pool:
        while level:  # one depth after the other, the folders of a depth side by side
            listed = pool.map(lambda place: _list(str(root), *place), level)
            level = []
            for folder, files, inner, digest, problem in listed:
                if problem is not None and not folder:
                    raise problem
                if problem is not None:
                    found.refused.append((folder, problem.strerror or str(problem)))
                found.files += files
                found.folders.update(name for name, _ in inner)
                level += [place for place in inner if place[0].partition("/")[0] in SPLITS]
                digests.append((folder, digest))
    everything = [sorted(digests), sorted(found.folders), sorted(found.refused)]
    found.stamp = hashlib.sha256(repr(everything).encode()).hexdigest()
    return found


def _list(root: str, folder: str, above: frozenset) -> tuple[str, list[str], list, bytes, OSError | None]:
    """The files and folders in `folder`, and a digest of the files' states; `above`: the folders that it lies in."""
    path, prefix = (f"{root}{os.sep}{folder}", f"{folder}/") if folder else (root, "")
    files: list[str] = []
    inner: list[tuple[str, frozenset]] = []
    states = array("q")  # size and times of each file
    handle = None
    try:
        handle = os.open(path, os.O_RDONLY) if _BY_HANDLE else None
        above = above | {_identity(os.stat(path if handle is None else handle))}
        with os.scandir(path if handle is None else handle) as listed:
            entries = sorted(listed, key=attrgetter("name"))
        for entry in entries:
            name = prefix + entry.name
            if is_junk(entry.name) if folder else not belongs(name):
                continue
            try:
                if entry.is_dir() and not (entry.is_symlink() and _identity(entry.stat()) in above):
                    inner.append((name, above))
                    continue
                status = entry.stat()
                states.extend((status.st_size, status.st_mtime_ns, status.st_ctime_ns))
            except OSError as error:  # a link that leads nowhere or in a circle; reading it will say so
                states.extend((-1, error.errno or 0, 0))
            files.append(name)
    except OSError as error:
        return folder, files, inner, b"", error
    finally:
        if handle is not None:
            os.close(handle)
    names = "\0".join(files).encode("utf-8", "surrogatepass")
    return folder, files, inner, hashlib.sha256(names + b"\0" + states.tobytes()).digest(), None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
