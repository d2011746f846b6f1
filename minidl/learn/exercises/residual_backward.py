"""The way back through a residual block: around, and through the body."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl.layers.base import PROBE
from minidl.layers.residual import Residual
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake
from minidl.learn.exercises.paper import number
from minidl.learn.exercises.standins import DX, Square, Times, back, chain, matrix, numbers, witness


class _Block(Residual):
    """A residual block that shows its layers."""

    def __repr__(self) -> str:
        body = getattr(self.body, "layers", [self.body])
        text = f"Residual(body: {', '.join(map(repr, body))}"
        return text + (f"; shortcut: {self.shortcut!r})" if self.shortcut else ")")


def _cases(rng: np.random.Generator) -> list[Case]:
    cases = []
    for body, shortcut, need_dx, shape in (
        (Square(), None, True, None),  # y = x^2 + x, so dx = (2 x + 1) dy
        (Square(), Times(3.0), True, (1, 3)),
        (Times(2.0), None, False, (1, 3)),
        (Times(2.0), Times(-3.0), False, (1, 3)),
        (chain(Square(), Times(2.0)), None, True, (3, 2)),
        (matrix(rng, 2, 2), matrix(rng, 2, 2), True, (2, 2)),
        (Square(), matrix(rng, 2, 2), True, (4, 2)),
        (chain(matrix(rng, 2, 3), Square(), matrix(rng, 3, 2)), None, True, (2, 3, 3, 2)),
        (chain(matrix(rng, 3, 2), Square(), matrix(rng, 2, 3)), matrix(rng, 3, 3), True, (3, 2, 2, 3)),
    ):
        x, dy = np.array([[[1.0, 2, 3]], [[1.0, 1, 1]]]) if shape is None else numbers(rng, shape, shape)
        about = {
            "need_dx": str(need_dx),
            "the shortcut": "present" if shortcut else "absent",
            "N": len(x),
            "the number of axes": x.ndim,
        }
        cases.append(Case({"self": _Block(body, shortcut), "x": x, "dy": dy, "need_dx": need_dx}, about))
    return cases


def _on_paper(arguments: Arguments, name: str, index: tuple[int, ...]) -> str | None:
    """Through the body, and around it."""
    layer, x, dy, _ = arguments.values()
    if name != DX:
        return None
    through, around = layer.forward(x, PROBE)[1]
    body = float(layer.body.input_grad(dy, through)[index])
    other = float((layer.shortcut.input_grad(dy, around) if layer.shortcut else dy)[index])
    return f"through the body {number(body)} + around it {number(other)} = {body + other:.6g}"


def _both(join: Callable) -> Callable:
    """Both ways, and `join(self, through, around)` of their dx."""

    def backward(self: Residual, dy, cache, need_dx=True):
        around = self.shortcut.backward(dy, cache[1]) if self.shortcut else dy
        through = self.body.backward(dy, cache[0])
        return join(self, through, around) if need_dx else None

    return backward


def _one_after_the_other(self: Residual, dy, cache, need_dx=True):
    around = self.shortcut.backward(dy, cache[1]) if self.shortcut else dy
    dx = self.body.backward(around, cache[0])
    return dx if need_dx else None


def _into_dy(self: Residual, dy, cache, need_dx=True):
    """Without a shortcut dx is dy itself, and is added to in place."""
    dx = dy if self.shortcut is None else self.shortcut.backward(dy, cache[1])
    through = self.body.backward(dy, cache[0])
    dx += through
    return dx if need_dx else None


def _shortcut_left_out(self: Residual, dy, cache, need_dx=True):
    through = self.body.backward(dy, cache[0])
    return through + dy if need_dx else None


EXERCISE = Exercise(
    name="residual_backward",
    chapter="08_branches",
    target="minidl.layers.residual:Residual.backward",
    task="The way back through a residual block. `cache` is [the cache of self.body, that of self.shortcut]; you may "
    "empty it. `self.shortcut` is None if x goes around the body as it is. Call backward(dy, cache, need_dx) of "
    "both layers, which adds their gradients and returns their dx; return the block's dx, or None if need_dx is "
    "False.",
    cases=_cases,
    call=back,
    worked=_on_paper,
    gradient=witness,
    mistakes=(
        Mistake(
            "only the body",
            "The way around the body is missing. x reaches y in two ways, so dx is the sum of both: without a "
            "shortcut layer the second one is dy itself.",
            wrong=_both(lambda self, through, around: through),
        ),
        Mistake(
            "only around",
            "The way through the body is missing in dx. x reaches y in two ways, so dx is the sum of both.",
            wrong=_both(lambda self, through, around: around),
        ),
        Mistake(
            "around forgotten without a shortcut",
            "Right where there is a shortcut layer. Without one x itself is added to y, so dy itself is added to dx.",
            wrong=_both(lambda self, through, around: through + around if self.shortcut else through),
        ),
        Mistake(
            "shortcut left out",
            "Right without a shortcut layer. Where there is one, the way around goes through it: add its dx, not dy, "
            "and let it add its gradients.",
            wrong=_shortcut_left_out,
        ),
        Mistake(
            "averaged",
            "You took the mean of both ways. The chain rule adds: each of them reaches the loss.",
            wrong=_both(lambda self, through, around: (through + around) / 2),
        ),
        Mistake(
            "multiplied",
            "You multiplied the dx of both ways. Ways side by side add.",
            wrong=_both(lambda self, through, around: through * around),
        ),
        Mistake(
            "one after the other",
            "You sent the gradient through the shortcut and then through the body. They stand side by side: both get "
            "the same dy, and their dx add up.",
            wrong=_one_after_the_other,
        ),
        Mistake(
            "you changed dy",
            "You changed dy. Without a shortcut layer the way around is dy itself, and `dx += ...` writes into it. "
            "Write dx = dx + ...",
            wrong=_into_dy,
        ),
        Mistake(
            "only input_grad",
            "dx is right, but the gradients of the parameters are missing: input_grad leaves them alone. Call "
            "backward of both layers, which adds them.",
            wrong=lambda self, dy, cache, need_dx=True: self.input_grad(dy, cache) if need_dx else None,
        ),
        Mistake(
            "returned too early",
            "Right where need_dx is True. Where it is False, only dx isn't needed: the parameters need their "
            "gradients all the same. Don't return before the layers' backward.",
            wrong=lambda self, dy, cache, need_dx=True: Residual.backward(self, dy, cache) if need_dx else None,
        ),
        Mistake(
            "need_dx ignored",
            "Where need_dx is False, return None, and pass need_dx on: the layers needn't compute a dx that nobody "
            "reads.",
            wrong=lambda self, dy, cache, need_dx=True: Residual.backward(self, dy, cache, True),
        ),
        Mistake(
            "None added up",
            "If need_dx is False the layers return None, and None can't be added. Add only if need_dx is True, and "
            "return None otherwise.",
            (("return through + dx if need_dx else None", "return through + dx"),),
        ),
    ),
    hints=(
        "y = f(x) + g(x). What is the derivative of a sum, and what is g if there is no shortcut layer?",
        "The body and the shortcut get the same dy. Each returns its own dx; without a shortcut its dx is dy. Add "
        "them in a new array, because dy belongs to the caller.",
        "through = self.body.backward(dy, cache[0], need_dx); around = self.shortcut.backward(dy, cache[1], need_dx) "
        "if self.shortcut else dy; return through + around if need_dx else None.",
    ),
)
