"""The forward pass of batch normalization, its statistics given."""

from __future__ import annotations

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, returns
from minidl.learn.exercises.channels import HAND, SHAPES, about, moments, unlike_the_batch
from minidl.learn.exercises.paper import number


def _cases(rng: np.random.Generator) -> list[Case]:
    def case(x, mean, inv_std, gamma, beta, special="the batch's") -> Case:
        arrays = {"x": x, "mean": mean, "inv_std": inv_std, "gamma": gamma, "beta": beta}
        arrays = {name: np.array(a, float) for name, a in arrays.items()}
        return Case(arrays, {**about(arrays["x"].shape), "the statistics": special})

    cases = [
        case(HAND, [2], [2], [10], [5], "others than the batch's"),
        case([[1, 10], [3, 30]], [2, 20], [1, 0.1], [1, -2], [0, 7]),
    ]
    for i, shape in enumerate(SHAPES):
        x, (gamma, beta) = rng.normal(1, 2, shape), rng.normal(size=(2, shape[-1]))
        if i % 3 == 2:
            cases.append(case(x, *unlike_the_batch(rng, shape[-1]), gamma, beta, "others than the batch's"))
        else:
            cases.append(case(x, *moments(x, 1e-5), gamma, beta))
    return cases


def _worked(arguments: Arguments, name: str, index: tuple[int, ...]) -> str:
    x, c = arguments["x"][index], index[-1]
    mean, inv_std, gamma, beta = (arguments[n][c] for n in ("mean", "inv_std", "gamma", "beta"))
    y = gamma * (x - mean) * inv_std + beta
    return f"{number(gamma)}*({number(x)} - {number(mean)})*{number(inv_std)} + {number(beta)} = {y:.6g}"


def _own_statistics(eps):
    return lambda x, mean, inv_std, gamma, beta: reference.batch_norm(x, *moments(x, eps), gamma, beta)


_OWN = (
    "You computed mean and variance from x. Use those that are given: in PROBE and INFER mode they are the running "
    "ones, not the batch's."
)

EXERCISE = Exercise(
    name="batch_norm",
    chapter="06_batch_norm",
    target="minidl.kernels.reference:batch_norm",
    task="Normalize x, and give every channel a new scale gamma and a new mean beta. x is (..., C); mean, inv_std, "
    "gamma and beta are (C,). inv_std is 1 / sqrt(var + eps), already computed. In training mean and inv_std are "
    "the batch's, later those of the running statistics: use what you are given.",
    cases=_cases,
    call=returns("y"),
    worked=_worked,
    mistakes=(
        Mistake(
            "divided by inv_std",
            "You divided by inv_std. It is 1 / sqrt(var + eps) already: multiply.",
            (("(gamma * inv_std)", "(gamma / inv_std)"),),
        ),
        Mistake(
            "taken for the variance",
            "You took the root of inv_std once more, as if it were a variance. It is 1 / sqrt(var + eps) already: "
            "multiply by it.",
            (("(gamma * inv_std)", "(gamma / inv_std**0.5)"),),
        ),
        Mistake("gamma missing", "gamma is missing: y = gamma xhat + beta.", (("(gamma * inv_std)", "inv_std"),)),
        Mistake(
            "beta missing",
            "beta is missing: y = gamma xhat + beta.",
            (("(gamma * inv_std) + beta", "(gamma * inv_std)"),),
        ),
        Mistake(
            "only normalized",
            "That is xhat. Then multiply by gamma and add beta: y = gamma xhat + beta.",
            (("(gamma * inv_std) + beta", "inv_std"),),
        ),
        Mistake("inv_std missing", "(x - mean) isn't scaled by inv_std.", (("(gamma * inv_std)", "gamma"),)),
        Mistake(
            "mean not subtracted",
            "The mean isn't subtracted: xhat = (x - mean) inv_std.",
            (("(x - mean) * (gamma", "x * (gamma"),),
        ),
        Mistake(
            "beta scaled",
            "You added beta before multiplying by gamma, so beta is multiplied too. First gamma xhat, then + beta.",
            (("(x - mean) * (gamma * inv_std) + beta", "((x - mean) * inv_std + beta) * gamma"),),
        ),
        Mistake(
            "mean after the scale",
            "You multiplied x by inv_std first and then subtracted the mean, which isn't scaled. Subtract first.",
            (("(x - mean) * (gamma * inv_std)", "(x * inv_std - mean) * gamma"),),
        ),
        Mistake(
            "gamma and beta exchanged",
            "gamma and beta are exchanged: gamma multiplies, beta is added.",
            (("(gamma * inv_std) + beta", "(beta * inv_std) + gamma"),),
        ),
        Mistake(
            "mean added",
            "You added the mean. It is subtracted, so that xhat has mean 0.",
            (("(x - mean) * (gamma", "(x + mean) * (gamma"),),
        ),
        Mistake(
            "beta subtracted",
            "You subtracted beta. It is added: beta is the new mean.",
            (("(gamma * inv_std) + beta", "(gamma * inv_std) - beta"),),
        ),
        Mistake("own statistics", _OWN, wrong=_own_statistics(1e-5)),
        Mistake("own statistics, no eps", _OWN, wrong=_own_statistics(0)),
    ),
    hints=(
        "It is one line. NumPy lines (C,) up with the last axis of x, so no loop and no reshape is needed.",
        "First xhat, which has mean 0 and variance 1: subtract the mean, then scale. Then gamma and beta.",
        "xhat = (x - mean) * inv_std; y = gamma * xhat + beta.",
    ),
)
