"""The three gradients of a linear layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, Outcome
from minidl.learn.exercises.linear_forward import layer_of
from minidl.learn.exercises.paper import products, sum_of

DW, DB = "what is added to weight.grad", "what is added to bias.grad"


def _cases(rng: np.random.Generator) -> list[Case]:
    by_hand = {
        "dy": np.array([[1.0, 2]]),
        "x": np.array([[3.0, 4]]),
        "weight": np.array([[1.0, 10], [100, 1000]]),
        "bias": np.array([5.0, 6]),
        "weight.grad": np.array([[7.0, 0], [0, 0]]),
        "bias.grad": np.array([8.0, 0]),
        "need_dx": True,
    }
    cases = [Case(by_hand, _about(1, 2, 2, True, True))]
    for n, d, k, bias, need_dx in (
        (2, 3, 1, True, True),
        (1, 3, 2, False, True),
        (2, 2, 3, True, False),
        (3, 2, 3, True, True),
        (4, 3, 3, True, True),
        (2, 4, 5, False, False),
        (3, 4, 4, False, True),
        (5, 6, 4, True, False),
        (7, 5, 6, True, True),
    ):
        shapes = {"dy": (n, k), "x": (n, d), "weight": (d, k), "bias": k, "weight.grad": (d, k), "bias.grad": k}
        arguments = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        if n * d * k < 10:
            arguments = {name: np.round(4 * a) + 0.0 for name, a in arguments.items()}
        if not bias:
            arguments["bias"] = arguments["bias.grad"] = None
        cases.append(Case({**arguments, "need_dx": need_dx}, _about(n, d, k, bias, need_dx)))
    return cases


def _about(n: int, d: int, k: int, bias: bool, need_dx: bool) -> dict[str, int | str]:
    return {"need_dx": str(need_dx), "the bias": "present" if bias else "absent", "N": n, "D": d, "K": k}


def _call(function: Callable, arguments: Arguments) -> Outcome:
    """dx, and by how much each gradient has grown. x is the cache."""
    layer = layer_of(arguments)
    before = {name: parameter.grad.copy() for name, parameter in layer.params.items()}
    options = {} if arguments["need_dx"] else {"need_dx": False}  # True is the default
    dx = function(layer, arguments["dy"], arguments["x"], **options)
    added = {name: parameter.grad - before[name] for name, parameter in layer.params.items()}
    return {"dx": dx, DW: added["weight"], DB: added.get("bias")}


def _on_paper(arguments: Arguments, name: str, index: tuple[int, ...]) -> str | None:
    dy, x, weight = arguments["dy"], arguments["x"], arguments["weight"]
    if name == DB:
        return sum_of(dy[:, index[0]])
    pairs = (dy[index[0]], weight[index[1]]) if name == "dx" else (x[:, index[0]], dy[:, index[1]])
    return products(zip(*pairs, strict=True))


def _witness(arguments: Arguments) -> Mapping[str, tuple[Callable, np.ndarray]]:
    dy, x, weight, bias = (arguments[name] for name in ("dy", "x", "weight", "bias"))
    witnesses = {
        "dx": (lambda x: ((x @ weight) * dy).sum(), x),
        DW: (lambda weight: ((x @ weight) * dy).sum(), weight),
    }
    return witnesses if bias is None else {**witnesses, DB: (lambda bias: ((x @ weight + bias) * dy).sum(), bias)}


EXERCISE = Exercise(
    name="linear_backward",
    chapter="01_linear",
    target="minidl.layers.linear:Linear.backward",
    task='The way back through y = x @ w + b. The cache is x. Add dw to `self.params["weight"].grad` and, if the '
    'layer has a bias, db to `self.params["bias"].grad`. Return dx, or None if `need_dx` is False.',
    cases=_cases,
    call=_call,
    changes=("weight.grad", "bias.grad"),
    worked=_on_paper,
    gradient=_witness,
    mistakes=(
        Mistake(
            "assigned",
            "You put the new gradients in the place of the old ones: you assigned where you must add. A layer may "
            "be used twice, and gradients may come from several batches. (A gradient check that starts from zero "
            "doesn't see this mistake.)",
            (
                ('["weight"].grad += cache', '["weight"].grad[...] = cache'),
                ('["bias"].grad += dy', '["bias"].grad[...] = dy'),
            ),
        ),
        Mistake(
            "averaged",
            "dw and db are divided by N. The mean over the batch belongs to the loss: it is in dy already. Here the "
            "chain rule only adds.",
            (
                ("+= cache.T @ dy", "+= cache.T @ dy / len(dy)"),
                ("dy.sum(axis=0)", "dy.mean(axis=0)"),
            ),
        ),
        Mistake(
            "bias averaged",
            "db is divided by N. Every image adds its dy to db; the mean over the batch is in dy already.",
            (("dy.sum(axis=0)", "dy.mean(axis=0)"),),
        ),
        Mistake(
            "last image only",
            "dw holds the last image only: in your loop over the images each product overwrites the one before. "
            "dw[d,k] is the sum over n of x[n,d] dy[n,k].",
            (("+= cache.T @ dy", "+= cache[-1:].T @ dy[-1:]"),),
        ),
        Mistake(
            "need_dx ignored",
            "Where need_dx is False, return None. Nobody needs the gradient with respect to the images themselves, "
            "and computing it costs a third of the time.",
            ((" if need_dx else None", ""),),
        ),
        Mistake(
            "weight not transposed",
            "In dx the weight isn't transposed. dx[n,d] is the sum over k of dy[n,k] w[d,k]: the second index of "
            "both is k, so it is dy @ w.T.",
            (("self.input_grad(dy, cache) if", 'dy @ self.params["weight"].value if'),),
        ),
        Mistake(
            "dw transposed",
            "You added the transpose of dw. The gradient has the shape of the weight, (D, K): "
            "dw[d,k] is the sum over n of x[n,d] dy[n,k].",
            (("cache.T @ dy", "dy.T @ cache"),),
        ),
        Mistake(
            "bias over everything",
            "You added all of dy to every entry of db. b[k] is used in y[n,k] for every n, but only for one k: "
            "add over the images, axis 0.",
            (("dy.sum(axis=0)", "dy.sum()"),),
        ),
        Mistake(
            "bias over the outputs",
            "db is the sum over the wrong axis. b[k] is used in y[n,k] for every n: add over the images, axis 0.",
            (("dy.sum(axis=0)", "dy.sum(axis=1)"),),
        ),
        Mistake(
            "bias required",
            'Not every layer has a bias. Where it has none, `self.params` has no "bias": look with '
            '`"bias" in self.params` first.',
            (('if "bias" in self.params:', "if True:"),),
        ),
    ),
    hints=(
        "Write y[n,k] as a sum. In which y is w[d,k] used, and with which factor? The same for b[k] and x[n,d].",
        "dw[d,k] is the sum over n of x[n,d] dy[n,k]; db[k] the sum over n of dy[n,k]; dx[n,d] the sum over k of "
        "dy[n,k] w[d,k]. The shapes tell which matrix is transposed.",
        'self.params["weight"].grad += cache.T @ dy; if "bias" in self.params: self.params["bias"].grad += '
        'dy.sum(axis=0); return dy @ self.params["weight"].value.T if need_dx else None.',
    ),
)
