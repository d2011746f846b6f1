"""The charts and galleries of chapters 8 to 11."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import drawing


def _chart(width: float, height: float, **labels: object) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, _bare(figure.add_subplot(), **labels)


def _bare(axes: Axes, **labels: object) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(**labels)
    return axes


def depth(lines: Mapping[str, Sequence[float]]) -> None:
    """Chapter 8: the size of the gradient on its way back through many layers."""
    figure, axes = _chart(8, 4, xlabel="layers on the way back", ylabel="size of the gradient", xlim=(0, 41))
    axes.set_xticks(range(0, 31, 5))
    for (name, sizes), colour in zip(lines.items(), (drawing.ORANGE, drawing.GREEN, drawing.BLUE), strict=True):
        axes.semilogy(sizes, color=colour, linewidth=2)
        at = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(name, (30, sizes[-1]), color=colour, fontsize=11, **at)
    drawing.finish(figure, "08-depth")


def valley(ways: Mapping[str, np.ndarray]) -> None:
    """Chapter 9: the ways of four optimizers down the valley (a^2 + 25 b^2) / 2."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    a, b = np.meshgrid(np.linspace(-4.5, 1.5, 200), np.linspace(-1.3, 1.3, 200))
    for axes, (name, way), colour in zip(figure.subplots(2, 2).flat, ways.items(), drawing.COLOURS, strict=True):
        levels = {"levels": [0.1, 0.5, 2, 5, 10, 15], "colors": drawing.GREY, "linewidths": 0.6}
        axes.contour(a, b, (a**2 + 25 * b**2) / 2, **levels)
        axes.plot(*way.T, "o-", color=colour, markersize=4, linewidth=1.5)
        axes.plot(0, 0, "+", color=drawing.INK, markersize=12)
        axes.set(xlim=(-4.5, 1.5), ylim=(-1.3, 1.3), xlabel="a", ylabel="b")
        axes.set_title(name, fontsize=12)
    drawing.finish(figure, "09-valley")


def schedules(rates: Mapping[str, Callable[[int], float]], steps: int) -> None:
    """Chapter 9: the learning rate of every step."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for axes, (name, rate) in zip(figure.subplots(1, 2, sharey=True), rates.items(), strict=True):
        _bare(axes, xlabel="step", ylabel="learning rate").plot([rate(i) for i in range(steps)], color=drawing.BLUE)
        axes.set_title(name, fontsize=12)
    drawing.finish(figure, "09-schedules")


def losses(values: Sequence[float], classes: int) -> None:
    """Chapter 9: the loss of every batch."""
    figure, axes = _chart(8, 3.6, xlabel="step", ylabel="loss of the batch", ylim=(0, 1.2 * max(values)))
    nothing = np.log(classes)
    axes.plot(values, color=drawing.BLUE, linewidth=1.2)
    axes.axhline(nothing, color=drawing.GREY, linestyle="--", linewidth=1)
    text = f"log {classes} = {nothing:.2f}: a network that knows nothing"
    axes.text(len(values), nothing + 0.05, text, ha="right")
    drawing.finish(figure, "09-loss")


def errors(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Chapter 10: the error of a difference against its step, {name: (steps, errors)}."""
    labels = {"xlabel": "step h", "ylabel": "error of the derivative of x³ at 1", "ylim": (1e-13, 10)}
    figure, axes = _chart(9, 4.6, **labels)
    colours = (drawing.YELLOW, drawing.BLUE, drawing.ORANGE)
    for (name, (steps, values)), colour in zip(curves.items(), colours, strict=True):
        axes.loglog(steps, np.maximum(values, 1e-13), "o-", markersize=3, color=colour, label=name)
    axes.axvline(1e-5, color=drawing.GREY, linestyle="--", linewidth=1)
    axes.text(1.5e-5, 3e-13, "step of minidl: 1e-5", color=drawing.GREY)
    axes.legend(loc="lower left", frameon=False)
    drawing.finish(figure, "10-step")


def kink() -> None:
    """Chapter 10: a central difference across the kink of a ReLU."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    line = np.linspace(-2, 2, 401)
    for axes, at, slope in zip(figure.subplots(1, 2, sharey=True), (0.0, 0.3), (0.5, 0.65), strict=True):
        ends = np.array([at - 1, at + 1])
        _bare(axes, xlabel="x, in units of the step h", xlim=(-2, 2), ylim=(-0.2, 2))
        axes.plot(line, np.maximum(line, 0), color=drawing.INK, linewidth=1.5)
        axes.plot(ends, np.maximum(ends, 0), "o-", color=drawing.ORANGE, linewidth=1.5)
        axes.plot(at, max(at, 0), "o", color=drawing.BLUE, markersize=8)
        axes.set_title(f"x = {at:g} h:  slope between the ends {slope}", fontsize=11)
    drawing.finish(figure, "10-kink")


def shown(signal: np.ndarray) -> np.ndarray:
    """A signal (H, W, 3) as an image: zero is mid-gray, the largest values are white or black."""
    return np.clip(0.5 + 0.5 * signal / max(np.percentile(abs(signal), 99.5), 1e-12), 0, 1)


def gallery(images: np.ndarray, columns: Mapping[str, np.ndarray], name: str, size: float = 1.75) -> None:
    """Chapter 11: images (rows, H, W, 3) on the left, and `columns` of signals, {title: (rows, H, W, 3)}."""
    pictures = {"image": images} | {title: [shown(s) for s in signals] for title, signals in columns.items()}
    rows = len(images)
    figure = Figure(figsize=(size * len(pictures), size * rows + 0.4), layout="constrained")
    for i, (title, column) in enumerate(pictures.items()):
        for j, picture in enumerate(column):
            axes = figure.add_subplot(rows, len(pictures), j * len(pictures) + i + 1)
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            if j == 0:
                axes.set_title(title, fontsize=11)
    drawing.finish(figure, name)


def occlusion(image: np.ndarray, signal: np.ndarray, loses: np.ndarray) -> None:
    """Chapter 11: an image, its gradient, and how much a unit loses where a square covers the image."""
    figure = Figure(figsize=(9, 3.3), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    first.imshow(image)
    second.imshow(shown(signal))
    painted = third.imshow(loses, cmap="viridis")
    figure.colorbar(painted, ax=third, format=lambda share, _: f"{share:.0%}")
    for axes, title in ((first, "image"), (second, "gradient"), (third, "occlusion: what the unit loses")):
        axes.set_title(title, fontsize=11)
        axes.set(xticks=[], yticks=[])
    drawing.finish(figure, "11-occlusion")
