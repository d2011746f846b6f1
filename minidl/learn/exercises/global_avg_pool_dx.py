"""The mean of a whole map, backwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from minidl.layers.pooling import GlobalAvgPool
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, Outcome

SHAPES = (
    (1, 2, 2, 1),
    (1, 2, 3, 2),
    (1, 2, 2, 2),
    (2, 2, 3, 1),
    (1, 3, 1, 4),
    (2, 3, 4, 3),
    (4, 4, 2, 2),
    (3, 1, 1, 5),
)


def _cases(rng: np.random.Generator) -> list[Case]:
    def case(dy, shape: tuple[int, ...]) -> Case:
        n, h, w, c = shape
        about = {"H W": h * w, "N": n, "C": c, "H": h, "W": w}
        about |= {"the map": "square" if h == w else "not square"}
        return Case({"dy": np.array(dy, float).reshape(n, c), "shape of x": shape}, about)

    whole = [case([8], SHAPES[0]), case([6, 60], SHAPES[1])]
    return whole + [case(rng.normal(size=(shape[0], shape[3])), shape) for shape in SHAPES[2:]]


def _call(function: Callable, arguments: Arguments) -> Outcome:
    dy, shape = arguments.values()
    return {"dx": function(GlobalAvgPool(), dy, shape)}


def _worked(arguments: Arguments, name: str, index: tuple[int, ...]) -> str:
    dy, (_, h, w, _) = arguments.values()
    n, _, _, c = index
    return f"dy[{n}, {c}] / (H W) = {dy[n, c]:.6g} / ({h}*{w}) = {dy[n, c] / (h * w):.6g}"


def _loss(arguments: Arguments) -> Mapping[str, tuple[Callable, np.ndarray]]:
    dy, shape = arguments.values()
    return {"dx": (lambda x: float((dy * x.mean(axis=(1, 2))).sum()), np.zeros(shape))}


def _channels_first(self, dy, cache):
    n, h, w, c = cache
    return np.repeat(dy / (h * w), h * w, axis=1).reshape(cache)


def _one_pixel(self, dy, cache):
    dx = np.zeros(cache, dy.dtype)
    dx[:, 0, 0] = dy
    return dx


EXERCISE = Exercise(
    name="global_avg_pool_dx",
    chapter="07_pooling",
    target="minidl.layers.pooling:GlobalAvgPool.input_grad",
    task="Carry dy (N, C) back to the map (N, H, W, C). y[n,c] is the mean of all H W pixels of channel c of image "
    "n. cache is the shape of x, (N, H, W, C).",
    cases=_cases,
    call=_call,
    worked=_worked,
    gradient=_loss,
    mistakes=(
        Mistake(
            "not divided",
            "dx is exactly H W times too large: y is a mean of H W pixels, so each of them moves y by 1/(H W) of "
            "its own step.",
            (("dy * (1 / (h * w))", "dy"),),
        ),
        Mistake(
            "divided by N too",
            "dx is exactly N times too small: you divided by N H W. The mean runs over the pixels of one image; a "
            "1/N for the batch is in dy already.",
            (("(1 / (h * w))", "(1 / (n * h * w))"),),
        ),
        Mistake(
            "divided by C too",
            "dx is exactly C times too small: you divided by H W C. Every channel has a mean of its own, over H W "
            "pixels.",
            (("(1 / (h * w))", "(1 / (h * w * c))"),),
        ),
        Mistake(
            "divided by the size of x",
            "You divided by the number of all entries of x. Every channel of every image has a mean of its own, "
            "over H W pixels.",
            (("(1 / (h * w))", "(1 / (n * h * w * c))"),),
        ),
        Mistake(
            "divided by H only",
            "You divided by H. The mean runs over rows and columns: divide by H W.",
            (("(1 / (h * w))", "(1 / h)"),),
        ),
        Mistake(
            "divided by the square",
            "You divided by H W twice.",
            (("(1 / (h * w))", "(1 / (h * w) ** 2)"),),
        ),
        Mistake(
            "channels first",
            "You spread every channel over its map as in torch, where C comes before H and W, and then the reshape "
            "mixes up pixels and channels. Here the channels are the last axis: put the new axes between N and C.",
            wrong=_channels_first,
        ),
        Mistake(
            "one pixel",
            "One pixel receives everything. The mean depends on all H W pixels alike.",
            wrong=_one_pixel,
        ),
        Mistake(
            "not spread",
            "dx has one pixel for each channel. It must have x's shape: every pixel receives the same dy / (H W).",
            (("array_module(dy).broadcast_to(share, cache).copy()", "share"),),
        ),
        Mistake(
            "images added up",
            "You added up dy over the images. An image receives only its own dy.",
            (("(dy * (1 / (h * w)))", "(dy.sum(axis=0) * (1 / (h * w)) + 0 * dy)"),),
        ),
    ),
    hints=(
        "How much does y[n,c] move if one pixel of this channel moves by 1? Is any pixel special?",
        "Every pixel of channel c of image n receives dy[n,c] / (H W). dy needs two axes of length 1 between N and "
        "C, so that NumPy spreads it.",
        "n, h, w, c = cache; np.broadcast_to((dy / (h * w)).reshape(n, 1, 1, c), cache).copy().",
    ),
)
