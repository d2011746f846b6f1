"""A learner's functions in the real network: `minidl train --with DIR`.

Every solved exercise takes the place of the real function while a network trains. The other functions are the
reference kernels, so that a learner's `im2col` is also what the reference `conv2d` calls. A function that is much
slower than the real one isn't used: it would only hold up the training.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from minidl.errors import MinidlError, UsageError
from minidl.kernels import blocked, reference
from minidl.learn.check import check_function
from minidl.learn.exercise import Exercise
from minidl.learn.exercises import EXERCISES
from minidl.learn.folder import Folder
from minidl.learn.running import Endless, load, raised, time_limit

SLOWER = 5.0  # times; then the real function runs in its place
LEAST = 0.05  # seconds that a call may take in any case
TIMED = 3  # calls of each function that are timed; the fastest counts

# What contains the rest of the network: its time is that of the others.
WHOLE = ("sequential_backward", "concat_backward", "residual_backward", "train_step")


@dataclass
class Plugs:
    """Whose code runs: the learner's functions that are used, how often each was called, and why others aren't."""

    functions: dict[str, Callable] = field(default_factory=dict)  # by exercise
    refused: dict[str, str] = field(default_factory=dict)  # exercise -> why the real one runs
    calls: dict[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Whose code ran, after a training."""
        ran = [f"{name} ({self.calls[name]:,} calls)" for name in self.functions if self.calls.get(name)]
        idle = [name for name in self.functions if not self.calls.get(name)]
        lines = [f"yours    {', '.join(ran) or 'nothing'}"]
        if idle:
            lines.append(f"unused   {', '.join(idle)}: this training has no use for them")
        return [*lines, *(f"minidl's {name}: {why}" for name, why in self.refused.items())]


def solved(folder: Folder) -> Plugs:
    """The exercises of the folder that are right, each checked anew."""
    plugs = Plugs()
    for exercise in EXERCISES.values():
        try:
            function = load(folder.file(exercise), exercise.name)
            verdict = check_function(exercise, function)
        except UsageError as error:
            plugs.refused[exercise.name] = str(error)
            continue
        if verdict.solved:
            plugs.functions[exercise.name] = function
        else:
            plugs.refused[exercise.name] = "not begun" if verdict.found == "not begun" else "not right yet"
    return plugs


@contextmanager
def on_reference() -> Iterator[None]:
    """Inside the block, NumPy arrays are computed by the reference kernels."""
    names = [n for n, f in vars(blocked).items() if not n.startswith("_") and callable(f) and hasattr(reference, n)]
    before = {name: getattr(blocked, name) for name in names}
    for name in names:
        setattr(blocked, name, _forwarding(name))
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(blocked, name, function)


def _forwarding(name: str) -> Callable:
    return lambda *args, **options: getattr(reference, name)(*args, **options)


@contextmanager
def plugged(folder: Folder, plugs: Plugs) -> Iterator[None]:
    """Inside the block, the learner's functions take the places of the real ones."""
    with on_reference():
        places = {name: _place(EXERCISES[name]) for name in plugs.functions}
        before = [(owner, attribute, getattr(owner, attribute)) for owner, attribute in places.values()]
        try:
            for name, (owner, attribute) in places.items():
                setattr(owner, attribute, _counted(name, plugs, getattr(owner, attribute)))
            for name in plugs.functions:  # again, so that one learner's function that imports another gets theirs
                plugs.functions[name] = load(folder.file(EXERCISES[name]), name)
            yield
        finally:
            for owner, attribute, function in reversed(before):
                setattr(owner, attribute, function)


def _place(exercise: Exercise) -> tuple[Any, str]:
    """The module or class that holds the real function, and its name there."""
    module, _, path = exercise.target.partition(":")
    owner: Any = import_module(module)
    *outer, last = path.split(".")
    for name in outer:
        owner = getattr(owner, name)
    return owner, last


def _counted(name: str, plugs: Plugs, real: Callable) -> Callable:
    """The learner's function, counted; what it raises is said in one line."""

    def call(*args: Any, **options: Any) -> Any:
        if name == "softmax_cross_entropy" and args[2]:  # this exercise leaves label smoothing out
            return real(*args, **options)
        plugs.calls[name] = plugs.calls.get(name, 0) + 1
        function = plugs.functions[name]
        try:
            return function(*args, **options)
        except MinidlError:
            raise
        except Exception as error:
            where = raised(error, getattr(getattr(function, "__code__", None), "co_filename", ""))
            raise UsageError(f"your {name} raised {where}: `minidl learn check {name}`") from error

    return call


# ------------------------------------------------------------------ how slow


def drop_slow(plugs: Plugs, run: Callable[[], object]) -> None:
    """Takes out of `plugs` every function that is more than SLOWER times slower than the real one.

    `run` makes a training step on copies. The arguments that the real functions get there are the ones to be timed.
    """
    for name, arguments in _recorded(plugs, run).items():
        exercise = EXERCISES[name]
        real = _fastest(exercise.reference, arguments, None)
        own = _fastest(plugs.functions[name], arguments, max(LEAST, SLOWER * real))
        if own > max(LEAST / 10, SLOWER * real):
            times = f"{own / real:.0f}" if own < float("inf") else f"more than {max(LEAST, SLOWER * real) / real:.0f}"
            plugs.refused[name] = f"yours is right, but {times} times slower"
            del plugs.functions[name]


def _recorded(plugs: Plugs, run: Callable[[], object]) -> dict[str, tuple]:
    """The arguments of the largest call that each real function gets in `run`."""
    found: dict[str, tuple[int, tuple]] = {}

    def recording(name: str, real: Callable) -> Callable:
        def call(*args: Any, **options: Any) -> Any:
            size = sum(getattr(a, "size", 0) for a in args)
            if size > found.get(name, (-1, ()))[0]:
                found[name] = size, (copy.deepcopy(args), options)
            return real(*args, **options)

        return call

    with on_reference():
        places = {n: _place(EXERCISES[n]) for n in plugs.functions if n not in WHOLE}
        before = [(owner, attribute, getattr(owner, attribute)) for owner, attribute in places.values()]
        try:
            for name, (owner, attribute) in places.items():
                setattr(owner, attribute, recording(name, getattr(owner, attribute)))
            run()
        finally:
            for owner, attribute, function in reversed(before):
                setattr(owner, attribute, function)
    return {name: call for name, (_, call) in found.items()}


def _fastest(function: Callable, call: tuple, limit: float | None) -> float:
    """The seconds of the fastest of some calls; infinite if one takes more than `limit`."""
    best = float("inf")
    for _ in range(TIMED):
        args, options = copy.deepcopy(call)
        start = time.perf_counter()
        try:
            if limit is None:
                function(*args, **options)
            else:
                with time_limit(limit):
                    function(*args, **options)
        except Endless:
            return float("inf")
        best = min(best, time.perf_counter() - start)
    return best
