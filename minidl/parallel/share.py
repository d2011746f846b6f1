"""Which images of a batch are this rank's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from minidl.parallel.communicator import Communicator


class Share:
    """The part of the batch that this rank has, inside `with share.of(images):`. Outside, every batch is whole."""

    def __init__(self, comm: Communicator) -> None:
        self.comm = comm
        self.images = 0  # of the whole batch; 0 outside

    @contextmanager
    def of(self, images: int) -> Iterator[None]:
        """A training step with a batch of `images`, over all ranks; 0 within one: this rank has the whole batch."""
        before, self.images = self.images, images
        try:
            yield
        finally:
            self.images = before

    @property
    def rows(self) -> slice:
        """The images of the whole batch that this rank has."""
        return self.comm.share(self.images)
