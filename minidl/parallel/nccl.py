"""Ranks with a GPU each, joined by NCCL through CuPy 14: device arrays go from GPU to GPU, all else through MPI.

A call of NCCL returns at once and only says what a stream has to do. Every call here goes to CuPy's current stream,
which is the one that computes:

    before   what has written the arrays comes earlier on this stream
    after    what reads them comes later on it, also `.get()`, which waits for the stream
    freed    memory that a call still uses goes to the next array of the same stream, so it is written to later

So nothing here waits. Who computes on several streams has to make them wait for each other by events, as for any
computation. All ranks make the same calls in the same order: NCCL has no names by which it could match them.
"""

from __future__ import annotations

import platform
import warnings
from contextlib import suppress
from types import ModuleType

import numpy as np

from minidl.backend.arrays import Array
from minidl.errors import BackendError
from minidl.parallel.communicator import Communicator
from minidl.text.console import warn

TYPES = {"float32": "FLOAT32", "float64": "FLOAT64", "int64": "INT64", "uint8": "UINT8", "bool": "UINT8"}


class NCCLCommunicator(Communicator):
    """The ranks of `host`, a communicator for arrays on the host, each on its current GPU. No two may share one."""

    def __init__(self, host: Communicator, cupy: ModuleType, nccl: ModuleType) -> None:
        self.host, self.cupy, self.nccl = host, cupy, nccl
        self.rank, self.size = host.rank, host.size
        self.local_rank, self.local_size = host.local_rank, host.local_size
        meeting = host.broadcast_bytes(nccl.get_unique_id() if self.rank == 0 else b"")  # where the ranks meet
        try:
            self.gpus = nccl.NcclCommunicator(self.size, meeting, self.rank)
        except nccl.NcclError as error:
            raise BackendError(f"NCCL can't join the GPUs of the ranks: {error}") from None

    def allreduce(self, a: Array) -> None:
        if isinstance(a, np.ndarray):
            self.host.allreduce(a)
            return
        kind, buffer = self._type(a), contiguous(a)
        operation = self.nccl.NCCL_MAX if a.dtype == bool else self.nccl.NCCL_SUM  # a sum of truths is true or false
        self.gpus.allReduce(buffer.data.ptr, buffer.data.ptr, a.size, kind, operation, self._stream())
        put(a, buffer)

    def tree_sum(self, a: Array) -> None:
        """In the same tree as MPICommunicator: both partners of a round add the same two terms."""
        if isinstance(a, np.ndarray):
            self.host.tree_sum(a)
            return
        kind, buffer = self._type(a), contiguous(a)
        other = self.cupy.empty_like(buffer)
        distance = 1
        while distance < self.size:
            partner = self.rank ^ distance
            self.nccl.groupStart()  # one by one both would send first, and wait for the other to receive
            self.gpus.send(buffer.data.ptr, a.size, kind, partner, self._stream())
            self.gpus.recv(other.data.ptr, a.size, kind, partner, self._stream())
            self.nccl.groupEnd()
            buffer += other
            distance *= 2
        put(a, buffer)

    def allgather(self, a: Array) -> Array:
        """NCCL's allGather takes equal parts only; unequal ones are broadcasts by each rank, begun together."""
        if isinstance(a, np.ndarray):
            return self.host.allgather(a)
        kind, buffer = self._type(a), contiguous(a)
        counts = self.host.allgather(np.array([len(a)], np.int64)).tolist()
        out = self.cupy.empty((sum(counts), *a.shape[1:]), a.dtype)
        if len({*counts}) == 1:
            self.gpus.allGather(buffer.data.ptr, out.data.ptr, a.size, kind, self._stream())
            return out
        self.nccl.groupStart()
        for root, part in enumerate(self.cupy.split(out, np.cumsum(counts)[:-1].tolist())):
            source = buffer if root == self.rank else part  # which only the root reads
            if part.size:
                self.gpus.broadcast(source.data.ptr, part.data.ptr, part.size, kind, root, self._stream())
        self.nccl.groupEnd()
        return out

    def broadcast(self, a: Array) -> None:
        if isinstance(a, np.ndarray):
            self.host.broadcast(a)
            return
        kind, buffer = self._type(a), contiguous(a)
        self.gpus.broadcast(buffer.data.ptr, buffer.data.ptr, a.size, kind, 0, self._stream())
        put(a, buffer)

    def allgather_bytes(self, data: bytes) -> list[bytes]:
        return self.host.allgather_bytes(data)

    def broadcast_bytes(self, data: bytes) -> bytes:
        return self.host.broadcast_bytes(data)

    def barrier(self) -> None:
        self.host.barrier()

    def abort(self, code: int) -> None:
        self.host.abort(code)

    def _stream(self) -> int:
        return self.cupy.cuda.get_current_stream().ptr

    def _type(self, a: Array) -> int:
        """NCCL's number for the dtype of `a`."""
        if a.dtype.name not in TYPES:
            raise BackendError(f"arrays of {a.dtype} can't go from GPU to GPU: make them one of {', '.join(TYPES)}")
        return getattr(self.nccl, f"NCCL_{TYPES[a.dtype.name]}")


def contiguous(a: Array) -> Array:
    """The array itself if its numbers lie one after the other, or a copy of it."""
    return a if a.flags.c_contiguous else a.copy()


def put(a: Array, buffer: Array) -> None:
    """a <- buffer, unless they are the same."""
    if buffer is not a:
        a[...] = buffer


def choose_gpu(local_rank: int) -> None:
    """Makes GPU number `local_rank` of this machine the current one; if there are fewer, it counts on from 0 again.

    To be called before anything is computed, because the first computation takes memory on the GPU that is current.
    Without CuPy or a GPU nothing happens: `get_backend` says what is missing.
    """
    with suppress(ImportError, RuntimeError, ZeroDivisionError):
        import cupy

        cupy.cuda.Device(local_rank % cupy.cuda.runtime.getDeviceCount()).use()


def connect(comm: Communicator, cupy: ModuleType) -> Communicator:
    """A communicator that sends device arrays by NCCL; `comm` itself if NCCL is missing or ranks share a GPU.

    `comm` copies them to the host and back, which is right but slow, so rank 0 says why.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy warns of a missing library
        from cupy.cuda import nccl
    gpu = f"{platform.node()} {cupy.cuda.Device().pci_bus_id}".encode() if nccl.available else b""
    gpus = comm.allgather_bytes(gpu)
    if all(gpus) and len({*gpus}) == comm.size:
        return NCCLCommunicator(comm, cupy, nccl)
    if comm.rank == 0:
        remedy = "some ranks share a GPU" if all(gpus) else "NCCL is missing (pip install nvidia-nccl-cu12 or -cu13)"
        warn(f"{remedy}: gradients go from GPU to GPU through the host")
    return comm
