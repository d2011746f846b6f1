"""Lists everything in a data set's folder, and computes a stamp of it that changes when anything changes.

A link is followed if it stays in the data set, or leads into a folder that the user trusts (MINIDL_TRUST). Any other
link could turn a private file into the words of a class, or read a device as an image: the person who packed the
folder chose where it leads.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from array import array
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from minidl.data.layout import SPLITS, belongs, is_junk
from minidl.data.limits import TRUST, Limits, limits_of, too_much, trusted

_BY_HANDLE = os.scandir in os.supports_fd  # a file's status by its name alone is quicker than by its whole path


@dataclass
class Walk:
    """The content of a folder, by name relative to it ("train/cat/1.jpg"), without junk and what can't belong to a
    data set.

    files      names; also of links that lead nowhere or to a folder above, and of files that aren't regular
    special    for those of them that are links, the target; for those that must not be opened, the reason
    folders    names
    refused    names of folders that can't be listed, and the reason
    stamp      a hash of all names and of each file's size, time of modification and time of change
    """

    files: list[str] = field(default_factory=list)
    special: dict[str, str | OSError] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    refused: list[tuple[str, str]] = field(default_factory=list)
    stamp: str = ""


@dataclass
class _Folder:
    name: str
    above: frozenset = frozenset()  # the identities of the folders that it lies in
    linked: bool = False  # reached by a link


def walk(root: Path) -> Walk:
    """The content of the folder `root`; raises OSError if `root` itself can't be listed.

    The time of change (ctime) is part of the stamp because copying programs often restore the time of modification,
    and nobody can set back the time of change. A `chmod` changes it too: to pack once too often is better than old
    pixels.
    """
    found, digests, limits = Walk(), [], limits_of(root)
    waiting, by_links = [_Folder("")], 0
    while waiting:
        folder = waiting.pop()
        listed = _list(root, folder, found, limits)
        if isinstance(listed, OSError):
            if not folder.name:
                raise listed
            found.refused.append((folder.name, listed.strerror or str(listed)))
            digests.append((folder.name, b""))
            continue
        files, inner, digest = listed
        found.files += files
        found.folders.update(place.name for place in inner)
        waiting += [place for place in inner if place.name.partition("/")[0] in SPLITS]
        digests.append((folder.name, digest))
        if folder.linked:  # a few links in one another can show the same files any number of times
            by_links += len(files) + len(inner)
            if by_links > limits.entries:
                raise OSError(too_much(by_links, limits.entries, "files by way of links"))
    everything = [sorted(digests), sorted(found.folders), sorted(found.refused)]
    found.stamp = hashlib.sha256(repr(everything).encode()).hexdigest()
    return found


def _list(
    root: Path, folder: _Folder, found: Walk, limits: Limits
) -> tuple[list[str], list[_Folder], bytes] | OSError:
    """The files and folders in `folder` and a digest of the files' states, or why it can't be listed."""
    path, prefix = (f"{root}{os.sep}{folder.name}", f"{folder.name}/") if folder.name else (str(root), "")
    files: list[str] = []
    inner: list[_Folder] = []
    states = array("q")  # size and times of each file
    handle = None
    try:
        if prefix.count("/") > limits.depth:
            raise OSError(too_much(prefix.count("/"), limits.depth, "folders deep"))
        handle = os.open(path, os.O_RDONLY) if _BY_HANDLE else None
        above = folder.above | {_identity(os.stat(path if handle is None else handle))}
        with os.scandir(path if handle is None else handle) as listed:
            entries = sorted(listed, key=attrgetter("name"))
        for entry in entries:
            name = prefix + entry.name
            if is_junk(entry.name) if folder.name else not belongs(name):
                continue
            link = entry.is_symlink()
            try:
                if entry.is_dir() and not (link and _identity(entry.stat()) in above):
                    if link and (why := leaves(root, f"{path}{os.sep}{entry.name}")):
                        found.folders.add(name)
                        found.refused.append((name, str(why)))
                    else:
                        inner.append(_Folder(name, above, folder.linked or link))
                    continue
                status = entry.stat()
                if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                    raise OSError(errno.EINVAL, "not a regular file")
                if link:
                    target = f"{path}{os.sep}{entry.name}"
                    if (why := leaves(root, target)) is not None:
                        raise why
                    found.special[name] = os.path.realpath(target)
                states.extend((status.st_size, status.st_mtime_ns, status.st_ctime_ns))
            except OSError as error:  # or a link that leads nowhere, or in a circle
                states.extend((-1, error.errno or 0, 0))
                found.special[name] = error
            files.append(name)
    except OSError as error:
        return error
    finally:
        if handle is not None:
            os.close(handle)
    names = "\0".join(files).encode("utf-8", "surrogatepass")
    return files, inner, hashlib.sha256(names + b"\0" + states.tobytes()).digest()


def leaves(root: Path, link: str) -> OSError | None:
    """Why `link` isn't followed: it leads out of `root`, to a folder that the user doesn't trust."""
    target = Path(os.path.realpath(link))
    if target.is_relative_to(os.path.realpath(root)) or trusted(target):
        return None
    return OSError(f"a link out of the data set, to {target}; to have it followed, see {TRUST} in docs/data.md")


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
