"""The way back through layers that stand one after the other."""

from __future__ import annotations

import numpy as np

from minidl.layers.activation import ReLU
from minidl.layers.base import Layer
from minidl.layers.containers import Sequential
from minidl.learn.exercise import Case, Exercise, Mistake
from minidl.learn.exercises.standins import Square, Times, back, chain, matrix, numbers, witness


def _cases(rng: np.random.Generator) -> list[Case]:
    twice = Times(2.0)
    cases = []
    for layers, need_dx, shape in (
        ((Times(2.0), Square()), True, None),  # y = 4 x^2, so dx = 8 x dy
        ((Times(3.0),), True, (1, 3)),
        ((Times(3.0),), False, (1, 3)),
        ((Square(), Times(3.0), Square()), False, (1, 4)),
        ((matrix(rng, 2, 2), matrix(rng, 2, 2)), True, (2, 2)),
        ((twice, Square(), twice), True, (2, 2)),
        ((matrix(rng, 3, 3), ReLU(), matrix(rng, 3, 3)), True, (3, 3)),
        ((chain(Times(2.0), Square()), Times(0.5)), True, (2, 3)),
        ((matrix(rng, 2, 2), Square(), matrix(rng, 2, 2), Times(-1.0)), False, (2, 3, 3, 2)),
        ((matrix(rng, 4, 4), ReLU(), matrix(rng, 4, 4), ReLU(), matrix(rng, 4, 4), Times(2.0)), True, (4, 4)),
    ):
        x, dy = np.array([[[1.0, 2, 3]], [[1.0, 1, 1]]]) if shape is None else numbers(rng, shape, shape)
        about = {"need_dx": str(need_dx), "the number of layers": len(layers), "N": len(x)}
        cases.append(Case({"self": chain(*layers), "x": x, "dy": dy, "need_dx": need_dx}, about))
    return cases


def _own_caches(self: Sequential, dy, cache, need_dx=True):
    """From the first layer to the last, each with its own cache."""
    for layer, c in zip(self, cache, strict=True):
        dy = layer.backward(dy, c)
    return dy if need_dx else None


def _caches_from_behind(self: Sequential, dy, cache, need_dx=True):
    for layer, c in zip(self, reversed(cache), strict=True):
        dy = layer.backward(dy, c)
    return dy if need_dx else None


def _twice(self: Sequential, dy, cache, need_dx=True):
    """Takes dx from input_grad, after the gradients: the first layer's parameters count twice."""
    for layer, c in zip(reversed(list(self)), reversed(cache), strict=True):
        layer.backward(dy, c)
        dy = layer.backward(dy, c)
    return dy if need_dx else None


def _all_the_same(self: Sequential, dy, cache, need_dx=True):
    """Every layer gets the dy of the last one."""
    dx = dy
    for layer, c in zip(reversed(list(self)), reversed(cache), strict=True):
        dx = layer.backward(dy, c)
    return dx if need_dx else None


def _added_up(self: Sequential, dy, cache, need_dx=True):
    dx = 0 * dy
    for layer, c in zip(reversed(list(self)), reversed(cache), strict=True):
        dx = dx + layer.backward(dy, c)
    return dx if need_dx else None


def _without_the_first(self: Layer, dy, cache, need_dx=True):
    for layer, c in list(zip(self, cache, strict=True))[:0:-1]:
        dy = layer.backward(dy, c)
    return dy if need_dx else None


def _without_the_last(self: Layer, dy, cache, need_dx=True):
    for layer, c in list(zip(self, cache, strict=True))[-2::-1]:
        dy = layer.backward(dy, c)
    return dy if need_dx else None


EXERCISE = Exercise(
    name="sequential_backward",
    chapter="08_branches",
    target="minidl.layers.containers:Sequential.backward",
    task="The way back through `self.layers`, a dict of layers in the order of the forward pass. `cache` is the list "
    "of their caches in the same order; you may empty it. Call each layer's backward(dy, cache, need_dx), which "
    "adds the gradients of its parameters and returns its dx. Return the dx of the first layer, or None if "
    "need_dx is False.",
    cases=_cases,
    call=back,
    gradient=witness,
    mistakes=(
        Mistake(
            "from the first to the last",
            "You go through the layers in the order of the forward pass. The gradient comes from the end: begin "
            "with the last layer.",
            wrong=_own_caches,
        ),
        Mistake(
            "caches in the order of the forward pass",
            "The layers come in the right order, from the last to the first, but the caches don't: each layer needs "
            "its own, so reverse both.",
            (("cache.pop()", "cache.pop(0)"),),
        ),
        Mistake(
            "only the caches from behind",
            "You go through the layers in the order of the forward pass, but cache.pop() takes the caches from "
            "the end. The gradient comes from there too: begin with the last layer.",
            wrong=_caches_from_behind,
        ),
        Mistake(
            "dy for all",
            "Every layer gets the same dy, that of the last layer. The dx of a layer is the dy of the one before it: "
            "that is the chain rule.",
            wrong=_all_the_same,
        ),
        Mistake(
            "added up",
            "You add the dx of all layers. Layers that stand one after the other multiply: the dx of each is the dy "
            "of the one before it. Sums belong to branches.",
            wrong=_added_up,
        ),
        Mistake(
            "only input_grad",
            "dx is right, but the gradients of the parameters are missing: input_grad leaves them alone. Call the "
            "layers' backward, which adds them.",
            wrong=lambda self, dy, cache, need_dx=True: self.input_grad(dy, cache) if need_dx else None,
        ),
        Mistake(
            "gradients emptied",
            "You set the gradients to zero first. Whoever calls backward may collect gradients from several batches: "
            "leave those that are there.",
            wrong=lambda self, dy, cache, need_dx=True: (
                self.zero_grad() or Sequential.backward(self, dy, cache, need_dx)
            ),
        ),
        Mistake(
            "first layer forgotten",
            "The loop ends one layer too early: the first layer is missing. range(n - 1, -1, -1) ends at 0, "
            "range(n - 1, 0, -1) at 1.",
            wrong=_without_the_first,
        ),
        Mistake(
            "last layer forgotten",
            "The loop begins one layer too early: the last layer is missing. Its number is n - 1.",
            wrong=_without_the_last,
        ),
        Mistake(
            "backward twice",
            "You call each layer's backward twice, so its parameters' gradients count twice. Call it once and keep "
            "what it returns.",
            wrong=_twice,
        ),
        Mistake(
            "returned too early",
            "Right where need_dx is True. Where it is False, only dx isn't needed: the parameters need their "
            "gradients all the same. Don't return before the layers' backward.",
            wrong=lambda self, dy, cache, need_dx=True: Sequential.backward(self, dy, cache) if need_dx else None,
        ),
        Mistake(
            "need_dx ignored",
            "Where need_dx is False, return None: the first layer needn't compute a dx that nobody reads.",
            (("needed = need_dx or i > 0", "needed = True"),),
        ),
        Mistake(
            "need_dx for every layer",
            "You pass need_dx on to every layer. If it is False, the layers after the first return None, and the "
            "next one has no dy. Only the first layer may leave its dx out.",
            (("needed = need_dx or i > 0", "needed = need_dx"),),
        ),
    ),
    hints=(
        "The forward pass is y = f_k(... f_2(f_1(x))). Whose dy do you have at the beginning, and what does that "
        "layer's backward return?",
        "Go through layers and caches from the last to the first: reversed(list(zip(self.layers.values(), "
        "cache))). What a layer returns is the dy of the next one. Which layer may leave its dx out?",
        "layers = list(self.layers.values()); for i in range(len(layers) - 1, -1, -1): dy = layers[i].backward(dy, "
        "cache[i], need_dx or i > 0); return dy.",
    ),
)
