"""The search for a learning rate and a weight decay: its plan, its folder and its trials.

The paper trained its baseline net with 53 random settings, each for eight epochs on a tenth of the data (section
2.3.1). The trials of a search differ only in these two settings: all begin with the same weights and see the same
images in the same order.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minidl.errors import DataError, DivergedError, UsageError
from minidl.layers import Layer
from minidl.parallel.communicator import Communicator
from minidl.storage.files import atomic
from minidl.storage.metadata import read_json, write_json
from minidl.storage.validate import array, blamed, choice, real, table, whole
from minidl.training import session
from minidl.training.checkpoints import Checkpoint
from minidl.training.config import PRESETS, SETTINGS, Config
from minidl.training.folders import create_folder
from minidl.training.network import initialise_from, make_model
from minidl.training.run_data import Data
from minidl.training.runs import environment
from minidl.training.together import same_json
from minidl.training.trainer import Trainer

TRIALS = 53
SAMPLERS = ("random", "tpe", "qmc")
RANGES = {"lr": (1e-5, 1e-1), "weight_decay": (1e-6, 1e-2)}  # ours: the paper gives none
DEFAULTS = {**PRESETS["paper"]("baseline"), "model": "baseline", "epochs": 8, "subset": 0.1}
FREE_ON_RESUME = ("trials", "data", "threads", "workers")
PLAN = "search.json"  # not config.json: to `fit`, such a folder is no run
_RANGE = array(real(1e-300, 1e300), 2, 2)
_OWN = {"trials": whole(1, 2**31 - 1), "sampler": choice(*SAMPLERS), **dict.fromkeys(RANGES, _RANGE)}
_PLAN = table(_OWN, {key: check for key, check in SETTINGS.items() if key not in _OWN})


@dataclass(frozen=True)
class Plan:
    """What a search looks for, and how each trial trains."""

    config: Config  # a trial puts its own lr and weight_decay in the place of these
    trials: int = TRIALS
    sampler: str = "random"
    lr: tuple[float, float] = RANGES["lr"]  # drawn log-uniformly between the two, as weight_decay is
    weight_decay: tuple[float, float] = RANGES["weight_decay"]

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Plan:
        """The plan that `as_dict` gave; raises UsageError if a range is empty."""
        own = {"trials": settings["trials"], "sampler": settings["sampler"]}
        for name in RANGES:
            low, high = own[name] = tuple(settings[name])
            if low > high:
                raise UsageError(f"--{name.replace('_', '-')} {low:g} {high:g}: the lower end comes first")
        return cls(Config(**{k: v for k, v in settings.items() if k not in own}), **own)

    def as_dict(self) -> dict[str, Any]:
        """One flat table: the settings of the trials, with the ranges in place of lr and weight decay."""
        ranges = {name: list(getattr(self, name)) for name in RANGES}
        return {**self.config.as_dict(), **ranges, "trials": self.trials, "sampler": self.sampler}

    def write(self, folder: Path) -> None:
        with atomic(folder / PLAN) as temporary:
            write_json(temporary, self.as_dict())


def same_plan(comm: Communicator, plan: Plan | None) -> Plan:
    """The plan of rank 0; the other ranks give None."""
    if comm.size == 1:
        return plan
    return Plan.from_dict(same_json(comm, plan and plan.as_dict()))


def read_plan(folder: Path) -> Plan:
    """The plan of a search folder; raises DataError if `folder` is none or its plan is damaged."""
    path = folder / PLAN
    if not path.is_file():
        raise DataError(f"{folder}: not the folder of a search (no {PLAN} in it)")
    with blamed(path):
        return Plan.from_dict(_PLAN(read_json(path), f"{path}:"))


def remember(folder: Path, given: Mapping[str, Any]) -> None:
    """Writes the number of trials and the place of the data into the plan of the search in `folder`, if `given`."""
    saved = read_plan(folder)
    now = Plan.from_dict(saved.as_dict() | {name: given[name] for name in ("trials", "data") if name in given})
    if now != saved:
        now.write(folder)


def new_search_folder(output: Path, name: str | None, data: dict[str, Any] | None) -> Path:
    """A new folder output/name (default: the time), with the fingerprint of its data. Raises as `create_folder`."""

    def furnish(folder: Path) -> None:
        (folder / "figures").mkdir()
        write_json(folder / "env.json", environment())
        if data is not None:
            write_json(folder / "data.json", data)

    return create_folder(output, name, "search", furnish)


def new_trainer(config: Config, data: Data, build: Callable[..., Layer], start: Checkpoint | None) -> Trainer:
    """A trainer with new weights, or with those of `start`. It works alone, whatever the number of ranks."""
    trainer = session.make_trainer(config, data, make_model(config, data, build))
    if start is not None:
        initialise_from(trainer.model, start, data.dataset.classes)
    return trainer


def train_trial(trainer: Trainer) -> tuple[list[dict[str, Any]], bool]:
    """Trains to the end; returns the rows of all epochs with a finite loss, and whether the trial diverged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's warnings of overflow, in all threads
        try:
            trainer.fit()
            diverged = not math.isfinite(trainer.state.history[-1]["val_loss"])
        except DivergedError:
            diverged = True
    return [row for row in trainer.state.history if math.isfinite(row["val_loss"])], diverged


def best_trials(rows: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """The best trials that did not diverge, from their rows in trials.csv."""
    sound = [row for row in rows if row["state"] == "complete"]
    return sorted(sound, key=lambda row: -row["val_top1"])[:most]


def trial_line(row: dict[str, Any], rows: list[dict[str, Any]], trials: int, running: int) -> str:
    """A finished trial in one line; the time left assumes that `running` other processes keep working."""
    left = sum(r["seconds"] for r in rows) / len(rows) * max(trials - len(rows), 0) / (1 + running)
    best = best_trials(rows, 1)
    return (
        f"{len(rows):>{len(str(trials))}}/{trials}  trial {row['trial']:<{len(str(trials))}}"
        f"  lr {row['lr']:.2e}  weight decay {row['weight_decay']:.2e}  val top-1 {100 * row['val_top1']:5.2f} %"
        + ("  diverged" if row["state"] == "diverged" else "")
        + (f"  best {100 * best[0]['val_top1']:.2f} % (trial {best[0]['trial']})" if best else "")
        + f"  {tqdm.format_interval(left)} left"
    )
