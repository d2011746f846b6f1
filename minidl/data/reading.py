"""Reads a file that another person may have put there, up to a size."""

from __future__ import annotations

import os
from pathlib import Path

from minidl.data.limits import too_much
from minidl.storage.files import open_regular


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
