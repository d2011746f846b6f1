"""The gradients of gamma and beta."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, returns
from minidl.learn.exercises.channels import HAND, SHAPES, about, moments, unlike_the_batch
from minidl.learn.exercises.paper import products, sum_of


def _cases(rng: np.random.Generator) -> list[Case]:
    def case(dy, x, mean, inv_std, special="the batch's") -> Case:
        arrays = {"dy": dy, "x": x, "mean": mean, "inv_std": inv_std}
        arrays = {name: np.array(a, float) for name, a in arrays.items()}
        return Case(arrays, {**about(arrays["x"].shape), "the statistics": special})

    cases = [
        case([[1], [10], [100]], HAND, [2], [2], "others than the batch's"),
        case([[1, 2], [10, 20]], [[1, 10], [3, 30]], [2, 20], [1, 0.1]),
    ]
    for i, shape in enumerate(SHAPES):
        dy, x = rng.normal(1, 1, (2, *shape))
        if i % 3 == 2:
            cases.append(case(dy, x, *unlike_the_batch(rng, shape[-1]), "others than the batch's"))
        else:
            cases.append(case(dy, x, *moments(x, 1e-5)))
    return cases


def _worked(arguments: Arguments, name: str, index: tuple[int, ...]) -> str | None:
    dy, x = (arguments[n].reshape(-1, arguments[n].shape[-1])[:, index[0]] for n in ("dy", "x"))  # (..., C) -> (M,)
    if len(x) > 4:
        return None
    if name == "dbeta":
        return f"{sum_of(dy)}, the sum of dy"
    xhat = (x - arguments["mean"][index]) * arguments["inv_std"][index]
    return f"{products(zip(dy, xhat, strict=True))}, the sum of dy xhat"


def _losses(arguments: Arguments) -> Mapping[str, tuple[Callable, np.ndarray]]:
    """L = sum dy y, as a function of gamma and of beta."""
    dy, x, mean, inv_std = arguments.values()
    one, zero = np.ones_like(mean), np.zeros_like(mean)
    return {
        "dgamma": (lambda gamma: (dy * reference.batch_norm(x, mean, inv_std, gamma, zero)).sum(), one),
        "dbeta": (lambda beta: (dy * reference.batch_norm(x, mean, inv_std, one, beta)).sum(), zero),
    }


def _product_of_sums(dy, x, mean, inv_std):
    axes = tuple(range(x.ndim - 1))
    return dy.sum(axis=axes) * ((x - mean) * inv_std).sum(axis=axes), dy.sum(axis=axes)


def _own_statistics(eps):
    return lambda dy, x, mean, inv_std: reference.batch_norm_sums(dy, x, *moments(x, eps))


_OWN = "You computed mean and variance from x. Use those that are given: in PROBE mode they are the running ones."

EXERCISE = Exercise(
    name="batch_norm_sums",
    chapter="06_batch_norm",
    target="minidl.kernels.reference:batch_norm_sums",
    task="Compute the gradients of gamma and beta. y = gamma xhat + beta, and one gamma and one beta serve all M "
    "numbers of a channel. dy and x are (..., C), mean and inv_std are (C,); the results are (C,). xhat isn't "
    "given: compute it from x, mean and inv_std.",
    cases=_cases,
    call=returns("dgamma", "dbeta"),
    worked=_worked,
    gradient=_losses,
    mistakes=(
        Mistake(
            "averaged",
            "Both are exactly M times too small: you took means. gamma and beta reach the loss through all M numbers "
            "of their channel, and the chain rule adds the ways. (A 1/N for the batch is in dy already.)",
            ((".sum(axis=axes), dy.sum(axis=axes)", ".mean(axis=axes), dy.mean(axis=axes)"),),
        ),
        Mistake(
            "x for xhat",
            "dgamma is made with x. y = gamma xhat + beta, so the factor of gamma is xhat = (x - mean) inv_std.",
            (("((x - mean) * inv_std)", "x"),),
        ),
        Mistake(
            "inv_std missing",
            "In dgamma x - mean isn't scaled: the factor of gamma is xhat = (x - mean) inv_std.",
            (("((x - mean) * inv_std)", "(x - mean)"),),
        ),
        Mistake(
            "mean not subtracted",
            "In dgamma the mean isn't subtracted: the factor of gamma is xhat = (x - mean) inv_std.",
            (("((x - mean) * inv_std)", "(x * inv_std)"),),
        ),
        Mistake(
            "divided by inv_std",
            "In dgamma you divided by inv_std. It is 1 / sqrt(var + eps) already: multiply.",
            (("(x - mean) * inv_std)", "(x - mean) / inv_std)"),),
        ),
        Mistake(
            "product of sums",
            "dgamma is the product of two sums. Multiply dy by xhat first, number by number, and then add up.",
            wrong=_product_of_sums,
        ),
        Mistake(
            "dy missing in dgamma",
            "dgamma is the sum of xhat alone. By the chain rule every xhat is weighted with its dy.",
            (("(dy * ((x - mean) * inv_std))", "((x - mean) * inv_std)"),),
        ),
        Mistake(
            "batch axis only",
            "You added up over the images only. One gamma serves all pixels of a channel: add up over all axes but "
            "the last.",
            (("axes = tuple(range(x.ndim - 1))", "axes = 0"),),
        ),
        Mistake(
            "all channels together",
            "You added up everything into one number. Every channel has a gamma and a beta: keep the last axis.",
            (("axes = tuple(range(x.ndim - 1))", "axes = None"),),
        ),
        Mistake(
            "four axes only",
            "It works for four axes only. After a linear layer x is (N, C): add up over all axes but the last, "
            "however many there are.",
            (("axes = tuple(range(x.ndim - 1))", "axes = (0, 1, 2)"),),
        ),
        Mistake("own statistics", _OWN, wrong=_own_statistics(1e-5)),
        Mistake("own statistics, no eps", _OWN, wrong=_own_statistics(0)),
    ),
    hints=(
        "dy/dgamma is xhat, and dy/dbeta is 1. How many numbers of y does one beta reach?",
        "dL/dgamma[c] is the sum over all numbers of channel c of dy times xhat. Which axes are those?",
        "axes = tuple(range(x.ndim - 1)); xhat = (x - mean) * inv_std; return (dy * xhat).sum(axes), dy.sum(axes).",
    ),
)
