"""Files that are complete or not there: written beside the target, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from minidl.errors import DataError, printable
from minidl.storage.locks import lock

TEMPORARY = ".tmp-"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# Follow no link, and don't wait for the other end of a pipe
_OWN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path to write to. It becomes `path` when the block ends, and is removed if the block raises.

        with atomic("metrics.csv") as temporary:
            temporary.write_text(table)

    A reader of `path` sees the old file or the new one, never a part. This holds after a power cut too, because the
    content reaches the disk (fsync) before the name does. The temporary file has the name of `path`, in a folder of
    its own beside it. So writers that look at the suffix work, and a glob over the folder never finds a half-written
    file.

    Raises DataError naming `path` if it can't be written (disk full, no permission, no such folder), or is something
    else than a file: a folder, a device or a pipe is never replaced.
    """
    with together(Path(path)) as (temporary,):
        yield temporary


@contextmanager
def together(*paths: Path) -> Iterator[list[Path]]:
    """Like `atomic`, for files that belong together: all of them are complete before the first one appears.

    The first one of `paths` appears last: who sees it finds the others. They are renamed back to back, and a signal
    waits for the last one. If DataError is raised (as by `atomic`), none appears.
    """
    for path in paths:
        check_target(path)
    now = paths[0]  # for the message
    try:
        with ExitStack() as stack:
            temporary = [stack.enter_context(workshop(path.parent)) / path.name for path in paths]
            yield temporary
            for now, made in zip(paths, temporary, strict=True):
                _sync(made, os.O_RDWR)  # Windows flushes only descriptors that are open for writing
                check_target(now)
            with signals_held():
                for now, made in reversed([*zip(paths, temporary, strict=True)]):
                    os.replace(made, now)
    except OSError as error:
        raise cant_write(now, error) from error
    if os.name == "posix":
        for folder in dict.fromkeys(path.parent for path in paths):
            with suppress(OSError):  # the files are complete already; some file systems can't sync a folder
                _sync(folder, os.O_RDONLY)


def check_target(path: Path) -> None:
    """Raises DataError if no file can be written to `path`: its folder isn't there or can't be written, or `path` is
    a folder, a device, a pipe or a link to one.
    """
    if path.name in ("", ".."):
        raise DataError(f"can't write {path}: it is a folder")
    try:
        with suppress(FileNotFoundError):  # a link that leads nowhere is replaced
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                what = "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a socket, not a regular file"
                raise DataError(f"can't write {path}: it is {what}")
        path.parent.stat()
        if not os.access(path.parent, os.W_OK):
            with workshop(path.parent):  # the attempt says why: no permission, or a disk that can only be read
                pass
    except OSError as error:
        raise cant_write(path, error) from error


@contextmanager
def signals_held() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal wait until the block ends (in the main thread, which hears them)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: handler for number in numbers if (handler := signal.getsignal(number)) is not None}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(came):
            signal.raise_signal(number)


@contextmanager
def workshop(folder: Path) -> Iterator[Path]:
    """A new folder in `folder` for temporary files, removed at the end. It is locked while its process lives."""
    path = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=folder))
    descriptor = None
    try:
        with suppress(OSError):  # a folder that can't be locked is never removed as a leftover
            descriptor = os.open(path, os.O_RDONLY)
            lock(descriptor)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Removes the workshops in `folder` of dead processes; those of living processes are locked."""
    for leftover in folder.glob(TEMPORARY + "*"):
        with suppress(OSError):
            descriptor = os.open(leftover, os.O_RDONLY | _OWN | getattr(os, "O_DIRECTORY", 0))
            try:
                if lock(descriptor):
                    shutil.rmtree(leftover, ignore_errors=True)
            finally:
                os.close(descriptor)


def own_folder(root: Path, name: str) -> Path:
    """The folder root/name, which is made if it doesn't exist. `root` itself may be a link, or lie below one.

    Raises DataError if it is a link or not a folder: what is written to a run must not end up in another place.
    """
    path = root / name
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if not os.path.lexists(path):
            raise cant_write(path, error) from error
    _refuse(path, os.lstat(path), stat.S_ISDIR)
    return path


def check_own(path: Path) -> None:
    """Raises DataError if `path` exists and is not a regular file in its own folder."""
    with suppress(FileNotFoundError):
        _refuse(path, os.lstat(path), stat.S_ISREG)


def open_own(path: Path, flags: int) -> int:
    """A descriptor of the regular file `path`, which is made if it doesn't exist.

    Raises OSError, and DataError for a link, a pipe, a device and a file that has another name elsewhere.
    """
    check_own(path)
    descriptor = os.open(path, flags | os.O_CREAT | _OWN, 0o666)
    try:
        _refuse(path, os.fstat(descriptor), stat.S_ISREG)
    except DataError:
        os.close(descriptor)
        raise
    return descriptor


def _refuse(path: Path, found: os.stat_result, wanted: Callable[[int], bool]) -> None:
    what = "folder" if wanted is stat.S_ISDIR else "file"
    if stat.S_ISLNK(found.st_mode):
        raise DataError(f"{path}: a link; minidl writes only into a real {what} here, so remove the link")
    if not wanted(found.st_mode):
        raise DataError(f"{path}: not a {'' if what == 'folder' else 'regular '}{what}, so nothing is written to it")
    if what == "file" and found.st_nlink > 1:
        raise DataError(f"{path}: the file has another name elsewhere (a hard link); put a copy in its place")


def open_regular(path: str | Path, follow: bool = False) -> BinaryIO:
    """The regular file `path`, opened for reading. Raises OSError for anything else, also for a link unless `follow`.

    To open a pipe without a writer would wait forever, and some devices do something when they are opened.
    """
    file = open(path, "rb", opener=partial(_opener, follow=follow))  # noqa: SIM115 (the caller's)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


def _opener(path: str, flags: int, follow: bool) -> int:
    try:
        return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | (0 if follow else getattr(os, "O_NOFOLLOW", 0)))
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK) and not follow:
            raise OSError(error.errno, "a link, which is not followed", path) from None
        raise


def append_line(path: Path, line: str) -> None:
    """Appends a line to the text file `path`, without control characters. Raises as `open_own`."""
    with open(open_own(path, os.O_WRONLY | os.O_APPEND), "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(printable(line) + "\n")


def cant_write(path: Path, error: OSError) -> DataError:
    """The DataError for `error`: one line that names `path`."""
    if error.errno in _DISK_FULL:
        return DataError(f"can't write {path}: the disk is full, free some space")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        for place in path.parents:
            if os.path.lexists(place) and not place.is_dir():
                return DataError(f"can't write {path}: {place} is not a folder")
    return DataError(f"can't write {path}: {error.strerror or error}")


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
