"""A pass over many images, whose batches are dealt to the ranks like cards: batch k goes to rank k mod size.

A rank computes its batches whole, with the bits that one process gives them. After each round all ranks have the
results of all, in the order of batches: what is made of them is that of one process too, and the same on every rank.
No image is padded, counted twice or left out, whatever the number of images, batches and ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from io import BytesIO
from typing import Any

import numpy as np

from minidl.backend.arrays import Array, to_host
from minidl.parallel.communicator import Communicator

Result = tuple[Array, ...]  # of one batch


def dealt(loader: Any, comm: Communicator) -> Iterator[tuple[Array, Array]]:
    """The batches (x, y) of a Loader that are this rank's."""
    return loader.epoch(0) if comm.size == 1 else loader.epoch(0, comm.rank, step=comm.size)


def collect(results: Iterator[Result], batches: Sized, comm: Communicator) -> Iterator[Result]:
    """The results of all `batches` in their order, of which `results` gives those of this rank: of number rank,
    rank + size, rank + 2 size, ...

    A collective: all ranks must take all results. Those of one process pass through, those of several are on the
    host. The arrays may differ in shape from batch to batch.
    """
    if comm.size == 1:
        yield from results
        return
    for first in range(0, len(batches), comm.size):  # of a round; in the last one some ranks may have no batch
        own = _packed(next(results)) if first + comm.rank < len(batches) else b""
        yield from (_unpacked(data) for data in comm.allgather_bytes(own) if data)


def _packed(arrays: Result) -> bytes:
    buffer = BytesIO()
    for a in arrays:
        np.save(buffer, to_host(a), allow_pickle=False)
    return buffer.getvalue()


def _unpacked(data: bytes) -> Result:
    buffer, arrays = BytesIO(data), []
    while buffer.tell() < len(data):
        arrays.append(np.load(buffer, allow_pickle=False))
    return tuple(arrays)
