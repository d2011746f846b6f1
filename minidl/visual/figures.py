"""Figures of a training run: the history of its epochs, and a batch of its images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from minidl.errors import UsageError
from minidl.visual.canvas import COLOURS, Axes, Figure, MaxNLocator, save_figure
from minidl.visual.lettering import add_title, fit
from minidl.visual.limits import limits

TRAIN = {"color": COLOURS[1], "linestyle": "--", "marker": "o", "label": "training"}
VAL = {"color": COLOURS[0], "linestyle": "-", "marker": "s", "label": "validation"}
BEST = {"ms": 11, "mfc": "none", "mec": "black", "mew": 1.4, "zorder": 3}
CROWD = 200  # with more epochs than this, their marks would hide the line
TILE = 1.5  # inches


def save_history(path: Path, history: list[dict[str, Any]], title: str) -> None:
    """Accuracy and loss over the epochs (the paper's Figure 4), with the best validation accuracy marked.

    history   a row per epoch with epoch, train_top1, val_top1 (fractions), train_loss and val_loss; where a value is
              not a finite number, the line has a gap

    Raises UsageError if there is no epoch, otherwise as `save_figure`.
    """
    if not history:
        raise UsageError("no epoch is finished yet: there is nothing to draw")

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        accuracy, loss = figure.subplots(1, 2)
        _draw_epochs(accuracy, history, "top1", 100)
        _draw_epochs(loss, history, "loss", 1)
        known = [row for row in history if math.isfinite(row["val_top1"])]
        if known:
            best = max(known, key=lambda row: row["val_top1"])
            percent = 100 * best["val_top1"]
            label = f"best validation: {percent:.1f} % in epoch {best['epoch']}"
            accuracy.plot(best["epoch"], percent, "o", label=label, **BEST)
        accuracy.set_ylabel("top-1 accuracy (%)")
        accuracy.legend(frameon=False)
        loss.set_ylabel("cross-entropy")
        add_title(figure, title)

    save_figure(path, (9, 3.6), draw)


def _draw_epochs(axes: Axes, history: list[dict[str, Any]], name: str, scale: float) -> None:
    """A line for training and one for validation, on axes that begin at zero."""
    epochs = [row["epoch"] for row in history]
    marks = {"ms": 5, "mec": "white", "mew": 0.5, "markevery": max(1, len(epochs) // 15)}
    marks["lw"] = 1.6 if len(epochs) <= CROWD else 0.7
    values = np.array([[scale * row[f"{split}_{name}"] for row in history] for split in ("train", "val")])
    for line, look in zip(values, (TRAIN, VAL), strict=True):
        axes.plot(epochs, np.where(np.isfinite(line), line, np.nan), **look, **marks)
    axes.set_xlim(0, 1.04 * max(epochs) + 0.3)
    axes.set_ylim(0, limits([0, *values.flat])[1])
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def save_batch(path: Path, images: np.ndarray, titles: list[str], title: str, columns: int = 8) -> None:
    """A sheet of uint8 images (n, H, W, 3), each with its title, enlarged without smoothing.

    Raises as `save_figure`.
    """
    rows = -(-len(images) // columns)

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
            axes.axis("off")
            if i < len(images):
                axes.imshow(images[i], interpolation="nearest")
                axes.set_title(fit(titles[i], 90, 8), fontsize=8)
        add_title(figure, title, 10)

    save_figure(path, (TILE * columns, 1.75 * rows + 0.4), draw)
