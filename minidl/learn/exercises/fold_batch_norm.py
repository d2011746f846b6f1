"""A batch normalization with running statistics is one product and one sum."""

from __future__ import annotations

import numpy as np

from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, returns
from minidl.learn.exercises.paper import number


def _about(channels: int, eps: float, special: str = "not 0") -> dict[str, int | str]:
    return {"eps": "above 0" if eps else "0", "the variance": special, "C": channels}


def _cases(rng: np.random.Generator) -> list[Case]:
    def case(gamma, beta, mean, var, eps, special="not 0") -> Case:
        arrays = {"gamma": gamma, "beta": beta, "mean": mean, "var": var}
        arrays = {name: np.array(a, float) for name, a in arrays.items()}
        return Case({**arrays, "eps": eps}, _about(len(mean), eps, special))

    def random(channels: int, eps: float) -> Case:
        gamma, beta, mean = rng.normal(size=(3, channels))
        return case(gamma, beta, mean, rng.uniform(0.2, 4, channels), eps)

    single = case([2, 3], [1, -1], [4, 5], [9, 16], 1e-5).arguments
    single |= {name: single[name].astype(np.float32) for name in ("gamma", "beta")}
    return [
        case([6], [1], [5], [3], 1),
        case([1, 2], [0, 0], [1, 10], [3, 8], 1),
        case([1, 1, 1], [1, 2, 3], [0, 0, 0], [1, 4, 9], 0),
        case([-2, 3], [1, 1], [2, -2], [15, 24], 1),
        case([1, 2], [1, 1], [3, 4], [0, 1], 0.25, "0 in one channel"),
        random(1, 1e-5),
        random(2, 1e-3),
        random(5, 0.5),
        Case(single, _about(2, 1e-5)),
    ]


def _worked(arguments: Arguments, name: str, index: tuple[int, ...]) -> str:
    gamma, beta, mean, var, eps = (float(a[index]) if isinstance(a, np.ndarray) else a for a in arguments.values())
    scale = gamma / np.sqrt(var + eps)
    if name == "scale":
        return f"{number(gamma)} / sqrt({number(var)} + {eps:g}) = {scale:.6g}"
    shift = beta - mean * scale
    return f"{number(beta)} - {number(mean)}*{number(scale)} = {shift:.6g}, which is beta - mean scale"


_SCALE, _SHIFT = "gamma / np.sqrt(var + eps)\n", "beta - mean * scale\n"

EXERCISE = Exercise(
    name="fold_batch_norm",
    chapter="12_fast_engine",
    target="minidl.engine.blocks.batchnorm:fold_batch_norm",
    task="With running statistics, batch normalization is a straight line for every channel: y = z scale + shift. "
    "Compute scale and shift from gamma, beta, mean, var and eps; all arrays are (C,). The convolution before it "
    "can take both into its filters and its bias, and then the normalization costs nothing. The results have the "
    "dtype of gamma.",
    cases=_cases,
    call=returns("scale", "shift"),
    worked=_worked,
    mistakes=(
        Mistake(
            "eps outside the root",
            "eps stands outside the root: it belongs to the variance, sqrt(var + eps).",
            (("np.sqrt(var + eps)\n", "(np.sqrt(var) + eps)\n"),),
        ),
        Mistake(
            "eps missing",
            "eps is missing: 1 / sqrt(var + eps), as in training. A channel whose variance is 0 would divide by 0.",
            (("np.sqrt(var + eps)\n", "np.sqrt(var)\n"),),
        ),
        Mistake(
            "root missing",
            "The root is missing: divide by the standard deviation sqrt(var + eps), not by the variance.",
            (("np.sqrt(var + eps)\n", "(var + eps)\n"),),
        ),
        Mistake(
            "gamma missing",
            "gamma is missing: scale = gamma / sqrt(var + eps). shift contains it too, through scale.",
            ((_SCALE, _SCALE.replace("gamma", "1")),),
        ),
        Mistake(
            "mean not scaled",
            "scale is right; in shift the mean isn't scaled. y = (z - mean) scale + beta, so z scale - mean scale "
            "+ beta.",
            ((_SHIFT, _SHIFT.replace("mean * scale", "mean")),),
        ),
        Mistake(
            "gamma missing in shift",
            "scale is right; in shift the mean is multiplied without gamma: it is multiplied by the whole scale.",
            ((_SHIFT, _SHIFT.replace("scale", "scale / gamma")),),
        ),
        Mistake(
            "deviation missing in shift",
            "scale is right; in shift the mean is multiplied by gamma alone. It is multiplied by the whole scale, "
            "gamma / sqrt(var + eps).",
            ((_SHIFT, _SHIFT.replace("scale", "gamma")),),
        ),
        Mistake(
            "mean missing",
            "scale is right; shift is beta alone. The mean is subtracted from z before it is scaled: - mean scale.",
            ((_SHIFT, "beta\n"),),
        ),
        Mistake(
            "mean added",
            "scale is right; in shift the mean has the wrong sign: it is subtracted from z, so shift = beta - mean "
            "scale.",
            ((_SHIFT, _SHIFT.replace("-", "+")),),
        ),
        Mistake(
            "beta scaled",
            "scale is right; in shift beta is multiplied by scale too. beta is added at the end, as it is.",
            ((_SHIFT, "(beta - mean) * scale\n"),),
        ),
        Mistake(
            "beta missing",
            "scale is right; in shift beta is missing: shift = beta - mean scale.",
            ((_SHIFT, "-mean * scale\n"),),
        ),
        Mistake(
            "multiplied by the deviation",
            "You multiplied by sqrt(var + eps): divide.",
            ((_SCALE, _SCALE.replace("/", "*")),),
        ),
        Mistake(
            "gamma and beta exchanged",
            "gamma and beta are exchanged: gamma multiplies, beta is added.",
            ((_SCALE, _SCALE.replace("gamma", "beta")), (_SHIFT, _SHIFT.replace("beta", "gamma"))),
        ),
    ),
    hints=(
        "Write y = gamma (z - mean) / sqrt(var + eps) + beta, and multiply out. By what is z multiplied?",
        "The factor of z is scale. All that is left is shift, which contains scale.",
        "scale = gamma / np.sqrt(var + eps); shift = beta - mean * scale; both with .astype(gamma.dtype).",
    ),
)
