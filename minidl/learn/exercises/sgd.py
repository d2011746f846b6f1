"""One step of gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl.layers.base import Parameter
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, Outcome
from minidl.learn.exercises.paper import number
from minidl.optim import SGD


def _cases(rng: np.random.Generator) -> list[Case]:
    by_hand = {"w": np.array([1.0, 2]), "g": np.array([3.0, -4]), "v": None}
    cases = [Case({**by_hand, "lr": 0.1, "wd": 0.0, "momentum": 0.0, "nesterov": False}, _about(0.0, False, 0.0))]
    by_hand = {**by_hand, "v": np.array([10.0, 20])}
    for momentum, nesterov, wd, shape in (
        (0.5, False, 0.0, None),
        (0.5, True, 0.0, None),
        (0.0, False, 0.5, None),
        (0.9, False, 0.0, (3,)),
        (0.9, True, 0.0, (2, 3)),
        (0.9, False, 0.1, (2, 2, 3)),
        (0.8, True, 0.25, (4, 3)),
        (0.0, False, 0.1, (2, 3, 2, 2)),
        (0.7, True, 0.01, (3, 3, 2, 4)),
    ):
        arrays = {name: rng.normal(size=shape) for name in ("w", "g", "v")} if shape else dict(by_hand)
        if not momentum:
            arrays["v"] = None
        options = {"lr": 0.1, "wd": wd, "momentum": momentum, "nesterov": nesterov}
        cases.append(Case({**arrays, **options}, _about(momentum, nesterov, wd)))
    return cases


def _about(momentum: float, nesterov: bool, wd: float) -> dict[str, int | str]:
    return {
        "momentum": "zero" if momentum == 0 else "not zero",
        "nesterov": str(nesterov),
        "wd": "zero" if wd == 0 else "not zero",
    }


def _call(function: Callable, arguments: Arguments) -> Outcome:
    """The new w and v; v is None without momentum."""
    w, g, v, lr, wd, momentum, nesterov = arguments.values()
    optimizer = SGD({"w": Parameter(w, grad=g)}, lr, momentum, nesterov)
    function(optimizer, w, g, [] if v is None else [v], lr, wd)
    return {"w": w, "v": v}


def _on_paper(arguments: Arguments, name: str, index: tuple[int, ...]) -> str:
    w, g, v, lr, wd, momentum, nesterov = arguments.values()
    w, g, v = float(w[index]), float(g[index]), 0.0 if v is None else float(v[index])
    g, text = g + wd * w, f"g = {number(g)} + {wd:g}*{number(w)} = {number(g + wd * w)}; " if wd else ""
    if not momentum:
        return f"{text}{number(w)} - {lr:g}*{number(g)} = {w - lr * g:.6g}"
    new = momentum * v + g
    text += f"new v = {momentum:g}*{number(v)} + {number(g)} = {new:.6g}"
    if name == "v":
        return text
    if nesterov:
        moved = w - lr * (g + momentum * new)
        return f"{text}; {number(w)} - {lr:g}*({number(g)} + {momentum:g}*{number(new)}) = {moved:.6g}"
    return f"{text}; {number(w)} - {lr:g}*{number(new)} = {w - lr * new:.6g}"


def _variant(
    decayed: Callable = lambda w, g, wd, lr: g + wd * w,
    velocity: Callable = lambda mu, v, g, lr: mu * v + g,
    plain: Callable = lambda mu, v, g, lr, old: lr * v,
    nesterov: Callable = lambda mu, v, g, lr, old: lr * (g + mu * v),
) -> Callable:
    """The update with one of its formulas in another form."""

    def update(self: SGD, w, g, state, lr, wd):
        g = decayed(w, g, wd, lr)
        if not state:
            w -= lr * g
            return
        old = state[0].copy()
        state[0][...] = velocity(self.momentum, old, g, lr)
        w -= (nesterov if self.nesterov else plain)(self.momentum, state[0], g, lr, old)

    return update


def _decoupled(self: SGD, w, g, state, lr, wd):
    w *= 1 - lr * wd
    SGD._update(self, w, g, state, lr, 0.0)


def _decay_without_rate(self: SGD, w, g, state, lr, wd):
    w *= 1 - wd
    SGD._update(self, w, g, state, lr, 0.0)


EXERCISE = Exercise(
    name="sgd",
    chapter="09_training",
    target="minidl.optim:SGD._update",
    task="One step of gradient descent for one parameter: change w in place, and leave g as it is. `self.momentum` "
    "is mu, `self.nesterov` says which of the last two equations of the docstring holds. `state` is [v], with v to "
    "be changed in place; without momentum it is []. `lr` is the learning rate and `wd` the weight decay.",
    cases=_cases,
    call=_call,
    changes=("w", "v"),
    worked=_on_paper,
    mistakes=(
        Mistake(
            "nesterov ignored",
            "Right without Nesterov. With `self.nesterov` the step is lr (g + mu v), with the new v: it looks ahead, "
            "to where v will carry w next. (With the old v, g + mu v is the new v: the step without Nesterov.)",
            (("if self.nesterov:", "if False:"),),
        ),
        Mistake(
            "nesterov without the gradient",
            "With Nesterov the gradient itself is missing: the step is lr (g + mu v), with the new v.",
            (("move += g", "pass"),),
        ),
        Mistake(
            "nesterov with v in full",
            "With Nesterov v is multiplied by mu once more: the step is lr (g + mu v), not lr (g + v).",
            (("xp.multiply(v, self.momentum, out=move)", "move[...] = v"),),
        ),
        Mistake(
            "old velocity",
            "w moves by the old v, so the gradient of this step acts one step too late. Update v first.",
            wrong=_variant(
                plain=lambda mu, v, g, lr, old: lr * old, nesterov=lambda mu, v, g, lr, old: lr * (g + mu * old)
            ),
        ),
        Mistake(
            "rate inside v",
            "Your v contains the learning rate: v = mu v + lr g. Here lr stands outside, so that a change of lr acts "
            "at once: v = mu v + g, then w = w - lr v.",
            wrong=_variant(
                velocity=lambda mu, v, g, lr: mu * v + lr * g,
                plain=lambda mu, v, g, lr, old: v,
                nesterov=lambda mu, v, g, lr, old: lr * g + mu * v,
            ),
        ),
        Mistake(
            "v downhill",
            "Your v points downhill and contains the learning rate, v = mu v - lr g, as in CS231n. Here v adds up "
            "gradients: v = mu v + g, then w = w - lr v.",
            wrong=_variant(
                velocity=lambda mu, v, g, lr: mu * v - lr * g,
                plain=lambda mu, v, g, lr, old: -v,
                nesterov=lambda mu, v, g, lr, old: mu * old - (1 + mu) * v,
            ),
        ),
        Mistake(
            "averaged velocity",
            "You multiply the gradient by 1 - mu, which makes v an average. Here v is a sum: v = mu v + g.",
            wrong=_variant(velocity=lambda mu, v, g, lr: mu * v + (1 - mu) * g),
        ),
        Mistake(
            "momentum ignored",
            "Right without momentum. The old v is gone: v = mu v + g.",
            wrong=_variant(velocity=lambda mu, v, g, lr: g),
        ),
        Mistake(
            "rate ignored",
            "Right without momentum. With it your step doesn't contain lr: w = w - lr v, and with Nesterov "
            "w = w - lr (g + mu v).",
            (("move *= lr", "pass"), ("(v, lr, out=move)", "(v, 1, out=move)")),
        ),
        Mistake(
            "v and g exchanged",
            "With Nesterov v and g are exchanged: the step is lr (g + mu v), not lr (v + mu g).",
            wrong=_variant(nesterov=lambda mu, v, g, lr, old: lr * (v + mu * g)),
        ),
        Mistake(
            "v not kept",
            "w is right, but v is lost: `v = ...` or `state[0] = ...` puts another array in its place. The optimizer "
            "keeps the array itself: v[...] = ..., or `v *= mu` and `v += g`.",
            wrong=lambda self, w, g, state, lr, wd: SGD._update(self, w, g, [v.copy() for v in state], lr, wd),
        ),
        Mistake(
            "weight not in place",
            "w hasn't moved: `w = w - ...` gives another array the local name w. Write `w -= ...`.",
            (("w -= move", "w = w - move"),),
        ),
        Mistake(
            "nothing in place",
            "Neither w nor v has changed. The optimizer doesn't look at what you return, and `w = ...` gives another "
            "array the local name w. Write into the arrays: `w -= ...`, v[...] = ...",
            wrong=lambda self, w, g, state, lr, wd: None,
        ),
        Mistake(
            "decay ignored",
            "Right without decay: it is missing. Begin with g + wd w.",
            (("g = self._decayed(w, g, wd)", "pass"),),
        ),
        Mistake(
            "decay subtracted",
            "The decay has the wrong sign. It is the gradient of the penalty wd/2 |w|^2, and is added to g.",
            (("_decayed(w, g, wd)", "_decayed(w, g, -wd)"),),
        ),
        Mistake(
            "decay past v",
            "Right without decay, or without momentum. You took the decay from w directly. Here it is added to the "
            "gradient first, so v contains it too.",
            wrong=_decoupled,
        ),
        Mistake(
            "decay past the rate",
            "Right without decay. You took wd w from w without the learning rate. Here the decay is added to the "
            "gradient first: g + wd w.",
            wrong=_decay_without_rate,
        ),
        Mistake(
            "decay times the rate",
            "Right without decay. It contains lr twice: g + wd w, and lr comes at the end, once.",
            (("_decayed(w, g, wd)", "_decayed(w, g, wd * lr)"),),
        ),
        Mistake(
            "uphill",
            "w moves in the direction of the gradient, so the loss rises. Subtract the step.",
            (("w -= move", "w += move"),),
        ),
        Mistake(
            "g changed",
            "You changed g: `g += ...` writes into the caller's array. Write g = g + wd * w, which makes a new one.",
            (("g = self._decayed(w, g, wd)", "g += wd * w"),),
        ),
    ),
    hints=(
        "Follow the lines of the docstring in their order. w and v are the optimizer's arrays: write into them. "
        "Without momentum there is no v.",
        "Three forms: without momentum w -= lr g; with momentum first v *= mu and v += g, then w -= lr v; with "
        "Nesterov w -= lr (g + mu v) in place of the last.",
        "g = g + wd * w; if not self.momentum: w -= lr * g; else: (v,) = state; v *= self.momentum; v += g; w -= lr "
        "* (g + self.momentum * v if self.nesterov else v).",
    ),
)
