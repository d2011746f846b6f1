"""A border around every image."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, Outcome


def _cases(rng: np.random.Generator) -> list[Case]:
    cases = [
        Case({"x": np.array([[1.0, 2], [3, 4]]).reshape(1, 2, 2, 1), "padding": 1, "value": 0.0}, _about(1, 1, 0))
    ]
    for n, h, w, c, padding, value in (
        (1, 2, 3, 1, 2, 0.0),
        (1, 3, 2, 1, 0, 0.0),
        (1, 2, 2, 1, 1, 7.0),
        (2, 3, 2, 1, 1, 0.0),
        (1, 2, 3, 3, 1, 0.0),
        (2, 4, 3, 2, 3, 0.0),
        (1, 3, 3, 2, 1, -np.inf),
        (3, 4, 5, 2, 2, -1.5),
        (2, 3, 4, 3, 0, 5.0),
    ):
        x = rng.integers(1, 10, (n, h, w, c)).astype(float)
        cases.append(Case({"x": x, "padding": padding, "value": value}, _about(n, padding, value)))
    return cases


def _about(n: int, padding: int, value: float) -> dict[str, int | str]:
    return {"padding": padding, "value": f"{value:g}", "N": n}


def _call(function: Callable, arguments: Arguments) -> Outcome:
    options = (arguments["value"],) if arguments["value"] else ()  # 0 is the default
    padded = function(arguments["x"], arguments["padding"], *options)
    shares = isinstance(padded, np.ndarray) and np.may_share_memory(padded, arguments["x"])
    return {"padded": padded, "whether it shares memory with x": shares}


def _border(arguments: Arguments, name: str) -> Mapping[str, np.ndarray]:
    n, h, w, c = arguments["x"].shape
    p = arguments["padding"]
    inside = np.zeros((n, h + 2 * p, w + 2 * p, c), bool)
    inside[:, p : p + h, p : p + w] = True
    return {"in the border": ~inside, "inside the border": inside} if name == "padded" else {}


EXERCISE = Exercise(
    name="pad2d",
    chapter="03_convolution",
    target="minidl.kernels.reference:pad2d",
    task="Put a border of `padding` pixels of `value` around every image of x (N, H, W, C): above, below, left and "
    "right. The result is (N, H + 2 padding, W + 2 padding, C), with the dtype of x. It is always a new array, also "
    "where padding is 0, because callers write into it.",
    cases=_cases,
    call=_call,
    places=_border,
    mistakes=(
        Mistake(
            "not a new array",
            "Where padding is 0 you returned x itself, or a view of it. Whoever writes into the result then writes "
            "into x. Return a copy.",
            (("    n, h, w, c", "    if not padding:\n        return x\n    n, h, w, c"),),
        ),
        Mistake(
            "value ignored",
            "The border is 0 whatever `value` is. Max pooling needs a border of -inf, which is never the maximum.",
            (("xp.full((", "xp.full_like(x, 0, shape=("), ("c), value, dtype=x.dtype)", "c))")),
        ),
        Mistake(
            "only below and to the right",
            "The image lies in the upper left corner, and the whole border is below and to the right. It must start "
            "at row `padding` and column `padding`.",
            (("padding : padding + h, padding : padding + w", "0:h, 0:w"),),
        ),
        Mistake(
            "only above and to the left",
            "The image lies in the lower right corner, and the whole border is above and to the left. It must start "
            "at row `padding` and column `padding`.",
            (("padding : padding + h, padding : padding + w", "2 * padding : 2 * padding + h, 2 * padding :"),),
        ),
        Mistake(
            "all axes",
            "You put a border around all four axes. Images and channels get none: only H and W, axes 1 and 2.",
            wrong=lambda x, padding, value=0.0: np.pad(x, padding, constant_values=value),
        ),
        Mistake(
            "channels first",
            "You put the border around the last two axes, which are W and C. minidl stores images as (N, H, W, C), "
            "not as torch does: H and W are axes 1 and 2.",
            wrong=lambda x, padding, value=0.0: np.pad(
                x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=value
            ),
        ),
        Mistake(
            "edge repeated",
            "You repeated the pixels of the edge. Every pixel of the border is `value`.",
            wrong=lambda x, padding, value=0.0: np.pad(
                x, ((0, 0), (padding, padding), (padding, padding), (0, 0)), mode="edge"
            ),
        ),
    ),
    hints=(
        "Begin with an array of the final shape that is `value` everywhere. Where in it does the image go?",
        "np.full makes that array; give it the dtype of x. The image covers rows padding to padding + H, and the "
        "columns alike.",
        "padded = np.full((n, h + 2 * padding, w + 2 * padding, c), value, dtype=x.dtype); "
        "padded[:, padding : padding + h, padding : padding + w] = x; return padded",
    ),
)
