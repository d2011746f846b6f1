"""Arrays by name: checks that they fit, and copies one into another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from minidl.backend.arrays import Array, array_module, to_device, to_host
from minidl.errors import DataError

_LISTED, _LETTERS = 5, 100  # names written out in an error before "and N more", and letters of each


def check_arrays(expected: Mapping[str, tuple], given: Mapping[str, Array], source: str, strict: bool = True) -> None:
    """Raises DataError unless `given` has floating arrays of exactly the `expected` names and shapes."""
    problems = {
        "missing": [name for name in expected if name not in given] if strict else [],
        "unexpected": [name for name in given if name not in expected] if strict else [],
        "wrong shape": [
            f"{name} {given[name].dtype}{given[name].shape} for {shape}"
            for name, shape in expected.items()
            if name in given and (given[name].shape != shape or given[name].dtype.kind != "f")
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
