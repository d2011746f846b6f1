"""Writes a `.pth` file that torch.load(FILE, weights_only=True) reads, without torch.

The pickle says what torch.save says of an OrderedDict of contiguous tensors, in the opcodes of protocol 2. Nothing in
the file depends on the time or the machine: the same arrays give the same bytes.

Source: torch/serialization.py (_save) and torch/_tensor.py (__reduce_ex__).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from minidl.backend.arrays import Array, to_host
from minidl.errors import UsageError
from minidl.exchange.torch_tensors import DTYPES
from minidl.storage.files import atomic

_STORAGES = {dtype: name for name, dtype in DTYPES.items() if "cuda" not in name}
_ALIGNED = 64  # torch puts the numbers of a storage on such a place, so that they can be mapped into memory
_FOLDER = "archive"


def write_state_dict(path: str | Path, arrays: Mapping[str, Array]) -> None:
    """Writes named arrays as a state dict of torch, atomically; `torch.load(path, weights_only=True)` reads it.

    Names and layout are torch's: `md.to_torch_state_dict(model)` gives them. Raises UsageError for a type that torch
    hasn't, DataError if the file can't be written.
    """
    host = {name: np.asarray(to_host(a), order="C") for name, a in arrays.items()}
    for name, a in host.items():
        if a.dtype.name not in _STORAGES:
            raise UsageError(f"{name} is {a.dtype}: torch.load reads {', '.join(sorted(_STORAGES))}")
    with atomic(path) as temporary, ZipFile(temporary, "w", ZIP_STORED) as file:
        _add(file, "data.pkl", pickle_of(host))
        _add(file, ".format_version", b"1")
        _add(file, "byteorder", b"little")
        for key, a in enumerate(host.values()):
            _add(file, f"data/{key}", a.astype(a.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8).data)
        _add(file, "version", b"3\n")


def _add(file: ZipFile, name: str, content: bytes | memoryview) -> None:
    entry = ZipInfo(f"{_FOLDER}/{name}")  # of the year 1980, the first that a zip knows
    entry.create_system = 0  # else it says on which system it was written
    begin = file.fp.tell() + 30 + len(entry.filename) + 4  # header, name, and the head of the extra field
    padding = -begin % _ALIGNED
    entry.extra = struct.pack("<2sH", b"FB", padding) + b"\0" * padding
    entry.file_size = len(content)
    with file.open(entry, "w") as target:
        target.write(content)


def pickle_of(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An OrderedDict with a tensor for each array, whose numbers are in data/0, data/1, ... (pickle protocol 2)."""
    tensors = b"".join(_text(name) + _tensor(key, a) for key, (name, a) in enumerate(arrays.items()))
    return b"\x80\x02" + _name("collections OrderedDict") + b")R(" + tensors + b"u."


def _tensor(key: int, a: np.ndarray) -> bytes:
    """_rebuild_tensor_v2(storage, 0, shape, strides, requires_grad=False, hooks=OrderedDict())."""
    kind = _name(_STORAGES[a.dtype.name].replace("torch.", "torch "))
    storage = b"(" + _text("storage") + kind + _text(str(key)) + _text("cpu") + _whole(a.size) + b"tQ"
    strides = [math.prod(a.shape[i + 1 :]) for i in range(a.ndim)]
    view = storage + _whole(0) + _tuple(a.shape) + _tuple(strides)
    return (
        _name("torch._utils _rebuild_tensor_v2") + b"(" + view + b"\x89" + _name("collections OrderedDict") + b")RtR"
    )


def _name(text: str) -> bytes:
    return b"c" + text.replace(" ", "\n").encode() + b"\n"


def _text(text: str) -> bytes:
    content = text.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def _whole(number: int) -> bytes:
    if number < 2**31:
        return b"J" + struct.pack("<i", number)
    content = number.to_bytes(9, "little")
    return b"\x8a" + bytes([len(content)]) + content


def _tuple(numbers: tuple[int, ...] | list[int]) -> bytes:
    return b"(" + b"".join(map(_whole, numbers)) + b"t"
