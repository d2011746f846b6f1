"""Safetensors files of torch's users. NumPy has no bfloat16, which `storage.weights` refuses; here it is widened."""

from __future__ import annotations

import json
from typing import BinaryIO

import numpy as np
from safetensors import SafetensorError, deserialize

from minidl.exchange.pickle_machine import UnreadableError
from minidl.exchange.torch_tensors import numbers_of

_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"}
_TYPES |= {"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8"}


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins with `head` is safetensors: the length of a JSON text, and the text."""
    return head[8:9] == b"{" and head[6:8] == b"\0\0"


def read_safetensors(file: BinaryIO) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a safetensors file; bfloat16 becomes float32. Raises UnreadableError."""
    content = file.read()
    try:
        found = deserialize(content)
    except BaseException as error:
        if not isinstance(error, SafetensorError) and type(error).__name__ != "PanicException":  # of Rust
            raise
        raise UnreadableError(f"can't be read as safetensors ({str(error)[:200]})") from None
    if strange := sorted({facts["dtype"] for _, facts in found} - {*_TYPES}):
        raise UnreadableError(f"it has arrays of the type {strange[0]}, which isn't read")
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    arrays = {}
    for name, facts in found:
        raw = np.frombuffer(facts["data"], np.uint8)
        arrays[name] = numbers_of(raw, _TYPES[facts["dtype"]], swapped=False).reshape(facts["shape"])
    return arrays, header.get("__metadata__") or {}
