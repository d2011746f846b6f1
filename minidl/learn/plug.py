"""A learner's functions in the real network: `minidl train --with DIR`.

Every solved exercise takes the place of the real function while a network trains. The other functions are the
reference kernels, so that a learner's `im2col` is also what the reference `conv2d` calls. A function that is much
slower than the real one isn't used: it would only hold up the training. Nor is one that gives other numbers than the
real one for the arrays of this network, which are larger than those of a check.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from minidl.errors import MinidlError, UsageError
from minidl.kernels import blocked, reference
from minidl.learn.check import check_function
from minidl.learn.exercise import Exercise
from minidl.learn.exercises import EXERCISES
from minidl.learn.folder import NEW, Folder, digest
from minidl.learn.limits import harmless, replaced
from minidl.learn.running import load, raised
from minidl.text.calls import call as typed

# Two exercises may have one function: the first is for some calls of it only, the second for all.
ONLY = {
    "softmax_cross_entropy": lambda arguments: not arguments.get("smoothing"),
    "max_pool_dx": lambda arguments: arguments.get("overlap", "sum") == "sum",
}


@dataclass
class Plugs:
    """Whose code runs: the learner's functions that are used, how often each was called, and why others aren't."""

    folder: Folder
    functions: dict[str, Callable] = field(default_factory=dict)  # by exercise
    refused: dict[str, str] = field(default_factory=dict)  # exercise -> why the real one runs
    calls: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)  # of the files that were checked

    def lines(self) -> list[str]:
        """Whose code ran, after a training."""
        ran = [f"{name} ({self.calls[name]:,} calls)" for name in self.functions if self.calls.get(name)]
        idle = [name for name in self.functions if not self.calls.get(name)]
        lines = [f"yours    {', '.join(ran) or 'nothing'}"]
        if idle:
            lines.append(f"unused   {', '.join(idle)}: this training has no use for them")
        return [*lines, *self.others()]

    def others(self) -> list[str]:
        """Where minidl's own code runs, and why."""
        new = sum(why == NEW for why in self.refused.values())
        lines = [f"minidl's {name}: {why}" for name, why in self.refused.items() if why != NEW]
        return lines + [f"minidl's {new} others: {NEW}"] * bool(new)


def solved(folder: Folder) -> Plugs:
    """The exercises of the folder that are right, each checked anew."""
    plugs = Plugs(folder)
    for exercise in EXERCISES.values():
        plugs.digests[exercise.name] = digest(folder.file(exercise))
        try:
            function = load(folder.file(exercise), exercise.name)
            verdict = check_function(exercise, function)
        except UsageError as error:
            plugs.refused[exercise.name] = str(error)
            continue
        if verdict.solved:
            plugs.functions[exercise.name] = function
        else:
            plugs.refused[exercise.name] = NEW if verdict.found == NEW else "not right yet"
    return plugs


@contextmanager
def on_reference() -> Iterator[None]:
    """Inside the block, NumPy arrays are computed by the reference kernels."""
    with ExitStack() as stack:
        for name, f in list(vars(blocked).items()):
            if not name.startswith("_") and callable(f) and hasattr(reference, name):
                stack.enter_context(replaced(blocked, name, _forwarding(name)))
        yield


def _forwarding(name: str) -> Callable:
    return lambda *args, **options: getattr(reference, name)(*args, **options)


@contextmanager
def wrapped(names: Iterable[str], wrap: Callable[[str, Callable], Callable]) -> Iterator[None]:
    """Inside the block, `wrap(name, real)` stands in the place of every named exercise's real function, on the
    reference kernels.
    """
    with on_reference(), ExitStack() as stack:
        for name in names:
            owner, attribute = place_of(EXERCISES[name])
            stack.enter_context(replaced(owner, attribute, wrap(name, getattr(owner, attribute))))
        yield


@contextmanager
def plugged(plugs: Plugs) -> Iterator[None]:
    """Inside the block, the learner's functions take the places of the real ones."""
    names = list(plugs.functions)
    # What is for some calls goes before the rest.
    with wrapped(reversed(names), lambda name, real: _counted(name, plugs, real)):
        for name in names:  # again, so that one learner's function that imports another gets theirs
            file = plugs.folder.file(EXERCISES[name])
            if digest(file) != plugs.digests[name]:
                raise UsageError(f"{file} was changed after its check: start again")
            plugs.functions[name] = load(file, name)
        with harmless():
            yield


def place_of(exercise: Exercise) -> tuple[Any, str]:
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
        bound = signature.bind(*args, **options)
        if name in ONLY and not ONLY[name](bound.arguments):
            return real(*args, **options)
        plugs.calls[name] = plugs.calls.get(name, 0) + 1
        function = plugs.functions[name]
        try:
            return function(*bound.args, **bound.kwargs)  # by position: a learner may call them otherwise
        except MinidlError:
            raise
        except (Exception, SystemExit) as error:
            where = raised(error, getattr(getattr(function, "__code__", None), "co_filename", ""))
            raise UsageError(f"your {name} raised {where}: `{typed('learn')} check {name}`") from error

    signature = inspect.signature(EXERCISES[name].reference)
    return call
