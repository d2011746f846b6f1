"""Continuing a run: from which checkpoint, with which settings, and whether its data are still the same."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data import Dataset, resolve
from minidl.data.fingerprint import fingerprint
from minidl.errors import DataError, UsageError
from minidl.storage.tables import csv_rows
from minidl.text.calls import quoted
from minidl.training import run_data
from minidl.training.checkpoints import ROW, Checkpoint
from minidl.training.config import FREE_ON_RESUME, Config
from minidl.training.run_data import Data
from minidl.training.runs import Run, find_checkpoint, newest_run
from minidl.training.trainer import TrainState


def find_run(text: str, output: Path) -> tuple[Run, Path]:
    """The run that `text` names, and the checkpoint to continue from: the one that `text` names, or else the last.

    "auto" means the newest run in `output`. Raises UsageError if there is none, DataError if `text` is not a run or
    has lost its last checkpoint.
    """
    path = newest_run(output) if text == "auto" else Path(text)
    if path is None:
        raise UsageError(f"--resume: there is no run in {output}; without --resume, a new one begins")
    if path.is_file():
        folder = path.absolute().parent.parent
        if not (folder / "config.json").is_file():
            raise DataError(
                f"{path}: not a checkpoint in the folder of a run: give that folder, or a checkpoint in it; a new "
                "run can begin with weights from elsewhere (--init-from)"
            )
        return Run(folder), path
    run = Run.open(path)
    others = [file.stem for file in run.checkpoint().parent.glob("*.safetensors") if file != run.checkpoint()]
    # A run that was killed while it wrote its first checkpoints has `best` alone, and nothing of an epoch yet.
    lost = others and (others != ["best"] or (run.path / "metrics.csv").exists())
    return run, (find_checkpoint(run.path, "last") if lost else run.checkpoint())


def settings(run: Run, given: dict[str, Any], preset: str | None) -> Config:
    """The settings of `run`, changed by those `given` that may change.

    Raises UsageError naming the ones that may not.
    """
    saved = run.config().as_dict()
    if "data" in given:
        given = {**given, "data": resolve(given["data"])}
    changed = [f for f in given if f not in FREE_ON_RESUME and given[f] != saved[f]]
    if changed or preset:
        names = ", ".join("--" + f.replace("_", "-") for f in changed) or "--preset"
        raise UsageError(f"{run.path}: a resumed run keeps its settings, leave out {names} (or start a new run)")
    return Config(**{**saved, **given})


def load_data(config: Config, run: Run | None, checkpoint: Checkpoint | None) -> Data:
    """The data of the run (None: a new one), normalized as at its beginning."""
    try:
        data = run_data.load_data(config)
    except DataError as error:
        if run is None or Path(config.data).exists():
            raise
        raise DataError(f"{error}; if the data have moved: --resume {quoted(run.path)} --data NEW-PLACE") from error
    if checkpoint is not None:
        data.mean, data.std = (np.array(v, np.float32) for v in (checkpoint.about.mean, checkpoint.about.std))
    return data


def changes(run: Run, dataset: Dataset, instead: str) -> list[str]:
    """A line for each split that has changed since the run began.

    Raises DataError if the training images are different ones, because the run would see them in another order; it
    says what to do `instead`.
    """
    before, now = run.data(), fingerprint(dataset)
    if before is None:
        return []
    lines = {split: change for split in ("train", "val") if (change := _change(before[split], now[split]))}
    if "train" in lines and before["train"]["order"] != now["train"]["order"]:
        raise DataError(
            f"{dataset.name}: {lines['train']} of train, so their order would change: put the data back, or {instead}"
        )
    return [f"changed  {split}: {change}" for split, change in lines.items()]


def restore_times(run: Run, state: TrainState) -> None:
    """Takes over what clocks have said from metrics.csv, if `state` was saved without (--exact)."""
    if state.seconds:
        return
    with suppress(OSError, ValueError, KeyError, DataError):  # times are not essential
        rows = {int(row["epoch"]): row for row in csv_rows(run.path / "metrics.csv")}
        for row in state.history:
            row |= {name: ROW[name](float(rows[row["epoch"]][name]), name) for name in ("images_per_s", "seconds")}
            state.seconds = row["seconds"]


def _change(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    if before["images"] != now["images"]:
        return f"{now['images']:,} images, and {before['images']:,} when the run began"
    if before["order"] != now["order"]:
        return "other names or labels than when the run began"
    return "some images are not as they were when the run began" if before["pixels"] != now["pixels"] else None
