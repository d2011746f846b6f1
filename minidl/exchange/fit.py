"""How the arrays of a file fit a network: by name and shape."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

_LINE = 2000  # letters of a list of names
_SHOWN = 100  # letters of a name
_LEVELS = 8  # of a name that are told apart

Shapes = Mapping[str, tuple[int, ...]]


@dataclass
class Fit:
    """The arrays (under the network's torch names, without the `prefix` that they had), and what is wrong with them.

    left_out    names of the network that needn't be in the file, and are not
    """

    arrays: dict[str, np.ndarray]
    prefix: str
    classes: int
    matched: int
    missing: list[str]
    unexpected: list[str]
    other_shape: list[str]
    other_type: list[str]
    left_out: Collection[str]

    @property
    def fits(self) -> bool:
        return not (self.missing or self.unexpected or self.other_shape or self.other_type)

    @property
    def expected(self) -> int:
        """The number of arrays that the file should have."""
        return self.matched + len(self.missing) + len(self.other_shape) + len(self.other_type)

    @property
    def closeness(self) -> float:
        """The share of all names, of the file and of the network, that have the same shape in both."""
        return self.matched / max(self.expected + len(self.unexpected), 1)

    def lines(self) -> list[str]:
        """A line for each kind of difference, with all names."""
        rest = self.arrays.keys() - {*self.unexpected} | {*self.left_out}
        types = ", ".join(sorted({self.arrays[name].dtype.name for name in self.other_type}))
        others = listed(self.other_type, rest - {*self.other_type} | {*self.missing})
        kinds = (
            ("missing", self.missing, listed(self.missing, rest)),
            ("unexpected", self.unexpected, listed(self.unexpected, rest | {*self.missing})),
            ("other shape", self.other_shape, _cut(", ".join(self.other_shape))),
            ("other type", self.other_type, f"{types}, not float: {others}"),
        )
        return [f"{kind:11}  {len(names):,}: {text}" for kind, names, text in kinds if names]


def compare(
    arrays: dict[str, np.ndarray], own: Shapes, optional: Collection[str] = (), prefix: str = "", classes: int = 2
) -> Fit:
    """How `arrays` fit a network whose arrays have the shapes `own`. Those of a group of `optional` names may all be
    missing.
    """
    absent = [name for name in own if name not in arrays]
    left_out = optional if {*optional} <= {*absent} else []
    other_shape = [
        f"{name} {arrays[name].dtype}{arrays[name].shape} for {shape}"
        for name, shape in own.items()
        if name in arrays and arrays[name].shape != shape
    ]
    other_type = [
        n for n, shape in own.items() if n in arrays and arrays[n].shape == shape and not _is_float(arrays[n])
    ]
    return Fit(
        arrays,
        prefix,
        classes,
        matched=len(own) - len(absent) - len(other_shape) - len(other_type),
        missing=[name for name in absent if name not in left_out],
        unexpected=[name for name in arrays if name not in own],
        other_shape=other_shape,
        other_type=other_type,
        left_out=left_out,
    )


def _is_float(a: np.ndarray) -> bool:
    return a.dtype.kind == "f"


def listed(names: Collection[str], others: Collection[str]) -> str:
    """The names. Where all names that begin with layer1.2 are among them, and none of the `others`, it is
    "layer1.2 (10)".
    """
    taken = {part for name in others for part in _beginnings(name)}
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(next((part for part in _beginnings(name) if part not in taken), name), []).append(name)
    return _cut(", ".join(f"{g[:_SHOWN]} ({len(n)})" if len(n) > 1 else n[0][:_SHOWN] for g, n in groups.items()))


def _beginnings(name: str) -> list[str]:
    """The layers around an array, the outermost first."""
    parts = name.split(".", _LEVELS)
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _cut(text: str) -> str:
    return text if len(text) <= _LINE else text[:_LINE].rpartition(", ")[0] + f" ... (in all {len(text):,} letters)"
