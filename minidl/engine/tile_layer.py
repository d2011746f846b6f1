"""What all layers share that take the images of a batch a few at a time in INFER mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minidl.backend.arrays import Array
from minidl.engine.tiles.scratch import Scratch
from minidl.layers.base import Layer

if TYPE_CHECKING:
    from minidl.engine.prepare import Kept


class TileLayer(Layer):
    """A layer in whose INFER pass no image depends on another. A chain of such layers takes tiles of images through
    all of them. A subclass implements `infer_tile`, and `fold` if anything can be made ready for it.
    """

    kept: Kept | None = None  # what a prepared model keeps of its `fold`, see `prepare.py`

    def fold(self, x: Array) -> Any:
        """What `infer_tile` needs of the weights and running statistics, for inputs like x."""
        return None

    def folded(self, x: Array) -> Any:
        """fold(x), of a prepared model perhaps from an earlier pass. One thread at a time."""
        return self.kept.of(self, x) if self.kept else self.fold(x)

    def infer_tile(self, x: Array, folded: Any, scratch: Scratch) -> Array:
        """y of some images, in scratch memory that the next call uses again."""
        raise NotImplementedError
