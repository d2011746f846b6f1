"""Arrays without numbers: a model's own code runs on them, and the memory that it would need is counted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class Meter:
    """The bytes of all Blanks that are alive, and the largest number so far."""

    def __init__(self) -> None:
        self.live = self.peak = 0

    def array(self, shape: tuple[int, ...], dtype: np.dtype | type) -> Blank:
        """A new array of this shape, which takes no memory."""
        new = np.broadcast_to(np.zeros((), dtype), shape).view(Blank)
        new.memory = _Memory(self, math.prod(shape) * new.itemsize)
        return new


class _Memory:
    """The memory of an array and its views. Python's reference counting deletes it when it would free the memory."""

    def __init__(self, meter: Meter, nbytes: int) -> None:
        self.meter, self.nbytes = meter, nbytes
        meter.live += nbytes
        meter.peak = max(meter.peak, meter.live)

    def free(self) -> None:
        """From now on it is not counted."""
        self.meter.live -= self.nbytes
        self.nbytes = 0

    __del__ = free


class Blank(np.ndarray):
    """A shape and a dtype; every entry is the same zero. Everything that is computed from it is a Blank too."""

    memory: _Memory | None = None

    def __array_finalize__(self, other: Any) -> None:
        self.memory = getattr(other, "memory", None)  # a view

    def __setitem__(self, index: Any, value: Any) -> None:
        pass

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple | None = None, **options: Any):
        if out:
            return out[0]
        if method == "__call__" and ufunc.signature is None and ufunc.nout == 1:  # entry by entry
            ones = [a.dtype.type(0) if isinstance(a, np.ndarray) else a for a in inputs]
            with np.errstate(all="ignore"):
                dtype = np.asarray(ufunc(*ones, **options)).dtype
            return self._meter.array(np.broadcast_shapes(*(np.shape(a) for a in inputs)), dtype)
        return self._counted(getattr(ufunc, method)(*map(_plain, inputs), **options))

    def __array_function__(self, function: Any, types: Any, args: tuple, options: dict) -> Any:
        if function is np.concatenate:
            arrays, axis = args[0], options.get("axis", args[1] if len(args) > 1 else 0)
            shape = list(arrays[0].shape)
            shape[axis] = sum(a.shape[axis] for a in arrays)
            return self._meter.array(tuple(shape), np.result_type(*(a.dtype for a in arrays)))
        if function in (np.zeros_like, np.empty_like) and len(args) == 1 and not options:
            return self._meter.array(args[0].shape, self.dtype)
        return self._counted(function(*map(_plain, args), **options))

    def copy(self, order: str = "C") -> Blank:
        return self._meter.array(self.shape, self.dtype)

    def astype(self, dtype: Any, *args: Any, **options: Any) -> Blank:
        return self._meter.array(self.shape, dtype)

    @property
    def _meter(self) -> Meter:
        return self.memory.meter if self.memory else Meter()

    def _counted(self, result: Any) -> Any:
        return self._meter.array(result.shape, result.dtype) if isinstance(result, np.ndarray) else result


def blank(a: Any) -> Blank:
    """An array of the shape and dtype of `a` that is not counted."""
    return np.broadcast_to(np.zeros((), a.dtype), a.shape).view(Blank)


def _plain(a: Any) -> Any:
    if isinstance(a, list | tuple):
        return type(a)(map(_plain, a))
    return a.view(np.ndarray) if isinstance(a, Blank) else a
