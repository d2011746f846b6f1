"""Weak and strong scaling as a picture: what the model of `cluster.py` predicts, and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.cluster import GLOBAL, PER_RANK, RANKS, Link, doubling, ring, strong, weak
from minidl.visual.canvas import COLOURS, MARKERS, Axes, Figure, Line2D, save_figure
from minidl.visual.lettering import add_title

WAYS = {"-": (ring, "ring"), "--": (doubling, "recursive doubling")}
KINDS = {weak: f"weak: {PER_RANK} images a rank", strong: f"strong: {GLOBAL:,} images in all"}


def save_scaling(
    path: Path,
    networks: dict[str, tuple[dict[int, float], float]],
    links: Sequence[Link],
    measured: dict[str, float],
    machine: str,
) -> None:
    """A row for each of `networks`, {name: (seconds by images, bytes of gradients)}; columns for weak and strong.

    measured    efficiency of two ranks of the first network by the name of the kind of scaling
    """

    def panel(axes: Axes, name: str, efficiency) -> None:
        seconds, size = networks[name]
        for i, link in enumerate(links):
            ranks = [r for r in RANKS if r <= link.most]
            for line, (how, _) in WAYS.items():
                values = [efficiency(seconds, size, r, link, how) for r in ranks]
                axes.plot(ranks, values, line, color=COLOURS[i], marker=MARKERS[i], markersize=4, linewidth=1.3)
        if name == next(iter(networks)) and efficiency.__name__ in measured:
            axes.plot(2, measured[efficiency.__name__], "*", color="black", markersize=12, zorder=5)
        axes.set_xscale("log", base=2)
        axes.set_xticks(RANKS[::2], [f"{r:,}" for r in RANKS[::2]])
        axes.grid(color="#E5E5E5", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_title(f"{name}, {size / 1e6:,.1f} MB of gradients\n{KINDS[efficiency]}", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        rows = figure.subplots(len(networks), 2, sharey=True, squeeze=False)
        for name, row in zip(networks, rows, strict=True):
            for efficiency, axes in zip(KINDS, row, strict=True):
                panel(axes, name, efficiency)
            row[0].set_ylabel("efficiency")
        rows[0, 0].set_ylim(bottom=0)  # of all panels, when all lines are there
        for axes in rows[-1]:
            axes.set_xlabel("ranks")
        handles = [
            Line2D([], [], color=COLOURS[i], marker=MARKERS[i], markersize=4, label=link.name)
            for i, link in enumerate(links)
        ]
        handles += [Line2D([], [], color="black", linestyle=line, label=name) for line, (_, name) in WAYS.items()]
        if measured:
            about = "measured here: 2 ranks, 32 images each"
            handles.append(Line2D([], [], color="black", marker="*", markersize=10, linestyle="", label=about))
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        add_title(figure, f"A prediction, not a measurement: computing as on {machine}", 10)

    save_figure(path, (9, 3.1 * len(networks) + 1.2), draw)
