"""A run to look at: its history, its settings, its network."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from pathlib import Path

from minidl.errors import DataError, UsageError
from minidl.layers import Layer
from minidl.models.registry import build
from minidl.text.html import html_table
from minidl.training import runs
from minidl.training.checkpoints import About, Checkpoint, load_checkpoint


class Run:
    """The run in the folder `path`, finished or not, as `minidl train` writes it: `minidl.Run("runs/x")`.

    Raises DataError if it isn't the folder of a run.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = runs.Run.open(Path(path)).path

    @cached_property
    def best(self) -> Checkpoint:
        """The checkpoint with the highest accuracy on the validation images."""
        return load_checkpoint(runs.find_checkpoint(self.path, "best"))

    @property
    def about(self) -> About:
        """The name of the model, its classes, image shape, mean and std, and the settings of the run."""
        return self.best.about

    @cached_property
    def model(self) -> Layer:
        """The network with the weights of the best checkpoint."""
        return self.best.build(build)

    @cached_property
    def history(self) -> dict[str, list[float]]:
        """A list for each column of metrics.csv, with a number for each epoch: history["val_top1"]."""
        from minidl.training.resume import restore_times  # slow to import

        state = load_checkpoint(runs.find_checkpoint(self.path, "last")).state
        restore_times(runs.Run(self.path), state)
        return _Columns({column: [row[column] for row in state.history] for column in runs.COLUMNS})

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str | None:
        with suppress(DataError):  # before the first epoch is done there is no best checkpoint, and no table
            rows = zip(*(map(_short, column) for column in self.history.values()), strict=True)
            caption = f"{self.path.name}: {self.about.model}, best epoch {self.best.state.best_epoch}"
            return html_table([tuple(self.history), *rows], left=0, caption=caption)
        return None


class _Columns(dict):
    """A dict whose KeyError names the columns that there are."""

    def __missing__(self, name: object) -> None:
        raise UsageError(f"no column {name!r}: choose {', '.join(self)}")


def _short(value: float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
