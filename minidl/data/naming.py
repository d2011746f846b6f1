"""What a data set is called: what a user types, what a run stores, and what a network that is passed on says.

Only the bare word "shapes" is the embedded data set. Whatever a user types becomes that word or an absolute path
(`resolve`), so a run means the same data wherever it is taken up.
"""

from __future__ import annotations

import os
from pathlib import Path

from minidl.errors import UsageError

SHAPES = "shapes"
_ENDINGS = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")


def resolve(text: str) -> str:
    """The data set that a user means by `text`: "shapes" for the embedded one, or an absolute path.

    "./shapes" and "shapes/" are paths. Raises UsageError for "shapes" where there is a folder or file of that name.
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
    """The stored name `data` without the folders of this machine: "shapes", or "./<name>" for what lies on a disk."""
    return data if data == SHAPES else f"./{stem(data)}"


def stem(path: str | Path) -> str:
    """The name of a data set's folder or archive, without what an archive's name ends in."""
    name = Path(path).name
    for ending in sorted(_ENDINGS, key=len, reverse=True):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name
