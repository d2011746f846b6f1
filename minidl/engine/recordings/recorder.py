"""Records the NumPy calls of a pass: which function reads and writes which arrays.

A `Recorder` takes the place of the scratch memory for one pass. Its arrays note down every call that writes to them,
and so do their views, and what is computed from them. Called again, these functions do the same with other numbers in
the same arrays, as long as nothing in between depends on the numbers. A layer that asks for a number in an array, or
calls a function of NumPy that isn't a ufunc, is called as a whole each time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minidl.engine.tiles.recycler import ALIGNMENT, HUGE
from minidl.engine.tiles.scratch import Scratch

Array = np.ndarray


class Unrecordable(Exception):
    """The work can't be written down as a list of calls."""


class Call(NamedTuple):
    """out = function(*inputs). Inputs may be views, which are read anew each time."""

    function: Callable
    inputs: tuple
    out: Array
    options: dict[str, Any]

    def ready(self) -> Callable[[], Any]:
        return partial(self.function, *self.inputs, out=self.out, **self.options)


def copy(source: Any, out: Array) -> None:
    np.copyto(out, source)


class Recorder(Scratch):
    """Scratch memory that records what is done with it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._room = np.empty(0, np.uint8)  # of large pages, for all blocks: the processor remembers few pages

    def _array(self, *of: Any) -> Array:
        return self.recorded(super()._array(*of))

    def _bytes(self, size: int) -> Array:
        if len(self._room) < size:
            self._room = super()._bytes(max(size, HUGE))
        block, self._room = self._room[:size], self._room[-(-size // ALIGNMENT) * ALIGNMENT :]
        return block

    def bordered(self, *of: Any) -> tuple[Array, Array]:
        whole, part = super().bordered(*of)
        return plain(whole), part  # nothing can be written to the whole, so there is nothing to record

    def recorded(self, array: Array) -> Array:
        """A view of the array that records what is done with it."""
        view = array.view(Recorded)
        view.recorder = self
        return view

    def layer(self, work: Callable[[Array, Scratch], Array], x: Array, in_calls: bool) -> Array:
        """y = work(x, scratch). `in_calls`: each of its calls is recorded if possible; otherwise it is one call."""
        before = len(self.calls)
        with suppress(Unrecordable):
            if in_calls and isinstance(y := work(x, self), Recorded):  # else it was computed behind our back
                return y
        del self.calls[before:]
        whole, x = partial(_whole, work, Scratch()), plain(x)
        y = np.array(work(x, Scratch()))
        self.calls.append(Call(whole, (x,), y, {}))
        return self.recorded(y)


def _whole(work: Callable[[Array, Scratch], Array], scratch: Scratch, x: Array, out: Array) -> None:
    out[...] = work(x, scratch)


class Recorded(np.ndarray):
    """An array of a Recorder; so are its views, and what is computed from it."""

    recorder: Recorder

    def __array_finalize__(self, source: Any) -> None:
        self.recorder = getattr(source, "recorder", None)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        if method == "at" or ufunc.nout > 1 or not all(isinstance(a, Recorded) for a in out):
            raise Unrecordable(f"{ufunc.__name__}.{method}")
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        inputs = tuple(plain(a) for a in inputs)
        result = plain(out[0]) if out else np.asarray(function(*inputs, **options))
        call = Call(function, inputs, result, options)
        if out:
            call.ready()()
        self.recorder.calls.append(call)
        return out[0] if out else self.recorder.recorded(result)

    def __array_function__(self, function: Callable, types: Any, args: tuple, kwargs: dict) -> Any:
        raise Unrecordable(function.__name__)

    def __getitem__(self, key: Any) -> Array:
        part = super().__getitem__(key)
        if not isinstance(part, Recorded) or (part.size and not np.may_share_memory(plain(part), plain(self))):
            raise Unrecordable("single numbers are asked for")
        return part

    def __setitem__(self, key: Any, value: Any) -> None:
        self._record_copy(value, plain(self[key]))

    def reshape(self, *shape: Any, **options: Any) -> Array:
        new = super().reshape(*shape, **options)
        if not np.may_share_memory(plain(new), plain(self)):  # it had to be copied
            self._record_copy(self, plain(new).reshape(self.shape))
        return new

    def _record_copy(self, value: Any, out: Array) -> None:
        call = Call(copy, (plain(value),), out, {})
        call.ready()()
        self.recorder.calls.append(call)

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise Unrecordable("the numbers in an array are asked for")

    __bool__ = __float__ = __int__ = __index__ = _refuse
    copy = astype = flatten = ravel = tobytes = tolist = item = sort = argsort = argmax = argmin = _refuse


def plain(a: Any) -> Any:
    """`a` as an array that doesn't record."""
    return a.view(np.ndarray) if isinstance(a, Recorded) else a
