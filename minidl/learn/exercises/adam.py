"""One step of Adam."""

from __future__ import annotations

import math

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, changes
from minidl.learn.exercises.paper import number


def _cases(rng: np.random.Generator) -> list[Case]:
    lr, b1, b2 = 0.001, 0.9, 0.999
    by_hand = _arguments(np.array([1.0]), np.array([2.0]), np.zeros(1), np.zeros(1), lr, 1, (b1, b2), 1e-8, 0.0)
    cases = [Case(by_hand, _about(1, 1e-8, 0.0, "zero"))]
    for t, eps, decay, shape in (
        (2, 1e-8, 0.0, (3,)),
        (1, 1e-8, 0.5, (3,)),
        (1, 0.5, 0.0, (3,)),
        (10, 1e-8, 0.0, (2, 3)),
        (3, 0.1, 0.25, (4,)),
        (1000, 1e-8, 0.01, (3, 4)),
        (5, 1e-3, 0.0, (2, 3, 2)),
        (7, 0.01, 0.1, (3, 2, 2, 4)),
    ):
        w, g, m = rng.normal(size=(3, *shape))
        v = rng.uniform(0.5, 2, size=shape)
        betas = (0.9, 0.999) if t < 5 else (0.8, 0.95)
        arguments = _arguments(w, g, m, v, 0.01 * t, t, betas, eps, decay)
        cases.append(Case(arguments, _about(t, eps, decay, "not zero")))
    return cases


def _arguments(w, g, m, v, lr, t, betas, eps, decay) -> Arguments:
    b1, b2 = betas
    step, root = lr / (1 - b1**t), math.sqrt(1 - b2**t)
    return {
        **{"w": w, "g": g, "m": m, "v": v, "step": step},
        **{"betas": betas, "root": root, "eps": eps, "decay": decay},
    }


def _about(t: int, eps: float, decay: float, moments: str) -> dict[str, int | str]:
    return {
        "t": t,
        "decay": "zero" if decay == 0 else "not zero",
        "eps": "small" if eps < 1e-4 else "large",
        "m": moments,
    }


def _on_paper(arguments: Arguments, name: str, index: tuple[int, ...]) -> str:
    w, g, m, v, step, (b1, b2), root, eps, decay = arguments.values()
    w, g, m, v = (float(a[index]) for a in (w, g, m, v))
    g, text = g + decay * w, f"g = {number(g)} + {decay:g}*{number(w)} = {number(g + decay * w)}; " if decay else ""
    new_m, new_v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
    if name == "m":
        return f"{text}{b1:g}*{number(m)} + {1 - b1:.4g}*{number(g)} = {new_m:.6g}"
    if name == "v":
        return f"{text}{b2:g}*{number(v)} + {1 - b2:.4g}*{number(g)}^2 = {new_v:.6g}"
    moved = w - step * new_m / (math.sqrt(new_v) / root + eps)
    numbers = f"{number(w)} - {step:.4g}*{number(new_m)} / (sqrt({new_v:.4g}) / {root:.4g} + {eps:g})"
    return f"new m = {new_m:.4g}, new v = {new_v:.4g}; {numbers} = {moved:.6g}"


def _decoupled(w, g, m, v, step, betas, root, eps, decay):
    w -= decay * step * w
    reference.adam(w, g, m, v, step, betas, root, eps, 0.0)


def _old_moments(w, g, m, v, step, betas, root, eps, decay):
    old = m / (np.sqrt(v) / root + eps) * step
    before = w.copy()
    reference.adam(w, g, m, v, step, betas, root, eps, decay)
    w[...] = before - old


_MOVE = "w -= m / (xp.sqrt(v) / root + eps) * step"

EXERCISE = Exercise(
    name="adam",
    chapter="09_training",
    target="minidl.kernels.reference:adam",
    task="One step of Adam for one parameter: change w, m and v in place, and leave g as it is. `step` and `root` "
    "contain the bias correction already, so t is not needed.",
    cases=_cases,
    call=changes("w", "m", "v"),
    changes=("w", "m", "v"),
    worked=_on_paper,
    mistakes=(
        Mistake(
            "v not corrected",
            "The root of v isn't divided by `root`. v starts at 0, so it is too small in the first steps; without "
            "the correction the steps are too long: more than thirty times in the first one.",
            ((_MOVE, "w -= m / (xp.sqrt(v) + eps) * step"),),
        ),
        Mistake(
            "root multiplied",
            "You multiply the root of v by `root`; divide by it. v is too small at first by the factor 1 - b2^t = "
            "root^2, so v / root^2 is the corrected one.",
            ((_MOVE, "w -= m / (xp.sqrt(v) * root + eps) * step"),),
        ),
        Mistake(
            "root twice",
            "`root` is sqrt(1 - b2^t) already. Divide sqrt(v) by it, outside the square root.",
            ((_MOVE, "w -= m / (xp.sqrt(v / root) + eps) * step"),),
        ),
        Mistake(
            "no square root",
            "You divide by v itself. Divide by its square root: then the step doesn't depend on the scale of the "
            "gradient.",
            ((_MOVE, "w -= m / (v / root**2 + eps) * step"),),
        ),
        Mistake(
            "eps inside the root",
            "eps stands inside the square root. It is added after it: sqrt(v) / root + eps.",
            ((_MOVE, "w -= m / xp.sqrt(v / root**2 + eps) * step"),),
        ),
        Mistake(
            "eps divided by root",
            "eps is divided by `root` too. It is added last: sqrt(v) / root + eps.",
            ((_MOVE, "w -= m / ((xp.sqrt(v) + eps) / root) * step"),),
        ),
        Mistake(
            "eps forgotten",
            "eps is missing. It is added to the root of v: sqrt(v) / root + eps, so that nothing is divided by 0.",
            ((_MOVE, "w -= m / (xp.sqrt(v) / root) * step"),),
        ),
        Mistake(
            "betas exchanged",
            "The two betas are exchanged: b1 belongs to m, b2 to v.",
            (("b1, b2 = betas", "b2, b1 = betas"),),
        ),
        Mistake(
            "weights exchanged",
            "The old and the new are exchanged: the old moment must be multiplied by b, which is near 1, and the new "
            "gradient by 1 - b.",
            (
                ("m * b1 + g * (1 - b1)", "m * (1 - b1) + g * b1"),
                ("v * b2 + g * g * (1 - b2)", "v * (1 - b2) + g * g * b2"),
            ),
        ),
        Mistake(
            "v without the square",
            "v must average g^2. You averaged g, so v can be negative and has no square root.",
            (("g * g * (1 - b2)", "g * (1 - b2)"),),
        ),
        Mistake(
            "m is a sum",
            "The factor 1 - b1 is missing: m must be an average of the gradients, and yours is a sum.",
            (("g * (1 - b1)", "g"),),
        ),
        Mistake(
            "v is a sum",
            "The factor 1 - b2 is missing: v must be an average of the squares, and yours is a sum.",
            (("g * g * (1 - b2)", "g * g"),),
        ),
        Mistake(
            "m and v are sums",
            "The factors 1 - b1 and 1 - b2 are missing: m and v must be averages, and yours are sums.",
            (("g * (1 - b1)", "g"), ("g * g * (1 - b2)", "g * g")),
        ),
        Mistake(
            "v from m",
            "v must average the square of the gradient; you took the square of m.",
            (("g * g * (1 - b2)", "m * m * (1 - b2)"),),
        ),
        Mistake(
            "moments not kept",
            "w is right, but the new m and v are lost: `m = ...` gives another array the local name m. Write into "
            "the array itself: m[...] = ...",
            (("m[...] =", "m ="), ("v[...] =", "v =")),
        ),
        Mistake(
            "weight not in place",
            "m and v are right, but w hasn't moved: `w = w - ...` gives another array the local name w. Write `w -= "
            "...`.",
            (("w -= m", "w = w - m"),),
        ),
        Mistake(
            "nothing in place",
            "Nothing has changed. The optimizer doesn't look at what you return, and `w = ...` gives another array "
            "the local name w. Write into the arrays: m[...] = ..., v[...] = ..., `w -= ...`.",
            wrong=lambda w, g, m, v, step, betas, root, eps, decay: None,
        ),
        Mistake(
            "old moments",
            "w moves by the moments of the step before. Update m and v first, then move w.",
            wrong=_old_moments,
        ),
        Mistake(
            "decoupled decay",
            "Right without decay. You took the decay from w directly, which is AdamW. Here it is added to the "
            "gradient first, so it passes through m and v.",
            wrong=_decoupled,
        ),
        Mistake(
            "decay ignored",
            "Right without decay: it is missing. Begin with g + decay w.",
            (("if decay:", "if False:"),),
        ),
        Mistake(
            "decay subtracted",
            "The decay has the wrong sign. It is the gradient of the penalty decay/2 |w|^2, and is added to g.",
            (("g + w * decay", "g - w * decay"),),
        ),
        Mistake(
            "decay not in v",
            "Right without decay. It is in m, but not in v: add it to the gradient first, and use the sum for both.",
            (("v * b2 + g * g * (1 - b2)", "v * b2 + (g - w * decay) ** 2 * (1 - b2)"),),
        ),
        Mistake(
            "uphill",
            "w moves in the direction of the gradient, so the loss rises. Subtract the step.",
            ((_MOVE, _MOVE.replace("-=", "+=")),),
        ),
        Mistake(
            "g changed",
            "You changed g: `g += ...` writes into the caller's array. Write g = g + decay * w, which makes a new "
            "one.",
            (("g = g + w * decay", "g += w * decay"),),
        ),
    ),
    hints=(
        "Follow the four lines of the docstring in their order. m, v and w are the caller's arrays: write into them.",
        "m[...] = b1 m + (1 - b1) g writes into m; the same for v with g * g. Both come before w, which uses the new "
        "ones.",
        "g = g + decay * w; m[...] = b1 * m + (1 - b1) * g; v[...] = b2 * v + (1 - b2) * g * g; w -= step * m / "
        "(np.sqrt(v) / root + eps).",
    ),
)
