"""The SQLite file of a study, which may be another person's: opened so that it runs no code, and read with limits.

A database can contain views, triggers and expressions that SQLite computes when a table is read or written, and its
journal can name a file to delete. A study has none of them, so a file that has one is refused.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from minidl.errors import DataError
from minidl.storage.files import check_own
from minidl.text.calls import call, quoted

WAIT = 60.0  # seconds for other processes to let go of the file
SECONDS = 20.0  # for reading all of it
MOST_BYTES = 64 << 20  # of a value, or a row
UNREADABLE = (sqlite3.Error, UnicodeError)  # the latter: SQLite quotes a damaged file in its message
_SUPER = bytes.fromhex("d9d505f920a163d7")  # at the end of a journal that belongs to several files


def connect(path: Path) -> sqlite3.Connection:
    """A connection that writes to the study `path`, made if it doesn't exist. Raises DataError for another file."""
    check_database(path)
    try:
        return _checked(path, "rwc", timeout=WAIT, check_same_thread=False)
    except UNREADABLE as error:
        raise DataError(f"{path}: can't be read or written ({error})") from error


def check_database(path: Path) -> None:
    """Raises DataError for a file with which SQLite could do damage.

    That is a link in place of `path` or of a file that SQLite makes beside it, and a journal that names a file to
    delete when SQLite completes what a killed process began.
    """
    for file in _files(path):
        check_own(file)
    with suppress(OSError), open(_files(path)[1], "rb") as file:
        file.seek(-len(_SUPER), os.SEEK_END)
        if file.read() == _SUPER:
            raise DataError(f"{file.name}: belongs to several files, unlike the journal of a study")


def check_lock(path: Path) -> None:
    """Raises DataError if `path` exists and is not the lock of a search, which is an empty file."""
    check_database(path)
    if path.exists() and path.stat().st_size:
        raise DataError(f"{path}: not the lock of a search, which is an empty file; remove it")


@contextmanager
def looked_at(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads the study `path` without changing it, for `SECONDS`. Raises DataError."""
    try:
        for file in _files(path):
            if os.path.lexists(file) and not stat.S_ISREG(os.lstat(file).st_mode):
                raise DataError(f"{file}: {'a link' if file.is_symlink() else 'no regular file'}, not a study's file")
        with open(path, "rb") as file:
            if file.read(20)[18:] == b"\2\2":  # to read it, SQLite would make files beside it
                raise DataError(f"{path}: has a write-ahead log, and a study has none")
        with closing(_checked(path, "ro", timeout=SECONDS)) as connection:
            end = time.monotonic() + SECONDS
            connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
            yield connection
    except FileNotFoundError:
        raise DataError(f"{path}: no such study") from None
    except (*UNREADABLE, OSError, MemoryError) as error:
        raise DataError(f"{path}: can't be read ({error}){_remedy(path, error)}") from error


def _checked(path: Path, mode: str, **options: Any) -> sqlite3.Connection:
    """A connection to a file whose tables contain only values."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, **options)
    try:
        if hasattr(connection, "setlimit"):  # Python 3.11
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
        connection.execute("PRAGMA trusted_schema = OFF")
        schema = connection.execute("SELECT type, name, rootpage, sql FROM sqlite_master").fetchmany(101)
        for kind, name, page, sql in schema:
            if kind not in ("table", "index") or not page:
                raise DataError(f"{path}: contains the {kind} {str(name)[:40]!r}, and a study has none")
            what = "table_xinfo" if kind == "table" else "index_xinfo"
            columns = connection.execute(f"SELECT * FROM pragma_{what}(?)", (name,)).fetchall()
            worked_out = any(c[6] for c in columns) if kind == "table" else any(c[1] == -2 for c in columns)
            check = re.search(r"\b(check|where)\b", sql or "", re.IGNORECASE) and name != "version_info"
            if worked_out or check:
                raise DataError(f"{path}: {kind} {str(name)[:40]!r} is computed by SQL, unlike those of a study")
        if len(schema) > 100:
            raise DataError(f"{path}: contains more than 100 tables, more than a study has")
    except BaseException:
        connection.close()
        raise
    return connection


def _files(path: Path) -> list[Path]:
    """`path`, its journal, and the other files that SQLite makes beside it."""
    return [path.with_name(path.name + end) for end in ("", "-journal", "-wal", "-shm")]


def _remedy(path: Path, error: Exception) -> str:
    if _files(path)[1].exists() and "readonly" in str(error):
        return (
            f"; the search was killed while it wrote: {call('search')} --resume {quoted(path.parent)} mends the file"
        )
    return ""
