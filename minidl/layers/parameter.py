"""A learned array and its gradient."""

from __future__ import annotations

from collections.abc import Iterable
from sys import getrefcount
from typing import Any

import numpy as np

from minidl.backend.arrays import Array, array_module
from minidl.errors import UsageError

FROZEN = "frozen"  # the tag of parameters that no optimizer changes
_last = object()  # the last mark of any Parameter


class Parameter:
    """A learned array `value`, its gradient `grad` = dL/dvalue, and `tags`; also the value's shape, size and dtype.

    Both arrays are changed in place and never replaced, because they may be views of one flat vector: `p.grad += g`
    and `p.value[...] = v` are right, and `p.value = v` raises AttributeError. Tags group parameters for the
    optimizer: "weight", "bias", "norm" (gamma and beta of a batch normalization). A string is one tag.
    """

    __slots__ = ("_value", "_grad", "tags", "_handed_out")

    def __init__(self, value: Array, tags: Iterable[str] | str = (), grad: Array | None = None) -> None:
        xp = array_module(value)
        if value.dtype.kind != "f":
            raise UsageError(
                f"Parameter: the value is {value.dtype}, and must be floating: value.astype(np.float32) makes it so"
            )
        self._value = value if hasattr(value, "__setitem__") else xp.asarray(value)  # else np.float32(1)
        self._hand_out()
        self._grad = xp.zeros_like(self._value) if grad is None else grad
        self.tags = frozenset((tags,) if isinstance(tags, str) else tags)

    @property
    def value(self) -> Array:
        self._hand_out()
        return self._value

    @value.setter
    def value(self, new: Array) -> None:
        self._refuse_rebinding("value", self._value, new)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._value.shape

    @property
    def size(self) -> int:
        return self._value.size

    @property
    def dtype(self) -> Any:
        return self._value.dtype

    @property
    def grad(self) -> Array:
        return self._grad

    @grad.setter
    def grad(self, new: Array) -> None:
        self._refuse_rebinding("grad", self._grad, new)

    def _hand_out(self) -> None:
        """Leaves a mark, another one each time, see `Snapshot`."""
        global _last
        _last = self._handed_out = object()

    @staticmethod
    def _refuse_rebinding(name: str, old: Array, new: Array) -> None:
        # `p.grad += g` ends with an assignment of the same array. Another array would break the views.
        if new is not old:
            raise AttributeError(f"Parameter.{name} is written in place: use p.{name}[...] = array")

    def __repr__(self) -> str:
        return f"Parameter(shape={self.shape}, dtype={self.dtype}, tags={sorted(self.tags)})"


class Snapshot:
    """The values of Parameters at one moment, to tell later whether they have changed since. For NumPy arrays.

    Anyone who has an array may write to it. So `value` leaves a mark whenever it hands the array out, and Python
    counts the references to the array; a view of it has one too. Without a new mark, and without a reference other
    than the Parameter's own, nobody can have written to it. This is known in a tenth of a microsecond, however large
    and many the arrays are. In all other cases the bytes are compared with a copy.
    """

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self._last = _last  # before the copies: later writes are noticed
        self._seen = [(p, p._handed_out, bytearray(np.ascontiguousarray(p._value))) for p in parameters]
        self._shared = True

    def hold(self) -> bool:
        """Whether the values are the same, bit for bit."""
        if self._last is _last and not self._shared:
            return True
        last, seen, shared = _last, [], False
        for p, mark, numbers in self._seen:
            now, others = p._handed_out, _others_have(p)
            if (now is not mark or others) and numbers != memoryview(np.ascontiguousarray(p._value)):
                return False
            seen.append((p, now, numbers))
            shared |= others
        self._last, self._seen, self._shared = last, seen, shared
        return True


def _others_have(parameter: Parameter) -> bool:
    """Whether anything but the Parameter may refer to its value's memory."""
    return _references(parameter) > _ALONE or parameter._value.base is not None


def _references(parameter: Parameter) -> int:
    return getrefcount(parameter._value)


_ALONE = _references(Parameter(np.zeros(1)))  # 2 in most versions of Python: the Parameter's, and the argument's
