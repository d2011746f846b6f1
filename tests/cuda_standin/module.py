"""The modules `cupy` and `cupyx` of the stand-in: NumPy's functions under CuPy's names and signatures."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from tests.cuda_standin import device, streams
from tests.cuda_standin.api import API, check, kind
from tests.cuda_standin.array import SCALARS, arrays_in, call, matmul, ndarray, wrap
from tests.cuda_standin.pool import MEMORY
from tests.cuda_standin.record import RECORD, StrictError

FROM_HOST = ("array", "asarray", "ascontiguousarray")
MAKERS = ("arange", "linspace", "logspace", "zeros", "ones", "empty", "full", "eye", "identity", "tri", "indices")
SYNCS = ("nonzero", "flatnonzero", "argwhere", "unique", "array_equal", "allclose")
UFUNC_OPTIONS = {"out", "dtype", "casting"}


class Ufunc:
    """An element-wise function."""

    def __init__(self, name: str) -> None:
        self.name, self._numpy = name, getattr(np, name)
        self.nin, self.nout = self._numpy.nin, self._numpy.nout

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if wrong := kwargs.keys() - UFUNC_OPTIONS:
            RECORD.refuse(TypeError, f"Wrong arguments {sorted(wrong)}")
        if not self.nin <= len(args) <= self.nin + self.nout:
            RECORD.refuse(TypeError, f"{self.name}: wrong number of arguments ({len(args)})")
        for arg in args:
            if not isinstance(arg, (ndarray, *SCALARS)):
                RECORD.refuse(TypeError, f"{self.name}: Unsupported type {type(arg)}")
        return call(self.name, matmul if self.name == "matmul" else self._numpy, args, kwargs)

    def reduce(self, *args: Any, **kwargs: Any) -> Any:
        check("cupy.ufunc", "reduce", (self, *args), kwargs)
        return call(self.name, self._numpy.reduce, args, kwargs)

    def at(self, a: ndarray, indices: Any, b: Any = None) -> None:
        if a.dtype.kind == "f":
            RECORD.refuse(StrictError, f"{self.name}.at of floats: CuPy adds in another order every time")
        call(self.name, self._numpy.at, (a, indices) if b is None else (a, indices, b), {})


class Module(ModuleType):
    """A module of the dump, over the NumPy module whose functions do the work; `own` goes before both."""

    def __init__(self, path: str, numpy: Any, own: dict[str, Any]) -> None:
        super().__init__(path)
        self._path, self._numpy = path, numpy
        vars(self).update(own)

    def __getattr__(self, name: str) -> Any:
        what = kind(self._path, name)
        if not hasattr(self._numpy, name):
            RECORD.refuse(NotImplementedError, f"{self._path}.{name}: CuPy has it, the stand-in has not")
        found = getattr(self._numpy, name)
        if what == "ufunc":
            found = Ufunc(name)
        elif what.startswith("("):
            found = self._function(name)
        setattr(self, name, found)
        return found

    def _function(self, name: str) -> Any:
        def function(*args: Any, **kwargs: Any) -> Any:
            check(self._path, name, args, kwargs)
            if name not in (*FROM_HOST, *MAKERS) and not arrays_in([args, kwargs]):
                RECORD.refuse(TypeError, f"{self._path}.{name}: no device array among its arguments")
            if name in SYNCS or (name == "where" and len(args) + len(kwargs) == 1):
                RECORD.sync(name)
            result = call(name, getattr(self._numpy, name), args, kwargs)
            if name in ("empty", "empty_like"):
                streams.poison(result._host)
            return result

        function.__name__ = name
        return function


def _from_host(name: str) -> Any:
    def function(a: Any, *args: Any, **kwargs: Any) -> ndarray:
        check("cupy", name, (a, *args), kwargs)
        if isinstance(a, ndarray):
            result = call(name, getattr(np, name), (a, *args), kwargs)
            return a if result._host is a._host else result
        if isinstance(a, list | tuple) and arrays_in(a):
            RECORD.refuse(StrictError, f"{name} of a list of device arrays: xp.stack is meant")
        RECORD.upload()
        return wrap(np.array(getattr(np, name)(a, *args, **kwargs)))  # a copy: a device has memory of its own

    return function


def make_cupy() -> ModuleType:
    """A new module `cupy`."""
    own = {name: _from_host(name) for name in FROM_HOST}
    stride_tricks = Module("cupy.lib.stride_tricks", np.lib.stride_tricks, {})
    own |= {
        "__version__": API["version"],
        "ndarray": ndarray,
        "asnumpy": lambda a, **kwargs: a.get(**kwargs) if isinstance(a, ndarray) else np.asarray(a),
        "get_array_module": lambda *args: cupy if arrays_in(args) else np,
        "get_default_memory_pool": lambda: MEMORY.pool,
        "RawKernel": device.RawKernel,
        "RawModule": device.RawModule,
        "cuda": device.make_cuda(),
        "linalg": Module("cupy.linalg", np.linalg, {}),
        "lib": Module("cupy.lib.stride_tricks", np.lib.stride_tricks, {"stride_tricks": stride_tricks}),
    }
    cupy = Module("cupy", np, own)
    return cupy


def make_cupyx() -> ModuleType:
    """A new module `cupyx`."""
    return Module("cupyx", None, {"empty_pinned": streams.empty_pinned})
