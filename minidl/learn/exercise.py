"""What an exercise is: a function of minidl whose body the learner writes, and its typical mistakes."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

Arguments = dict[str, Any]
Outcome = dict[str, Any]  # what a call gave, by name: arrays, numbers, or None


@dataclass(frozen=True)
class Case:
    """One input. `arguments` are in the order of the function's parameters; every call gets a fresh copy.

    `about` says in numbers and words what is special about the input, such as {"N": 2, "stride": 1}. A diagnosis
    finds there when an answer is right ("right when stride is 1") and by which number it is too large.
    """

    arguments: Arguments
    about: Mapping[str, int | str] = field(default_factory=dict)

    def fresh(self) -> Arguments:
        return copy.deepcopy(self.arguments)


@dataclass(frozen=True)
class Mistake:
    """A typical wrong answer, and what to say to whoever gives it.

    It is the real source with `edits`: pairs of (text that stands there once, text in its place); or, where no edit
    makes it, the function `wrong`.
    """

    name: str
    says: str
    edits: tuple[tuple[str, str], ...] = ()
    wrong: Callable | None = None


Call = Callable[[Callable, Arguments], Outcome]


@dataclass(frozen=True)
class Exercise:
    """A function of minidl to be written anew.

    name      of the exercise, of its file and of the function in it
    chapter   the chapter of docs/learn that teaches it, such as "05_col2im"
    target    the real function: "module:function" or "module:Class.method"
    task      what to write, and what is given, in a few sentences
    cases     makes the inputs from a random generator; the first one can be worked out by hand
    call      calls a function on arguments, and names what it gave (`returns`, `changes`, or a function of its own)
    mistakes  at least five
    hints     three, from a nudge to nearly the answer
    changes   the arguments that the function changes in place, which is its purpose
    places    special places in an output: (arguments, name of the output) -> {"where windows overlap": mask}
    worked    (arguments, name of the output, index) -> the entry on paper, such as "1*1 + 10*2 = 21"; or None
    gradient  for a backward pass: arguments -> {output: (L, x)}; the output is dL/dx, so a central difference of L
              at x can be a witness
    related   further functions that the solution consists of, as targets
    any_dtype, any_layout   whether it is also tried in float32, and with arrays that are not contiguous
    """

    name: str
    chapter: str
    target: str
    task: str
    cases: Callable[[np.random.Generator], list[Case]]
    call: Call
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, str, str]
    changes: tuple[str, ...] = ()
    places: Callable[[Arguments, str], Mapping[str, np.ndarray]] | None = None
    worked: Callable[[Arguments, str, tuple[int, ...]], str | None] | None = None
    gradient: Callable[[Arguments], Mapping[str, tuple[Callable, np.ndarray]]] | None = None
    related: tuple[str, ...] = ()
    any_dtype: bool = True
    any_layout: bool = True

    @cached_property
    def reference(self) -> Callable:
        """The real function."""
        return resolve(self.target)


def resolve(target: str) -> Any:
    """The object that "module:name" or "module:Class.name" names."""
    module, _, path = target.partition(":")
    found = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found


# ------------------------------------------------------------- ways to call


def returns(*names: str) -> Call:
    """The function returns these: one object, or a tuple of several."""

    def call(function: Callable, arguments: Arguments) -> Outcome:
        result = function(*arguments.values())
        if len(names) == 1:
            return {names[0]: result}
        if not isinstance(result, tuple) or len(result) != len(names):
            raise Returned(f"Return {', '.join(names)}: yours returns {described(result)}")
        return dict(zip(names, result, strict=True))

    return call


def changes(*names: str) -> Call:
    """The function changes these arguments in place."""

    def call(function: Callable, arguments: Arguments) -> Outcome:
        function(*arguments.values())
        return {name: arguments[name] for name in names}

    return call


class Returned(Exception):
    """The function returned another kind of object than it must."""


def described(value: Any) -> str:
    """A short description of a value: shape and dtype of an array, the kind of another object."""
    if isinstance(value, np.ndarray | np.generic) and not value.ndim and value.dtype.kind not in "fiuc":
        value = value.item()
    if isinstance(value, np.ndarray | np.generic):
        return f"an array {value.shape} of {value.dtype}" if value.ndim else f"{value.dtype} {value[()]!s:.10}"
    if isinstance(value, tuple):
        return f"({', '.join(described(v) for v in value)})"
    if isinstance(value, float | int) and not isinstance(value, bool):
        return f"a Python {type(value).__name__}, {value:.6g}"
    return "None" if value is None else f"{type(value).__name__} {safe_repr(value, 40)}"


def safe_repr(value: Any, most: int) -> str:
    """The beginning of an object's repr, which may be a learner's own and raise."""
    with suppress(Exception):
        return f"{value!r:.{most}}"
    return "(its repr raises)"
