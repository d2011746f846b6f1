"""The Optuna study of a search: which process runs which trial, and the results.

Several processes on one machine may work on it. The settings that the random sampler draws for trial i depend on the
seed and on i only, not on the process.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.errors import DataError, UsageError
from minidl.storage.files import check_own, own_folder
from minidl.storage.tables import csv_file
from minidl.training.callbacks import attempt
from minidl.training.config import Config
from minidl.training.runs import Run
from minidl.training.search import PLAN, RANGES, Plan, new_search_folder
from minidl.training.study_file import WAIT, check_lock, connect
from minidl.training.study_rows import NAME, read_rows

if TYPE_CHECKING:
    import optuna

STUDY = "study.db"
KEPT = f"the trials are safe in {STUDY}"  # said when something else can't be written
FILES = (PLAN, "env.json", "log.txt", "trials.csv")
COLUMNS = ("trial", "lr", "weight_decay", "state", "epochs", "train_top1", "val_loss", "val_top1", "seconds")


def import_optuna() -> ModuleType:
    """Optuna, without its log; raises UsageError if it isn't installed."""
    try:
        import optuna
    except ImportError:
        raise UsageError("a search needs Optuna: pip install 'optuna>=5'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


@dataclass(frozen=True)
class Draw:
    """A trial to run."""

    trial: optuna.Trial
    config: Config


class Study:
    """One process's part in the search of `folder`: `next` gives a trial to run, `finish` records its result.

    A process locks the trials that it runs, as long as it lives. Before a process takes the next trial, it puts back
    all trials that are marked as running but locked by no process, with the same number and settings. So a search
    ends with exactly plan.trials finished trials, even if processes were killed.
    """

    def __init__(self, folder: Path, plan: Plan, storage: optuna.storages.RDBStorage, study: optuna.Study) -> None:
        self.run, self.plan = Run(folder), plan
        self._storage, self._study = storage, study
        self._states = import_optuna().trial.TrialState
        self._held: dict[int, sqlite3.Connection] = {}  # by number of trial

    def next(self) -> Draw | None:
        """The next trial; None if as many as planned are finished or running."""
        with self._alone():
            self._put_back_orphans()
            if len(self.rows()) + self.running() >= self.plan.trials:
                return None
            trial = self._study.ask()  # the first that was put back, or a new one
            self._held[trial.number] = _lock(self._lock_file(trial.number))
            self._study.sampler = _sampler(self.plan, trial.number)
            drawn = {name: trial.suggest_float(name, *getattr(self.plan, name), log=True) for name in RANGES}
            return Draw(trial, replace(self.plan.config, **drawn))

    def finish(self, draw: Draw, history: list[dict[str, Any]], diverged: bool) -> dict[str, Any]:
        """Records the epochs of a trial and returns its row of trials.csv.

        Optuna stores a diverged trial as a pruned one, with the accuracy of its last good epoch or none.
        """
        trial = draw.trial
        with self._alone():
            for row in history:
                trial.report(row["val_top1"], row["epoch"])
            trial.set_user_attr("metrics", history[-1] if history else {})
            if diverged:
                self._study.tell(trial, state=self._states.PRUNED)
            else:
                self._study.tell(trial, history[-1]["val_top1"])
            self._held.pop(trial.number).close()
            self._lock_file(trial.number).unlink()
        return next(row for row in self.rows() if row["trial"] == trial.number)

    def write_table(self) -> list[dict[str, Any]]:
        """Writes trials.csv and returns its rows. If it can't be written, a line says so: the study has all of it."""
        with self._alone():
            rows = self.rows()  # read while alone, so that an older table never replaces a newer one
            attempt(self.run.say, "trials.csv", lambda: self._write(rows), KEPT)
        return rows

    def _write(self, rows: list[dict[str, Any]]) -> None:
        with csv_file(self.run.path / "trials.csv") as write:
            write(COLUMNS)
            for row in rows:
                write(row[column] for column in COLUMNS)

    def rows(self) -> list[dict[str, Any]]:
        """The finished trials, as in trials.csv; accuracies are fractions."""
        return _rows(self._study)

    def running(self) -> int:
        """How many trials are running, in this process and in others."""
        return len(self._study.get_trials(deepcopy=False, states=(self._states.RUNNING,)))

    def elsewhere(self) -> int:
        """How many trials are running in other processes that work on this study."""
        return self.running() - len(self._held)

    def close(self) -> None:
        """Unlocks the trials that this process runs. Those that aren't finished will be put back."""
        while self._held:
            self._held.popitem()[1].close()

    def _put_back_orphans(self) -> None:
        study_id = self._storage.get_study_id_from_name(self._study.study_name)
        for trial in self._study.get_trials(deepcopy=False, states=(self._states.RUNNING,)):
            if (lock := _lock(self._lock_file(trial.number))) is not None:
                lock.close()
                trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
                self._storage.set_trial_state_values(trial_id, self._states.WAITING)

    def _lock_file(self, number: int) -> Path:
        return self.run.path / f"trial-{number}.lock"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Inside the block no other process reads or changes the study; SQLite alone protects only single writes."""
        path = self.run.path / "study.lock"
        lock = _lock(path, WAIT)
        if lock is None:
            raise DataError(f"{path}: another process has held it for {WAIT:.0f} s")
        with closing(lock):
            yield


def create_search(output: Path, name: str | None, plan: Plan, data: dict[str, Any] | None = None) -> Path:
    """A new folder output/name (default: the time) with the plan and an empty study. Raises as `create_folder`.

    data    the fingerprint of its data set
    """
    folder = new_search_folder(output, name, data)
    with _storage(folder / STUDY) as storage:
        import_optuna().create_study(storage=storage, study_name=NAME, direction="maximize")
    plan.write(folder)
    return folder


@contextmanager
def open_study(folder: Path, plan: Plan) -> Iterator[Study]:
    """The study of a search folder, to work on.

    Raises UsageError without Optuna. Raises DataError if the study is damaged, or if a file to be written is a link.
    """
    optuna, path = import_optuna(), folder / STUDY
    own_folder(folder, "figures")
    for name in FILES:
        check_own(folder / name)
    if not path.is_file():
        raise DataError(f"{path}: no such study")
    connect(path).close()  # completes what a killed process began
    read_rows(path)  # so that Optuna reads only checked values
    with _storage(path) as storage:
        study = optuna.load_study(study_name=NAME, storage=storage)
        with closing(Study(folder, plan, storage, study)) as own:
            yield own


def read_trials(path: Path) -> list[dict[str, Any]]:
    """The finished trials of a search folder or a study file, as rows of trials.csv.

    Changes nothing and doesn't need Optuna. Raises DataError.
    """
    return read_rows(path / STUDY if path.is_dir() else path)


@contextmanager
def _storage(path: Path) -> Iterator[optuna.storages.RDBStorage]:
    optuna = import_optuna()
    from sqlalchemy.exc import SQLAlchemyError

    storage = None
    try:
        try:  # not in the URL, where some characters of a path have a meaning
            storage = optuna.storages.RDBStorage("sqlite:///study", engine_kwargs={"creator": partial(connect, path)})
        except RuntimeError as error:  # of its version
            raise DataError(f"{path}: can't be read by Optuna {optuna.__version__} ({error})") from error
        yield storage
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
        raise DataError(f"{path}: can't be read or written ({getattr(cause, 'orig', cause)})") from error
    finally:
        if storage is not None:
            storage.engine.dispose()


def _sampler(plan: Plan, number: int) -> optuna.samplers.BaseSampler:
    optuna = import_optuna()
    samplers = optuna.samplers
    if plan.sampler == "qmc":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return samplers.QMCSampler(seed=plan.config.seed % 2**32, scramble=True)  # one sequence, shared by all
    seed = int(np.random.SeedSequence((plan.config.seed, number)).generate_state(1)[0])
    return samplers.RandomSampler(seed) if plan.sampler == "random" else samplers.TPESampler(seed=seed)


def _rows(study: optuna.Study) -> list[dict[str, Any]]:
    states = import_optuna().trial.TrialState
    return [
        {
            "trial": trial.number,
            **{name: trial.params[name] for name in RANGES},
            "state": "complete" if trial.state == states.COMPLETE else "diverged",
            "epochs": len(trial.intermediate_values),
            "train_top1": trial.user_attrs["metrics"].get("train_top1", 0.0),
            "val_loss": trial.user_attrs["metrics"].get("val_loss", ""),
            "val_top1": trial.value or 0.0,
            "seconds": round(trial.duration.total_seconds(), 1),
        }
        for trial in study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))
    ]


def _lock(path: Path, wait: float = 0.0) -> sqlite3.Connection | None:
    """Locks `path` until it is closed or the process ends; None if another process still has it after `wait` seconds.

    It is SQLite's own lock, so it works wherever the study does.
    """
    check_lock(path)
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=wait, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        return connection
    except sqlite3.OperationalError as error:
        if connection is not None:
            connection.close()
        if "locked" in str(error):
            return None
        raise DataError(f"{path}: can't be locked ({error})") from error
