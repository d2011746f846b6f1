"""The way back through branches that stand side by side."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl.layers.base import PROBE, Layer
from minidl.layers.containers import Concat
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake
from minidl.learn.exercises.paper import number
from minidl.learn.exercises.standins import DX, Same, Square, Times, back, matrix, named, numbers, witness


def _concat(*branches: tuple[Layer, ...]) -> Concat:
    names = iter(named(*(layer for branch in branches for layer in branch)).items())
    return Concat(*(dict(next(names) for _ in branch) for branch in branches))


def _cases(rng: np.random.Generator) -> list[Case]:
    cases = []
    for branches, need_dx, shape in (
        (((Times(2.0),), (Times(3.0),)), True, None),  # 1*2 + 10*3 = 32
        (((matrix(rng, 2, 1),), (matrix(rng, 2, 3),)), True, (1, 2)),
        (((Times(2.0),),), True, (1, 3)),
        (((Times(2.0),), (Times(3.0),)), False, (1, 2)),
        (((Times(2.0),), (Times(3.0),), (Times(-1.0),)), True, (1, 3)),
        (((Same(),), (Times(3.0),)), True, (1, 3)),
        (((Times(2.0),), (Times(3.0),)), True, (4, 2)),
        (((Square(), Times(2.0)), (matrix(rng, 2, 2), Square())), True, (3, 2)),
        (((matrix(rng, 2, 1),), (matrix(rng, 2, 2),), (matrix(rng, 2, 3),)), True, (2, 3, 3, 2)),
        (((matrix(rng, 3, 2), Square()), (Same(),), (matrix(rng, 3, 1),)), True, (2, 4, 3, 3)),
        (((matrix(rng, 3, 2), Square()), (matrix(rng, 3, 4), Times(-1.0))), False, (3, 2, 2, 3)),
    ):
        layer = _concat(*branches)
        (x,) = [np.array([[1.0]])] if shape is None else numbers(rng, shape)
        out = layer.out_shape(x.shape)
        dy = np.array([[1.0, 10]]) if shape is None else numbers(rng, out)[0]
        widths = {branch.out_shape(x.shape)[-1] for branch in layer.branches}
        about = {
            "need_dx": str(need_dx),
            "the number of branches": len(branches),
            "the widths of the branches": "the same" if len(widths) == 1 else "different",
            "the number of axes": x.ndim,
            "N": len(x),
        }
        cases.append(Case({"self": layer, "x": x, "dy": dy, "need_dx": need_dx}, about))
    return cases


def _on_paper(arguments: Arguments, name: str, index: tuple[int, ...]) -> str | None:
    """The sum over the branches."""
    layer, x, dy, _ = arguments.values()
    if name != DX:
        return None
    caches, widths = layer.forward(x, PROBE)[1]
    parts, start = [], 0
    for branch, cache, width in zip(layer.branches, caches, widths, strict=True):
        parts.append(float(branch.input_grad(dy[..., start : start + width], cache)[index]))
        start += width
    return f"the dx of the branches: {' + '.join(map(number, parts))} = {sum(parts):.6g}"


def _joined(
    join: Callable = lambda parts: sum(parts[1:], parts[0]),
    part: Callable = lambda dy, start, width: dy[..., start : start + width],
    order: Callable = list,
    back: Callable = lambda branch, dy, cache: branch.backward(dy, cache),
) -> Callable:
    """The way back with one of its steps in another form."""

    def backward(self: Concat, dy, cache, need_dx=True):
        parts, start = [], 0
        for branch, c, width in order(zip(self.branches, *cache, strict=True)):
            parts.append(back(branch, part(dy, start, width), c))
            start += width
        return join(parts) if need_dx else None

    return backward


def _into_the_first(parts: list) -> np.ndarray:
    """Adds to the array that the first branch returned, which may be a part of dy."""
    for other in parts[1:]:
        parts[0] += other
    return parts[0]


def _even(self: Concat, dy, cache, need_dx=True):
    """Parts of the same width."""
    caches, parts = cache[0], np.split(dy, len(self.branches), axis=-1)
    dxs = [branch.backward(part, c) for branch, part, c in zip(self.branches, parts, caches, strict=True)]
    return sum(dxs[1:], dxs[0]) if need_dx else None


EXERCISE = Exercise(
    name="concat_backward",
    chapter="08_branches",
    target="minidl.layers.containers:Concat.backward",
    task="The way back through `self.branches`, a list of layers that all read x; their outputs stand side by side "
    "on the last axis. `cache` is (the list of their caches, the list of their widths on that axis). Give every "
    "branch its part of dy with backward(dy, cache, need_dx), and return dx, or None if need_dx is False.",
    cases=_cases,
    call=back,
    worked=_on_paper,
    gradient=witness,
    related=("minidl.layers.containers:Concat._join",),
    mistakes=(
        Mistake(
            "averaged",
            "You took the mean over the branches. The chain rule adds: x reaches the loss through every branch.",
            wrong=_joined(join=lambda parts: sum(parts) / len(parts)),
        ),
        Mistake(
            "only the last branch",
            "You return the dx of the last branch: the others are overwritten. x reaches the loss through every "
            "branch, so add their dx.",
            wrong=_joined(join=lambda parts: parts[-1]),
        ),
        Mistake(
            "only the first branch",
            "You return the dx of the first branch. x reaches the loss through every branch, so add their dx.",
            wrong=_joined(join=lambda parts: parts[0]),
        ),
        Mistake(
            "in reverse order",
            "The branches get each other's parts of dy: you go through them from the last to the first, but the "
            "parts begin with the first. Branches stand side by side; their order is that of the channels.",
            wrong=_joined(order=lambda branches: reversed(list(branches))),
        ),
        Mistake(
            "start not moved",
            "Every branch gets the first channels of dy. Its part begins where the part of the branch before it "
            "ends: start += width.",
            wrong=_joined(part=lambda dy, start, width: dy[..., :width]),
        ),
        Mistake(
            "parts of the same width",
            "Right where all branches have the same width. You cut dy into equal parts; use the widths in the cache.",
            wrong=_even,
        ),
        Mistake(
            "not split",
            "Every branch gets all of dy. Its part is only the channels that it made: dy[..., start : start + "
            "width].",
            wrong=_joined(part=lambda dy, start, width: dy),
        ),
        Mistake(
            "joined",
            "You put the dx of the branches side by side. The outputs stand side by side, but the input is the same "
            "x for all: add.",
            wrong=_joined(join=lambda parts: np.concatenate(parts, axis=-1)),
        ),
        Mistake(
            "one after the other",
            "You multiplied the dx of the branches. Branches side by side add; only layers one after the other "
            "multiply.",
            wrong=_joined(join=lambda parts: np.prod(parts, axis=0)),
        ),
        Mistake(
            "split along axis 1",
            "Right for (N, C). Channels are the last axis, also of images (N, H, W, C): split with "
            "dy[..., start : start + width], not with dy[:, start : start + width].",
            wrong=_joined(part=lambda dy, start, width: dy[:, start : start + width]),
        ),
        Mistake(
            "added in place",
            "You changed dy. A branch may hand its dy on as its dx, and that is a part of the dy you got: `dx += "
            "...` then writes into it. Write dx = dx + ...",
            wrong=_joined(join=_into_the_first),
        ),
        Mistake(
            "only input_grad",
            "dx is right, but the gradients of the parameters are missing: input_grad leaves them alone. Call the "
            "branches' backward, which adds them.",
            wrong=_joined(back=lambda branch, dy, cache: branch.input_grad(dy, cache)),
        ),
        Mistake(
            "returned too early",
            "Right where need_dx is True. Where it is False, only dx isn't needed: the parameters need their "
            "gradients all the same. Don't return before the layers' backward.",
            wrong=lambda self, dy, cache, need_dx=True: Concat.backward(self, dy, cache) if need_dx else None,
        ),
        Mistake(
            "need_dx ignored",
            "Where need_dx is False, return None, and pass need_dx on: the branches needn't compute a dx that nobody "
            "reads.",
            (("branch.backward(d, c, need_dx)", "branch.backward(d, c)"),),
        ),
    ),
    hints=(
        "In the forward pass x goes to every branch, and the outputs are joined. Backward, joining becomes "
        "splitting. And what does sending x to every branch become?",
        "Cut dy along the last axis: branch i gets widths[i] channels, and the next one begins after them. dx is "
        "the sum over the branches.",
        "For each branch, c, width: d = branch.backward(dy[..., start : start + width], c, need_dx); dx = d if dx is "
        "None else dx + d; start += width.",
    ),
)
