"""Images as points: PCA or t-SNE of their features, in three dimensions, or in two with thumbnails."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from minidl.visual.canvas import (
    COLOURS,
    MARKERS,
    AnnotationBbox,
    Axes,
    Figure,
    Line2D,
    MaxNLocator,
    OffsetImage,
    save_figure,
)
from minidl.visual.lettering import add_legend, add_title, fit
from minidl.visual.limits import limits

VIEWS = ((20, -60), (20, -15), (20, 30), (45, -60))  # elevation and azimuth in degrees
ZOOM = 0.92  # of a box; a larger zoom would cut it off
THUMBNAIL = 0.42  # inches
BORDER = 8  # pixels between a thumbnail and the axes, for its frame and mark
SPACING = 1.15  # the least distance of thumbnails, in units of their side
HIDDEN = 4  # the most dots that a thumbnail on its dot may hide; one beside its dot hides none
DISTANCES = (0.7, 1.0, 1.3)  # from a dot to the thumbnail beside it, in units of its side; the nearest with room
TRIED = 2000  # the most points for which a place is sought: more than there is room for, and each takes time
LEGEND_COLUMNS, LEGEND_ROW, LEGEND_MARK = 5, 0.19, 40  # inches from row to row; points beside a name
TOP, EDGE = 0.4, 0.15  # inches: the title, and the free space at the bottom


def save_scatter_3d(
    path: Path, points: np.ndarray, labels: np.ndarray, names: list[str], title: str, axis: str = "PC"
) -> None:
    """Points (n, 3) from four sides; point i has the colour and the mark of its class, names[labels[i]].

    `axis` is the name of the axes, such as "PC" or "t-SNE"; a number follows it. Raises as `save_figure`.
    """
    looks = _looks(labels)

    def draw(figure: Figure) -> None:
        bottom, top = _frame(figure, looks, names, title)
        high = (top - bottom) / 2
        for i, (elevation, azimuth) in enumerate(VIEWS):
            axes = figure.add_axes((0.03 + 0.49 * (i % 2), bottom + high * (1 - i // 2), 0.45, high), projection="3d")
            axes.set_proj_type("ortho")
            axes.view_init(elevation, azimuth)
            _dots(axes, points, labels, looks, depthshade=False)
            _measure([axes.xaxis, axes.yaxis, axes.zaxis], points, axis)
            axes.tick_params(labelbottom=False, labelleft=False, labelright=False)
            axes.xaxis.labelpad = axes.yaxis.labelpad = axes.zaxis.labelpad = -10
            axes.zaxis.set_rotate_label(False)
            axes.zaxis.label.set_rotation(90)
            axes.set_box_aspect(None, zoom=ZOOM)

    save_figure(path, (8.2, 7.5 + _legend_height(looks)), draw)


def save_scatter_2d(
    path: Path,
    points: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    names: list[str],
    title: str,
    axis: str = "PC",
) -> None:
    """Points (n, 2) as in `save_scatter_3d`, with as many of the `images` on or near them as there is room for.

    An image, uint8 (n, H, W, 3), has a frame in the colour of its class, its mark in a corner, and a line to its
    point. Raises as `save_figure`.
    """
    looks = _looks(labels)

    def draw(figure: Figure) -> None:
        bottom, top = _frame(figure, looks, names, title)
        bottom += 0.4 / figure.get_figheight()  # for the axis
        axes = figure.add_axes((0.07, bottom, 0.91, top - bottom))
        _dots(axes, points, labels, looks, zorder=2)
        _measure([axes.xaxis, axes.yaxis], points, axis)  # from here on a place on the figure stays one
        side = THUMBNAIL * figure.dpi
        to_pixels = axes.transData
        shown, middles = find_room(to_pixels.transform(points), side, axes.bbox.padded(-BORDER).get_points())
        for i, middle in zip(shown, to_pixels.inverted().transform(middles), strict=True):
            color = looks[labels[i]]["color"]
            picture = OffsetImage(images[i], zoom=72 * THUMBNAIL / max(images.shape[1:3]))
            frame = {"edgecolor": color, "linewidth": 1.8, "boxstyle": "square,pad=0"}
            axes.plot(*zip(points[i], middle, strict=True), color=color, linewidth=0.8, zorder=1)
            axes.add_artist(AnnotationBbox(picture, middle, pad=0, bboxprops=frame, zorder=3))
        corners = to_pixels.inverted().transform(middles + np.array([-side / 2, side / 2]))
        _dots(axes, corners, labels[shown], looks, zorder=4)

    save_figure(path, (9, 7.8 + _legend_height(looks)), draw)


def find_room(places: np.ndarray, side: float, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the `places` (n, 2) get a square of `side` on or near them, and the centres of these: (m,) and (m, 2).

    The squares lie within `box` (its lower and upper corner), don't overlap, and hide few of the places. The places
    take turns in random order, each taking the nearest free square. In their own order the first class would take all
    the room.
    """
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    steps = side * np.concatenate([np.zeros((1, 2)), *(distance * around for distance in DISTANCES)])
    hidden = np.where(steps.any(axis=1), 0, HIDDEN)
    shown: list[int] = []
    middles = np.empty((0, 2))
    for i in np.random.default_rng(0).permutation(len(places))[:TRIED].tolist():
        tried = places[i] + steps  # (k, 2)
        free = ((tried >= box[0] + side / 2) & (tried <= box[1] - side / 2)).all(axis=1)
        free &= (_gaps(tried, middles) >= SPACING * side).all(axis=1)
        free &= (_gaps(tried, places) < side / 2).sum(axis=1) <= hidden
        if free.any():
            shown.append(i)
            middles = np.append(middles, tried[free.argmax()][None], axis=0)
    return np.array(shown, int), middles


def _gaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The distance of a (m, 2) and b (n, 2) along the axis on which they are farther apart, (m, n)."""
    return np.abs(a[:, None] - b).max(axis=2)


def _looks(labels: np.ndarray) -> dict[int, dict[str, Any]]:
    """The colour and mark of each class that occurs; with 8 colours and 10 marks, 80 classes differ."""
    pairs = math.lcm(len(COLOURS), len(MARKERS))  # until both begin again; from there on the marks are shifted
    return {
        label: {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[(k + k // pairs) % len(MARKERS)]}
        for k, label in enumerate(np.unique(labels).tolist())
    }


def _dots(
    axes: Axes, points: np.ndarray, labels: np.ndarray, looks: dict[int, dict[str, Any]], **options: Any
) -> None:
    size = np.clip(6000 / max(len(points), 1), 8, 30)
    marks, colors = (np.array([looks[label][what] for label in labels.tolist()]) for what in ("marker", "color"))
    for mark in dict.fromkeys(marks.tolist()):  # as a scatter of its own for each of 200 classes takes seconds
        here = marks == mark
        look = {"marker": mark, "color": colors[here], "edgecolors": "black", "linewidths": 0.4}
        axes.scatter(*points[here].T, s=size, **look, **options)


def _measure(every: list[Any], points: np.ndarray, axis: str) -> None:
    """Names the axes and sets the limits of each to those of its column of the points.

    matplotlib would compute its own limits only when it draws, and not at all if anything sets them before.
    """
    for number, (one, values) in enumerate(zip(every, points.T, strict=True), 1):
        getattr(one.axes, f"set_{one.axis_name}lim")(limits(values))
        one.set_label_text(f"{axis} {number}", fontsize=8)
        one.set_major_locator(MaxNLocator(5))
        one.set_tick_params(labelsize=6)


def _frame(figure: Figure, looks: dict[int, dict[str, Any]], names: list[str], title: str) -> tuple[float, float]:
    """Draws the title and, at the bottom, the legend.

    Returns where the space between them begins and ends, as fractions of the figure's height.
    """
    handles = [Line2D([], [], linestyle="", markeredgecolor="black", markersize=7, **look) for look in looks.values()]
    columns, height = min(len(looks), LEGEND_COLUMNS), figure.get_figheight()
    width = 72 * figure.get_figwidth() / columns - LEGEND_MARK
    names = [fit(names[label], width, 8) for label in looks]
    add_legend(figure, handles, names, loc="lower center", ncols=columns, handletextpad=0.2)
    add_title(figure, title, y=1 - EDGE / height, va="top")
    return _legend_height(looks) / height, 1 - TOP / height


def _legend_height(looks: dict[int, dict[str, Any]]) -> float:
    """The height of the legend in inches."""
    return EDGE + LEGEND_ROW * math.ceil(len(looks) / LEGEND_COLUMNS)
