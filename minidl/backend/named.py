"""Arrays by name: checks that they fit, and copies one into another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from minidl.backend.arrays import Array, array_module, to_device, to_host
from minidl.errors import DataError

_LISTED, _LETTERS = 5, 100  # names written out in an error before "and N more", and letters of each


def check_arrays(expected: Mapping[str, Array], given: Mapping[str, Array], source: str, strict: bool = True) -> None:
    """Raises DataError unless `given` has arrays of exactly the `expected` names, shapes and kinds of numbers.

    (float16 is of the same kind as float32, int64 is not.)
    """
    both = {name: (a, given[name]) for name, a in expected.items() if name in given}
    problems = {
        "missing": [name for name in expected if name not in given] if strict else [],
        "unexpected": [name for name in given if name not in expected] if strict else [],
        "wrong shape": [
            f"{name} {found.dtype}{found.shape} for {own.shape}"
            for name, (own, found) in both.items()
            if found.shape != own.shape
        ],
        "wrong type": [
            f"{name} {found.dtype} for {own.dtype}"
            for name, (own, found) in both.items()
            if found.shape == own.shape and found.dtype.kind != own.dtype.kind
        ],
    }
    if any(problems.values()):
        text = "; ".join(f"{problem}: {_listed(names)}" for problem, names in problems.items() if names)
        raise DataError(f"{source} doesn't fit the model: {text}")


def assign(target: Array, source: Array) -> None:
    """target[...] = source, also between host and device."""
    xp = array_module(target)
    target[...] = source if array_module(source) is xp else to_device(to_host(source), xp)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(name[:_LETTERS] for name in names[:_LISTED]) + more
