"""Reading a file that somebody else may have put there: a regular one, of bounded size, and no link."""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from pathlib import Path
from typing import BinaryIO

from minidl.data.limits import too_much


def open_regular(path: str | Path, follow: bool = False) -> BinaryIO:
    """The regular file `path`, opened for reading. Raises OSError, also for a link unless `follow`.

    A pipe without a writer would be waited for, and some devices do something when they are opened.
    """
    file = open(path, "rb", opener=partial(_opener, follow=follow))  # noqa: SIM115 (the caller's)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


def read_regular(path: str | Path, most: int, follow: bool = False) -> bytes:
    """The content of the regular file `path`, `most` bytes at most. Raises OSError."""
    with open_regular(path, follow) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(too_much(size, most, "bytes"))
        content = file.read(size + 1)
    if len(content) > size:  # it grows, or says that it has no size, as those in /proc do
        raise OSError("it changes while it is read")
    return content


def _opener(path: str, flags: int, follow: bool) -> int:
    try:
        return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | (0 if follow else getattr(os, "O_NOFOLLOW", 0)))
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK) and not follow:
            raise OSError(error.errno, "a link, which is not followed", path) from None
        raise
