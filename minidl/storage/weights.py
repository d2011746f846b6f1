"""Weight files (safetensors) and PyTorch state dicts.

A safetensors file is a JSON header and raw little-endian arrays: unlike a pickle it can't run code when it is read.
The layouts of minidl and torch meet here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from minidl.backend.arrays import Array, available_memory, to_host
from minidl.backend.named import assign, check_arrays
from minidl.errors import DataError, OutOfMemoryError, UsageError
from minidl.layers.base import Layer
from minidl.storage.files import atomic

_TORCH_AXES = {4: (3, 2, 0, 1), 2: (1, 0)}  # (KH, KW, C, F) -> (F, C, KH, KW); (in, out) -> (out, in)
_TORCH_NAMES = {"gamma": "weight", "beta": "bias"}  # of a batch normalization


def save_arrays(path: str | Path, arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """Writes named arrays, and strings as metadata, to one safetensors file, atomically.

    Raises DataError if the file can't be written.
    """
    # order="C": safetensors takes the memory as it lies, whatever the strides say
    host = {name: np.asarray(to_host(a), order="C") for name, a in arrays.items()}
    with atomic(path) as temporary:
        temporary.write_bytes(save(host, dict(metadata) if metadata else None))


def load_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a safetensors file.

    Raises DataError if there is no such file, or it isn't a whole safetensors file of types that NumPy has, and
    OutOfMemoryError if there isn't the memory for all of it: a sparse file is larger than what was downloaded.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: {'a folder, not a weight file' if path.is_dir() else 'no such file'}")
    needed, free = path.stat().st_size, available_memory(np)
    if free is not None and needed > free:
        raise OutOfMemoryError(f"{path}: {needed / 1e9:,.1f} GB of arrays, and {free / 1e9:,.1f} GB are free")
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, AttributeError) as error:  # the latter two: bfloat16 and the like
        raise DataError(f"{path}: can't be read as safetensors ({str(error)[:300]})") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Rust's, which is no Exception
            raise
        raise DataError(f"{path}: can't be read as safetensors ({str(error)[:300]})") from error


def save_weights(path: str | Path, model: Layer, metadata: Mapping[str, str] | None = None) -> None:
    """Writes all parameters and buffers of `model` under their full names (see `save_arrays`)."""
    save_arrays(path, model_arrays(model), metadata)


def load_weights(path: str | Path, model: Layer, strict: bool = True) -> dict[str, str]:
    """Reads parameters and buffers into `model`, in place, cast to its dtype; returns the file's metadata.

    Raises DataError naming all missing, unexpected and misshapen arrays, and then changes nothing.
    Not strict, it takes what it finds: only a wrong shape is an error.
    """
    given, metadata = load_arrays(path)
    own = model_arrays(model)
    check_arrays({name: a.shape for name, a in own.items()}, given, str(path), strict)
    for name in own.keys() & given.keys():
        assign(own[name], given[name])
    return metadata


def to_torch_state_dict(model: Layer) -> dict[str, np.ndarray]:
    """The weights of `model` as NumPy arrays under torch's names and in torch's layout.

        weight (KH, KW, C, F)  -> weight (F, C, KH, KW)      convolution
        weight (in, out)       -> weight (out, in)           linear
        gamma, beta (C,)       -> weight, bias (C,)          batch normalization (running_mean, running_var stay)

    A torch module of the same structure takes {name: torch.from_numpy(a)} with strict=True; the counter
    num_batches_tracked, which minidl has not, starts at 0 then.

    A linear layer on a flattened map is not exchangeable: minidl flattens (H, W, C) and torch (C, H, W), so its rows
    come in another order, which is not corrected here. Nets that pool globally before the linear layer are.
    """
    return {_torch_name(name): _to_torch(to_host(a)).copy() for name, a in model_arrays(model).items()}


def load_torch_state_dict(model: Layer, state: Mapping[str, Any]) -> None:
    """The reverse of `to_torch_state_dict`; `state` holds torch tensors or NumPy arrays.

    num_batches_tracked, which minidl has not, is skipped, and every array cast to the model's dtype.
    Raises DataError naming (as torch does) all missing, unexpected and misshapen arrays, and then changes nothing.
    """
    given = {name: _from_tensor(a) for name, a in state.items() if not name.endswith("num_batches_tracked")}
    own = model_arrays(model)
    check_arrays({_torch_name(name): _to_torch(a).shape for name, a in own.items()}, given, "the torch state dict")
    for name, a in own.items():
        assign(_to_torch(a), given[_torch_name(name)])  # a view in torch's layout: writing to it transposes


def model_arrays(model: Layer) -> dict[str, Array]:
    """All values and buffers of `model` by full name: the live arrays. Raises UsageError if two share a name."""
    values, buffers = {name: p.value for name, p in model.named_parameters().items()}, model.named_buffers()
    if both := values.keys() & buffers.keys():
        raise UsageError(f"a parameter and a buffer are both called {min(both)}: give one of them another name")
    return values | buffers


def _torch_name(name: str) -> str:
    prefix, dot, last = name.rpartition(".")
    return prefix + dot + _TORCH_NAMES.get(last, last)


def _to_torch(a: Array) -> Array:
    return a.transpose(_TORCH_AXES[a.ndim]) if a.ndim in _TORCH_AXES else a


def _from_tensor(a: Any) -> np.ndarray:
    return a.detach().cpu().numpy() if hasattr(a, "detach") else np.asarray(a)
