"""What the chapters draw with: arrays as grids of numbers, boxes and arrows. `finish` shows or saves a picture.

    figure, axes = drawing.canvas(10, 4)
    x = drawing.grid(axes, [1, 2, 3, 4], 1, 2, label="x")
    y = drawing.grid(axes, [[3, 7]], 7, 2, label="y", colour=drawing.BLUE)
    drawing.arrow(axes, x[1].right, y[0].left, text="+")
    drawing.finish(figure, "my-picture")

All lengths are in cells of a grid: x grows to the right, y downwards. An array with one axis is a row.
"""

from __future__ import annotations

import argparse
import builtins
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

Point = tuple[float, float]

INK, GREY, LIGHT, WHITE = "#222222", "#767676", "#ededed", "#ffffff"
# Four colours that colour-blind readers can tell apart (Okabe and Ito, Color Universal Design, 2008).
BLUE, YELLOW, GREEN, ORANGE = "#0072B2", "#E69F00", "#009E73", "#D55E00"
COLOURS = (BLUE, YELLOW, GREEN, ORANGE)
DARKER = {YELLOW: "#8a5f00"}  # for letters, which yellow would leave hard to read

CELL = 0.55  # inches
SIZE = 12  # of the numbers, in points
SMALL = 10.5  # of labels


@dataclass(frozen=True)
class Place:
    """A rectangle of a picture. Arrows begin and end in the middle of its sides."""

    x: float  # of its left side
    y: float  # of its upper side
    width: float = 1.0
    height: float = 1.0

    @property
    def left(self) -> Point:
        return self.x, self.y + self.height / 2

    @property
    def right(self) -> Point:
        return self.x + self.width, self.y + self.height / 2

    @property
    def top(self) -> Point:
        return self.x + self.width / 2, self.y

    @property
    def bottom(self) -> Point:
        return self.x + self.width / 2, self.y + self.height

    @property
    def centre(self) -> Point:
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True)
class Grid(Place):
    """A drawn array: g[j] is a cell of its first row, g[i, j] any cell; both are places."""

    cell_width: float = 1.0

    def __getitem__(self, index: int | tuple[int, int]) -> Place:
        i, j = index if isinstance(index, tuple) else (0, index)
        return Place(self.x + j * self.cell_width, self.y + i, self.cell_width)


def canvas(width: float, height: float, title: str = "") -> tuple[Figure, Axes]:
    """(figure, axes) of an empty picture, `width` x `height` cells. A title takes the uppermost cell."""
    figure = Figure(figsize=(width * CELL, height * CELL), facecolor=WHITE)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    if title:
        note(axes, title, (width / 2, 0.55), size=SIZE + 1, weight="bold")
    return figure, axes


def tint(colour: str, strength: float = 0.3) -> tuple[float, ...]:
    """A pale form of `colour`; strength 1 is the colour itself, 0 white."""
    return tuple(1 - strength * (1 - part) for part in to_rgb(colour))


def number(value: object) -> str:
    """A number as a short text: three decimals at most, no zeros at their end."""
    if isinstance(value, str):
        return value
    text = f"{float(value):.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def grid(
    axes: Axes,
    values: Sequence | np.ndarray,
    x: float,
    y: float,
    *,
    label: str = "",
    colour: str | Sequence | np.ndarray | None = None,
    cell_width: float = 1.0,
    size: float = SIZE,
    where: str = "top",
) -> Grid:
    """Draws an array (one or two axes; numbers or texts) with its upper left corner at (x, y).

    colour  of all cells, or an array of colours of the same shape; None leaves a cell white
    where   the side at which the label stands: "top", "left", "right" or "bottom"
    """
    table = np.atleast_2d(np.asarray(values, dtype=object))
    rows, columns = table.shape
    colours = np.full(table.shape, None, dtype=object)
    colours[...] = colour if colour is None or isinstance(colour, str) else np.atleast_2d(np.array(colour, object))
    drawn = Grid(x, y, columns * cell_width, rows, cell_width)
    for i in range(rows):
        for j in range(columns):
            place, paint = drawn[i, j], colours[i, j]
            fill = WHITE if paint is None else tint(paint)
            axes.add_patch(
                Rectangle((place.x, place.y), cell_width, 1, facecolor=fill, edgecolor=INK, linewidth=0.8, zorder=2)
            )
            text = number(table[i, j])
            axes.text(*place.centre, text, ha="center", va="center", fontsize=size, color=INK, zorder=4)
    _label(axes, drawn, label, where)
    return drawn


def image(
    axes: Axes, pixels: np.ndarray, x: float, y: float, width: float, height: float, *, label: str = ""
) -> Place:
    """Draws pixels, (H, W) as gray or (H, W, 3) in colour, each a sharp square."""
    place = Place(x, y, width, height)
    extent = (x, x + width, y + height, y)
    axes.imshow(pixels, cmap="gray", extent=extent, aspect="auto", interpolation="nearest", zorder=2)
    _label(axes, place, label, "top")
    return place


def box(
    axes: Axes,
    text: str,
    x: float,
    y: float,
    width: float = 2.5,
    height: float = 1.0,
    *,
    colour: str = GREY,
    size: float = SIZE,
) -> Place:
    """Draws a box with rounded corners and a text in it."""
    axes.add_patch(
        FancyBboxPatch(
            (x, y), width, height, boxstyle="round,pad=0,rounding_size=0.2", facecolor=tint(colour, 0.2),
            edgecolor=colour, linewidth=1.4, zorder=2,
        )
    )  # fmt: skip
    place = Place(x, y, width, height)
    axes.text(*place.centre, text, ha="center", va="center", fontsize=size, color=INK, zorder=4)
    return place


def arrow(
    axes: Axes,
    start: Point,
    end: Point,
    *,
    text: str = "",
    colour: str = INK,
    bend: float = 0.0,
    dashed: bool = False,
    at: float = 0.5,
    shift: Point = (0.0, 0.0),
    size: float = SMALL,
) -> None:
    """Draws an arrow, and its text at the fraction `at` of its way, moved by `shift`.

    bend  how far the arrow leaves the straight line, as a part of its length; positive is to the left of its way
    """
    axes.add_patch(
        FancyArrowPatch(
            start, end, connectionstyle=f"arc3,rad={-bend}", arrowstyle="-|>", mutation_scale=13, color=colour,
            linewidth=1.5, linestyle="--" if dashed else "-", shrinkA=2, shrinkB=2, zorder=3,
        )
    )  # fmt: skip
    if text:
        (x0, y0), (x1, y1) = start, end
        off = 2 * bend * at * (1 - at)  # of a quadratic curve whose control point is off by `bend`
        x = x0 + at * (x1 - x0) + off * (y1 - y0) + shift[0]
        y = y0 + at * (y1 - y0) - off * (x1 - x0) + shift[1]
        note(axes, text, (x, y), colour=colour, size=size, background=True)


def note(
    axes: Axes,
    text: str,
    at: Point,
    *,
    colour: str = INK,
    size: float = SMALL,
    ha: str = "center",
    weight: str = "normal",
    background: bool = False,
) -> None:
    """Writes a text at a point; with a background what lies under it is covered."""
    behind = {"facecolor": WHITE, "edgecolor": "none", "pad": 1.2} if background else None
    axes.text(
        *at,
        text,
        ha=ha,
        va="center",
        fontsize=size,
        color=DARKER.get(colour, colour),
        weight=weight,
        bbox=behind,
        zorder=5,
        linespacing=1.4,
    )


def finish(figure: Figure, name: str) -> None:
    """Shows the picture in a notebook. In a script that was called with `--pictures DIR` saves it as DIR/name.png."""
    if hasattr(builtins, "get_ipython"):
        from IPython.display import Image, display

        png = io.BytesIO()
        figure.savefig(png, dpi=100)
        display(Image(png.getvalue()))
        return
    parser = argparse.ArgumentParser(description="A chapter of minidl's course: it prints, and checks its numbers.")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="folder in which the pictures are saved")
    folder = parser.parse_args().pictures
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / f"{name}.png", dpi=100)


def _label(axes: Axes, place: Place, text: str, where: str) -> None:
    gap = 0.3
    x, y = getattr(place, where)
    at = {"top": (x, y - gap), "bottom": (x, y + gap), "left": (x - gap, y), "right": (x + gap, y)}[where]
    note(axes, text, at, ha={"left": "right", "right": "left"}.get(where, "center"))
