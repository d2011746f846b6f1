"""Figures of searches for a learning rate: the trials of a search, and a range test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidl.errors import UsageError
from minidl.training.range_test import RangeTest
from minidl.training.search import best_trials
from minidl.visual.canvas import COLOURS, Axes, Figure, LogLocator, NullFormatter, save_figure
from minidl.visual.lettering import add_title

SMALLEST, LARGEST = 25, 150  # areas of the dots, square points
ROOM = 0.15  # decades of free space around the values


def save_search(path: Path, trials: list[dict[str, Any]], title: str) -> None:
    """Trials (rows of trials.csv) over learning rate and weight decay (the paper's Figure 3), with a ring around the
    best.

    The colour and size of a dot show the validation accuracy; a cross is a trial that diverged.
    Raises UsageError if there is no trial, otherwise as `save_figure`.
    """
    if not trials:
        raise UsageError("no trial is finished yet: there is nothing to draw")
    sound = best_trials(trials, len(trials))[::-1]  # the best are drawn last, over the others
    diverged = [row for row in trials if row["state"] == "diverged"]
    percent = [100 * row["val_top1"] for row in sound]

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        axes = figure.subplots()
        axes.set_axisbelow(True)
        _logarithmic(axes, "x", [row["lr"] for row in trials])
        _logarithmic(axes, "y", [row["weight_decay"] for row in trials])
        if sound:
            span = max(percent[-1] - percent[0], 1e-9)
            areas = [SMALLEST + (LARGEST - SMALLEST) * (p - percent[0]) / span for p in percent]
            x, y = ([row[name] for row in sound] for name in ("lr", "weight_decay"))
            low, high = (percent[0], percent[-1]) if percent[0] < percent[-1] else (0, 100)
            look = {"cmap": "viridis", "vmin": low, "vmax": high, "edgecolors": "black", "linewidths": 0.5}
            dots = axes.scatter(x, y, areas, percent, **look)
            figure.colorbar(dots, label="validation top-1 accuracy (%)")
            best = f"best: {percent[-1]:.1f} % at lr {x[-1]:.1e}, weight decay {y[-1]:.1e}"
            axes.plot(x[-1], y[-1], "o", ms=19, mfc="none", mec=COLOURS[3], mew=2, linestyle="none", label=best)
        if diverged:
            x, y = ([row[name] for row in diverged] for name in ("lr", "weight_decay"))
            axes.plot(x, y, "x", ms=7, mew=1.6, color="black", linestyle="none", label=f"diverged ({len(diverged)})")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("weight decay")
        figure.legend(loc="outside lower center", ncols=2, frameon=False, markerscale=0.6)
        add_title(figure, title)

    save_figure(path, (7, 5.2), draw)


def save_range_test(path: Path, test: RangeTest, title: str) -> None:
    """The loss over the learning rate, with the two suggested rates marked. Raises as `save_figure`."""
    lowest, before = test.losses.min(), test.losses[: test.lowest + 1].max()
    after = test.losses[: test.lowest + 10].max()
    # The falling part takes at least a quarter of the picture, however large the loss grows after it.
    highest = min(after, before + (before - lowest or abs(before))) + 1e-3
    bottom, top = (end + share * (highest - lowest) for end, share in ((lowest, -0.1), (highest, 0.6)))
    off = test.losses > top

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        axes = figure.subplots()
        _logarithmic(axes, "x", test.rates)
        axes.plot(test.rates[~off], test.losses[~off], ".", ms=4, color="0.6", label="loss of a batch")
        if off.any():
            above = np.full(off.sum(), top - 0.02 * (top - bottom))
            axes.plot(test.rates[off], above, "^", ms=4, color="0.6", label="higher than the picture")
        axes.plot(test.rates, test.smoothed, color=COLOURS[0], linewidth=1.8, label="smoothed")
        marks = (
            (test.steepest, "suggested: steepest descent", "-", "s"),
            (test.tenth, "rate of the minimum / 10", "--", "D"),
        )
        for rate, name, line, mark in marks:
            if rate is not None:
                look = {"color": COLOURS[3], "linestyle": line, "marker": mark, "markevery": [1], "ms": 6}
                height = float(np.interp(np.log(rate), np.log(test.rates), test.smoothed))
                axes.plot([rate, rate], [bottom, height], **look, label=f"{name}, {rate:.1e}")
        axes.set_ylim(bottom, top)
        axes.set_xlabel("learning rate")
        axes.set_ylabel("cross-entropy")
        axes.legend(frameon=False)
        add_title(figure, title)

    save_figure(path, (7, 4.2), draw)


def _logarithmic(axes: Axes, which: str, values: Sequence[float]) -> None:
    """Makes the "x" or "y" axis logarithmic, with some room around `values`."""
    low, high = (float(np.log10(end)) for end in (min(values), max(values)))
    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(10 ** (low - ROOM), 10 ** (high + ROOM))
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1,) if high - low > 1 else (1, 2, 5)))
    axis.set_major_formatter(lambda value, _: np.format_float_scientific(value, precision=1, trim="-"))
    axis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)
