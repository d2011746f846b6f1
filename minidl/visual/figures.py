"""Figures, drawn without a screen."""

from __future__ import annotations

import gc
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from minidl.files import atomic

# Told apart by the colour-blind and in gray print: a dark solid line and a lighter dashed one, with other marks.
TRAIN = {"color": "#0072B2", "linestyle": "--", "marker": "o", "label": "training"}
VAL = {"color": "#D55E00", "linestyle": "-", "marker": "s", "label": "validation"}


def save_history(path: Path, history: list[dict[str, Any]], title: str) -> None:
    """Accuracy and loss over the epochs (the paper's Figure 4), the best validation accuracy marked."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    accuracy, loss = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    marks = {"markersize": 4 if len(epochs) < 30 else 0, "linewidth": 1.8}
    for axes, name, scale in ((accuracy, "top1", 100), (loss, "loss", 1)):
        for split, look in (("train", TRAIN), ("val", VAL)):
            axes.plot(epochs, [scale * row[f"{split}_{name}"] for row in history], **look, **marks)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    best = max(history, key=lambda row: row["val_top1"])
    accuracy.plot(best["epoch"], 100 * best["val_top1"], "o", ms=12, mfc="none", mec="black")
    accuracy.annotate(
        f"{100 * best['val_top1']:.1f} %",
        (best["epoch"], 100 * best["val_top1"]),
        textcoords="offset points",
        xytext=(0, -18),
        ha="center",
    )
    accuracy.set_ylabel("top-1 accuracy (%)")
    accuracy.set_ylim(bottom=0)
    accuracy.legend(loc="lower right", frameon=False)
    loss.set_ylabel("cross-entropy")
    loss.set_ylim(bottom=0)
    figure.suptitle(title, fontsize=11)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=150)
    del figure, accuracy, loss, axes
    gc.collect()  # a figure is full of reference cycles: megabytes an epoch until Python looks for them


def save_batch(path: Path, images: np.ndarray, titles: list[str], title: str, columns: int = 8) -> None:
    """A sheet of uint8 images (n, H, W, 3), each with its title, enlarged without smoothing."""
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.75 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if i < len(images):
            axes.imshow(images[i], interpolation="nearest")
            axes.set_title(textwrap.shorten(titles[i], 20, placeholder="…"), fontsize=8, parse_math=False)
    figure.suptitle(title, fontsize=10)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110)
