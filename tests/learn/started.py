"""A started folder of exercises for a test: written once, then copied."""

import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from minidl.learn.folder import Folder, start


@lru_cache(1)
def _template() -> tempfile.TemporaryDirectory:
    folder = tempfile.TemporaryDirectory(prefix="exercises-")
    start(Path(folder.name) / "mine")
    return folder


def started(path: Path) -> Folder:
    """What `start(path)` makes, in a fraction of the time: it flushes forty files to the disk."""
    shutil.copytree(Path(_template().name) / "mine", path)
    return Folder(path)
