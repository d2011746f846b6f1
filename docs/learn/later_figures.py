"""The larger drawings of chapters 7 to 12, as `figures.py` has those of the first six."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import Rectangle

import drawing


def shared_maximum(x: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> None:
    """Chapter 7: four overlapping windows on a 5x5 map, and the four dy that meet at their common maximum."""
    figure, axes = drawing.canvas(19, 8.2, "Four windows, one maximum")
    shades = np.full((5, 5), None)
    shades[2, 2] = drawing.GREY
    map_x = drawing.grid(axes, x, 1.6, 1.9, colour=shades)
    inset = [(0.10, 0.10), (0.20, 0.16), (0.16, 0.20), (0.26, 0.26)]  # so that no frame hides another
    for i, ((right, down), colour) in enumerate(zip(inset, drawing.COLOURS, strict=True)):
        corner = (map_x.x + 2 * (i % 2) + right, map_x.y + 2 * (i // 2) + down)
        frame = {"fill": False, "edgecolor": colour, "linewidth": 2.6, "zorder": 5}
        axes.add_patch(Rectangle(corner, 3 - 2 * right, 3 - 2 * down, **frame))
    map_dy = drawing.grid(axes, dy, 8.9, 3.4, colour=np.reshape(drawing.COLOURS, (2, 2)))
    received = [[drawing.number(value) if value else "" for value in row] for row in dx]
    map_dx = drawing.grid(axes, received, 13.1, 1.9, colour=shades)
    for place, text in (
        (map_x, "x, and the four 3x3 windows"),
        (map_dy, "dy"),
        (map_dx, "dx: 1 + 2 + 3 + 4 = 10, and 0 elsewhere"),
    ):
        drawing.note(axes, text, (place.bottom[0], 7.4))
    for i, (colour, bend) in enumerate(zip(drawing.COLOURS, (0.22, 0.28, -0.22, -0.28), strict=True)):
        cell, upper = map_dy[i // 2, i % 2], i < 2
        x_end, y_end = map_dx[2, 2].centre
        end = (x_end - 0.35, y_end + (-0.3 if upper else 0.3))
        drawing.arrow(axes, cell.top if upper else cell.bottom, end, colour=colour, bend=bend)
    drawing.finish(figure, "07-shared-maximum")


def two_readers() -> None:
    """Chapter 8: x is read by two branches, and receives the sum of both gradients."""
    figure, axes = drawing.canvas(17, 7.6, "Forward the input is copied, backward the gradients add up")
    box_x = drawing.box(axes, "x = 1", 1.0, 3.4, 2.4, colour=drawing.BLUE)
    box_2, box_3 = drawing.box(axes, "times 2", 6.4, 1.9, 2.0), drawing.box(axes, "times 3", 6.4, 4.9, 2.0)
    grid_y = drawing.grid(axes, [[2], [3]], 11.4, 2.9, label="y", colour=drawing.BLUE)
    grid_dy = drawing.grid(axes, [[1], [10]], 14.2, 2.9, label="dy", colour=drawing.ORANGE)
    for i, (box, text, side) in enumerate(((box_2, "2 · 1 = 2", -1), (box_3, "3 · 10 = 30", 1))):
        (x0, y0), (x1, y1), (x2, y2) = box_x.right, box.left, box.right
        drawing.arrow(axes, (x0, y0 + 0.15 * side), (x1, y1 - 0.15 * side), colour=drawing.BLUE)
        drawing.arrow(axes, (x2, y2 - 0.15 * side), grid_y[i, 0].left, colour=drawing.BLUE)
        start = grid_dy[i, 0].bottom if i else grid_dy[i, 0].top
        end = box_x.bottom if i else box_x.top
        drawing.arrow(axes, start, (x2, y2 + 0.25 * side), colour=drawing.ORANGE, bend=0.28 * side)
        back = {"colour": drawing.ORANGE, "bend": 0.22 * side, "text": text, "shift": (-0.2, 0)}
        drawing.arrow(axes, (x1, y1 + 0.25 * side), end, **back)
    drawing.note(axes, "dx = 2 + 30 = 32", (2.2, 7.1), colour=drawing.ORANGE, size=drawing.SIZE)
    drawing.finish(figure, "08-two-readers")


def inception_module() -> None:
    """Chapter 8: the four branches of the paper's module, and their shares of the channels of y."""
    figure, axes = drawing.canvas(22, 9.8, "The inception module: one input, four branches")
    box_x = drawing.box(axes, "x\n30x30x128", 0.6, 4.3, 2.9, 1.8)
    upper = 1.2
    for i, (steps, width, height) in enumerate(
        (
            (["1x1: b1"], 32, 1.9),
            (["1x1: b3_reduce", "3x3: b3"], 64, 3.8),
            (["1x1: b5_reduce", "5x5: b5"], 16, 1.15),
            (["3x3 mean: avgpool", "1x1: pool"], 16, 1.15),
        )
    ):
        before, colour = box_x.right, drawing.COLOURS[i]
        for j, step in enumerate(steps):
            box = drawing.box(axes, step, 5.6 + 4.6 * j, 1.3 + 2.05 * i, 3.7, colour=colour, size=drawing.SMALL)
            drawing.arrow(axes, before, box.left, colour=colour)
            before = box.right
        share = drawing.box(axes, f"{width}", 18.1, upper, 1.6, height, colour=colour)
        drawing.arrow(axes, before, share.left, colour=colour)
        upper += height + 0.05
    drawing.note(axes, "y\n30x30\nx128", (21.0, 5.2), size=drawing.SIZE)
    text = "Backward: dy is cut into 32, 64, 16 and 16 channels; x receives the sum of four gradients."
    drawing.note(axes, text, (11, 9.4))
    drawing.finish(figure, "08-inception")


def three_rules(x: np.ndarray, signal: np.ndarray, results: dict[str, np.ndarray]) -> None:
    """Chapter 11: what a ReLU lets pass by each rule."""
    figure, axes = drawing.canvas(19, 6.6, "One signal, three rules")
    drawing.grid(axes, x, 0.8, 2.0, label="x", colour=[drawing.BLUE if v > 0 else None for v in x])
    drawing.grid(axes, signal, 0.8, 4.4, label="signal s", colour=[drawing.ORANGE if v > 0 else None for v in signal])
    texts = {"gradient": "x > 0", "deconv": "s > 0", "guided": "both"}
    for i, (rule, result) in enumerate(results.items()):
        box = drawing.box(axes, texts[rule], 6.0 + 4.3 * i, 2.2, 3.0)
        place = drawing.grid(axes, result, 6.0 + 4.3 * i, 4.4, colour=[drawing.GREY if v else None for v in result])
        drawing.arrow(axes, box.bottom, place.top)
        drawing.note(axes, rule, (place.bottom[0], 5.9), size=drawing.SIZE)
    drawing.note(axes, "coloured: positive", (2.3, 5.9))
    drawing.finish(figure, "11-three-rules")


def tiles() -> None:
    """Chapter 12: whole-batch passes of plain layers, against two threads that take tiles."""
    figure, axes = drawing.canvas(23, 12.4, "A convolution, batch normalization, ReLU (a drawing, not a measurement)")

    def bar(x: float, y: float, width: float, text: str, colour: str) -> None:
        look = {"facecolor": drawing.tint(colour, 0.35), "edgecolor": colour, "linewidth": 1.2}
        axes.add_patch(Rectangle((x, y), width, 0.9, **look))
        drawing.note(axes, text, (x + width / 2, y + 0.45))

    def write(text: str, x: float, y: float, **how: str) -> None:
        drawing.note(axes, text, (x, y), **how)

    write("plain layers: each step over the whole batch", 3.0, 1.5, ha="left", weight="bold")
    write("core 1", 2.6, 2.45, ha="right")
    write("core 2", 2.6, 3.55, ha="right")
    bar(3.0, 2.0, 7.0, "convolution: half of its product", drawing.BLUE)
    bar(3.0, 3.1, 7.0, "the other half", drawing.BLUE)
    start = 10.0
    for step, width in (("mean", 1.7), ("variance", 2.3), ("normalize", 2.9), ("ReLU", 1.8)):
        bar(start, 2.0, width, step, drawing.YELLOW)
        start += width
    write("idle", 14.35, 3.55, colour=drawing.GREY)
    write("time", 17.9, 4.55, colour=drawing.GREY, ha="right")
    drawing.arrow(axes, (18.1, 4.55), (21.5, 4.55), colour=drawing.GREY)

    write("fused: tile by tile on two threads", 3.0, 5.0, ha="left", weight="bold")
    write("thread 1", 2.6, 5.95, ha="right")
    write("thread 2", 2.6, 7.05, ha="right")
    for i in range(8):
        row, column = i % 2, i // 2
        bar(3.0 + 1.8 * column, 5.5 + 1.1 * row, 1.8, f"tile {i}", drawing.BLUE)
        bar(10.8 + 0.75 * column, 5.5 + 1.1 * row, 0.75, f"{i}", drawing.YELLOW)
    axes.plot([10.5, 10.5], [5.2, 8.0], color=drawing.ORANGE, linewidth=2)
    write("barrier: mean and\nvariance are known", 10.5, 8.65, colour=drawing.ORANGE)
    write("blue: the tile's convolution,\nand its sums", 5.9, 8.4)
    write("yellow: normalize and\nReLU, in one pass", 14.3, 6.5, ha="left")

    write("sums: one lane for the tiles of each shard", 3.0, 10.3, ha="left", weight="bold")
    lanes = drawing.grid(axes, list(range(8)), 3.0, 10.9, colour=drawing.GREEN, cell_width=0.9)
    drawing.arrow(axes, lanes.right, (12.0, 11.4), colour=drawing.GREEN)
    write("added in pairs, whoever computed them", 12.3, 11.4, ha="left")
    drawing.finish(figure, "12-tiles")


def pool_first(z: np.ndarray) -> None:
    """Chapter 12: one window through 2 z - 1, ReLU and max, in both orders."""
    figure, axes = drawing.canvas(21, 7.4, "Pool first: three numbers fewer to normalize in every window")
    y = 2 * z - 1
    plain = ((z, "2 z - 1"), (y, "ReLU"), (np.maximum(y, 0), "max"), ([[3]], ""))
    pooled = ((z, "max"), ([[2]], "2 z - 1"), ([[3]], "ReLU"), ([[3]], ""))
    for middle, name, steps in ((2.5, "plain", plain), (5.6, "pool first", pooled)):
        drawing.note(axes, name, (0.7, middle), ha="left", size=drawing.SIZE)
        left = 4.2
        for values, step in steps:
            size = len(values)
            colour = drawing.BLUE if step else drawing.GREEN
            drawing.grid(axes, values, left, middle - size / 2, colour=colour)
            if step:
                drawing.arrow(axes, (left + size, middle), (left + size + 2.5, middle))
                drawing.note(axes, step, (left + size + 1.25, middle - 0.45), size=drawing.SIZE)
            left += size + 2.5
    drawing.finish(figure, "12-pool-first")
