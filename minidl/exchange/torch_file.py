"""Weights in the files of PyTorch, read without it: `.pth` files of any version since 0.4, and safetensors."""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from minidl.backend.arrays import available_memory
from minidl.errors import DataError, OutOfMemoryError, printable
from minidl.exchange.kinds import what_it_is
from minidl.exchange.pickle_machine import UnreadableError
from minidl.exchange.safetensors_file import is_safetensors, read_safetensors
from minidl.exchange.torch_forms import open_form
from minidl.exchange.torch_tensors import Tensor
from minidl.storage.files import open_regular
from minidl.storage.metadata import CHECKPOINT
from minidl.text.progress import Progress

_HEAD = 512  # bytes that tell what a file is
_LARGE = 100_000_000  # bytes that take so long that progress is shown
_DEEP = 3  # how far inside a checkpoint a state dict is looked for
# Where it is in the checkpoints of others, the first of them that is there
_PLACES = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights", "params")
SHOWN = 60  # letters of a name
_WITHOUT = {Tensor: "a single tensor", dict: "a dict without tensors", OrderedDict: "a dict without tensors"}
_WITHOUT |= {list: "a list", tuple: "a tuple"}


@dataclass
class TorchWeights:
    """The arrays of a file under torch's names and in torch's layout, and where in the file they were ("" if the file
    is the state dict itself).
    """

    arrays: dict[str, np.ndarray]
    inside: str = ""


def read_torch_file(path: str | Path) -> dict[str, np.ndarray]:
    """The state dict in a file of PyTorch, as NumPy arrays with torch's names and layout. Torch isn't needed.

    Reads `.pth` files (`.pt`, `.bin`) of torch.save in both forms, and safetensors. In a checkpoint with other
    things, such as {"model": ..., "optimizer": ...}, it is looked for. bfloat16 becomes float32. Tensors that share
    memory in torch share it here. `md.load_torch_state_dict(model, state)` takes the result.

    No code of the file is run: `minidl/exchange/pickle_reader.py` says what is read of it. Raises DataError in one
    line for every other content, and for a damaged file; OutOfMemoryError if the arrays are larger than the free
    memory.
    """
    return read_weights(path).arrays


def read_weights(path: str | Path) -> TorchWeights:
    """Like `read_torch_file`, and says where in the file the state dict was."""
    path = Path(path)
    if not path.exists() or path.is_dir():
        what = "a folder, not a file of torch.save" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {what}")
    try:
        with open_regular(path, follow=True) as file:
            return _read(file, path)
    except UnreadableError as error:
        raise DataError(f"{path}: {printable(str(error))}") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from error


def _read(file: BinaryIO, path: Path) -> TorchWeights:
    head = file.read(_HEAD)
    file.seek(0)
    if is_safetensors(head):
        _check_room(path, 2 * os.fstat(file.fileno()).st_size)  # the file, and the arrays
        arrays, metadata = read_safetensors(file)
        if CHECKPOINT in metadata:
            raise UnreadableError("a checkpoint of minidl already, which all commands read as it is")
        return TorchWeights(arrays)
    form = open_form(file, head)
    if form is None:
        raise UnreadableError(what_it_is(head))
    inside, tensors = _state_dict(form.content)
    storages = {t.storage.key: t.storage for t in tensors.values()}
    # Storages are no larger than the file, but that may be sparse. A tensor can be larger than its storage: one
    # number that is expanded to a million is a million where it is copied.
    stored = sum(s.nbytes for s in storages.values())
    _check_room(path, stored + sum(t.nbytes for t in tensors.values()))
    with Progress("reading", stored, "B", show=stored > _LARGE, leave=False) as bar:
        numbers = form.numbers(storages.values(), bar.add)
    return TorchWeights({name: t.array(numbers[t.storage.key]) for name, t in tensors.items()}, inside)


def _check_room(path: Path, needed: int) -> None:
    free = available_memory(np)
    if free is not None and needed > free:
        raise OutOfMemoryError(f"{path}: {needed / 1e9:,.1f} GB of arrays, and {free / 1e9:,.1f} GB are free")


def _state_dict(content: Any) -> tuple[str, dict[str, Tensor]]:
    """Where the state dict is in what was saved, and its tensors."""
    found = _dicts_of_tensors(content)
    if not found:
        what = _WITHOUT.get(type(content), "something else")
        raise UnreadableError(f"it holds no state dict (names with tensors), but {what}")
    if "" in found and len(found) > 1 and len(found[""]) < max(map(len, found.values())):
        del found[""]  # {"model": {...}, "accuracy": tensor(0.9)}
    known = [place for name in _PLACES for place in found if place.rpartition(".")[2] == name]
    if "" in found:
        place = ""
    elif known:
        place = known[0]
    elif len(found) == 1:
        (place,) = found
    else:
        names = ", ".join(name[:SHOWN] for name in list(found)[:5])
        raise UnreadableError(
            f"it holds {len(found)} state dicts ({names}), and none has a usual name. With torch, save one of them "
            "alone: torch.save(torch.load(FILE)[NAME], NEW)"
        )
    return place, found[place]


def _dicts_of_tensors(content: Any) -> dict[str, dict[str, Tensor]]:
    """The tensors of every dict in `content` that has names for them, by its place such as "model.state_dict"."""
    found, waiting, seen = {}, deque([("", content)]), set()
    while waiting:
        place, value = waiting.popleft()
        if type(value) not in (dict, OrderedDict) or id(value) in seen:
            continue
        seen.add(id(value))  # the same dict can be reached in many ways, also from within itself
        names = {name: v for name, v in value.items() if type(name) is str}
        if tensors := {name: v for name, v in names.items() if type(v) is Tensor}:
            found[place] = tensors
        if place.count(".") + bool(place) < _DEEP:
            waiting.extend((f"{place}.{name}".strip("."), v) for name, v in names.items())
    return found
