"""The stand-in's array: NumPy's numbers with CuPy's behaviour."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.cuda_standin import streams
from tests.cuda_standin.api import check, kind
from tests.cuda_standin.memory import memory_of
from tests.cuda_standin.pool import MEMORY
from tests.cuda_standin.record import RECORD, StrictError

SCALARS = (bool, int, float, complex, np.generic)
DTYPES = "biufc"
LOOKS = {  # at an array without reading its numbers
    *("reshape", "ravel", "transpose", "swapaxes", "moveaxis", "rollaxis", "squeeze", "expand_dims", "flip", "split"),
    *("view", "diagonal", "broadcast_to", "as_strided", "empty_like"),
}


class ndarray:
    """Looks like cupy.ndarray, contains a NumPy array, and refuses everything that would be wrong on a device."""

    __slots__ = ("_host", "_memory")
    __hash__ = None

    def __init__(self, host: np.ndarray) -> None:
        if host.dtype.kind not in DTYPES:
            RECORD.refuse(ValueError, f"Unsupported dtype {host.dtype}")
        self._host, self._memory = host, memory_of(host)
        MEMORY.pool._hold(host)

    # ------------------------------------------------------- ways to and off the device

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray):
            RECORD.refuse(TypeError, "Only numpy.ndarray can be set to cupy.ndarray")
        if self._host.dtype != arr.dtype:
            RECORD.refuse(TypeError, f"{arr.dtype} array cannot be set to {self._host.dtype} array")
        if self._host.shape != arr.shape:
            RECORD.refuse(ValueError, f"Shape mismatch. Old shape: {self._host.shape}, new shape: {arr.shape}")
        if not (self._host.flags.c_contiguous or self._host.flags.f_contiguous):
            RECORD.refuse(RuntimeError, "Cannot set to non-contiguous array")
        RECORD.upload()
        stream = stream or streams.current()
        if not stream._late:
            self._memory.use(stream)
        streams.copy_to_device(self._host, self._memory.born, arr, stream)

    def get(self, stream: Any = None, order: str = "C", out: np.ndarray | None = None, blocking: bool = True) -> Any:
        if blocking:
            RECORD.sync("get")
        self._memory.read(stream or streams.current(), blocking)
        if out is None:
            return self._host.copy(order=order)
        out[...] = self._host
        return out

    def _read(self, what: str) -> None:
        RECORD.sync(what)
        self._memory.read(streams.current())

    def item(self) -> Any:
        self._read("item")
        return self._host.item()

    def tolist(self) -> Any:
        self._read("tolist")
        return self._host.tolist()

    def __bool__(self) -> bool:
        self._read("bool")
        return bool(self._host)

    def __int__(self) -> int:
        self._read("int")
        return int(self._host)

    def __float__(self) -> float:
        self._read("float")
        return float(self._host)

    def __index__(self) -> int:
        self._read("index")
        return operator.index(self._host)

    def __repr__(self) -> str:
        self._read("repr")
        return f"standin.{self._host!r}"

    # ------------------------------------------------------------- no way to NumPy

    def __array__(self, *_: Any, **__: Any) -> None:
        RECORD.refuse(
            TypeError,
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly.",
        )

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> None:
        if any(isinstance(i, np.ndarray) for i in inputs):
            RECORD.refuse(TypeError, f"{ufunc.__name__}: Unsupported type {np.ndarray}")
        RECORD.refuse(
            StrictError, f"np.{ufunc.__name__} of a device array: CuPy takes it, xp.{ufunc.__name__} is meant"
        )

    def __array_function__(self, function: Callable, *_: Any) -> None:
        RECORD.refuse(StrictError, f"np.{function.__name__} of a device array: xp.{function.__name__} is meant")

    # -------------------------------------------------------------------- indexing

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[ndarray]:
        return (wrap(part) for part in self._host)

    def __getitem__(self, key: Any) -> ndarray:
        host_key, arrays = self._key(key)
        if any(a.dtype == bool for a in arrays):
            self._read("boolean mask")  # the size of the result is known to the device only
        if arrays:
            use(self, key)
        result = self._at(host_key, arrays)
        if arrays:
            RECORD.launch("index", *arrays, result, result)
        return wrap(result)

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim):
            RECORD.refuse(ValueError, "non-scalar numpy.ndarray cannot be used for fill")
        host_key, arrays = self._key(key)
        use(self, key, value)
        if arrays and not any(a.dtype == bool for a in arrays):
            places = self._where(host_key, arrays)
            if len(np.unique(places)) < places.size:
                RECORD.refuse(StrictError, "duplicate indices in an assignment: CuPy leaves open which value stays")
        value = value if isinstance(value, np.ndarray) else host(value, "assignment")
        if not arrays and isinstance(value, np.ndarray):
            no_overlap(self._host[host_key], value)
        RECORD.launch("assignment", self._host[host_key], value)
        self._host[host_key] = value

    def _key(self, key: Any) -> tuple[tuple, list[np.ndarray]]:
        """The key for NumPy, and the index arrays in it."""
        parts = key if isinstance(key, tuple) else (key,)
        for part in parts:
            if isinstance(part, np.ndarray | list):
                RECORD.refuse(StrictError, f"a {type(part).__name__} as an index: CuPy copies it to the device")
        arrays = [part._host for part in parts if isinstance(part, ndarray)]
        return tuple(part._host if isinstance(part, ndarray) else part for part in parts), arrays

    def _at(self, key: tuple, arrays: list[np.ndarray], of: np.ndarray | None = None) -> np.ndarray:
        try:
            return (self._host if of is None else of)[key]
        except IndexError as error:
            if arrays:
                RECORD.refuse(StrictError, f"{error}: CuPy wraps it round without a word")
            raise

    def _where(self, key: tuple, arrays: list[np.ndarray]) -> np.ndarray:
        places = np.arange(self._host.size).reshape(self._host.shape)
        return self._at(key, arrays, places)

    # ------------------------------------------------------- attributes and methods

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self._host.ctypes.data)

    @property
    def flags(self) -> Any:
        f = self._host.flags
        return SimpleNamespace(c_contiguous=f.c_contiguous, f_contiguous=f.f_contiguous, owndata=f.owndata)

    def __getattr__(self, name: str) -> Any:
        if kind("cupy.ndarray", name) == "property":
            return wrap(getattr(self._host, name))

        def method(*args: Any, **kwargs: Any) -> Any:
            check("cupy.ndarray", name, (self, *args), kwargs)
            if name in ("nonzero", "tobytes"):
                self._read(name)
            result = call(name, getattr(self._host, name), args, kwargs, self)
            return self if isinstance(result, ndarray) and result._host is self._host else result

        return method

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, _: dict) -> ndarray:
        return self.copy()


ndarray.__module__ = "cupy"  # by this `array_module` finds the module


TF32 = SimpleNamespace(on=None)  # like CuPy's: from CUPY_TF32 at the first float32 product, and kept


def matmul(a: np.ndarray, b: np.ndarray, **kwargs: Any) -> np.ndarray:
    """np.matmul; factors are rounded to TF32 where CuPy asks for it, in float32 products of two matrices."""
    if a.dtype == b.dtype == np.float32:
        if TF32.on is None:
            TF32.on = int(os.getenv("CUPY_TF32", "0")) > 0
        if TF32.on and a.ndim == b.ndim == 2:
            a, b = (((np.ascontiguousarray(v).view(np.uint32) + 0x1000) & 0xFFFFE000).view(v.dtype) for v in (a, b))
    return np.matmul(a, b, **kwargs)


def launched(name: str, result: Any, *operands: Any) -> ndarray:
    RECORD.launch(name, result, *operands)
    return wrap(result)


def _binary(name: str, function: Callable) -> Callable:
    def operate(self: ndarray, other: Any) -> ndarray:
        use(self, other)
        value = host(other, name)
        return launched(name, function(self._host, value), self._host, value)

    return operate


def _reflected(name: str, function: Callable) -> Callable:
    def operate(self: ndarray, other: Any) -> ndarray:
        use(self, other)
        value = host(other, name)
        return launched(name, function(value, self._host), value, self._host)

    return operate


def _in_place(name: str, function: Callable) -> Callable:
    def operate(self: ndarray, other: Any) -> ndarray:
        use(self, other)
        value = host(other, name)
        if isinstance(value, np.ndarray):
            no_overlap(self._host, value)
        RECORD.launch(name, self._host, self._host, value)
        function(self._host, value)
        return self

    return operate


def _unary(name: str, function: Callable) -> Callable:
    def operate(self: ndarray) -> ndarray:
        use(self)
        return launched(name, function(self._host), self._host)

    return operate


ARITHMETIC = (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "lshift",
    "rshift",
    "and",
    "or",
    "xor",
    "matmul",
)
for _name in ARITHMETIC:
    _function = matmul if _name == "matmul" else getattr(operator, f"__{_name}__")
    setattr(ndarray, f"__{_name}__", _binary(_name, _function))
    setattr(ndarray, f"__r{_name}__", _reflected(_name, getattr(operator, f"__{_name}__")))
    if _name != "matmul":
        setattr(ndarray, f"__i{_name}__", _in_place(_name, getattr(operator, f"__i{_name}__")))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(ndarray, f"__{_name}__", _binary(_name, getattr(operator, _name)))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(ndarray, f"__{_name}__", _unary(_name, getattr(operator, _name)))


def call(name: str, function: Callable, args: tuple, kwargs: dict, of: ndarray | None = None) -> Any:
    """NumPy's `function` of device arrays and numbers, or method of one; the result is on the device."""
    out = kwargs.get("out")
    if name not in LOOKS:
        use(of, args, kwargs)
    host_args, host_kwargs = host(args, name, nested=True), host(kwargs, name, nested=True)
    if isinstance(out, ndarray):
        for value in arrays_in(args):
            no_overlap(out._host, value._host)
    try:
        result = function(*host_args, **host_kwargs)
    except IndexError as error:
        RECORD.refuse(StrictError, f"{name}: {error}: CuPy wraps it round without a word")
    operands = [*(a._host for a in arrays_in(args)), getattr(function, "__self__", None)]
    if name not in ("empty", "empty_like") and (isinstance(out, ndarray) or not _is_view(result, operands)):
        if name in LOOKS:  # only by a copy, as of a reshape that can't be a view: of the numbers that are there then
            use(of, args, kwargs)
            result = function(*host_args, **host_kwargs)
        RECORD.launch(name, result, *operands)
    return out if isinstance(out, ndarray) else wrap(result)


def use(*values: Any) -> None:
    """The arrays in `values` are read or written by the current stream."""
    for a in arrays_in(values):
        a._memory.use(streams.current())


def _is_view(result: Any, operands: list) -> bool:
    """Of an operand, so that nothing was computed."""
    if not isinstance(result, np.ndarray | np.generic):
        return True
    return any(np.may_share_memory(result, a) for a in operands if isinstance(a, np.ndarray))


def arrays_in(value: Any) -> list[ndarray]:
    """All device arrays in arguments."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [a for part in value for a in arrays_in(part)]
    return [value] if isinstance(value, ndarray) else []


def host(value: Any, where: str, nested: bool = False) -> Any:
    """What NumPy computes with in the place of an operand or, nested, of arguments."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray) or (not nested and not isinstance(value, SCALARS)):
        RECORD.refuse(TypeError, f"{where}: Unsupported type {type(value)}")
    if isinstance(value, dict):
        return {k: host(v, where, nested) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(host(part, where, nested) for part in value)
    return value


def wrap(value: Any) -> Any:
    """A result as CuPy gives it: a sum over everything is an array without axes, not a number."""
    if isinstance(value, np.ndarray | np.generic):
        return ndarray(np.asarray(value))
    if isinstance(value, list | tuple) and any(isinstance(part, np.ndarray) for part in value):
        return type(value)(map(wrap, value)) if type(value) in (list, tuple) else tuple(map(wrap, value))
    return value


def no_overlap(target: np.ndarray, source: np.ndarray) -> None:
    """NumPy copies what would be overwritten before it is read; on a device the threads race for it."""
    same = target.__array_interface__["data"] == source.__array_interface__["data"] and (
        target.shape == source.shape and target.strides == source.strides
    )
    if not same and np.may_share_memory(target, source) and np.shares_memory(target, source):
        RECORD.refuse(StrictError, "the target overlaps an operand: on a device its threads race")
