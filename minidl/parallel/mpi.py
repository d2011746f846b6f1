"""Ranks that MPI has started (`mpiexec -n 4 minidl train ...`), through mpi4py. Arrays go as buffers, never pickles.

MPI reads and writes the memory of NumPy arrays. A CuPy array is copied to the host and back, after its stream has
been synchronised: whether an MPI library can read device memory isn't known before it fails.
"""

from __future__ import annotations

import math
import platform

import numpy as np
from mpi4py import MPI

from minidl.backend.arrays import Array, array_module, to_host
from minidl.parallel.communicator import Communicator


class MPICommunicator(Communicator):
    """The ranks of an MPI communicator; by default all that `mpiexec` has started."""

    def __init__(self, comm: MPI.Comm = MPI.COMM_WORLD) -> None:
        self.comm = comm.Dup()  # so that our messages never meet those of others
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        machines = self.allgather_bytes(platform.node().encode())
        self.local_rank = machines[: self.rank].count(machines[self.rank])
        self.local_size = machines.count(machines[self.rank])

    def allreduce(self, a: Array) -> None:
        host = contiguous(a)
        self.comm.Allreduce(MPI.IN_PLACE, host, MPI.LOR if host.dtype == bool else MPI.SUM)
        put(a, host)

    def tree_sum(self, a: Array) -> None:
        """In round k each rank exchanges its sum with the rank whose number differs in bit k. Both add the same two
        terms, and a + b = b + a holds for floats too, so all ranks get the same bits (recursive doubling).
        """
        host = contiguous(a)
        other = np.empty_like(host)
        distance = 1
        while distance < self.size:
            partner = self.rank ^ distance
            self.comm.Sendrecv(host, partner, 0, other, partner, 0)
            host += other
            distance *= 2
        put(a, host)

    def allgather(self, a: Array) -> Array:
        host = contiguous(a)
        counts = np.empty(self.size, np.int64)
        self.comm.Allgather(np.array([len(host)], np.int64), counts)
        out = np.empty((int(counts.sum()), *host.shape[1:]), host.dtype)
        self.comm.Allgatherv(host, [out, (counts * math.prod(host.shape[1:])).tolist()])
        return array_module(a).asarray(out)

    def broadcast(self, a: Array) -> None:
        host = contiguous(a)
        self.comm.Bcast(host)
        put(a, host)

    def allgather_bytes(self, data: bytes) -> list[bytes]:
        lengths = self.allgather(np.array([len(data)]))
        joined = self.allgather(np.frombuffer(data, np.uint8)).tobytes()
        ends = np.cumsum(lengths).tolist()
        return [joined[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True)]

    def broadcast_bytes(self, data: bytes) -> bytes:
        length = np.array([len(data)])
        self.comm.Bcast(length)
        buffer = np.frombuffer(data, np.uint8).copy() if self.rank == 0 else np.empty(int(length[0]), np.uint8)
        self.comm.Bcast(buffer)
        return buffer.tobytes()

    def barrier(self) -> None:
        self.comm.Barrier()

    def abort(self, code: int) -> None:
        self.comm.Abort(code)


def contiguous(a: Array) -> np.ndarray:
    """The array itself if MPI can use its memory, or a copy of it on the host. Copying waits for the device."""
    return np.ascontiguousarray(to_host(a))


def put(a: Array, host: np.ndarray) -> None:
    """a <- host, unless they are the same memory."""
    if host is not a:
        a[...] = array_module(a).asarray(host).reshape(a.shape)
