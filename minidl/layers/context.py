"""How a pass is run: its mode, its place in the model, and the rule of a projection."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.backend.arrays import Array
from minidl.errors import UsageError, require_whole, within

if TYPE_CHECKING:
    from minidl.layers.base import Layer


class Mode(Enum):
    """The purpose of a forward pass."""

    TRAIN = "train"  # batch statistics, dropout on, cache kept
    PROBE = "probe"  # running statistics, dropout off, cache kept
    INFER = "infer"  # running statistics, dropout off, cache is None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(f"{self} is no Context: forward takes {self.name} itself, or Context({self}, step=...)")


@dataclass(frozen=True)
class Context:
    """How a forward pass is run: its mode, and the (seed, step, path) that determine all random numbers.

    `path` is the full name of the layer that is running. A container passes the context to a child with `run`, or
    with `at`:

        y, cache = ctx.run("body", self.body, x)
    """

    mode: Mode = Mode.INFER
    seed: int = 0
    step: int | None = None  # of the training; a TRAIN pass through dropout needs it
    path: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.mode, Mode):
            raise UsageError(f"Context.mode is {self.mode!r:.60}: give Mode.TRAIN, Mode.PROBE or Mode.INFER")

    @property
    def keeps_cache(self) -> bool:
        return self.mode is not Mode.INFER

    @property
    def training(self) -> bool:
        return self.mode is Mode.TRAIN

    def at_step(self, step: int) -> Context:
        require_whole("step", step)
        return replace(self, step=step)

    def at(self, name: str) -> Context:
        """This context for the child `name`; unchanged if the name is empty."""
        return replace(self, path=join(self.path, name)) if name else self

    def run(self, name: str, layer: Layer, x: Array) -> tuple[Array, Any]:
        """(y, cache) of the child `name`; an error names its full path. Raises UsageError if it doesn't return a
        pair.
        """
        with within(name):
            result = layer.forward(x, self.at(name))
            if not isinstance(result, tuple) or len(result) != 2:
                raise UsageError(f"{layer.label}: forward returns {type(result).__name__}, must return (y, cache)")
        return result

    def rng(self) -> np.random.Generator:
        """A random generator on the host that depends on (seed, step, path) only, so nothing about it has to be
        saved.

        Raises UsageError without a step, because every step would draw the same numbers, and for a step or seed that
        is no whole number from 0.
        """
        if self.step is None:
            raise UsageError(
                "a random layer draws new numbers in each step, so it must know the step: "
                "model.forward(x, TRAIN.at_step(step)), where optimizer.steps may be the step"
            )
        require_whole("step", self.step)
        require_whole("seed", self.seed)
        return np.random.default_rng([self.seed, self.step, zlib.crc32(self.path.encode())])


TRAIN, PROBE, INFER = (Context(mode) for mode in (Mode.TRAIN, Mode.PROBE, Mode.INFER))


@dataclass(frozen=True)
class Rule:
    """How `project` takes a signal s back towards the pixels. docs/visualization.md has the pictures.

    name    what a ReLU with input x does; [condition] is 1 or 0. "gradient": s [x > 0], which is the input gradient.
            "guided": s [x > 0] [s > 0]. "deconv": s [s > 0].
    bn      what a deconv does at a batch normalization: "skip" it, or "scale" by gamma / sqrt(var + eps).
    unpool  what a deconv gives to the maximum of a max pool that several windows share: the "sum" of their signals,
            the "last", or the "max". The other two give the sum, which is the gradient.
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
    """`rule` itself, or the Rule with this name and default options. Raises UsageError for an unknown name."""
    return Rule(rule) if isinstance(rule, str) else rule


def join(path: str, name: str) -> str:
    """The full name of `name` at `path`; either may be empty."""
    return f"{path}.{name}" if path and name else path or name
