"""Checkpoints, stopping on request, and other things around the training loop that must not make it fail."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from minidl.errors import DataError, DivergedError, MinidlError
from minidl.parallel.communicator import ALONE, Communicator
from minidl.storage.files import atomic
from minidl.training.checkpoints import About, checkpoint_of, pack_checkpoint, save_checkpoint
from minidl.training.config import Config
from minidl.training.runs import Run
from minidl.training.trainer import Callback, Trainer

SNAPSHOT = re.compile(r"epoch-(\d+)\.safetensors")


class StopRequested(Exception):
    """The user interrupted the training."""


class Interruption(Callback):
    """Raises StopRequested after the current step once `stop` was called. It must be the last callback.

    Several ranks stop after the same step, if `stop` was called in one of them.
    """

    def __init__(self, comm: Communicator = ALONE) -> None:
        self.comm, self.stopped, self._asked = comm, False, False

    def stop(self) -> None:
        self._asked = True  # not `stopped`: a signal may come while the ranks agree

    def on_step(self, trainer: Trainer) -> None:
        self.stopped = self.comm.any(self._asked)
        if self.stopped:
            raise StopRequested

    def on_evaluation_batch(self, trainer: Trainer, images: int) -> None:
        self.on_step(trainer)


class Harmless(Callback):
    """A callback that is not essential: if it fails once, a line with its name says so and it is not called again."""

    def __init__(self, callback: Callback, say: Callable[[str], None], name: str | None = None) -> None:
        self.callback, self.say, self.works = callback, say, True
        self.name = name or type(callback).__name__

    def on_step(self, trainer: Trainer) -> None:
        self._try("on_step", trainer)

    def on_evaluation_batch(self, trainer: Trainer, images: int) -> None:
        self._try("on_evaluation_batch", trainer, images)

    def on_epoch(self, trainer: Trainer) -> None:
        self._try("on_epoch", trainer)

    def _try(self, event: str, *details: Any) -> None:
        if self.works:
            self.works = attempt(self.say, self.name, lambda: getattr(self.callback, event)(*details))


def attempt(
    say: Callable[[str], None], what: str, action: Callable[[], object], then: str = "training continues"
) -> bool:
    """Does something that is not essential. If it fails, a line says why, and what happens `then`.

    A DivergedError is passed on.
    """
    try:
        action()
    except DivergedError:
        raise
    except Exception as error:  # any kind: drawing alone can fail in dozens of ways
        text = (str(error).splitlines() or [""])[0]
        cause = text if isinstance(error, MinidlError) else f"{what}: {type(error).__name__} {text}".rstrip()
        say(f"warning  {cause}; {then}")
        return False
    return True


class Checkpointer(Callback):
    """Saves `last` every few minutes and after every epoch, `best` when val top-1 rises, and snapshots on request.

    It must be the first callback, so that the result of an epoch is on the disk before anything else is tried. If a
    checkpoint can't be written, a line says so and the next one tries again. Call `close` when training ends or
    stops.
    """

    def __init__(
        self,
        run: Run,
        about: About,
        minutes: float,
        snapshot_epochs: int = 0,
        keep: int = 0,
    ) -> None:
        self.run, self.about = run, about
        self.minutes, self.snapshot_epochs, self.keep = minutes, snapshot_epochs, keep
        self._tried, self._behind = time.monotonic(), False
        self._best: bytes | None = None  # the content of `best`, while it couldn't be written

    def on_step(self, trainer: Trainer) -> None:
        self._behind = True
        if time.monotonic() - self._tried > 60 * self.minutes:
            self._save_last(trainer)

    def on_epoch(self, trainer: Trainer) -> None:
        state, say = trainer.state, self.run.say
        if state.best_epoch == state.epoch:  # before `last`: a kill in between repeats both
            self._best = None
            if not attempt(say, "checkpoint", lambda: self._save(trainer, "best", with_optimizer=False)):
                best = checkpoint_of(self.run.checkpoint("best"), trainer, self.about, with_optimizer=False)
                self._best = pack_checkpoint(best)
        self._save_last(trainer)
        if self.snapshot_epochs and state.epoch % self.snapshot_epochs == 0:
            attempt(say, "checkpoint", lambda: self._save(trainer, f"epoch-{state.epoch:03d}"))
            attempt(say, "old snapshots", self._forget_old_snapshots)

    def close(self, trainer: Trainer) -> None:
        """Saves `last` and `best` if they are out of date, in the folder for temporary files if necessary: DataError
        says where.
        """
        if self._behind or self._best is not None:
            self._save_last(trainer)
        if not self._behind and self._best is None:
            return
        try:
            rescue = Path(tempfile.mkdtemp(prefix="minidl-"))
            if self._behind:
                save_checkpoint(rescue / self.run.checkpoint().name, trainer, self.about)
            if self._best is not None:
                (rescue / self.run.checkpoint("best").name).write_bytes(self._best)
        except (OSError, DataError) as error:
            raise DataError(f"step {trainer.state.step} is lost: {error}") from error
        kept = " and ".join(str(path) for path in sorted(rescue.iterdir()))
        place, ending = self.run.checkpoint().parent, " and use --resume" if self._behind else ""
        raise DataError(f"{place} can't be written; what was trained is in {kept}: copy it there{ending}")

    def _save_last(self, trainer: Trainer) -> None:
        """Tries to write `last`, and `best` if that couldn't be written before."""
        self._behind = not attempt(self.run.say, "checkpoint", lambda: self._save(trainer, "last"))
        if self._best is not None and attempt(self.run.say, "checkpoint", self._write_best):
            self._best = None
        self._tried = time.monotonic()

    def _write_best(self) -> None:
        with atomic(self._path("best")) as temporary:
            temporary.write_bytes(self._best)

    def _save(self, trainer: Trainer, name: str, with_optimizer: bool = True) -> None:
        save_checkpoint(self._path(name), trainer, self.about, with_optimizer)

    def _path(self, name: str) -> Path:
        """Where the checkpoint `name` goes."""
        with suppress(DataError):  # folders may have been removed; saving reports what is still wrong
            self.run.mend(Config(**self.about.config))
        self.run.folder("checkpoints")
        return self.run.checkpoint(name)

    def _forget_old_snapshots(self) -> None:
        snapshots = {
            int(number[1]): path
            for path in self.run.folder("checkpoints").iterdir()
            if (number := SNAPSHOT.fullmatch(path.name))
        }
        for epoch in sorted(snapshots)[: -self.keep] if self.keep else []:
            snapshots[epoch].unlink()
            self.run.say(f"deleted {snapshots[epoch].name} (--keep {self.keep})")
