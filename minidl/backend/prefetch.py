"""Copies batches to a GPU: each is copied while the step before it computes.

    host       writes batch k+1 into page-locked memory     after the last copy from this memory has ended
    copies     copy batch k+1, on their own stream           after the GPU memory for it is free
    computing  step k, on the current stream                 after the copy of batch k has ended

There are two pieces of page-locked memory, used alternately, so the host is never more than two batches ahead of the
copies. The streams wait for each other on the GPU, by events. The GPU memory is allocated on the computing stream:
CuPy gives freed memory to the next array of the same stream, where its last readers come before its next writers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import cycle
from types import ModuleType
from typing import Any

import numpy as np

Batch = tuple[np.ndarray, ...]


def prefetch_to_device(batches: Iterable[Batch], cupy: ModuleType) -> Iterator[tuple[Any, ...]]:
    """The batches as device arrays, copied one batch in advance. Raises what `batches` raises."""
    computing, copies = cupy.cuda.get_current_stream(), cupy.cuda.Stream(non_blocking=True)
    senders = cycle([_Sender(cupy, computing, copies), _Sender(cupy, computing, copies)])
    ahead: deque = deque()
    try:
        for batch, sender in zip(batches, senders, strict=False):
            ahead.append((sender, sender.send(batch)))
            if len(ahead) == 2:
                yield _arrived(computing, *ahead.popleft())
        while ahead:
            yield _arrived(computing, *ahead.popleft())
    finally:  # also when the consumer stops early
        copies.synchronize()  # page-locked and GPU memory may be reused from here on


def _arrived(computing: Any, sender: _Sender, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    computing.wait_event(sender.sent)
    return arrays


class _Sender:
    """Page-locked memory for one batch, and the event that ends its last copy."""

    def __init__(self, cupy: ModuleType, computing: Any, copies: Any) -> None:
        self.cupy, self.computing, self.copies = cupy, computing, copies
        self.pinned: list[np.ndarray] = []
        self.free = cupy.cuda.Event(disable_timing=True)
        self.sent = cupy.cuda.Event(block=True, disable_timing=True)  # the host sleeps while it waits

    def send(self, batch: Batch) -> tuple[Any, ...]:
        """Starts to copy `batch`. Its arrays on the GPU may be read after the event `sent`."""
        self._write(batch)
        arrays = tuple(self.cupy.empty(a.shape, a.dtype) for a in batch)
        self.free.record(self.computing)
        self.copies.wait_event(self.free)
        for array, pinned in zip(arrays, self.pinned, strict=True):
            array.set(pinned, stream=self.copies)
        self.sent.record(self.copies)
        return arrays

    def _write(self, batch: Batch) -> None:
        import cupyx

        self.sent.synchronize()
        if [(p.shape, p.dtype) for p in self.pinned] != [(a.shape, a.dtype) for a in batch]:
            self.pinned = [cupyx.empty_pinned(a.shape, a.dtype) for a in batch]
        for pinned, a in zip(self.pinned, batch, strict=True):
            pinned[...] = a
