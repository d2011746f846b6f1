"""New folders with unique names: complete or not there, even if several processes make some at the same time."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

from minidl.errors import DataError, UsageError
from minidl.storage.files import cant_write, workshop
from minidl.text.calls import quoted

LONGEST_NAME = 200  # bytes; file systems allow 255, and names of pictures and temporary files contain it
MOST_AT_ONCE = 1000  # folders of one second


def create_folder(output: Path, name: str | None, what: str, furnish: Callable[[Path], None]) -> Path:
    """A new folder output/name (default: time and `what`) whose content `furnish` makes.

    Raises UsageError if the name is taken or not allowed, DataError if the folder can't be written.
    """
    check_name(output, name)
    wanted = name or f"{time.strftime('%Y%m%d-%H%M%S')}-{what}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        with workshop(output) as shop:
            (new := shop / wanted).mkdir()
            furnish(new)
            for path in (output / wanted, *(output / f"{wanted}-{again}" for again in range(2, MOST_AT_ONCE))):
                if _moved(new, path):
                    return path
                check_name(output, name)
    except OSError as error:
        raise cant_write(output / wanted, error) from error
    raise DataError(f"can't write {output / wanted}: there are {MOST_AT_ONCE} of them")


def _moved(new: Path, path: Path) -> bool:
    """Renames the folder `new` to `path`, unless that name exists."""
    try:
        new.rename(path)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        return False
    return True


def check_name(output: Path, name: str | None) -> None:
    """Raises UsageError if `name` is not allowed for a new folder in `output`, or is taken; DataError if `output` is
    something else than a folder.
    """
    if output.exists() and not output.is_dir():
        raise DataError(f"can't write {output / (name or '')}: {output} is not a folder")
    if name is None:
        return
    if name in ("", ".", "..") or Path(name).name != name or "\0" in name or len(os.fsencode(name)) > LONGEST_NAME:
        shown = name if len(name) <= 40 else f"{name[:40]}..."
        raise UsageError(
            f"--name {shown!r}: give a plain folder name of at most {LONGEST_NAME} bytes, --output says where it goes"
        )
    if os.path.lexists(path := output / name):
        raise UsageError(f"{path} exists: give another --name, or continue it with --resume {quoted(path)}")


def check_no_place(name: str | None, output: str | None, what: str) -> None:
    """Raises UsageError if a name or place was given for the folder of a resumed run or search: it has both."""
    for flag, value in (("--name", name), ("--output", output)):
        if value is not None:
            raise UsageError(
                f"{flag} {value}: a resumed {what} keeps its folder, leave out {flag} (or start a new {what})"
            )
