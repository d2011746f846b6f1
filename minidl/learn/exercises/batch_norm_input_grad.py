"""The input gradient of batch normalization, after training and after a look inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from minidl.kernels.reference import batch_norm, batch_norm_dx, batch_norm_sums, batch_statistics
from minidl.layers.norm import BatchNorm2D, BatchNormCache
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, Outcome
from minidl.learn.exercises.channels import HAND, SHAPES, about, moments, on_paper, unlike_the_batch
from minidl.learn.exercises.paper import number

_MODE = "if not cache.training:"
_DX = "batch_norm_dx(dy, cache.x, cache.mean, cache.inv_std, gamma, dgamma, dbeta)"


def _cases(rng: np.random.Generator) -> list[Case]:
    def case(mode, dy, x, mean, inv_std, gamma) -> Case:
        arrays = {"dy": dy, "x": x, "mean": mean, "inv_std": inv_std, "gamma": gamma}
        arrays = {name: np.array(a, float) for name, a in arrays.items()}
        special = {"the mode": mode, "gamma": "1" if (arrays["gamma"] == 1).all() else "another"}
        return Case({**arrays, "training": mode == "TRAIN"}, {**about(arrays["x"].shape), **special})

    dy = [[1], [0], [0]]
    cases = [
        case("TRAIN", dy, HAND, *moments(HAND, 0), [1]),
        case("PROBE", [[1], [10], [100]], HAND, [5], [2], [1]),
        case("TRAIN", dy, HAND, *moments(HAND, 0), [2]),
        case("PROBE", [[1], [10], [100]], HAND, [5], [2], [3]),
    ]
    for shape in SHAPES[1:]:
        x, dy, gamma = rng.normal(1, 2, shape), rng.normal(0.5, 1, shape), rng.normal(size=shape[-1])
        cases.append(case("TRAIN", dy, x, *moments(x, 1e-5), gamma))
        cases.append(case("PROBE", dy, x, *unlike_the_batch(rng, shape[-1]), gamma))
    return cases


def _call(function: Callable, arguments: Arguments) -> Outcome:
    """Calls input_grad on a layer whose gradients are not zero, and gives them too: they must stay as they are."""
    dy, x, mean, inv_std, gamma, training = arguments.values()
    layer = BatchNorm2D(len(gamma), dtype=x.dtype)
    layer.params["gamma"].value[...] = gamma
    for p in layer.params.values():
        p.grad[...] = 1
    dx = function(layer, dy, BatchNormCache(x, mean, inv_std, training))
    return {"dx": dx, "gamma's gradient": layer.params["gamma"].grad, "beta's gradient": layer.params["beta"].grad}


def _worked(arguments: Arguments, name: str, index: tuple[int, ...]) -> str | None:
    if name != "dx":
        return "input_grad returns dx and changes nothing, so it stays 1"
    dy, x, mean, inv_std, gamma, training = arguments.values()
    c = index[-1]
    if not training:
        dx = dy[index] * gamma[c] * inv_std[c]
        return f"{number(dy[index])}*{number(gamma[c])}*{number(inv_std[c])} = {dx:.6g}, which is dy gamma inv_std"
    return on_paper(dy, (x - mean) * inv_std, gamma * inv_std, index)


def _loss(arguments: Arguments) -> Mapping[str, tuple[Callable, np.ndarray]]:
    """L = sum dy y. In TRAIN mode mean and inv_std move with x."""
    dy, x, mean, inv_std, gamma, training = arguments.values()
    eps = 1 / inv_std**2 - batch_statistics(x)[1]

    def loss(x: np.ndarray) -> float:
        statistics = moments(x, eps) if training else (mean, inv_std)
        return (dy * batch_norm(x, *statistics, gamma, np.zeros_like(gamma))).sum()

    return {"dx": (loss, x)}


def _in_train(change: Callable) -> Callable:
    """dx with other sums in TRAIN mode, `change(dgamma, dbeta, m, n)`, and right in PROBE mode."""

    def input_grad(self, dy, cache):
        x, gamma = cache.x, self.params["gamma"].value
        if not cache.training:
            return dy * (gamma * cache.inv_std)
        sums = change(*batch_norm_sums(dy, x, cache.mean, cache.inv_std), x.size // x.shape[-1], len(x))
        return batch_norm_dx(dy, x, cache.mean, cache.inv_std, gamma, *sums)

    return input_grad


EXERCISE = Exercise(
    name="batch_norm_input_grad",
    chapter="06_batch_norm",
    target="minidl.layers.norm:BatchNorm2D.input_grad",
    task="Return dx of the layer in both of its modes. After a TRAIN pass (cache.training is True) mean and "
    "variance were those of the batch and depend on x; after a PROBE pass they were the running ones, which are "
    "constants. The cache has x, mean, inv_std and training; gamma is self.params['gamma'].value. Change no "
    "gradient of a parameter: that is what backward does.",
    cases=_cases,
    call=_call,
    worked=_worked,
    gradient=_loss,
    mistakes=(
        Mistake(
            "PROBE formula always",
            "Right after a PROBE pass. After a TRAIN pass mean and variance are those of the batch and move with "
            "x, so the paths through the mean and through the variance are missing.",
            ((_MODE, "if True:"),),
        ),
        Mistake(
            "TRAIN formula always",
            "Right after a TRAIN pass. After a PROBE pass mean and variance are constants: no gradient goes through "
            "them, only the direct path is left, dx = dy gamma inv_std.",
            ((_MODE, "if False:"),),
        ),
        Mistake(
            "modes exchanged",
            "The two modes are exchanged: cache.training is True after a TRAIN pass, where there are three paths.",
            ((_MODE, "if cache.training:"),),
        ),
        Mistake(
            "no path through the mean",
            "Right after a PROBE pass. After a TRAIN pass the path through the mean is missing: - dbeta/M in the "
            "bracket.",
            wrong=_in_train(lambda dgamma, dbeta, m, n: (dgamma, 0 * dbeta)),
        ),
        Mistake(
            "no path through the variance",
            "Right after a PROBE pass. After a TRAIN pass the path through the variance is missing: - xhat "
            "dgamma/M in the bracket.",
            wrong=_in_train(lambda dgamma, dbeta, m, n: (0 * dgamma, dbeta)),
        ),
        Mistake(
            "sums instead of means",
            "Right after a PROBE pass. After a TRAIN pass the 1/M is missing at the sums: the bracket is "
            "dy - dbeta/M - xhat dgamma/M.",
            wrong=_in_train(lambda dgamma, dbeta, m, n: (m * dgamma, m * dbeta)),
        ),
        Mistake(
            "N for M",
            "Right after a PROBE pass. After a TRAIN pass you divided the sums by N, the number of images. They "
            "run over the M = N H W numbers of a channel.",
            wrong=_in_train(lambda dgamma, dbeta, m, n: (m / n * dgamma, m / n * dbeta)),
        ),
        Mistake(
            "gradients added",
            "dx is right, but you added to the gradients of gamma and beta. input_grad changes nothing: it also "
            "serves pictures of a network that isn't being trained.",
            (
                (
                    "(dy, cache.x, cache.mean, cache.inv_std)\n",
                    "(dy, cache.x, cache.mean, cache.inv_std)\n    self.params['gamma'].grad += dgamma\n"
                    "    self.params['beta'].grad += dbeta\n",
                ),
                (
                    _MODE + "\n",
                    _MODE + "\n        g, b = kernels_for(dy).batch_norm_sums(dy, cache.x, cache.mean, cache.inv_std)"
                    "\n        self.params['gamma'].grad += g\n        self.params['beta'].grad += b\n",
                ),
            ),
        ),
        Mistake(
            "gradients added after TRAIN",
            "dx is right, but after a TRAIN pass you added to the gradients of gamma and beta. input_grad changes "
            "nothing: backward does that.",
            (
                (
                    "(dy, cache.x, cache.mean, cache.inv_std)\n",
                    "(dy, cache.x, cache.mean, cache.inv_std)\n    self.params['gamma'].grad += dgamma\n"
                    "    self.params['beta'].grad += dbeta\n",
                ),
            ),
        ),
        Mistake(
            "gamma missing in PROBE",
            "Right after a TRAIN pass. After a PROBE pass gamma is missing: dx = dy gamma inv_std.",
            (("dy * (gamma * cache.inv_std)", "dy * cache.inv_std"),),
        ),
        Mistake(
            "inv_std missing in PROBE",
            "Right after a TRAIN pass. After a PROBE pass inv_std is missing: dx = dy gamma inv_std. The running "
            "variance is a constant, but it still scales.",
            (("dy * (gamma * cache.inv_std)", "dy * gamma"),),
        ),
        Mistake(
            "dy passed through in PROBE",
            "Right after a TRAIN pass. After a PROBE pass you returned dy as it is. The layer still multiplies x by "
            "gamma inv_std, and so dx = dy gamma inv_std.",
            (("return dy * (gamma * cache.inv_std)", "return dy.copy()"),),
        ),
        Mistake(
            "gamma missing",
            "gamma is missing, in both modes: y = gamma xhat + beta, so dxhat = gamma dy.",
            (('self.params["gamma"].value', '1 + 0 * self.params["gamma"].value'),),
        ),
        Mistake(
            "gamma missing in TRAIN",
            "Right after a PROBE pass. After a TRAIN pass gamma is missing: gamma inv_std multiplies the whole "
            "bracket.",
            ((_DX, _DX.replace("gamma, dgamma", "0 * gamma + 1, dgamma")),),
        ),
    ),
    hints=(
        "cache.training says which of two formulas holds. Which of the three paths are left if mean and variance are "
        "constants?",
        "PROBE: dx = dy gamma inv_std. TRAIN: you need dgamma = sum dy xhat and dbeta = sum dy for the other two "
        "paths, but only as numbers; don't add them to the gradients.",
        "After a TRAIN pass: kernels = kernels_for(dy); dgamma, dbeta = kernels.batch_norm_sums(dy, cache.x, "
        "cache.mean, cache.inv_std); return kernels.batch_norm_dx(dy, cache.x, cache.mean, cache.inv_std, gamma, "
        "dgamma, dbeta).",
    ),
)
