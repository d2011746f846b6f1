"""A learned array and its gradient."""

from __future__ import annotations

from collections.abc import Iterable

from minidl.backend.arrays import Array, array_module
from minidl.errors import UsageError

FROZEN = "frozen"  # the tag of parameters that no optimizer changes


class Parameter:
    """A learned array `value`, its gradient `grad` = dL/dvalue, and `tags`.

    Both arrays are changed in place and never replaced, because they may be views of one flat vector: `p.grad += g`
    and `p.value[...] = v` are right, and `p.value = v` raises AttributeError. Tags group parameters for the
    optimizer: "weight", "bias", "norm" (gamma and beta of a batch normalization). A string is one tag.
    """

    __slots__ = ("_value", "_grad", "tags")

    def __init__(self, value: Array, tags: Iterable[str] | str = (), grad: Array | None = None) -> None:
        xp = array_module(value)
        if value.dtype.kind != "f":
            raise UsageError(
                f"Parameter: the value is {value.dtype}, and must be floating: value.astype(np.float32) makes it so"
            )
        self._value = value
        self._grad = xp.zeros_like(value) if grad is None else grad
        self.tags = frozenset((tags,) if isinstance(tags, str) else tags)

    @property
    def value(self) -> Array:
        return self._value

    @value.setter
    def value(self, new: Array) -> None:
        self._refuse_rebinding("value", self._value, new)

    @property
    def grad(self) -> Array:
        return self._grad

    @grad.setter
    def grad(self, new: Array) -> None:
        self._refuse_rebinding("grad", self._grad, new)

    @staticmethod
    def _refuse_rebinding(name: str, old: Array, new: Array) -> None:
        # `p.grad += g` ends with an assignment of the same array. Another array would break the views.
        if new is not old:
            raise AttributeError(f"Parameter.{name} is written in place: use p.{name}[...] = array")

    def __repr__(self) -> str:
        return f"Parameter(shape={self.value.shape}, dtype={self.value.dtype}, tags={sorted(self.tags)})"
