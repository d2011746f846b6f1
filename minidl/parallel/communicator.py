"""What processes exchange with each other: the interface, and the communicator of a process that is alone.

`size` processes, called *ranks* 0 .. size - 1, run the same program. Each method that exchanges something is a
*collective*: all ranks must call it, in the same order, with arrays of the same shape and dtype unless it says
otherwise. A rank that leaves one out makes the others wait for ever.
"""

from __future__ import annotations

import numpy as np

from minidl.backend.arrays import Array


class Communicator:
    """One process: every sum has one term, and every list one entry. A subclass replaces what exchanges data."""

    rank = 0
    size = 1
    local_rank = 0  # the number of this rank among those of the same machine
    local_size = 1  # how many these are

    def allreduce(self, a: Array) -> None:
        """a <- the sum of a over all ranks, in place. The order of the terms is the library's."""

    def tree_sum(self, a: Array) -> None:
        """The same in a fixed order: ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)). `size` must be a power of two."""

    def allgather(self, a: Array) -> Array:
        """(n, ...) -> the arrays of all ranks one after the other, (n_0 + n_1 + ..., ...). The n may differ."""
        return a

    def broadcast(self, a: Array) -> None:
        """a <- the a of rank 0, in place."""

    def allgather_bytes(self, data: bytes) -> list[bytes]:
        """The bytes of every rank, in the order of ranks. Their lengths may differ."""
        return [data]

    def broadcast_bytes(self, data: bytes) -> bytes:
        """The bytes of rank 0; what the others give doesn't matter."""
        return data

    def barrier(self) -> None:
        """Returns when all ranks have called it."""

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true on some rank."""
        self.allreduce(ranks := np.array([int(flag)]))
        return bool(ranks[0])

    def abort(self, code: int) -> None:
        """Ends all ranks at once with this exit code, and prints what the library prints then. Not a collective."""

    def share(self, n: int) -> slice:
        """The part [n r / size, n (r + 1) / size) of n images or batches that is this rank's."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)


ALONE = Communicator()
