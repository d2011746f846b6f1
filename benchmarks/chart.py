"""The speeds of whole nets as pictures that can be read without colours: bars, and curves over the batch size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare import OURS
from benchmarks.report import NETWORKS
from minidl.visual.canvas import COLOURS, MARKERS, Figure, NullFormatter, save_figure
from minidl.visual.lettering import add_title

DARK, LIGHT = "#0072B2", "#D9D9D9"  # minidl dark, the others light, so that they differ in gray too
SPEEDS = [digit * 10**zeros for zeros in range(6) for digit in (1, 2, 3, 5)]  # with a mark on the axis
PANELS = {"train_img_s": "training, images/s", "infer_img_s": "inference, images/s"}


def save_chart(path: Path, figures: dict[str, Any]) -> None:
    """Two panels of horizontal bars with one contender per row, and a figure on each bar."""
    names = list(figures["infer_img_s"])
    colors = [DARK if name.startswith("minidl") else LIGHT for name in names]
    settings, machine = figures["settings"], figures["machine"]
    title = (
        f"{NETWORKS[settings['network']].split(' (')[0]}, batch {settings['batch_size']}, "
        f"{settings['threads']} threads on {machine['processor']}, {settings['date']}"
    )

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        for axes, (key, about) in zip(figure.subplots(1, 2, sharey=True), PANELS.items(), strict=True):
            speeds = [figures[key].get(name, 0) for name in names]
            bars = axes.barh(names, speeds, color=colors, edgecolor="black", linewidth=0.6)
            axes.bar_label(bars, [f"{speed:,.0f}" if speed else "inference only" for speed in speeds], padding=3)
            axes.set_xlabel(about)
            axes.set_xlim(0, 1.2 * max(speeds, default=0) or 1)
            axes.spines[["top", "right"]].set_visible(False)
        axes.invert_yaxis()  # shared: the first contender on top
        add_title(figure, title, 10)

    save_figure(path, (9, 0.4 * len(names) + 1.3), draw)


def save_curves(path: Path, figures: dict[str, Any]) -> None:
    """Two panels, a line for each contender: images per second over the batch size, both axes logarithmic."""
    settings, machine, by_batch = figures["settings"], figures["machine"], figures["batches"]
    title = f"The refined net, {settings['threads']} threads on {machine['processor']}, {settings['date']}"
    names = list(dict.fromkeys(name for of in by_batch.values() for name in of["infer_img_s"]))
    sizes = sorted(map(int, by_batch))

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        for axes, (key, about) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
            for i, name in enumerate(names):
                points = [(size, by_batch[str(size)][key].get(name)) for size in sizes]
                points = [point for point in points if point[1]]
                ours = name == OURS
                style = {"linewidth": 3.0 if ours else 1.4, "markersize": 6, "zorder": 3 if ours else 2}
                style |= {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "label": name}
                style |= {"markeredgecolor": "black", "markeredgewidth": 0.5}
                axes.plot(*np.array(points).reshape(-1, 2).T, "--" if name.endswith("_bf16") else "-", **style)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log", base=2)
            axes.set_xticks(sizes, [str(size) for size in sizes])
            low, high = axes.get_ylim()
            axes.set_yticks([speed for speed in SPEEDS if low <= speed <= high])
            axes.yaxis.set_major_formatter("{x:,.0f}")
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.grid(color="#E5E5E5", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.set_xlabel("batch size")
            axes.set_ylabel(about)
            axes.spines[["top", "right"]].set_visible(False)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
        add_title(figure, title, 10)

    save_figure(path, (9, 4.6), draw)
