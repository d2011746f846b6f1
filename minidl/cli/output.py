"""The files that `export` and `import-torch` write: what may be replaced by them, and what never is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minidl.errors import UsageError
from minidl.storage.files import check_target
from minidl.text.console import warn
from minidl.training.runs import run_folder


def output_file(output: str | None, default: str, source: Path) -> Path:
    """The file to write: `output`, or `default` if that is None.

    Of a link it is the file that it leads to. Raises UsageError for the `source` that is read, for a checkpoint of a
    run, and for a default that exists: nobody has said that it may be replaced. Raises DataError if it can't be
    written.
    """
    path = Path(output or default)
    if output and output.endswith(("/", os.sep)):
        raise UsageError(f"--output {output}: a folder, give the name of a file in it")
    if output is None and os.path.lexists(path):
        raise UsageError(f"{path} is there already: give --output another name, or --output {path} to replace it")
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    check_target(path)
    if path.exists() and source.exists() and os.path.samefile(path, source):
        raise UsageError(f"{path}: the file itself would be overwritten: give another --output")
    if run_folder(path.parent.resolve() / path.name):
        raise UsageError(f"{path}: only training writes to the checkpoints of a run: give another --output")
    return path


@contextmanager
def interruption_said() -> Iterator[None]:
    """Ctrl-C inside is answered by a line."""
    try:
        yield
    except KeyboardInterrupt:
        warn("interrupted")
        raise
