"""Gradient checks: is a layer's backward pass the derivative of its forward pass?

For a fixed random dy, the number L = sum(y dy) has dL/dy = dy. So its gradients are exactly what `backward(dy)` must
return, and each can be compared with a central difference in float64,

    n = (L(point + step u) - L(point - step u)) / (2 step),        point = (input, all parameters).

The error of n is O(step^2) + O(rounding / step): with values of order one and step 1e-5, some 1e-10 of each. The
direction u is first a random unit vector over everything at once, in which an error anywhere shows. Then u is a
single coordinate of each array, which tells where the error is.

If a ReLU switches or a maximum moves between the two ends, the difference is wrong, although the gradient is right.
This is called a kink. For a single layer `spaced` makes inputs that stay away from kinks. Inside a network this is
impossible; there a direction is skipped, and counted, if a ReLU mask or a max-pool index differs between its two
ends. docs/learn/10_gradient_check.py shows on small numbers how a check can fool you.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.backend.arrays import Array, array_module, to_device
from minidl.diagnostics.contract import contract_checked
from minidl.errors import UsageError, require_whole
from minidl.kernels.shapes import require_numbers
from minidl.layers.base import Context, Layer, Mode
from minidl.layers.parameter import FROZEN
from minidl.text.html import html_table

EVERYTHING = "everything"  # the name of the random direction over input and parameters
ATTEMPTS = 4  # a direction with a kink is replaced by another, at most this many times


@dataclass(frozen=True)
class Line:
    """The result for one array: its worst derivative, and how many were checked and skipped.

    `error` is |analytic - numeric| / scale, or infinite if no derivative could be checked. The scale is
    max(|analytic|, |numeric|, r, r_all / 1000), where r is the root mean square of this array's gradient, and r_all
    that of all gradients together. A central difference can't resolve an entry that is much smaller than r, because
    the rounding in L is the same for all entries. r_all is used if an array's gradient is zero, like that of a bias
    before a batch normalization. (r_all is also the expected size of the derivative along a random unit vector.)
    """

    name: str
    shape: tuple[int, ...]
    error: float
    index: tuple[int, ...]  # of the worst entry; () for the direction over everything
    analytic: float
    numeric: float
    checked: int
    skipped: int


@dataclass(frozen=True)
class Report:
    """The result of a gradient check; the worst `lines` come first. print(report) shows a table."""

    title: str
    lines: tuple[Line, ...]

    @property
    def error(self) -> float:
        """The largest relative error."""
        return self.lines[0].error

    @property
    def checked(self) -> int:
        return sum(line.checked for line in self.lines)

    @property
    def skipped_share(self) -> float:
        """The share of derivatives that were skipped because of a kink."""
        skipped = sum(line.skipped for line in self.lines)
        return skipped / (self.checked + skipped)

    def raise_if_above(self, tol: float) -> None:
        """Raises AssertionError with the whole report if a relative error is above `tol`."""
        if self.error > tol:
            raise AssertionError(f"a relative error above {tol:.0e}\n{self}")

    def __str__(self) -> str:
        rows = self._table()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([self._head, *table])

    __repr__ = __str__  # at a prompt, show the table

    def _repr_html_(self) -> str:
        return html_table(self._table(), left=7, caption=self._head)

    @property
    def _head(self) -> str:
        skipped = f", {self.skipped_share:.1%} skipped at kinks" if self.skipped_share else ""
        return f"{self.title}: worst relative error {self.error:.1e} of {self.checked} derivatives{skipped}"

    def _table(self) -> list[tuple[str, ...]]:
        rows = [("array", "shape", "error", "worst entry", "analytic", "numeric", "checked")]
        for a in self.lines:
            seen = f"{a.checked}, {a.skipped} skipped" if a.skipped else str(a.checked)
            entry = str(a.index) if a.index else "-"
            rows.append(
                (a.name, str(a.shape), f"{a.error:.1e}", entry, f"{a.analytic:+.10e}", f"{a.numeric:+.10e}", seen)
            )
        return rows


def gradcheck(
    layer: Layer,
    x: Array,
    *,
    mode: Mode | Context = Mode.TRAIN,
    seed: int = 0,
    coordinates: int = 6,
    step: float = 1e-5,
    dy: Array | None = None,
    loss: Callable[[Array], tuple[Any, Array]] | None = None,
) -> Report:
    """Compares every gradient of `layer` (a leaf or a whole network) at `x` with central differences.

    x            the input, float64, of any memory layout
    mode         TRAIN or PROBE; PROBE for a network whose first layers are frozen. All evaluations share one
                 Context(mode, seed, step=0), and so one dropout mask
    coordinates  how many random entries of the input and of each parameter are checked
    step         the distance of both ends of a difference from the point
    dy           the output gradient; random by default
    loss         instead of dy: a function of the output that returns (L, dL/dy)

    `x` and the parameters are changed in place and restored, bit for bit, and so are gradients and buffers. Frozen
    parameters are left out: nothing adds to their gradients.
    Raises UsageError for arrays that are not float64, for INFER mode, which has no backward pass, and for a layer
    that writes into x or dy, replaces a buffer, whose y or dx has a wrong shape, or that adds no gradients when dx
    isn't needed.
    """
    mode = mode.mode if isinstance(mode, Context) else mode
    coordinates = require_whole("coordinates", coordinates, 1)
    require_numbers("gradcheck", step=step)
    if step <= 0:
        raise UsageError(f"gradcheck: step is {step}: choose a small number above 0, such as 1e-5")
    if isinstance(x, np.ndarray) and not x.flags.writeable:
        x = x.copy()
    xp, rng, ctx = array_module(x), np.random.default_rng(seed), Context(mode, seed, step=0)
    learned = {name: p for name, p in layer.named_parameters().items() if FROZEN not in p.tags}
    given = "input" if "input" not in learned else "the input"  # of two arrays with one name, one would be unchecked
    arrays = {given: x} | {name: p.value for name, p in learned.items()}
    for name, a in arrays.items():
        if a.dtype != np.float64:
            raise UsageError(f"gradcheck: {name} is {a.dtype}: central differences need float64")
    if mode is Mode.INFER:
        raise UsageError("gradcheck: INFER mode keeps no cache: choose Mode.TRAIN or Mode.PROBE")
    buffers = list(layer.named_buffers().values())

    def analytic() -> dict[str, Array]:
        nonlocal dy
        grads = [p.grad for p in layer.named_parameters().values()]
        with _restored([*buffers, *grads]), contract_checked(layer):
            layer.zero_grad()
            y, cache = ctx.run("", layer, x)
            if loss is not None:
                _, dy = _pair(loss(y))
            elif dy is None:
                dy = to_device(rng.normal(size=y.shape), xp)
            if getattr(dy, "shape", None) != y.shape:
                raise UsageError(f"gradcheck: dy has the shape {np.shape(dy)}, must have that of y, {y.shape}")
            dx = layer.backward(dy, cache)
            found = {given: dx.copy()} | {name: p.grad.copy() for name, p in learned.items()}
            layer.zero_grad()
            layer.backward(dy, ctx.run("", layer, x)[1], need_dx=False)
            for name, p in learned.items():
                if found[name].any() and not p.grad.any():
                    raise UsageError(
                        "gradcheck: backward with need_dx=False, as for the first layer of a network, adds nothing "
                        f"to {name}: only dx may be left out"
                    )
            return found

    def numeric(direction: dict[str, Array]) -> float | None:
        """The central difference along `direction`, or None if there is a kink between its ends."""
        ends = []
        for h in (step, -step):
            with _restored([*buffers, *(arrays[name] for name in direction)]):
                for name, d in direction.items():
                    a = arrays[name]
                    a += h * d
                y, cache = ctx.run("", layer, x)
                ends.append((y.copy(), [s.copy() for s in _switches(cache)]))  # y may be x itself
        (y1, switches1), (y0, switches0) = ends
        if not all(bool((a == b).all()) for a, b in zip(switches1, switches0, strict=True)):
            return None
        # First the difference, then the sum: outputs that did not change add no rounding at all.
        difference = ((y1 - y0) * dy).sum() if loss is None else loss(y1)[0] - loss(y0)[0]
        return float(difference) / (2 * step)

    def compare(name: str, shape: tuple, floor: float, wanted: int, tries: Iterator[tuple[tuple, dict]]) -> Line:
        worst, checked, skipped = (math.inf, (), math.nan, math.nan), 0, 0
        for index, direction in tries:
            n = numeric(direction)
            if n is None:
                skipped += 1
                continue
            a = sum(float((gradients[of] * d).sum()) for of, d in direction.items())
            scale = max(abs(a), abs(n), floor)
            error = abs(a - n) / scale if scale else 0.0
            if not checked or not error <= worst[0]:
                worst = (error if error < math.inf else math.inf, index, a, n)  # a NaN is an infinite error
            checked += 1
            if checked == wanted:
                break
        return Line(name, shape, *worst, checked, skipped)

    def random_directions() -> Iterator[tuple[tuple, dict]]:
        for _ in range(ATTEMPTS):
            d = {name: rng.normal(size=a.shape) for name, a in arrays.items()}
            norm = math.sqrt(sum((v**2).sum() for v in d.values()))
            yield (), {name: to_device(v / norm, xp) for name, v in d.items()}

    def random_coordinates(name: str) -> Iterator[tuple[tuple, dict]]:
        a = arrays[name]
        for i in rng.choice(a.size, min(a.size, ATTEMPTS * coordinates), replace=False):
            index = tuple(int(k) for k in np.unravel_index(i, a.shape))
            one_hot = xp.zeros(a.shape)
            one_hot[index] = 1
            yield index, {name: one_hot}

    gradients = analytic()
    total = sum(a.size for a in arrays.values())
    r_all = math.sqrt(sum(float((g**2).sum()) for g in gradients.values()) / total)
    lines = [compare(EVERYTHING, (total,), r_all, 1, random_directions())]
    for name, g in gradients.items():
        floor = max(math.sqrt(float((g**2).mean())), r_all / 1000)
        lines.append(compare(name, g.shape, floor, coordinates, random_coordinates(name)))
    lines.sort(key=lambda line: -line.error)
    return Report(f"{layer.label} {mode.name}, step {step:.0e}", tuple(lines))


def assert_gradients(layer: Layer, x: Array, tol: float, **options: Any) -> Report:
    """`gradcheck(layer, x, **options)`; raises AssertionError with the report if an error is above `tol`.

    Good values of `tol` are 1e-7 if everything is smooth, and 1e-5 with ReLUs or max pools.
    """
    report = gradcheck(layer, x, **options)
    report.raise_if_above(tol)
    return report


def spaced(rng: np.random.Generator, shape: tuple[int, ...], gap: float = 0.01) -> np.ndarray:
    """Random values that are all at least `gap` apart and at least `gap` away from zero. No step < gap / 2 meets a
    kink.

    They are the numbers +-(3/2 + 2 k) gap in random order, each moved by at most gap / 2.
    """
    size = math.prod(shape)
    i = np.arange(size)
    rungs = (1.5 + 2 * (i // 2)) * np.where(i % 2, -1, 1)
    return (gap * rng.permutation(rungs + rng.uniform(-0.5, 0.5, size))).reshape(shape)  # (size,) -> shape


def _pair(value: Any) -> tuple[Any, Array]:
    """What `loss` returned; UsageError if it isn't (L, dL/dy)."""
    if not isinstance(value, tuple) or len(value) != 2:
        raise UsageError(f"gradcheck: loss returns {type(value).__name__}, must return (L, dL/dy)")
    return value


@contextmanager
def _restored(arrays: Sequence[Array]) -> Iterator[None]:
    """Restores the contents of `arrays` at the end of the block."""
    saved = [a.copy() for a in arrays]
    try:
        yield
    finally:
        for a, before in zip(arrays, saved, strict=True):
            a[...] = before


def _switches(cache: Any) -> list[Array]:
    """The ReLU masks (bool) and max-pool indices (uint8) anywhere in a cache."""
    if isinstance(cache, dict):
        cache = list(cache.values())
    if isinstance(cache, list | tuple):
        return [s for part in cache for s in _switches(part)]
    return [cache] if getattr(getattr(cache, "dtype", None), "kind", None) in ("b", "u") else []
