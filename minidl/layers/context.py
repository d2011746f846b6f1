"""How a pass is run: its mode, the place in the model that it has reached, and the rule of a projection."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.backend.arrays import Array
from minidl.errors import UsageError, within

if TYPE_CHECKING:
    from minidl.layers.base import Layer


class Mode(Enum):
    """What a forward pass is for."""

    TRAIN = "train"  # batch statistics, dropout on, cache kept
    PROBE = "probe"  # running statistics, dropout off, cache kept
    INFER = "infer"  # running statistics, dropout off, cache is None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(f"{self} is no Context: forward takes {self.name} itself, or Context({self}, step=...)")


@dataclass(frozen=True)
class Context:
    """How a forward pass is run: its mode, and the (seed, step, path) from which all its random draws follow.

    `path` is the full name of the layer whose turn it is. A container hands it on with `run`, or with `at`:

        y, cache = ctx.run("body", self.body, x)
    """

    mode: Mode = Mode.INFER
    seed: int = 0
    step: int | None = None  # of the training; a TRAIN pass through dropout needs it
    path: str = ""

    @property
    def keeps_cache(self) -> bool:
        return self.mode is not Mode.INFER

    @property
    def training(self) -> bool:
        return self.mode is Mode.TRAIN

    def at_step(self, step: int) -> Context:
        return replace(self, step=step)

    def at(self, name: str) -> Context:
        """This context for the child `name`; itself if the name is empty."""
        return replace(self, path=join(self.path, name)) if name else self

    def run(self, name: str, layer: Layer, x: Array) -> tuple[Array, Any]:
        """(y, cache) of the child `name`; its errors say its full name. Raises UsageError if it returns no pair."""
        with within(name):
            result = layer.forward(x, self.at(name))
            if not isinstance(result, tuple) or len(result) != 2:
                raise UsageError(f"{layer.label}: forward returns {type(result).__name__}, must return (y, cache)")
        return result

    def rng(self) -> np.random.Generator:
        """A host generator that is a pure function of (seed, step, path): nothing about it needs to be saved.

        Raises UsageError without a step: every step would draw the same numbers.
        """
        if self.step is None:
            raise UsageError(
                "a random layer draws anew in each step and must know which one it is: "
                "model.forward(x, TRAIN.at_step(step)), where optimizer.steps may be the step"
            )
        return np.random.default_rng([self.seed, self.step, zlib.crc32(self.path.encode())])


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


def join(path: str, name: str) -> str:
    """The full name of `name` at `path`; either may be empty."""
    return f"{path}.{name}" if path and name else path or name
