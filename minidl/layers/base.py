"""The layer contract: Parameter, Context, Rule and Layer. Everything else in minidl stands on this file.

A layer is a function with learned parameters. `forward` returns the output *and* a cache, the values its
backward pass will need. The cache is a value handed back to the caller, never hidden state: one layer can
serve two inputs, and a second forward does not spoil the first one's cache.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from minidl.backend.arrays import Array, array_module
from minidl.errors import UsageError
from minidl.text.html import html_table

Shape = tuple[int, ...]


class Parameter:
    """A learned array `value`, the gradient `grad` of the loss with respect to it, and `tags`.

    Both arrays are written in place and never rebound (they may be views of one flat vector):
    `p.grad += g` and `p.value[...] = v` are right, `p.value = v` raises AttributeError.
    Tags group parameters for the optimizer: "weight", "bias", "norm" (gamma and beta of a batch normalization).
    """

    __slots__ = ("_value", "_grad", "tags")

    def __init__(self, value: Array, tags: Iterable[str] = (), grad: Array | None = None) -> None:
        self._value = value
        self._grad = array_module(value).zeros_like(value) if grad is None else grad
        self.tags = frozenset(tags)

    @property
    def value(self) -> Array:
        return self._value

    @value.setter
    def value(self, new: Array) -> None:
        self._refuse_rebinding("value", self._value, new)

    @property
    def grad(self) -> Array:
        return self._grad

    @grad.setter
    def grad(self, new: Array) -> None:
        self._refuse_rebinding("grad", self._grad, new)

    @staticmethod
    def _refuse_rebinding(name: str, old: Array, new: Array) -> None:
        # `p.grad += g` ends in an assignment of the very same array; anything else would cut the views.
        if new is not old:
            raise AttributeError(f"Parameter.{name} is written in place: use p.{name}[...] = array")

    def __repr__(self) -> str:
        return f"Parameter(shape={self.value.shape}, dtype={self.value.dtype}, tags={sorted(self.tags)})"


class Mode(Enum):
    """What a forward pass is for."""

    TRAIN = "train"  # batch statistics, dropout on, cache kept
    PROBE = "probe"  # running statistics, dropout off, cache kept
    INFER = "infer"  # running statistics, dropout off, cache is None


@dataclass(frozen=True)
class Context:
    """How a forward pass is run: its mode, and the (seed, step) from which all its random draws follow."""

    mode: Mode = Mode.INFER
    seed: int = 0
    step: int = 0

    @property
    def keeps_cache(self) -> bool:
        return self.mode is not Mode.INFER

    @property
    def training(self) -> bool:
        return self.mode is Mode.TRAIN

    def rng(self, path: str) -> np.random.Generator:
        """A host generator that is a pure function of (seed, step, path): nothing about it needs to be saved."""
        return np.random.default_rng([self.seed, self.step, zlib.crc32(path.encode())])

    def at_step(self, step: int) -> Context:
        return replace(self, step=step)


TRAIN, PROBE, INFER = (Context(mode) for mode in (Mode.TRAIN, Mode.PROBE, Mode.INFER))


@dataclass(frozen=True)
class Rule:
    """How `project` sends a signal back towards the pixels.

    name    "gradient": the input gradient. "guided": a ReLU passes R [x > 0] [R > 0]. "deconv": R [R > 0].
    bn      what a deconv does at a batch normalization: "skip" it or "scale" by gamma / sqrt(var + eps).
    unpool  how windows of a max pool that share their maximum join: their "sum", the "last", or the "max".
    """

    name: str = "gradient"
    bn: str = "skip"
    unpool: str = "sum"

    def __post_init__(self) -> None:
        for field, choices in (
            ("name", ("gradient", "guided", "deconv")),
            ("bn", ("skip", "scale")),
            ("unpool", ("sum", "last", "max")),
        ):
            if getattr(self, field) not in choices:
                raise UsageError(f"Rule.{field} is {getattr(self, field)!r}: choose {', '.join(choices)}")


def as_rule(rule: Rule | str) -> Rule:
    """`rule` itself, or the Rule of that name with its defaults. Raises UsageError for an unknown name."""
    return Rule(rule) if isinstance(rule, str) else rule


class Layer:
    """Base class of all layers.

    A leaf layer implements `out_shape`, `forward` and `input_grad`; one with parameters also `backward`.
    Shapes include the batch axis: activations are (N, H, W, C) or (N, C).
    """

    path: str = ""  # its place in the model, such as "inception2.b3.conv"; set by the containers

    def __init__(self) -> None:
        self.params: dict[str, Parameter] = {}  # learned, ordered
        self.buffers: dict[str, Array] = {}  # saved, not learned, written in place

    def out_shape(self, in_shape: Shape) -> Shape:
        """The output's shape, computed with integers only; raises ShapeError if `in_shape` does not fit."""
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Any]:
        """Returns (y, cache); the cache is None in INFER mode."""
        raise NotImplementedError

    def input_grad(self, dy: Array, cache: Any) -> Array:
        """dx from dy: a pure function that changes neither the cache nor the parameters' gradients."""
        raise NotImplementedError

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
        """Adds into every `params[...].grad` and returns dx (None if not needed); may consume the cache.

        Right for TRAIN and for PROBE caches.
        """
        return self.input_grad(dy, cache) if need_dx else None

    def project(self, s: Array, cache: Any, rule: Rule | str) -> Array:
        """The signal `s` one layer back towards the pixels; PROBE caches only, which it never changes.

        The default is the input gradient. ReLU, BatchNorm2D and MaxPool2D differ, as `rule` says.
        """
        return self.input_grad(s, cache)

    def children(self) -> dict[str, Layer]:
        """Sub-layers by name; empty for a leaf."""
        return {}

    def set_path(self, path: str) -> None:
        """Tells this layer, and all below it, its place in the model."""
        self.path = path
        for name, child in self.children().items():
            child.set_path(f"{path}.{name}" if path else name)

    def leaves(self) -> Iterator[Layer]:
        """All layers without children at or below this one, in the order of the forward pass."""
        below = self.children()
        if not below:
            yield self
        for child in below.values():
            yield from child.leaves()

    def named_parameters(self) -> dict[str, Parameter]:
        """All parameters below this layer by full name, such as "inception2.b3.conv.weight"."""
        return {_join(leaf.path, name): p for leaf in self.leaves() for name, p in leaf.params.items()}

    def named_buffers(self) -> dict[str, Array]:
        """All buffers below this layer by full name, such as "stem.bn.running_mean"."""
        return {_join(leaf.path, name): b for leaf in self.leaves() for name, b in leaf.buffers.items()}

    def zero_grad(self) -> None:
        """Sets every gradient to zero (gradients accumulate until then)."""
        for p in self.named_parameters().values():
            p.grad[...] = 0

    @property
    def label(self) -> str:
        """The layer's name in messages: its path and class."""
        return f"{self.path} ({type(self).__name__})" if self.path else type(self).__name__

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _repr_html_(self) -> str:
        return html_table([(line,) for line in str(self).splitlines()], left=1)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
