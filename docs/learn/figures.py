"""The larger pictures of the chapters: their code would stand in the way of the text there.

Each function draws one picture from the arrays of its chapter. Small pictures are drawn in the chapters themselves.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

import drawing


def one_number() -> None:
    """Chapter 1: x, w, y and L as boxes; the gradients go back between them."""
    figure, axes = drawing.canvas(15, 6, "Forward to the right, backward to the left")
    box_x = drawing.box(axes, "x = 3", 0.6, 2.2, 2.2, colour=drawing.BLUE)
    drawing.box(axes, "w = 2", 4.6, 4.7, 2.2, colour=drawing.BLUE)
    box_y = drawing.box(axes, "y = x w = 6", 4.3, 2.2, 2.8, colour=drawing.BLUE)
    box_loss = drawing.box(axes, "L = y² = 36", 11, 2.2, 3.2, colour=drawing.BLUE)
    for start, end in ((box_x.right, box_y.left), (box_y.right, box_loss.left)):
        drawing.arrow(axes, start, end, colour=drawing.BLUE)
    drawing.arrow(axes, (5.1, 4.7), (5.1, 3.2), colour=drawing.BLUE)
    drawing.arrow(axes, (6.3, 3.2), (6.3, 4.7), text="dw = 12 · 3 = 36", colour=drawing.ORANGE, shift=(1.9, 0))
    drawing.arrow(axes, box_loss.top, box_y.top, text="dy = 12", colour=drawing.ORANGE, bend=-0.12)
    drawing.arrow(axes, box_y.top, box_x.top, text="dx = 12 · 2 = 24", colour=drawing.ORANGE, bend=-0.28)
    drawing.finish(figure, "01-one-number")


def training_step() -> None:
    """Chapter 2: forward, caches, backward and optimizer, with a shape on every arrow."""
    figure, axes = drawing.canvas(19, 10.2, "One training step")
    columns = {"linear1": 3.0, "relu": 7.0, "linear2": 11.0, "loss": 15.0}
    ahead = {name: drawing.box(axes, name, x0, 1.9, 2.4, colour=drawing.BLUE) for name, x0 in columns.items()}
    back = {name: drawing.box(axes, name, x0, 5.7, 2.4, colour=drawing.ORANGE) for name, x0 in columns.items()}
    optimizer = drawing.box(axes, "optimizer:   w ← w − lr · dw", 3.0, 8.8, 10.4, colour=drawing.GREEN)
    order = list(columns)

    drawing.arrow(axes, (0.9, 2.4), ahead["linear1"].left, colour=drawing.BLUE)
    drawing.note(axes, "x (4, 2)", (1.7, 1.7), colour=drawing.BLUE)
    for (a, b), text in zip(pairwise(order), ("(4, 8)", "(4, 8)", "z (4, 2)"), strict=True):
        drawing.arrow(axes, ahead[a].right, ahead[b].left, text=text, colour=drawing.BLUE, shift=(0, -0.6))
    drawing.arrow(axes, ahead["loss"].right, (18.7, 2.4), colour=drawing.BLUE)
    drawing.note(axes, "L", (18.1, 1.8), colour=drawing.BLUE)

    for name, text in zip(order, ("cache: x", "cache: mask", "cache: its input", "p − one-hot"), strict=True):
        drawing.arrow(axes, ahead[name].bottom, back[name].top, text=text, colour=drawing.GREY, dashed=True)
    for (a, b), text in zip(pairwise(order), ("(4, 8)", "(4, 8)", "dz (4, 2)"), strict=True):
        drawing.arrow(axes, back[b].left, back[a].right, text=text, colour=drawing.ORANGE, shift=(0, -0.6))
    drawing.note(axes, "backward\nbegins", (18.25, 6.2), colour=drawing.ORANGE)

    for name, text in (("linear1", "dw (2, 8), db (8,)"), ("linear2", "dw (8, 2), db (2,)")):
        below = (back[name].bottom[0], optimizer.y)
        drawing.arrow(axes, back[name].bottom, below, text=text, colour=drawing.ORANGE)
    drawing.arrow(axes, (3.0, 9.3), (3.0, 2.9), text="new weights", colour=drawing.GREEN, bend=0.35)
    drawing.note(axes, "forward", (0.9, 3.2), colour=drawing.BLUE, weight="bold")
    drawing.finish(figure, "02-training-step")


def copies_and_sums(
    x: np.ndarray, w: np.ndarray, patches: np.ndarray, dy: np.ndarray, dpatches: np.ndarray, dx: np.ndarray
) -> None:
    """Chapter 5: two patches forward; backward, the gradients of the copies meet in dx."""
    figure, axes = drawing.canvas(16.4, 12.2, "Copies forward, sums backward")
    pair = (drawing.BLUE, drawing.YELLOW)
    row_x = drawing.grid(axes, x.ravel(), 4, 1.5, label="x", where="left")
    for i, colour in enumerate(pair):
        rows = drawing.grid(axes, patches[i], 4 + i, 3.1 + 1.15 * i, colour=colour)
        out = drawing.grid(axes, [patches[i] @ w.ravel()], 13.2, 3.1 + 1.15 * i, colour=colour, cell_width=1.4)
        drawing.arrow(axes, rows.right, out.left, text="times w, add up", colour=colour)
    drawing.note(axes, "w = [1, 10, 100]", (10.5, 2.0), size=drawing.SIZE)
    drawing.note(axes, "patches", (3.7, 4.1), ha="right")
    drawing.note(axes, "y", (15.0, 4.15), ha="left")
    for j in (0, 1, 2):
        drawing.arrow(axes, row_x[j].bottom, (4.5 + j, 3.1), colour=drawing.BLUE)
    drawing.arrow(axes, row_x[3].bottom, (7.5, 4.25), colour=drawing.YELLOW)

    drawing.note(axes, "forward", (1.3, 2.9), weight="bold")
    axes.plot([0.5, 15.9], [6.2, 6.2], color=drawing.GREY, linewidth=0.8)
    drawing.note(axes, "backward", (1.3, 7.2), weight="bold")

    for i, colour in enumerate(pair):
        back = drawing.grid(axes, dpatches[i], 4 + i, 6.9 + 1.35 * i, colour=colour)
        given = drawing.grid(axes, [dy.ravel()[i]], 13.2, 6.9 + 1.35 * i, colour=colour, cell_width=1.4)
        drawing.arrow(axes, given.left, back.right, text="times w", colour=colour)
    drawing.note(axes, "dpatches", (3.7, 8.1), ha="right")
    drawing.note(axes, "dy", (15.0, 8.1), ha="left")
    shades = [drawing.BLUE, drawing.GREEN, drawing.GREEN, drawing.YELLOW]
    row_dx = drawing.grid(axes, dx.ravel(), 4, 10.6, label="dx", colour=shades, where="left")
    drawing.arrow(axes, (4.5, 7.9), row_dx[0].top, colour=drawing.BLUE)
    for j in (1, 2):
        drawing.note(axes, "+", (4.5 + j, 8.08), size=13, weight="bold")
        drawing.arrow(axes, (4.5 + j, 9.25), row_dx[j].top, colour=drawing.GREEN)
    drawing.arrow(axes, (7.5, 9.25), row_dx[3].top, colour=drawing.YELLOW)
    drawing.note(axes, "green: two copies, two terms", (8.5, 11.1), ha="left", colour=drawing.GREEN)
    drawing.finish(figure, "05-copies-and-sums")


def selection(
    selection: np.ndarray, x: np.ndarray, patches: np.ndarray, dpatches: np.ndarray, dx: np.ndarray
) -> None:
    """Chapter 5: im2col as a matrix of zeros and ones, and its transpose."""
    figure, axes = drawing.canvas(17, 9, "im2col multiplies by S, col2im by S.T")
    ones = np.where(selection == 1, drawing.GREEN, None)
    drawing.grid(axes, patches.reshape(6, 1), 0.8, 2, label="patches", colour=drawing.LIGHT)
    drawing.note(axes, "=", (2.4, 5), size=16)
    drawing.grid(axes, selection, 3, 2, label="S", colour=ones)
    drawing.grid(axes, x.reshape(4, 1), 7.6, 3, label="x", colour=drawing.LIGHT)
    drawing.grid(axes, dx.reshape(4, 1), 9.7, 3, label="dx", colour=drawing.LIGHT)
    drawing.note(axes, "=", (11.1, 5), size=16)
    drawing.grid(axes, selection.T, 11.6, 3, label="S.T", colour=ones.T, cell_width=0.55)
    drawing.grid(axes, dpatches.reshape(6, 1), 15.4, 2, label="dpatches", colour=drawing.LIGHT)
    drawing.finish(figure, "05-selection")


def three_paths(x: np.ndarray, xhat: np.ndarray, path1: np.ndarray, path2: np.ndarray, path3: np.ndarray) -> None:
    """Chapter 6: the direct path, the path through the variance and the path through the mean."""
    wide = {"cell_width": 1.5}
    figure, axes = drawing.canvas(19.8, 14.4, "Three paths back through a batch normalization")
    drawing.grid(axes, x, 1.2, 5.6, label="x", colour=drawing.LIGHT, where="left")
    drawing.grid(axes, xhat, 14, 5.6, label="xhat", colour=drawing.LIGHT, where="right", **wide)
    drawing.box(axes, "var = 0.667", 7.4, 2.4, 3.4)
    drawing.box(axes, "mean = 2", 7.4, 8.8, 3.4)
    drawing.note(axes, "gray: forward.   colours: backward, with dxhat = [1, 0, 0]", (9.9, 1.3))

    for start, end in (
        ((1.8, 5.6), (7.4, 2.6)),
        ((10.8, 2.6), (17.4, 5.6)),
        ((1.8, 6.6), (7.4, 9.6)),
        ((10.8, 9.6), (17.4, 6.6)),
        ((4.2, 5.85), (14, 5.85)),
        ((9.8, 8.8), (9.8, 3.4)),
    ):
        drawing.arrow(axes, start, end, colour=drawing.GREY)

    for start, end, colour, text, at in (
        ((14, 6.35), (4.2, 6.35), drawing.BLUE, "1  direct:  [1.225, 0, 0]", (11.9, 6.35)),
        ((15, 5.6), (10.8, 3.2), drawing.YELLOW, "dvar = 0.919", (11.5, 4.8)),
        ((7.4, 3.2), (3.6, 5.6), drawing.YELLOW, "2  [-0.612, 0, 0.612]", (7.4, 4.8)),
        ((15, 6.6), (10.8, 9.0), drawing.GREEN, "dmean = -1.225", (11.5, 7.4)),
        ((7.4, 9.0), (3.6, 6.6), drawing.GREEN, "3  [-0.408, -0.408, -0.408]", (7.3, 7.4)),
    ):
        drawing.arrow(axes, start, end, colour=colour)
        drawing.note(axes, text, at, colour=colour, background=True)

    for i, (path, colour) in enumerate(((path1, drawing.BLUE), (path2, drawing.YELLOW), (path3, drawing.GREEN))):
        drawing.grid(axes, path, 1.2, 10.7 + 1.1 * i, colour=colour, **wide)
        drawing.note(axes, "+" if i else "", (0.7, 11.2 + 1.1 * i), size=14)
    drawing.note(axes, "=", (7.4, 12.3), size=16)
    drawing.grid(axes, path1 + path2 + path3, 8.8, 11.8, label="dx", colour=drawing.ORANGE, **wide)
    drawing.finish(figure, "06-three-paths")
