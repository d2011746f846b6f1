"""What the pickle of torch.save says of its tensors: each is a view of a storage, which lies outside of the pickle.

The entry with index i, j, ... of a tensor is number  offset + i strides[0] + j strides[1] + ...  of its storage.
Several tensors may share a storage, with gaps and overlaps. Everything is checked before an array is made of it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.exchange.pickle_machine import Meaning, Name, UnreadableError

_BFLOAT16 = "bfloat16"  # the upper half of a float32; NumPy has no such type
_TYPES = {  # of storages
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": _BFLOAT16,
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
}
DTYPES = {f"torch.{place}{name}Storage": kind for name, kind in _TYPES.items() for place in ("", "cuda.")}
_REBUILD = {
    "sparse_tensor": "a sparse tensor",
    "qtensor": "a quantized tensor",
    "meta_tensor_no_storage": "a meta tensor (one without numbers)",
    "nested_tensor": "a nested tensor",
    "parameter_with_state": "a Parameter with attributes of its own",
    "tensor_v3": "a tensor of a newer type, such as float8 or uint16",  # all that have no storage of their own
    "wrapper_subclass": "a tensor of a class of its own",
}
_STRANGE = {f"torch._utils._rebuild_{name}": what for name, what in _REBUILD.items()}
_STRANGE["torch._tensor._rebuild_from_type_v2"] = _REBUILD["wrapper_subclass"]
for _kind in ("ComplexFloat", "ComplexDouble", "QInt8", "QUInt8", "QInt32", "QUInt4x2", "QUInt2x4"):
    for _place in ("", "cuda."):
        _STRANGE[f"torch.{_place}{_kind}Storage"] = "a complex tensor" if "Complex" in _kind else _REBUILD["qtensor"]
_AXES = 32
_LARGEST = 2**48  # of a size, a stride and their products: far from the 63 bits where NumPy ends


@dataclass
class Storage:
    """`count` numbers of the type `dtype`, which lie in the file under `key`."""

    key: str
    dtype: str
    count: int

    @property
    def width(self) -> int:
        """The bytes of a number in the file."""
        return 2 if self.dtype == _BFLOAT16 else np.dtype(self.dtype).itemsize

    @property
    def nbytes(self) -> int:
        return self.count * self.width


@dataclass
class View:
    """The part of a storage that a pickle calls a storage of its own, as torch before 0.4 does."""

    storage: Storage
    start: int
    count: int


@dataclass
class Tensor:
    """A view of a storage: `offset` and `strides` count its numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.storage.width

    def array(self, numbers: np.ndarray) -> np.ndarray:
        """The tensor as a view of the numbers of its storage."""
        if 0 in self.shape:
            return np.empty(self.shape, numbers.dtype)
        steps = tuple(stride * numbers.itemsize for stride in self.strides)
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, steps)


def numbers_of(raw: np.ndarray, dtype: str, swapped: bool) -> np.ndarray:
    """The bytes `raw` (n,) of a storage as numbers (count,); bfloat16 becomes float32, which holds it exactly.

    swapped    the bytes of a number are in the order of big machines
    """
    wide = np.dtype("uint16" if dtype == _BFLOAT16 else "uint8" if dtype == "bool" else dtype)
    numbers = raw.view(wide.newbyteorder(">" if swapped else "<"))
    if dtype == _BFLOAT16:
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers != 0 if dtype == "bool" else numbers.astype(wide, copy=False)


class Tensors:
    """The storages that a pickle has named so far, and what its names mean (`meaning`)."""

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}
        self.meaning = Meaning(calls=_CALLS, names=DTYPES, load=self._storage, strange=_STRANGE)

    def _storage(self, identity: Any) -> View:
        """The storage of a persistent id: ("storage", type, key, place, count), and before 0.4 its view."""
        match identity:
            case ("storage", Name(kind), str(key), str(), int(count), *more) if kind in DTYPES and len(more) < 2:
                found = Storage(key, DTYPES[kind], _number(count, "a storage's count"))
            case ("module", *_):
                raise UnreadableError(
                    "it holds a whole module, not a state dict. Where it was made, save the weights alone: "
                    "torch.save(model.state_dict(), FILE)"
                )
            case _:
                raise UnreadableError("its pickle names something outside of it that is no storage")
        if self.storages.setdefault(key, found) != found:
            raise UnreadableError(f"it says two things about its storage {key[:40]}")
        match more:
            case [] | [None]:
                return View(found, 0, count)
            case [(str(), int(start), int(part))] if min(start, part) >= 0 and start + part <= count:
                return View(found, start, part)
        raise UnreadableError(f"it has a part of its storage {key[:40]} that leaves it")


def _number(value: Any, what: str) -> int:
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise UnreadableError(f"{what} is no number from 0 to 2^48")
    return value


def _tensor(arguments: tuple) -> Tensor:
    """torch._utils._rebuild_tensor(storage, offset, shape, strides), and _v2 with what training needs."""
    match arguments:
        case (View(), _, _, _, _, _, {"neg": True} | {"conj": True}):  # a mark in place of the other sign
            raise UnreadableError("it has a tensor whose sign is still to be changed: save it after resolve_neg()")
        case (View() as view, offset, tuple(shape), tuple(strides), *_) if len(shape) == len(strides) <= _AXES:
            pass
        case _:
            raise UnreadableError("it has a tensor that isn't made of a storage, a shape and strides")
    offset = _number(offset, "a tensor's offset")
    for size, stride in zip(shape, strides, strict=True):
        _number(size, "a tensor's size"), _number(stride, "a tensor's stride")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if math.prod(size or 1 for size in shape) >= _LARGEST:
        raise UnreadableError("it has a tensor of more than 2^48 numbers")
    if 0 not in shape and last >= view.count:
        raise UnreadableError(
            f"it has a tensor of the shape {shape} that needs {last + 1:,} numbers, and its storage "
            f"{view.storage.key[:40]} has {view.count:,}"
        )
    return Tensor(view.storage, view.start + offset, shape, strides)


def _parameter(arguments: tuple) -> Tensor:
    """torch._utils._rebuild_parameter(tensor, requires_grad, hooks)."""
    match arguments:
        case (Tensor() as tensor, _, _):
            return tensor
    raise UnreadableError("it has a Parameter that isn't made of a tensor")


def _ordered(arguments: tuple) -> OrderedDict:
    """collections.OrderedDict(), and of Python 2 with a list of [key, value]."""
    match arguments:
        case ():
            return OrderedDict()
        case ([*pairs],) if all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
            if all(type(key) is str for key, _ in pairs):
                return OrderedDict(pairs)
    raise UnreadableError("it has a dict that isn't made of names and values")


_CALLS: dict[str, Callable[[tuple], Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "collections.OrderedDict": _ordered,
}
