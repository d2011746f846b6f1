"""The SQLite file of a study, which may be a stranger's: opened so that it runs nothing, and read with limits.

A database can hold views, triggers and expressions that SQLite works out when somebody reads or writes a table, and
its journal can name a file to delete. A study has none of them, so a file that has one is refused.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from minidl.errors import DataError
from minidl.files import check_own
from minidl.metadata import from_json
from minidl.training.checkpoints import ROW
from minidl.training.search import RANGES
from minidl.validate import Check, choice, fits, optional, real, table, text, whole

NAME = "search"  # of the study in its file
WAIT = 60.0  # seconds for other processes to let go of the file
SECONDS, MOST_ROWS, MOST_LETTERS = 20.0, 200_000, 1_000_000  # limits of reading: in all, of a table, of a value
UNREADABLE = (sqlite3.Error, UnicodeError)  # the latter: SQLite quotes a damaged file in its message
_SUPER = bytes.fromhex("d9d505f920a163d7")  # at the end of a journal that belongs to several files
_FINISHED = ("COMPLETE", "PRUNED")


def connect(path: Path) -> sqlite3.Connection:
    """A connection that writes to the study `path`, made if it is not there. Raises DataError for another file."""
    check_database(path)
    try:
        return _checked(path, "rwc", timeout=WAIT, check_same_thread=False)
    except UNREADABLE as error:
        raise DataError(f"{path}: can't be read or written ({error})") from error


def check_database(path: Path) -> None:
    """Raises DataError if SQLite would follow a link from `path` or from what it makes beside it, or delete a file
    that a journal names when it finishes what a killed process has begun."""
    for file in _files(path):
        check_own(file)
    with suppress(OSError), open(_files(path)[1], "rb") as file:
        file.seek(-len(_SUPER), os.SEEK_END)
        if file.read() == _SUPER:
            raise DataError(f"{file.name}: belongs to several files, which a study's journal does not")


def check_lock(path: Path) -> None:
    """Raises DataError if `path` is there and no lock of a search, which is an empty file."""
    check_database(path)
    if path.exists() and path.stat().st_size:
        raise DataError(f"{path}: not the lock of a search, which is an empty file; remove it")


@contextmanager
def looked_at(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads the study `path` and changes nothing, for `SECONDS`. Raises DataError."""
    try:
        for file in _files(path):
            if os.path.lexists(file) and not stat.S_ISREG(os.lstat(file).st_mode):
                raise DataError(f"{file}: {'a link' if file.is_symlink() else 'no regular file'}, not a study's file")
        with open(path, "rb") as file:
            if file.read(20)[18:] == b"\2\2":  # to read it, SQLite would make files beside it
                raise DataError(f"{path}: has a write-ahead log, which a study has not")
        with closing(_checked(path, "ro", timeout=SECONDS)) as connection:
            end = time.monotonic() + SECONDS
            connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
            yield connection
    except FileNotFoundError:
        raise DataError(f"{path}: no such study") from None
    except (*UNREADABLE, OSError, MemoryError) as error:
        raise DataError(f"{path}: can't be read ({error}){_remedy(path, error)}") from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The finished trials of the study `path` as rows of trials.csv. Raises DataError naming what is not in order."""
    with looked_at(path) as connection:
        trials = _trials(connection, path)
    return [
        {
            "trial": trial["number"],
            **{name: trial["params"][name] for name in RANGES},
            "state": "complete" if trial["state"] == "COMPLETE" else "diverged",
            "epochs": trial["epochs"],
            "train_top1": trial["metrics"].get("train_top1", 0.0),
            "val_loss": trial["metrics"].get("val_loss", ""),
            "val_top1": trial["value"] or 0.0,
            "seconds": round((trial["datetime_complete"] - trial["datetime_start"]).total_seconds(), 1),
        }
        for trial in trials
        if trial["state"] in _FINISHED
    ]


def _checked(path: Path, mode: str, **options: Any) -> sqlite3.Connection:
    """A connection to a file whose tables hold values and nothing else."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, **options)
    try:
        if hasattr(connection, "setlimit"):  # Python 3.11
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 64 * MOST_LETTERS)
        connection.execute("PRAGMA trusted_schema = OFF")
        schema = connection.execute("SELECT type, name, rootpage, sql FROM sqlite_master").fetchmany(101)
        for kind, name, page, sql in schema:
            if kind not in ("table", "index") or not page:
                raise DataError(f"{path}: holds a {kind} {str(name)[:40]!r}, which a study has not")
            what = "table_xinfo" if kind == "table" else "index_xinfo"
            columns = connection.execute(f"SELECT * FROM pragma_{what}(?)", (name,)).fetchall()
            worked_out = any(c[6] for c in columns) if kind == "table" else any(c[1] == -2 for c in columns)
            check = re.search(r"\b(check|where)\b", sql or "", re.IGNORECASE) and name != "version_info"
            if worked_out or check:
                raise DataError(f"{path}: {kind} {str(name)[:40]!r} is worked out by SQL, which a study's are not")
        if len(schema) > 100:
            raise DataError(f"{path}: holds more than 100 tables, which a study has not")
    except BaseException:
        connection.close()
        raise
    return connection


def _files(path: Path) -> list[Path]:
    """`path`, its journal, and what else SQLite makes beside it."""
    return [path.with_name(path.name + end) for end in ("", "-journal", "-wal", "-shm")]


def _remedy(path: Path, error: Exception) -> str:
    if _files(path)[1].exists() and "readonly" in str(error):
        return f"; the search was killed while it wrote: train.py search --resume {path.parent} mends the file"
    return ""


# -------------------------------------------------------------------------- what is in the tables

_FINITE = choice("FINITE")


def _parsed(check: Check) -> Check:
    """A JSON text whose content `check` accepts."""
    is_text = text(MOST_LETTERS)
    return lambda value, where: check(from_json(is_text(value, where), where), where)


def _time(value: Any, where: str) -> datetime:
    try:
        return datetime.fromisoformat(text(40)(value, where))
    except ValueError as error:
        raise DataError(f"{where} is {value!r}, not a time") from error


_DISTRIBUTION = table(
    {
        "name": choice("FloatDistribution"),
        "attributes": table(
            {
                "low": real(1e-300, 1e300),
                "high": real(1e-300, 1e300),
                "log": fits(lambda v: v is True, "true"),
                "step": fits(lambda v: v is None, "empty"),
            }
        ),
    }
)
_ATTRIBUTE = {"trial_id": whole(), "key": text(512), "value_json": text(MOST_LETTERS)}
_TABLES: dict[str, dict[str, Check]] = {
    "studies": {"study_id": whole(), "study_name": text(512)},
    "study_directions": {"study_id": whole(), "direction": choice("MAXIMIZE"), "objective": whole(0, 0)},
    "study_user_attributes": {"key": choice()},
    "study_system_attributes": {
        "key": fits(lambda v: type(v) is str and v.startswith("qmc:"), "of the sampler"),
        "value_json": _parsed(whole(0, 1_000_000)),
    },
    "trials": {
        "trial_id": whole(),
        "study_id": whole(),
        "number": whole(0, 2**31),
        "state": choice("RUNNING", "WAITING", *_FINISHED),
        "datetime_start": optional(_time),
        "datetime_complete": optional(_time),
    },
    "trial_params": {
        "trial_id": whole(),
        "param_name": choice(*RANGES),
        "param_value": real(1e-300, 1e300),
        "distribution_json": _parsed(_DISTRIBUTION),
    },
    "trial_user_attributes": {
        **_ATTRIBUTE,
        "key": choice("metrics"),
        "value_json": _parsed(table({}, ROW, others=True)),
    },
    "trial_system_attributes": {
        **_ATTRIBUTE,
        "key": fits(lambda v: type(v) is str and v.startswith("tpe:"), "of the sampler"),
        "value_json": _parsed(text(MOST_LETTERS)),
    },
    "trial_values": {"trial_id": whole(), "objective": whole(0, 0), "value": real(0, 1), "value_type": _FINITE},
    "trial_intermediate_values": {
        "trial_id": whole(),
        "step": whole(1),
        "intermediate_value": real(0, 1),
        "intermediate_value_type": _FINITE,
    },
    "version_info": {"schema_version": whole(), "library_version": text(256)},
    "alembic_version": {"version_num": fits(lambda v: type(v) is str and v.isprintable(), "a plain text")},
}


def _rows(connection: sqlite3.Connection, name: str, path: Path) -> list[dict[str, Any]]:
    """All rows of a table, checked column by column."""
    checks = _TABLES[name]
    found = connection.execute(f'SELECT {", ".join(checks)} FROM "{name}"').fetchmany(MOST_ROWS + 1)
    if len(found) > MOST_ROWS:
        raise DataError(f"{path}: {name} has more than {MOST_ROWS:,} rows")
    check = table(checks)
    return [check(dict(zip(checks, row, strict=True)), f"{path}: {name}") for row in found]


def _trials(connection: sqlite3.Connection, path: Path) -> list[dict[str, Any]]:
    """The trials in the order of their numbers, each with its params, metrics, value and number of epochs."""
    tables = {name: _rows(connection, name, path) for name in _TABLES}
    if not (own := [row["study_id"] for row in tables["studies"] if row["study_name"] == NAME]):
        raise DataError(f"{path}: holds no search")
    params: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for row in tables["trial_params"]:
        params[row["trial_id"]][row["param_name"]] = row["param_value"]
    metrics = {row["trial_id"]: row["value_json"] for row in tables["trial_user_attributes"]}
    values = {row["trial_id"]: row["value"] for row in tables["trial_values"]}
    epochs: defaultdict[int, int] = defaultdict(int)
    for row in tables["trial_intermediate_values"]:
        epochs[row["trial_id"]] += 1
    trials = sorted((row for row in tables["trials"] if row["study_id"] in own), key=lambda row: row["number"])
    for trial in trials:
        key = trial["trial_id"]
        trial |= {"params": params[key], "metrics": metrics.get(key), "value": values.get(key), "epochs": epochs[key]}
        missing = [
            *(name for name in ("datetime_start", "datetime_complete", "metrics") if trial[name] is None),
            *(name for name in RANGES if name not in trial["params"]),
            *(["value"] if trial["state"] == "COMPLETE" and trial["value"] is None else []),
        ]
        if trial["state"] in _FINISHED and missing:
            raise DataError(f"{path}: trial {trial['number']} is finished without {missing[0]}")
    if len({trial["number"] for trial in trials}) < len(trials):
        raise DataError(f"{path}: two trials have one number")
    return trials
