"""The two forms of a file of torch.save: a zip since 1.6, and a stream before.

Zip: `archive/data.pkl` is the pickle, `archive/data/KEY` the storage KEY; the first folder may have any name.
Stream: four pickles (a magic number, 1001, facts about the machine, the content), a pickle of the storages' keys,
and for each of them, in this order, how many numbers it has (int64) and the numbers.

Source: torch/serialization.py (_save and _legacy_save).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, BinaryIO

import numpy as np

from minidl.exchange.pickle_machine import Meaning, UnreadableError
from minidl.exchange.pickle_reader import MOST_BYTES, read_pickle
from minidl.exchange.stored_zip import StoredZip, read_bytes
from minidl.exchange.torch_tensors import Storage, Tensors, numbers_of

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_PICKLE = "data.pkl"
_NO_TENSORS = Meaning(calls={}, names=(), load=lambda _: None)


class ZipForm:
    """A zip of torch 1.6 or later. `content` is what was saved."""

    def __init__(self, file: BinaryIO) -> None:
        self.zip = StoredZip(file)
        names = self.zip.entries
        pickles = [name for name in names if name.rpartition("/")[2] == _PICKLE]
        if any(name.endswith(("/constants.pkl", "/serialized_exported_program.json")) for name in names):
            raise UnreadableError(
                "it holds a program (TorchScript, or of torch.export), not a state dict. With torch, save its "
                "weights alone: torch.save(torch.jit.load(FILE).state_dict(), NEW)"
            )
        if len(pickles) != 1:
            other = "it is NumPy's, not torch's" if any(name.endswith(".npy") for name in names) else "not torch's"
            raise UnreadableError(f"a zip file without the one {_PICKLE} of torch.save: {other}")
        self.folder, tensors = pickles[0].removesuffix(_PICKLE), Tensors()
        order = self.zip.read(name, 6).tobytes() if (name := self.folder + "byteorder") in names else b"little"
        if order not in (b"little", b"big"):
            raise UnreadableError("its order of bytes is neither little nor big")
        self.swapped = order == b"big"
        data = self.zip.read(pickles[0], MOST_BYTES).tobytes()
        self.content, _ = read_pickle(data, 0, tensors.meaning)

    def numbers(self, storages: Collection[Storage], done: Callable[[int], None]) -> dict[str, np.ndarray]:
        """The numbers (count,) of storages by key; `done` is told the bytes of each one."""
        found = {}
        for storage in storages:
            found[storage.key] = numbers_of(self._bytes(storage), storage.dtype, self.swapped)
            done(storage.nbytes)
        return found

    def _bytes(self, storage: Storage) -> np.ndarray:
        if storage.count == 0:
            return np.empty(0, np.uint8)
        raw = self.zip.read(f"{self.folder}data/{storage.key}", storage.nbytes)
        if raw.size != storage.nbytes:
            raise UnreadableError(f"its storage {storage.key[:40]} has {raw.size:,} bytes, not {storage.nbytes:,}")
        return raw


class StreamForm:
    """A file of torch before 1.6, or with _use_new_zipfile_serialization=False. `content` is what was saved."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, tensors = file, Tensors()
        data = file.read(MOST_BYTES)
        magic, at = read_pickle(data, 0, _NO_TENSORS)
        if magic != MAGIC:
            raise UnreadableError("a pickle that torch.save didn't write")
        version, at = read_pickle(data, at, _NO_TENSORS)
        facts, at = read_pickle(data, at, _NO_TENSORS)
        if version != PROTOCOL or not isinstance(facts, dict) or facts.get("little_endian") is not True:
            raise UnreadableError("it is of a version of torch, or of a machine, whose files aren't read")
        self.content, at = read_pickle(data, at, tensors.meaning)
        keys, self.start = read_pickle(data, at, _NO_TENSORS)
        texts = type(keys) is list and all(type(key) is str for key in keys)
        if not texts or sorted(keys) != sorted(tensors.storages):
            raise UnreadableError("its list of storages isn't that of its tensors")
        self.storages = [tensors.storages[key] for key in keys]

    def numbers(self, storages: Collection[Storage], done: Callable[[int], None]) -> dict[str, np.ndarray]:
        """The numbers (count,) of storages by key; `done` is told the bytes of each one."""
        wanted, found, at = {s.key for s in storages}, {}, self.start
        for storage in self.storages:
            count = int.from_bytes(read_bytes(self.file, at, 8).tobytes(), "little")
            if count != storage.count:
                raise UnreadableError(f"its storage {storage.key[:40]} has {count:,} numbers, not {storage.count:,}")
            if storage.key in wanted:
                raw = read_bytes(self.file, at + 8, storage.nbytes)
                found[storage.key] = numbers_of(raw, storage.dtype, swapped=False)
                done(storage.nbytes)
            at += 8 + storage.nbytes
        return found


def open_form(file: BinaryIO, head: bytes) -> Any:
    """The form of the file that begins with `head`; None if it is neither."""
    if head.startswith(b"PK\x03\x04"):
        return ZipForm(file)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return StreamForm(file)
    return None
