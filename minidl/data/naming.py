"""The names of data sets: what a user types, what a run stores, and what an exported network says.

Only the bare word "shapes" means the embedded data set. Anything else becomes an absolute path (`resolve`), so a run
means the same data in whichever folder it is resumed.
"""

from __future__ import annotations

import os
from pathlib import Path

from minidl.errors import UsageError

SHAPES = "shapes"
_ENDINGS = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")


def resolve(text: str) -> str:
    """The data set that a user means by `text`: "shapes" for the embedded one, or an absolute path.

    "./shapes" and "shapes/" are paths. Raises UsageError for "shapes" if there is a folder or file of that name.
    """
    if not text:
        raise UsageError("the data set's path is empty")
    if text != SHAPES:
        return os.path.abspath(os.path.expanduser(text))
    if os.path.lexists(SHAPES):
        raise UsageError(
            f"{SHAPES}: the embedded data set, or {os.path.abspath(SHAPES)}? Write ./{SHAPES} for the latter; the "
            "embedded one is the default, so leave the flag out"
        )
    return SHAPES


def portable(data: str) -> str:
    """The stored name `data` without the folders of this machine: "shapes", or "./<name>" for a path."""
    return data if data == SHAPES else f"./{stem(data)}"


def stem(path: str | Path) -> str:
    """The name of a data set's folder or archive, without an archive's suffix."""
    name = Path(path).name
    for ending in sorted(_ENDINGS, key=len, reverse=True):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name
