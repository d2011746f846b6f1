"""The drawings of docs/fast-engine.md. The first one is a recording.

python docs/learn/engine_figures.py --pictures docs/images
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.patches import Rectangle

import drawing
import minidl as md
from minidl.engine.convolutions.winograd import transforms
from minidl.engine.tiles.grid import Grid
from minidl.engine.tiles.runner import TileRunner

PASSES = {  # what the runs of a module with a pool do, by pass
    "forward": ["1x1, sums", "3x3 and 5x5,\nsums, pool", "BN,\nReLU"],
    "backward": ["ReLU,\nsums", "pool, BN, 5x5 and 3x3,\nsums", "BN, 1x1"],
}
PLUS, MINUS = "+", "\u2212"
STEPS = 40  # of which the fastest is drawn


class Span(NamedTuple):
    """A tile or a job on one thread, in seconds."""

    run: int
    tile: bool
    thread: int
    start: float
    end: float


class Recorder:
    """Takes the place of a runner's `run`, and notes when each task and each job began and ended."""

    def __init__(self, runner: TileRunner) -> None:
        self._run, self.runs, self.spans = runner.run, 0, []
        runner.run = self.run

    def run(self, task: Callable, tiles: Grid | int, jobs: Sequence[Callable] = ()) -> None:
        number, self.runs = self.runs, self.runs + 1

        def noted(work: Callable, tile: bool) -> Callable:
            def timed(*args: object) -> None:
                start = time.perf_counter()
                work(*args)
                self.spans.append(Span(number, tile, threading.get_ident(), start, time.perf_counter()))

            return timed

        self._run(noted(task, True), tiles, [noted(job, False) for job in jobs])

    def take(self) -> list[Span]:
        spans, self.spans, self.runs = self.spans, [], 0
        return spans


def recorded() -> dict[str, list[Span]]:
    """The spans of module 1 of the refined net and its pool, by pass: the fastest of some training steps."""
    net = md.models.build("refined", classes=200)
    layers = net.children()
    module = md.fuse(md.layers.Sequential({name: layers[name] for name in ("inception1", "pool2")}), threads=2)
    recorder = Recorder(module.runner)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, *SHAPE)).astype(np.float32)
    steps = []
    for step in range(STEPS):
        y, cache = module.forward(x, md.TRAIN.at_step(step))
        forward = recorder.take()
        module.backward(y, cache)
        steps.append({"forward": forward, "backward": recorder.take()})
    return min(steps[2:], key=lambda step: sum(length(spans) for spans in step.values()))


SHAPE = (30, 30, 128)


def length(spans: list[Span]) -> float:
    return max(s.end for s in spans) - min(s.start for s in spans)


def timeline() -> None:
    """Two threads, forward and backward through module 1, as recorded."""
    passes = recorded()
    figure, axes = drawing.canvas(24, 12.6, "A recording: two threads in an inception module, 64 images")
    per_ms = 20.2 / (1000 * max(length(spans) for spans in passes.values()))
    upper = 1.9
    for name, spans in passes.items():
        begin = min(s.start for s in spans)
        threads = sorted({s.thread for s in spans}, key=lambda thread: thread != threading.get_ident())

        def place(t: float, begin: float = begin) -> float:
            return 3.0 + 1000 * (t - begin) * per_ms

        drawing.note(axes, name, (0.4, upper + 0.35), ha="left", weight="bold")
        for i in range(2):
            drawing.note(axes, f"thread {i + 1}", (2.8, upper + 1.45 + 1.1 * i), ha="right")
        for s in spans:
            colour = drawing.COLOURS[(0, 1, 3)[s.run % 3]] if s.tile else drawing.GREEN
            corner = place(s.start), upper + 1.0 + 1.1 * threads.index(s.thread)
            look = {"facecolor": drawing.tint(colour, 0.45 if s.tile else 0.9), "edgecolor": colour, "linewidth": 0.7}
            axes.add_patch(Rectangle(corner, place(s.end) - place(s.start), 0.9, **look))
        for run, text in enumerate(PASSES[name]):
            of_run = [s for s in spans if s.run == run]
            left, right = place(min(s.start for s in of_run)), place(max(s.end for s in of_run))
            drawing.note(axes, text, ((left + right) / 2, upper + 0.35), size=9.5)
            axes.plot([right] * 2, [upper + 0.8, upper + 3.2], color=drawing.INK, linewidth=1.6)
        for ms in range(0, int(1000 * length(spans)) + 1, 5):
            x = place(begin + ms / 1000)
            axes.plot([x, x], [upper + 3.2, upper + 3.35], color=drawing.GREY, linewidth=1)
            drawing.note(axes, f"{ms} ms" if ms == 0 else str(ms), (x, upper + 3.7), colour=drawing.GREY, size=9)
        upper += 4.9
    for x, colour, strength, text in (
        (3.0, drawing.BLUE, 0.45, "a tile (2 images); one colour for each run of tiles"),
        (12.6, drawing.GREEN, 0.9, "a job: filters, weight gradients"),
    ):
        axes.add_patch(Rectangle((x, 11.6), 0.6, 0.6, facecolor=drawing.tint(colour, strength), edgecolor=colour))
        drawing.note(axes, text, (x + 0.9, 11.9), ha="left")
    axes.plot([19.4] * 2, [11.5, 12.3], color=drawing.INK, linewidth=1.6)
    drawing.note(axes, "a barrier", (19.7, 11.9), ha="left")
    drawing.finish(figure, "engine-timeline")


def stream() -> None:
    """Columns, points and phases of `winograd.py`, for an image of 4x5 pixels, m = 2 and k = 3."""
    spread = transforms(3, 4, 2, np.dtype(float)).spread
    figure, axes = drawing.canvas(24, 17.4, "A Winograd stream: 3x3 filters, an image of 4 rows and 5 columns")
    pixels = [["0"] * 7, *[["0", *[f"d{i}{j}" for j in range(5)], "0"] for i in range(4)], ["0"] * 7]
    paint = np.full((6, 7), None)
    paint[1:5, 2] = drawing.BLUE
    drawing.grid(axes, pixels, 0.8, 2.6, colour=paint, size=10.5)
    drawing.note(axes, "x, with the zeros around it", (4.3, 2.1))
    for i, x in ((0, 8.1), (1, 8.6)):
        axes.plot([x, x], [2.7 + 2 * i, 6.5 + 2 * i], color=drawing.ORANGE, linewidth=2.2)
        drawing.note(axes, f"run {i}", (x + 0.2, 3.6 + 4.0 * i), ha="left", colour=drawing.ORANGE)
    drawing.note(axes, "every column: 2 runs of m = 2 outputs;\neach run reads a = 4 pixels", (4.3, 9.4))
    drawing.arrow(axes, (10.6, 5.6), (13.0, 5.6), text="B.T", shift=(0, -0.5))

    points = [[f"s{p}{r}" for r in range(2)] for p in range(4)]
    table = drawing.grid(
        axes, points, 13.3, 3.6, colour=np.repeat(np.array(drawing.COLOURS)[:, None], 2, 1), size=10.5
    )
    drawing.note(axes, "column 1 of x:", (table.top[0], 2.4))
    drawing.note(axes, "run 0   run 1", (table.top[0], 3.2), size=9.5)
    for p, row in enumerate(spread.reshape(4, 2, 4)[:, 1]):
        signed = [f"{MINUS if v < 0 else PLUS} d{i}1" for i, v in enumerate(row) if v]
        text = " ".join(signed).removeprefix(f"{PLUS} ")
        drawing.note(axes, f"point {p}:   s{p}1 = {text}", (15.7, 4.1 + p), ha="left")
    drawing.note(axes, "4 products instead of 6 for 2 outputs", (18.0, 9.1))

    upper, width = 12.0, 1.3
    line = ["0", *[f"col {j}" for j in range(5)], "0", *[f"col {j}" for j in range(5)], "0"]
    shade = [drawing.BLUE if s != "0" else None for s in line]
    drawing.note(axes, "In memory", (4.2, upper + 0.5), ha="right", weight="bold")
    drawing.grid(axes, [line], 4.5, upper, colour=[shade], cell_width=width, size=10.5)
    drawing.note(axes, "then\npoint 1 ...", (21.7, upper + 0.5), ha="left")
    for run in range(2):
        text = f"point 0, run {run}: C numbers of every column"
        drawing.note(axes, text, (4.5 + width * (3.5 + 6 * run), upper - 0.4))
    for phase in range(3):
        y = upper + 1.3 + 0.95 * phase
        drawing.note(axes, f"phase {phase}", (4.2, y + 0.4), ha="right")
        for start in range(phase, 11, 3):
            between = start == 5  # the pixel between the two rows
            colour = drawing.GREY if between else drawing.COLOURS[(1, 3, 2)[phase]]
            look = {"facecolor": drawing.tint(colour, 0.3), "edgecolor": colour, "linewidth": 1.4}
            axes.add_patch(Rectangle((4.5 + width * start + 0.05, y), 3 * width - 0.1, 0.75, **look))
            text = "not used" if between else f"window of column {start % 6}"
            drawing.note(axes, text, (4.5 + width * (start + 1.5), y + 0.38), size=9)
    text = "Each phase is a matrix whose rows are windows, 3 C numbers each, read where they lie: no copies."
    drawing.note(axes, text, (12, 16.7))
    drawing.finish(figure, "engine-stream")


def parity() -> None:
    """The 4x4 pool with stride 2 on a map of 6x6: four maps, four maxima."""
    z = np.random.default_rng(4).permutation(90)[:36].reshape(6, 6) + 10
    figure, axes = drawing.canvas(24, 19.6, "A 4x4 pool with stride 2, on maps sorted by parity")
    colours = np.array(drawing.COLOURS).reshape(2, 2)
    whole = drawing.grid(axes, z, 1.2, 2.6, colour=np.tile(colours, (3, 3)), label="z")
    frame = {"fill": False, "edgecolor": drawing.INK, "linewidth": 3, "zorder": 5}
    axes.add_patch(Rectangle((whole.x + 2, whole.y), 4, 4, **frame))
    drawing.arrow(axes, (7.6, 5.6), (10.2, 5.6))
    maps = {}
    for a in range(2):
        for b in range(2):
            x, y = 10.8 + 5.0 * b, 2.6 + 4.2 * a
            name = f"{('even', 'odd')[a]} rows, {('even', 'odd')[b]} columns"
            maps[a, b] = drawing.grid(axes, z[a::2, b::2], x, y, colour=colours[a, b], label=name)
            axes.add_patch(Rectangle((x + 1, y), 2, 2, **frame))
    drawing.note(
        axes, "A window of 16 pixels\nis a square of 2x2\nin each of the four.", (20.6, 6.2), ha="left", size=11
    )
    columns = [np.maximum(z[a::2, 0::2], z[a::2, 1::2]) for a in range(2)]
    blocks = np.maximum(*columns)
    pairs = np.maximum(blocks[:, :-1], blocks[:, 1:])
    y = np.maximum(pairs[:-1], pairs[1:])
    assert y.tolist() == [[z[i : i + 4, j : j + 4].max() for j in (0, 2)] for i in (0, 2)]
    top, low, middle = 12.2, 16.0, 14.1
    second = drawing.grid(axes, blocks, 9.0, middle)
    third = drawing.grid(axes, pairs, 15.0, middle)
    last = drawing.grid(axes, y, 20.4, middle + 0.5)
    for a, upper in enumerate((top, low)):
        first = drawing.grid(axes, columns[a], 2.8, upper)
        drawing.note(axes, f"{('even', 'odd')[a]}\nrows", (1.6, upper + 1.5))
        drawing.arrow(axes, first.right, (second.x - 0.1, middle + 1.3 + 0.4 * a))
    drawing.arrow(axes, second.right, third.left)
    drawing.arrow(axes, third.right, last.left)
    for x, upper, width, height in (
        *((3.8, top, 2, 2), (3.8, low, 2, 2), (10.0, middle, 2, 2)),
        *((16.0, middle, 1, 2), (21.4, middle + 0.5, 1, 1)),
    ):
        axes.add_patch(Rectangle((x, upper), width, height, **frame))
    drawing.note(axes, "Four maxima", (0.7, 10.2), ha="left", size=drawing.SIZE, weight="bold")
    for text, x, upper in (
        ("1: of even and\nodd columns", 4.3, 11.2),
        ("2: of even and odd rows:\nof every 2x2 block", 10.5, 12.9),
        ("3: of this block\nand the next", 16.0, 12.9),
        ("4: of this place\nand the one below: y", 21.4, 12.9),
    ):
        drawing.note(axes, text, (x, upper), size=11)
    drawing.finish(figure, "engine-parity")


if __name__ == "__main__":
    timeline()
    stream()
    parity()
