"""A linear layer: every output is a sum over all inputs."""

from __future__ import annotations

from functools import partial

import numpy as np

from minidl.layers.context import INFER, PROBE, TRAIN
from minidl.layers.linear import Linear
from minidl.layers.parameter import Parameter
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, Outcome, returns
from minidl.learn.exercises.paper import products

MODES = {"TRAIN": TRAIN, "PROBE": PROBE, "INFER": INFER}


def layer_of(arguments: Arguments) -> Linear:
    """A Linear layer with these parameters and gradients; without a bias if it is None."""
    layer = Linear(*arguments["weight"].shape, bias=False)
    for name in ("weight", "bias"):
        if arguments[name] is not None:
            layer.params[name] = Parameter(arguments[name], grad=arguments.get(f"{name}.grad"))
    return layer


def _cases(rng: np.random.Generator) -> list[Case]:
    by_hand = {
        "x": np.array([[1.0, 2]]),
        "weight": np.array([[1.0, 10], [100, 1000]]),
        "bias": np.array([3.0, 4]),
        "mode": "TRAIN",
    }
    cases = [Case(by_hand, _about(1, 2, 2, True, "TRAIN"))]
    for n, d, k, bias, mode in (
        (2, 3, 1, True, "TRAIN"),
        (1, 3, 2, False, "TRAIN"),
        (2, 3, 2, True, "PROBE"),
        (1, 2, 3, True, "INFER"),
        (3, 2, 3, True, "TRAIN"),
        (4, 3, 3, False, "INFER"),
        (2, 4, 5, False, "PROBE"),
        (5, 6, 4, True, "INFER"),
        (7, 5, 6, True, "PROBE"),
    ):
        x, weight = rng.normal(size=(n, d)), rng.normal(size=(d, k))
        if n * d < 8:
            x, weight = np.round(4 * x) + 0.0, np.round(4 * weight) + 0.0
        arguments = {"x": x, "weight": weight, "bias": rng.normal(size=k) if bias else None, "mode": mode}
        cases.append(Case(arguments, _about(n, d, k, bias, mode)))
    return cases


def _about(n: int, d: int, k: int, bias: bool, mode: str) -> dict[str, int | str]:
    return {"the mode": mode, "the bias": "present" if bias else "absent", "N": n, "D": d, "K": k}


def _call(function, arguments: Arguments) -> Outcome:
    forward = partial(function, layer_of(arguments))
    return returns("y", "cache")(forward, {"x": arguments["x"], "ctx": MODES[arguments["mode"]]})


def _on_paper(arguments: Arguments, name: str, index: tuple[int, ...]) -> str | None:
    if name != "y":
        return None
    n, k = index
    bias = arguments["bias"]
    pairs = zip(arguments["x"][n], arguments["weight"][:, k], strict=True)
    return products(pairs, plus=None if bias is None else bias[k])


EXERCISE = Exercise(
    name="linear_forward",
    chapter="01_linear",
    target="minidl.layers.linear:Linear.forward",
    task="Compute y = x @ w + b. `self.params` holds the weight w and, if the layer has one, the bias b: "
    '`self.params["weight"].value` is the array. Return y and the cache. The cache is what the backward pass will '
    "need, namely x; it is None unless `ctx.keeps_cache`.",
    cases=_cases,
    call=_call,
    worked=_on_paper,
    mistakes=(
        Mistake(
            "bias missing",
            "The bias is missing: y[n,k] is b[k] plus the sum over d of x[n,d] w[d,k].",
            (('        y += self.params["bias"].value\n', "        pass\n"),),
        ),
        Mistake(
            "bias required",
            'Not every layer has a bias. Where it has none, `self.params` has no "bias": look with '
            '`"bias" in self.params` first.',
            (('if "bias" in self.params:', "if True:"),),
        ),
        Mistake(
            "weight transposed",
            "You used the transpose of the weight. Here it is (D, K), so that x @ w is (N, D) @ (D, K). "
            "(torch stores it the other way round, as (K, D).)",
            (('x @ self.params["weight"].value', 'x @ self.params["weight"].value.T'),),
        ),
        Mistake(
            "bias by row",
            "You added the bias along the rows: one number for each image. b has one number for each output k, "
            "and every image gets the same.",
            (('y += self.params["bias"].value', 'y += self.params["bias"].value[:, None]'),),
        ),
        Mistake(
            "cache is y",
            "The cache must hold x, not y: dw[d,k] is the sum over n of x[n,d] dy[n,k], and from y nobody can get x "
            "back.",
            (("(x if ctx.keeps_cache else None)", "(y if ctx.keeps_cache else None)"),),
        ),
        Mistake(
            "no cache",
            "The cache is always None. After a TRAIN or PROBE pass the backward pass needs x.",
            (("(x if ctx.keeps_cache else None)", "None"),),
        ),
        Mistake(
            "cache only in TRAIN",
            "A PROBE pass needs its cache too: it goes backward to draw pictures. Ask `ctx.keeps_cache`, which is "
            "true in TRAIN and in PROBE.",
            (("ctx.keeps_cache", "ctx.training"),),
        ),
        Mistake(
            "cache in INFER",
            "In INFER mode the cache must be None. Nobody goes backward there, and keeping every x would fill the "
            "memory.",
            (("(x if ctx.keeps_cache else None)", "x"),),
        ),
    ),
    hints=(
        "One product of matrices gives all sums at once. Which shapes do x, w and y have?",
        "(N, D) @ (D, K) is (N, K). The bias (K,) is added to every row. Then think of the cache.",
        'y = x @ self.params["weight"].value; if "bias" in self.params: y += self.params["bias"].value; return y, '
        "(x if ctx.keeps_cache else None).",
    ),
)
