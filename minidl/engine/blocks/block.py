"""What all fused composites share: the plain layers they stand for, and the runner that does their work."""

from __future__ import annotations

from typing import Any

from minidl.backend.arrays import Array
from minidl.engine.tiles.runner import Scratch, TileRunner
from minidl.errors import UsageError
from minidl.kernels.shapes import require_float
from minidl.layers.base import Context, Layer, Mode, Rule, Shape


class Fused(Layer):
    """The fast form of a run of plain layers, `plain`, whose Parameters and buffers it works on.

    A subclass implements `train` (TRAIN: batch statistics, cache kept) and `train_backward`; `tiles`, `fold` and
    `infer_tile` (INFER). PROBE and `project` go to the plain layers, so that every inner map exists. Names stay those
    of the plain layers.
    """

    def __init__(self, plain: Layer, runner: TileRunner) -> None:
        super().__init__()
        self.plain, self.runner = plain, runner

    def children(self) -> dict[str, Layer]:
        return self.plain.children()

    def set_path(self, path: str) -> None:
        self.path = path  # the plain layers below have their names already

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.plain.out_shape(in_shape)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Any]:
        self.out_shape(x.shape)
        require_float(self.label, x)
        if ctx.mode is Mode.PROBE:
            return self.plain.forward(x, ctx)
        self.runner.begin(x.shape)
        if ctx.mode is Mode.INFER:
            return self.infer(x), None
        with self.runner.lock:
            y, cache = self.train(x)
        return y, FusedCache(cache)

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
        with self.runner.lock:
            if isinstance(cache, FusedCache):
                return self.train_backward(dy, cache.take(), need_dx)
            return self.plain.backward(dy, cache, need_dx)

    def input_grad(self, dy: Array, cache: Any) -> Array:
        if isinstance(cache, FusedCache):
            raise UsageError(f"{self.label}: input_grad needs a PROBE pass; after a TRAIN pass call backward")
        return self.plain.input_grad(dy, cache)

    def project(self, s: Array, cache: Any, rule: Rule) -> Array:
        return self.plain.project(s, cache, rule)

    def train(self, x: Array) -> tuple[Array, Any]:
        """(y, cache) with batch statistics; updates the running ones."""
        raise NotImplementedError

    def train_backward(self, dy: Array, cache: Any, need_dx: bool) -> Array | None:
        """Adds into the parameters' gradients and returns dx; may overwrite the cache, never dy."""
        raise NotImplementedError

    def infer(self, x: Array) -> Array:
        """y with running statistics."""
        with self.runner.lock:  # not in the middle of a training pass
            tiles, folded = self.tiles(x), self.fold(x)
        y = self.runner.empty(self.out_shape(x.shape), x.dtype)

        def task(i: int, accumulator: int, scratch: Scratch) -> None:
            y[tiles[i]] = self.infer_tile(x[tiles[i]], folded, scratch)

        self.runner.run(task, len(tiles))
        return y

    def tiles(self, x: Array) -> list[slice]:
        """The batch in tiles."""
        raise NotImplementedError

    def fold(self, x: Array) -> Any:
        """What `infer_tile` needs of weights and running statistics, for inputs like x."""
        raise NotImplementedError

    def infer_tile(self, x: Array, folded: Any, scratch: Scratch) -> Array:
        """y of some images, in scratch memory that the next call uses again."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.children())})"


class FusedCache:
    """A TRAIN cache; told apart from a plain one by its type, and given away once."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def take(self) -> Any:
        value, self._value = self._value, None
        return value
