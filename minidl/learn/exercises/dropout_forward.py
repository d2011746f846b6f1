"""Dropout: the forward pass, in training and afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from minidl.layers.base import INFER, PROBE, TRAIN, Context
from minidl.layers.dropout import Dropout
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, Outcome, Returned, described


def _cases(rng: np.random.Generator) -> list[Case]:
    cases = []
    for ctx, p, shape in (
        (INFER, 0.5, (4,)),
        (TRAIN, 0.5, (60, 50)),
        (TRAIN, 0.2, (60, 50)),
        (TRAIN, 0.8, (10, 6, 5, 10)),
        (PROBE, 0.5, (60, 50)),
        (PROBE, 0.2, (20, 3, 5, 10)),
        (INFER, 0.2, (60, 50)),
    ):
        ctx = replace(ctx, seed=1, step=3, path="dropout")
        x = np.array([1.0, 2, 3, 4]) if shape == (4,) else rng.uniform(1, 2, size=shape)
        cases.append(Case({"x": x, "p": p, "ctx": ctx}, _about(ctx, p)))
    return cases


def _about(ctx: Context, p: float) -> dict[str, int | str]:
    return {"the mode": ctx.mode.name, "p": f"{p:g}"}


_FACTS = (
    *("y", "mask", "dtype and shape of y", "the numbers in y / x", "the share of zeros", "y is x times the mask"),
    "whole rows or maps are dropped",
    "the same zeros for the same ctx",
    "the same zeros for another step",
    "the same zeros for another layer",
    "the same zeros for another seed",
)


def _call(function: Callable, arguments: Arguments) -> Outcome:
    """What is common to all right masks: the numbers in it, their shares, and on what they depend."""
    x, p, ctx = arguments.values()
    before, layer = x.copy(), Dropout(p)
    y, mask = _pair(function(layer, x, ctx))
    y = np.array(y)
    if not ctx.training:
        facts = _passed_on(y, before, p), "None" if mask is None else "another object", f"{y.dtype} {y.shape}"
        return dict.fromkeys(_FACTS) | dict(zip(_FACTS[:3], facts, strict=True))
    facts = (
        *(None, None, f"{y.dtype} {y.shape}", _ratios(y / before), _share(y == 0)),
        bool(isinstance(mask, np.ndarray) and np.allclose(y, before * mask, rtol=1e-5)),
        any(_same(y, part) for part in (y[:1], y[..., :1], y[:, :1, :1] if y.ndim == 4 else y[:1])),
        *(_same(y, _pair(function(layer, before.copy(), other))[0]) for other in _others(ctx)),
    )
    return dict(zip(_FACTS, facts, strict=True))


def _passed_on(y: np.ndarray, x: np.ndarray, p: float) -> str:
    for factor, text in ((1, "x"), (1 - p, "x (1 - p)"), (1 / (1 - p), "x / (1 - p)"), (p, "x p")):
        if y.shape == x.shape and np.allclose(y, x * factor, rtol=1e-6, atol=0):
            return text
    return "something else"


def _others(ctx: Context) -> tuple[Context, ...]:
    return ctx, replace(ctx, step=4), replace(ctx, path="dropout2"), replace(ctx, seed=2)


def _pair(result: object) -> tuple:
    if not isinstance(result, tuple) or len(result) != 2:
        raise Returned(f"Return y, mask: yours returns {described(result)}")
    return result


def _same(y: np.ndarray, other: np.ndarray) -> bool:
    return bool(((np.asarray(y) == 0) == (np.asarray(other) == 0)).all())


def _ratios(ratio: np.ndarray) -> str:
    """Such as "0 and 2"."""
    numbers = np.unique(ratio.astype(np.float64).round(5))
    return " and ".join(f"{r:g}" for r in numbers) if len(numbers) < 4 else f"{len(numbers)} different ones"


def _share(zero: np.ndarray) -> str:
    return f"about {zero.mean():.1f}"


def _no_scale_in_training(self: Dropout, x, ctx):
    """The dropout of the paper: it scales afterwards."""
    if not ctx.training:
        return x * (1 - self.p), None
    mask = (ctx.rng().random(x.shape) >= self.p).astype(x.dtype)
    return x * mask, mask


def _one_number(self: Dropout, x, ctx):
    """Forgets the shape: the mask is a number."""
    if not ctx.training:
        return x, None
    mask = (ctx.rng().random() >= self.p) / (1 - self.p)
    return x * mask, mask


_MANY = "One random number decides for many numbers of x. Draw one for each: random(x.shape)."
_LINE = "mask = to_device(keep.astype(x.dtype) * (1 / (1 - self.p)), array_module(x))"

EXERCISE = Exercise(
    name="dropout_forward",
    chapter="09_training",
    target="minidl.layers.dropout:Dropout.forward",
    task="Return (y, mask). `self.p` is the probability that a number is dropped. `ctx.training` says whether this "
    "is a TRAIN pass; if it isn't, nothing is dropped: return x itself, and None in place of the mask. `ctx.rng()` "
    "is a NumPy generator that depends on seed, step and layer: draw one random number for each number of x. "
    "Each call of `ctx.rng()` gives a generator that begins anew, so call it once.",
    cases=_cases,
    call=_call,
    mistakes=(
        Mistake(
            "not scaled",
            "The numbers that are kept aren't multiplied by 1 / (1 - p). Then the mean of y is (1 - p) times that of "
            "x in training, but not afterwards, when nothing is dropped.",
            ((_LINE, "mask = keep.astype(x.dtype)"),),
        ),
        Mistake(
            "scaled afterwards",
            "You multiply by 1 - p when nothing is dropped, as the first paper does. Here the factor 1 / (1 - p) "
            "belongs to training, and the other passes return x as it is.",
            wrong=_no_scale_in_training,
        ),
        Mistake(
            "scaled by 1/p",
            "The numbers that are kept are multiplied by 1 / p. They are the share 1 - p, so the factor is "
            "1 / (1 - p). With p = 0.5 nobody sees the difference.",
            (("1 / (1 - self.p)", "1 / self.p"),),
        ),
        Mistake(
            "p kept",
            "You keep the share p and drop the rest. p is the probability that a number is dropped: keep it where "
            "the random number is at least p.",
            ((">= self.p", "< self.p"),),
        ),
        Mistake(
            "p is the probability to keep",
            "You take p for the probability that a number is kept, as CS231n does. Here it is the probability that "
            "it is dropped: keep where the random number is at least p, and multiply by 1 / (1 - p).",
            ((">= self.p", "< self.p"), ("1 / (1 - self.p)", "1 / self.p")),
        ),
        Mistake(
            "nothing dropped",
            "You multiply by the factor, but no number is 0. Drop each number with probability p.",
            ((">= self.p", ">= 0"),),
        ),
        Mistake(
            "scaled twice",
            "Training is right, and scales already. So the other passes must return x as it is; yours multiply it by "
            "1 - p.",
            (("return x, None", "return x * (1 - self.p), None"),),
        ),
        Mistake(
            "scaled without dropping",
            "Training is right. The other passes drop nothing, so they need no factor either: return x as it is.",
            (("return x, None", "return x / (1 - self.p), None"),),
        ),
        Mistake(
            "a mask of ones",
            "y is right. Where nothing is dropped, return None in place of a mask of ones: it would only take "
            "memory.",
            (("return x, None", "return x, np.ones_like(x)"),),
        ),
        Mistake(
            "dropped in PROBE",
            "You drop numbers in a PROBE pass too. Only a TRAIN pass does: ask `ctx.training`, not "
            "`ctx.keeps_cache`.",
            (("not ctx.training", "not ctx.keeps_cache"),),
        ),
        Mistake(
            "always dropped",
            "You drop numbers in every pass. Only a TRAIN pass does: if `ctx.training` is False, return x and None.",
            (("not ctx.training or self.p == 0", "False"),),
        ),
        Mistake(
            "modes exchanged",
            "The passes are exchanged: a TRAIN pass drops numbers, and the others return x and None. `ctx.training` "
            "is True in a TRAIN pass.",
            (("not ctx.training or self.p == 0", "ctx.training"),),
        ),
        Mistake(
            "another generator",
            "Two calls with the same ctx drop different numbers, so nobody can repeat your run. Draw from "
            "`ctx.rng()`.",
            (("ctx.rng()", "np.random.default_rng()"),),
        ),
        Mistake(
            "the same mask in every step",
            "The same numbers are dropped in every step, and in every layer: the weights that they meet never "
            "learn. Draw from `ctx.rng()`, which knows seed, step and layer.",
            (("ctx.rng()", "np.random.default_rng(0)"),),
        ),
        Mistake(
            "only the seed",
            "Your random numbers depend on the seed alone, so the same ones are dropped in every step and in every "
            "layer. Draw from `ctx.rng()`, which knows seed, step and layer.",
            (("ctx.rng()", "np.random.default_rng(ctx.seed)"),),
        ),
        Mistake(
            "the same mask in every layer",
            "Two layers drop the same numbers in a step. Draw from `ctx.rng()`, which knows the layer too.",
            (("ctx.rng()", "np.random.default_rng([ctx.seed, ctx.step])"),),
        ),
        Mistake(
            "whole rows",
            _MANY,
            (("random(x.shape, dtype=np.float32)", "random(x.shape[1:], dtype=np.float32)"),),
        ),
        Mistake("one number", _MANY, wrong=_one_number),
        Mistake(
            "mask without its factor",
            "y is right, but the mask that you return isn't: y must be x times the mask. backward multiplies dy by "
            "this mask, and needs the factor 1 / (1 - p) too.",
            (("return x * mask, mask", "return x * mask, keep.astype(x.dtype)"),),
        ),
    ),
    hints=(
        "There are two passes: one that drops, and one that returns (x, None). Which question tells them apart?",
        "ctx.rng().random(x.shape) gives a number from 0 to 1 for each entry. It is below p with probability p. Make "
        "the mask from this comparison and from the factor 1 / (1 - p), in x's dtype.",
        "if not ctx.training or self.p == 0: return x, None. Then keep = ctx.rng().random(x.shape) >= self.p; mask = "
        "keep.astype(x.dtype) / (1 - self.p); return x * mask, mask.",
    ),
)
