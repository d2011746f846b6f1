"""Files that are either whole or not there: written beside the target, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minidl.errors import DataError

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to, which becomes `path` when the block ends well and is removed when it doesn't.

        with atomic("metrics.csv") as temporary:
            temporary.write_text(table)

    Whoever reads `path` sees the old file or the new one, never a part; after a power cut too, for the bytes
    reach the disk (fsync) before the name does. The temporary file has the name of `path` in a folder of its
    own beside it: writers that go by the suffix work, and a glob over the folder never meets a half-written file.

    Raises DataError naming `path` when it can't be written (disk full, no permission, no such folder).
    """
    path = Path(path)
    workshop = None
    try:
        workshop = tempfile.mkdtemp(prefix=".tmp-", dir=path.parent)
        temporary = Path(workshop, path.name)
        yield temporary
        _sync(temporary, os.O_RDWR)  # Windows flushes writable descriptors only
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise DataError(f"can't write {path}: the disk is full, free some space") from error
        raise DataError(f"can't write {path}: {error.strerror or error}") from error
    finally:
        if workshop is not None:
            shutil.rmtree(workshop, ignore_errors=True)
    if os.name == "posix":
        with suppress(OSError):  # the file is whole already; some file systems can't sync a folder
            _sync(path.parent, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
