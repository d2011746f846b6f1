"""The three paths back through batch normalization."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from minidl.kernels.reference import batch_norm, batch_norm_sums, batch_statistics
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, returns
from minidl.learn.exercises.channels import HAND, SHAPES, about, moments, on_paper

_SUM = "(dy - dbeta * (1 / m) - xhat * (dgamma * (1 / m)))"


def _cases(rng: np.random.Generator) -> list[Case]:
    def case(dy, x, gamma, eps) -> Case:
        dy, x, gamma = (np.array(a, float) for a in (dy, x, gamma))
        mean, inv_std = moments(x, eps)
        dgamma, dbeta = batch_norm_sums(dy, x, mean, inv_std)
        arrays = {
            "dy": dy,
            "x": x,
            "mean": mean,
            "inv_std": inv_std,
            "gamma": gamma,
            "dgamma": dgamma,
            "dbeta": dbeta,
        }
        return Case(arrays, {**about(x.shape), "gamma": "1" if (gamma == 1).all() else "another"})

    return [
        case([[1], [0], [0]], HAND, [1], 0),
        case([[1], [0], [0]], HAND, [2], 0),
        case([[1, 0], [0, 2], [0, 0]], [[1, 30], [2, 10], [3, 20]], [1, 1], 0),
        *(case(rng.normal(0.5, 1, s), rng.normal(1, 2, s), rng.normal(size=s[-1]), 1e-5) for s in SHAPES),
        case(rng.normal(size=(2, 3, 3, 2)), rng.normal(size=(2, 3, 3, 2)), [1.5, -0.5], 0.5),
    ]


def _worked(arguments: Arguments, name: str, index: tuple[int, ...]) -> str:
    dy, x, mean, inv_std, gamma, *_ = arguments.values()
    return on_paper(dy, (x - mean) * inv_std, gamma * inv_std, index)


def _loss(arguments: Arguments) -> Mapping[str, tuple[Callable, np.ndarray]]:
    """L = sum dy y, where mean and inv_std move with x."""
    dy, x, _, inv_std, gamma, *_ = arguments.values()
    eps = 1 / inv_std**2 - batch_statistics(x)[1]
    return {"dx": (lambda x: (dy * batch_norm(x, *moments(x, eps), gamma, np.zeros_like(gamma))).sum(), x)}


EXERCISE = Exercise(
    name="batch_norm_dx",
    chapter="06_batch_norm",
    target="minidl.kernels.reference:batch_norm_dx",
    task="Carry dy back through batch normalization in training, where mean and variance are those of the batch. x "
    "reaches y in three ways: directly, through the variance and through the mean; dx is the sum of the three. "
    "dgamma and dbeta are given, already computed from dy: dgamma = sum dy xhat, dbeta = sum dy. dy and x are "
    "(..., C), all others (C,).",
    cases=_cases,
    call=returns("dx"),
    worked=_worked,
    gradient=_loss,
    mistakes=(
        Mistake(
            "only the direct path",
            "Only the direct path is there: the two paths through the mean and through the variance are missing. "
            "gamma inv_std dy is right in PROBE mode, where mean and variance are constants. In training they move "
            "with x.",
            ((_SUM, "dy"),),
        ),
        Mistake(
            "no path through the mean",
            "The path through the mean is missing: - dbeta/M. Every x moves the mean a little, and the mean moves "
            "all y.",
            (("dy - dbeta * (1 / m) -", "dy -"),),
        ),
        Mistake(
            "no path through the variance",
            "The path through the variance is missing: - xhat dgamma/M. Every x moves the variance, and the variance "
            "moves all y.",
            ((" - xhat * (dgamma * (1 / m))", ""),),
        ),
        Mistake(
            "sums instead of means",
            "The 1/M is missing at the sums: a single x moves the mean by 1/M of its own step only, and the variance "
            "likewise. It is dy - dbeta/M - xhat dgamma/M.",
            (("dbeta * (1 / m)", "dbeta"), ("dgamma * (1 / m)", "dgamma")),
        ),
        Mistake(
            "sum in the path through the mean",
            "The 1/M is missing in the path through the mean: - dbeta/M.",
            (("dbeta * (1 / m)", "dbeta"),),
        ),
        Mistake(
            "sum in the path through the variance",
            "The 1/M is missing in the path through the variance: - xhat dgamma/M.",
            (("dgamma * (1 / m)", "dgamma"),),
        ),
        Mistake(
            "xhat missing",
            "In the path through the variance xhat is missing: an x far from the mean moves the variance more than "
            "one near it. It is - xhat dgamma/M.",
            (("xhat * (dgamma * (1 / m))", "dgamma * (1 / m)"),),
        ),
        Mistake(
            "x for xhat",
            "The path through the variance has x in place of xhat = (x - mean) inv_std.",
            (("xhat = (x - mean) * inv_std", "xhat = x"),),
        ),
        Mistake(
            "mean not subtracted in xhat",
            "In the path through the variance the mean isn't subtracted: xhat is (x - mean) inv_std, and x moves the "
            "variance by 2 (x - mean) / M.",
            (("xhat = (x - mean) * inv_std", "xhat = x * inv_std"),),
        ),
        Mistake(
            "2 forgotten",
            "The path through the variance is half as large as it must be: x moves the variance by 2 (x - mean) / M. "
            "The 2 cancels the 1/2 of the derivative of var^(-1/2), which is -1/2 inv_std^3.",
            (("(dgamma * (1 / m))", "(dgamma * (1 / m)) / 2"),),
        ),
        Mistake(
            "power of inv_std",
            "In the path through the variance inv_std has the power 1 in place of 3: the derivative of var^(-1/2) is "
            "-1/2 var^(-3/2) = -1/2 inv_std^3.",
            (("(dgamma * (1 / m))", "(dgamma * (1 / m)) / inv_std**2"),),
        ),
        Mistake(
            "divided by inv_std",
            "You divided by inv_std at the end. It is 1 / sqrt(var + eps) already: multiply.",
            (("(gamma * inv_std)", "(gamma / inv_std)"),),
        ),
        Mistake(
            "gamma missing",
            "gamma is missing: y = gamma xhat + beta, so dxhat = gamma dy.",
            (("(gamma * inv_std)", "inv_std"),),
        ),
        Mistake(
            "inv_std missing",
            "The factor inv_std is missing: xhat = (x - mean) inv_std, so everything is multiplied by inv_std on its "
            "way from xhat to x.",
            (("(gamma * inv_std)", "gamma"),),
        ),
        Mistake(
            "gamma on the direct path only",
            "gamma is missing on the paths through the mean and the variance. dgamma and dbeta are sums of dy, "
            "without gamma, so gamma multiplies the whole bracket.",
            ((_SUM + " * (gamma * inv_std)", _SUM.replace("(dy", "(gamma * dy") + " * inv_std"),),
        ),
        Mistake(
            "x - mean for xhat",
            "The path through the variance has x - mean in place of xhat: multiply it by inv_std.",
            (("xhat = (x - mean) * inv_std", "xhat = x - mean"),),
        ),
        Mistake(
            "N for M",
            "You divided by N, the number of images. The sums run over the M = N H W numbers of a channel.",
            (("x.size // x.shape[-1]", "x.shape[0]"),),
        ),
        Mistake(
            "C counted",
            "You divided by the number of all entries. A channel has M = N H W numbers: leave out C.",
            (("x.size // x.shape[-1]", "x.size"),),
        ),
        Mistake(
            "paths added",
            "The paths through the mean and the variance have the wrong sign: if a number grows, the mean grows with "
            "it, and all xhat become smaller. Both are subtracted.",
            (("dy - dbeta * (1 / m) - xhat", "dy + dbeta * (1 / m) + xhat"),),
        ),
        Mistake(
            "path through the mean added",
            "The path through the mean has the wrong sign: if one number grows, the mean grows, and all xhat become "
            "smaller. It is - dbeta/M.",
            (("dy - dbeta * (1 / m)", "dy + dbeta * (1 / m)"),),
        ),
        Mistake(
            "path through the variance added",
            "The path through the variance has the wrong sign: if the variance grows, all xhat come nearer to 0. "
            "It is - xhat dgamma/M.",
            (("(1 / m) - xhat", "(1 / m) + xhat"),),
        ),
        Mistake(
            "gamma twice",
            "gamma is there twice. If you begin with dxhat = gamma dy, and take its sums, only inv_std is left to "
            "multiply by.",
            (("(gamma * inv_std)", "(gamma * gamma * inv_std)"),),
        ),
        Mistake(
            "dgamma and dbeta exchanged",
            "dgamma and dbeta are exchanged: dbeta = sum dy belongs to the mean, dgamma = sum dy xhat to the "
            "variance.",
            ((_SUM, "(dy - dgamma * (1 / m) - xhat * (dbeta * (1 / m)))"),),
        ),
    ),
    hints=(
        "Draw x -> mean -> var -> xhat -> y. Three arrows leave x. Write the gradient of each, and add them.",
        "With dxhat = gamma dy: directly dxhat inv_std; through the mean every x receives -inv_std (sum dxhat) / M; "
        "through the variance it receives -inv_std xhat (sum dxhat xhat) / M. The two sums are gamma dbeta and gamma "
        "dgamma.",
        "m = x.size // x.shape[-1]; xhat = (x - mean) * inv_std; dx = gamma * inv_std * (dy - dbeta / m - xhat * "
        "dgamma / m).",
    ),
)
