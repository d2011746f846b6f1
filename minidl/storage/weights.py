"""Weight files (safetensors) and PyTorch state dicts.

A safetensors file is a JSON header and raw little-endian arrays. Unlike a pickle it can't run code when it is read.
This is the only module that converts between the layouts of minidl and torch.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from minidl.backend.arrays import Array, available_memory, to_host
from minidl.backend.named import assign, check_arrays
from minidl.errors import DataError, OutOfMemoryError, UsageError
from minidl.layers.base import Layer
from minidl.layers.context import join
from minidl.storage.files import atomic
from minidl.text.calls import call

_TORCH_AXES = {4: (3, 2, 0, 1), 2: (1, 0)}  # (KH, KW, C, F) -> (F, C, KH, KW); (in, out) -> (out, in)
_LEVELS = 4  # of a prefix that is looked for
_TORCH_NAMES = {"gamma": "weight", "beta": "bias"}  # of a batch normalization


def save_arrays(path: str | Path, arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """Writes named arrays to one safetensors file, atomically, with strings as metadata.

    Raises DataError if the file can't be written.
    """
    with atomic(path) as temporary:
        temporary.write_bytes(pack_arrays(arrays, metadata))


def pack_arrays(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """The content of the safetensors file."""
    # order="C": safetensors writes the memory as it is and ignores strides
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise UsageError(f"metadata {key!r:.60}: {value!r:.60}: give texts, such as json.dumps makes")
    host = {name: np.asarray(to_host(a), order="C") for name, a in arrays.items()}
    content = save(host, dict(metadata) if metadata else None)
    return _sorted(content) if metadata and len(metadata) > 1 else content


def _sorted(content: bytes) -> bytes:
    """The safetensors file with its metadata in the order of their keys: the library gives them a random one."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the arrays begin at a multiple of 8
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(content)[start:]])


def unpack_arrays(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata that `pack_arrays` has packed, in this program or in another rank of it."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return load(content), header.get("__metadata__", {})


def load_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a safetensors file.

    Raises DataError if the file doesn't exist, isn't a complete safetensors file, or has types that NumPy lacks.
    Raises OutOfMemoryError if the arrays need more than the free memory: a sparse file can be larger than what was
    downloaded.
    """
    path = Path(path)
    if not path.is_file():
        what = "a folder, not a weight file (a run has them in checkpoints/)" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {what}")
    needed, free = path.stat().st_size, available_memory(np)
    if free is not None and needed > free:
        raise OutOfMemoryError(f"{path}: {needed / 1e9:,.1f} GB of arrays, and {free / 1e9:,.1f} GB are free")
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, AttributeError) as error:  # the last two: types such as bfloat16
        raise _unreadable(path, error) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # an error of Rust, which is not an Exception
            raise
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: BaseException) -> DataError:
    with suppress(OSError), path.open("rb") as file:
        head = file.read(4)
        if re.match(rb"\x08[\x03-\x20][\x12\x1a\x22\x3a]", head):  # the version, then the producer or the graph
            return DataError(
                f"{path}: an ONNX file, which can't be read back: give the run or checkpoint it is made of"
            )
        if head.startswith((b"PK\x03\x04", b"\x80\x02")):  # a zip file, or an older file of torch
            return DataError(
                f"{path}: not safetensors but a file of torch.save: `{call('import-torch')} "
                f"{shlex.quote(str(path))} --model NAME` makes a checkpoint of it, "
                "minidl.read_torch_file(path) reads its arrays"
            )
    return DataError(f"{path}: can't be read as safetensors ({str(error)[:300]})")


def save_weights(path: str | Path, model: Layer, metadata: Mapping[str, str] | None = None) -> None:
    """Writes all parameters and buffers of `model` under their full names (see `save_arrays`)."""
    _check_order(path, model)
    save_arrays(path, model_arrays(model), metadata)


def load_weights(path: str | Path, model: Layer, strict: bool = True) -> dict[str, str]:
    """Reads parameters and buffers into `model`, in place, cast to its dtype; returns the file's metadata.

    If an array is missing, unexpected or of the wrong shape, nothing is changed and DataError names all of them. With
    strict=False, missing and unexpected arrays are ignored. A checkpoint of a run is a weight file too: what it keeps
    for the optimizer ("optimizer/...") is left alone.
    """
    _check_order(path, model)
    given, metadata = load_arrays(path)
    own = model_arrays(model)
    given = {name: a for name, a in given.items() if name in own or "/" not in name}
    check_arrays(own, given, str(path), strict)
    for name in own.keys() & given.keys():
        assign(own[name], given[name])
    return metadata


def _check_order(path: Any, model: Any) -> None:
    if isinstance(model, Layer) and isinstance(path, str | Path):
        return
    swapped = isinstance(path, Layer)
    raise UsageError(
        f"got ({type(path).__name__}, {type(model).__name__}){', the other way round' if swapped else ''}: the file "
        'comes first, then the model, as in ("net.safetensors", model)'
    )


def to_torch_state_dict(model: Layer) -> dict[str, np.ndarray]:
    """The weights of `model` as NumPy arrays with torch's names and layout.

        weight (KH, KW, C, F)  -> weight (F, C, KH, KW)      convolution
        weight (in, out)       -> weight (out, in)           linear
        gamma, beta (C,)       -> weight, bias (C,)          batch normalization (running_mean, running_var unchanged)

    A torch module of the same structure accepts {name: torch.from_numpy(a)} with strict=True. An array that stands in
    two places has two names there. The counter num_batches_tracked doesn't exist in minidl and starts at 0.

    The linear layer after a Flatten can't be exchanged: minidl flattens (H, W, C) and torch (C, H, W), so the rows of
    its weight have another order, which is not corrected here. After Flatten(channels_first=True), and after a global
    average pool, there is no such problem.
    """
    return {name: _to_torch(to_host(a)).copy() for name, a in _torch_arrays(model).items()}


def load_torch_state_dict(model: Layer, state: Mapping[str, Any]) -> None:
    """The reverse of `to_torch_state_dict`; `state` contains torch tensors or NumPy arrays.

    num_batches_tracked, which minidl doesn't have, is ignored, and so is a prefix that the module's names have in
    common, such as "module." of DataParallel. Every array is cast to the model's dtype. If an array is missing,
    unexpected or of the wrong shape, nothing is changed and DataError names all of them, with torch's names.
    """
    if not isinstance(model, Layer) or not isinstance(state, Mapping):
        raise UsageError(
            f"got ({type(model).__name__}, {type(state).__name__}): the model comes first, then the state dict, "
            "as in (model, network.state_dict())"
        )
    own = _torch_arrays(model)
    given = {name: _from_tensor(a) for name, a in without_prefix(state, own)[0].items()}
    first = {id(a): name for name, a in reversed(own.items())}
    own = {name: a for name, a in own.items() if name in given or first[id(a)] == name}
    check_arrays({name: _to_torch(a) for name, a in own.items()}, given, "the torch state dict")
    for name, a in own.items():
        if (one := first[id(a)]) != name and not np.array_equal(given[one], given[name], equal_nan=True):
            raise DataError(f"the torch state dict doesn't fit the model: {one} and {name} differ, and are one array")
    for name, a in own.items():
        assign(_to_torch(a), given[name])  # a view in torch's layout: writing to it transposes


def torch_shapes(model: Layer) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights of `model` by torch's names, in torch's layout."""
    return {name: _to_torch(a).shape for name, a in _torch_arrays(model).items()}


def without_prefix(state: Mapping[str, Any], expected: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The arrays of a torch state dict without BN's counters, and with the names that are `expected` if they had a
    prefix in common, such as "module."; and that prefix.
    """
    state = {name: a for name, a in state.items() if name.rpartition(".")[2] != "num_batches_tracked"}
    if state.keys() & expected.keys():
        return state, ""
    cuts = [(name, name.split(".", level)) for name in state for level in range(1, _LEVELS + 1)]
    heads = Counter(name[: -len(rest)] for name, (*_, rest) in cuts if rest in expected)
    if not heads:
        return state, ""
    prefix = max(heads, key=heads.__getitem__)
    return {name.removeprefix(prefix): a for name, a in state.items()}, prefix


def model_arrays(model: Layer) -> dict[str, Array]:
    """All values and buffers of `model` by full name: the live arrays. Raises UsageError if two share a name."""
    values, buffers = {name: p.value for name, p in model.named_parameters().items()}, model.named_buffers()
    if both := values.keys() & buffers.keys():
        raise UsageError(f"a parameter and a buffer are both called {min(both)}: give one of them another name")
    return values | buffers


def _torch_arrays(model: Layer) -> dict[str, Array]:
    """All values and buffers by torch's names: there, what stands in two places has the names of both.

    Raises UsageError if two arrays would have the same name.
    """
    found, names = {}, list(model_arrays(model).items())
    for path, layer in model.places():
        own = {name: p.value for name, p in layer.params.items()} | layer.buffers
        names += [(join(path, name), a) for name, a in own.items()]
    for name, a in names:
        if found.setdefault(torch_name(name), a) is not a:
            raise UsageError(f"{name}: its name in torch, {torch_name(name)}, is taken: give it another one")
    return found


def torch_name(name: str) -> str:
    """The name that torch has for an array of minidl."""
    prefix, dot, last = name.rpartition(".")
    return prefix + dot + _TORCH_NAMES.get(last, last)


def _to_torch(a: Array) -> Array:
    return a.transpose(_TORCH_AXES[a.ndim]) if a.ndim in _TORCH_AXES else a


def _from_tensor(a: Any) -> np.ndarray:
    if not hasattr(a, "detach"):
        return np.asarray(a)
    a = a.detach().cpu()
    return (a.float() if str(a.dtype) == "torch.bfloat16" else a).numpy()  # NumPy has no bfloat16
