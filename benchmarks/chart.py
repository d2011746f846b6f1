"""The speeds of whole nets as a bar chart that can be read without colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.report import NETWORKS
from minidl.visual.canvas import Figure, save_figure
from minidl.visual.lettering import add_title

OURS, OTHERS = "#0072B2", "#D9D9D9"  # minidl dark, the others light, so that they differ in gray too
PANELS = {"train_img_s": "training, images/s", "infer_img_s": "inference, images/s"}


def save_chart(path: Path, figures: dict[str, Any]) -> None:
    """Two panels of horizontal bars with one contender per row, and a figure on each bar."""
    names = list(figures["infer_img_s"])
    colors = [OURS if name.startswith("minidl") else OTHERS for name in names]
    settings, machine = figures["settings"], figures["machine"]
    title = (
        f"{NETWORKS[settings['network']].split(' (')[0]}, batch {settings['batch_size']}, float32, "
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
