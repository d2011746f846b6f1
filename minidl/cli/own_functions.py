"""`train --with DIR`: a training on a learner's own functions."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy, deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.cli.flags import given_settings
from minidl.errors import UsageError
from minidl.text.calls import call, quoted
from minidl.text.plural import counted
from minidl.training import session
from minidl.training.config import Config
from minidl.training.runs import Run
from minidl.training.trainer import Trainer

if TYPE_CHECKING:
    from minidl.learn.plug import Plugs

# The settings of a training on a learner's functions: the reference kernels take five minutes for it on two cores.
LEARNERS = {"model": "convnet", "epochs": 6, "lr": 0.02}


def training_settings(args: Namespace) -> dict[str, Any]:
    """The settings given on the command line. A learner's functions run in the plain engine, in a small network."""
    given = given_settings(args)
    if not args.exercises:
        return given
    if given.get("engine", "plain") != "plain" or given.get("backend", "numpy") != "numpy":
        raise UsageError("--with trains in the plain engine on NumPy: leave out --engine and --backend")
    if args.resume is not None:
        return given
    own = args.preset is None and given.get("model", "convnet") == "convnet"
    return {"engine": "plain"} | (LEARNERS if own else {}) | given


def solved_in(text: str) -> Plugs:
    """What is solved in a learner's folder. Raises UsageError if nothing is."""
    from minidl.learn.folder import Folder
    from minidl.learn.plug import solved

    plugs = solved(folder := Folder(Path(text)))
    if not plugs.functions:
        why = f"{call('learn')} check --folder {quoted(folder.path)}"
        raise UsageError(f"nothing in {folder.path} is solved yet: `{why}` says why")
    return plugs


@contextmanager
def plugged_in(plugs: Plugs, trainer: Trainer, config: Config, run: Run) -> Iterator[None]:
    """Inside the block the learner's solved exercises train; at the end the log says whose code ran."""
    from minidl.learn.fitness import drop_unfit
    from minidl.learn.plug import plugged

    def one_step() -> None:
        twin = copy(trainer)
        twin.model, twin.optimizer = deepcopy((trainer.model, trainer.optimizer))
        twin.step(*next(iter(trainer.train.epoch(0))))

    drop_unfit(plugs, one_step)
    used = ", ".join(plugs.functions) or "none"
    run.say(f"with     {counted(len(plugs.functions), 'function')} of {plugs.folder.path}: {used}")
    for line in plugs.others():
        run.say(f"         {line}")
    with plugged(plugs):
        trainer.schedule = session.config_schedule(config, len(trainer.train))
        try:
            yield
        finally:
            for line in plugs.lines():
                run.say(line)
