"""The content of a study: its tables, checked column by column, and the finished trials as rows of trials.csv."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

from minidl.errors import DataError
from minidl.storage.metadata import from_json
from minidl.storage.validate import Check, choice, fits, optional, real, table, text, whole
from minidl.training.checkpoints import ROW
from minidl.training.search import RANGES
from minidl.training.study_file import looked_at

NAME = "search"  # of the study in its file
MOST_ROWS, MOST_LETTERS = 200_000, 1_000_000  # of a table, of a value
_FINISHED = ("COMPLETE", "PRUNED")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The finished trials of the study `path`, as rows of trials.csv. Raises DataError naming what is wrong."""
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


_FINITE = choice("FINITE")


def _parsed(check: Check) -> Check:
    """A JSON text whose content passes `check`."""
    is_text = text(MOST_LETTERS)
    return lambda value, where: check(from_json(is_text(value, where), where), where)


def _time(value: Any, where: str) -> datetime:
    try:
        found = datetime.fromisoformat(text(40)(value, where))
    except ValueError as error:
        raise DataError(f"{where} is {value!r}, not a time") from error
    if found.tzinfo is not None:  # which can't be subtracted from one without
        raise DataError(f"{where} is {value!r}, not a time without a zone")
    return found


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
