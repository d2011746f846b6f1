"""Figures, drawn without a screen: what all of them share, and those of a training run."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator
from PIL import Image

from minidl.errors import UsageError
from minidl.files import atomic

DPI = 144  # a point is two pixels
FORMATS = (".png", ".svg")
# Okabe and Ito's colours, told apart by the colour-blind; other marks and line styles tell them apart in gray print.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
TRAIN = {"color": COLOURS[1], "linestyle": "--", "marker": "o", "label": "training"}
VAL = {"color": COLOURS[0], "linestyle": "-", "marker": "s", "label": "validation"}
MISSING = "Glyph .* missing from"  # the warning of a letter that is drawn as an empty box, which says enough
STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same letters everywhere
    "text.hinting": "none",  # letters of their own shape, drawn in two thirds of the time
    "text.parse_math": False,  # a $ in the name of a class is a dollar
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "minidl",  # ids that don't change from run to run
}


def picture_format(path: Path) -> str:
    """The format that the suffix of `path` asks for, "png" or "svg"; UsageError if it is another."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"can't draw {path.name!r}: its name must end in {' or '.join(FORMATS)}")
    return path.suffix.lower()[1:]


def save_figure(path: Path, size: tuple[float, float], draw: Callable[[Figure], None]) -> None:
    """Lets `draw` fill a figure of `size` (width, height) in inches and writes it: same drawing, same bytes.

    Raises UsageError if `path` ends neither in .png nor in .svg, and DataError if it can't be written.
    """
    # A figure is full of reference cycles: megabytes each until Python looks for them. As it doesn't meanwhile, they
    # all are of the youngest generation, and that alone is soon looked through once no frame holds the figure.
    collects = gc.isenabled()
    gc.disable()
    try:
        _write(path, size, draw)
    finally:
        gc.collect(0)
        if collects:
            gc.enable()


def _write(path: Path, size: tuple[float, float], draw: Callable[[Figure], None]) -> None:
    kind = picture_format(path)
    with matplotlib.rc_context(STYLE), warnings.catch_warnings(), atomic(path) as temporary:
        warnings.filterwarnings("ignore", MISSING)
        figure = Figure(figsize=size, dpi=DPI)
        canvas = FigureCanvasAgg(figure)
        draw(figure)
        if kind == "svg":
            figure.savefig(temporary, format="svg", metadata={"Date": None})
        else:  # without the transparency that savefig writes, in half its time
            canvas.draw()
            pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
            pixels.save(temporary, dpi=(DPI, DPI), compress_level=1)


@lru_cache(maxsize=4096)
def fit(text: str, width: float, size: float) -> str:
    """`text`, or the start of it that stands in `width` points at the font size `size`, with … for the rest.

    Of synonyms (words parted by commas) only whole ones are kept, if there is room for one.
    """
    if _width(text, size) <= width:
        return text
    start = text
    while start and _width(start + "…", size) > width:
        start = start[:-1]
    return (start.rpartition(",")[0] or start.rstrip()) + "…"


def _width(text: str, size: float) -> float:
    """Of `text` in points, with a margin for the cursive."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", MISSING)
        font = FontProperties(family="DejaVu Sans", size=size)
        return 1.03 * text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]


def add_legend(owner: Figure | Axes, handles: list[Artist], names: list[str], **look: Any) -> None:
    """A legend without a frame that has every name; matplotlib's own leaves out those that begin with "_"."""
    legend = owner.legend(handles, [str(i) for i in range(len(names))], frameon=False, fontsize=8, **look)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


def save_history(path: Path, history: list[dict[str, Any]], title: str) -> None:
    """Accuracy and loss over the epochs (the paper's Figure 4), the best validation accuracy marked."""
    epochs = [row["epoch"] for row in history]
    best = max(history, key=lambda row: row["val_top1"])
    marks = {"ms": 5, "mec": "white", "mew": 0.5, "markevery": max(1, len(epochs) // 15)}
    marks["lw"] = 1.6 if len(epochs) <= 200 else 0.7

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        accuracy, loss = figure.subplots(1, 2)
        for axes, name, scale in ((accuracy, "top1", 100), (loss, "loss", 1)):
            for split, look in (("train", TRAIN), ("val", VAL)):
                axes.plot(epochs, [scale * row[f"{split}_{name}"] for row in history], **look, **marks)
            axes.set_xlabel("epoch")
            axes.set_xlim(0, 1.04 * epochs[-1] + 0.3)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.3)
        label = f"best validation: {100 * best['val_top1']:.1f} % in epoch {best['epoch']}"
        look = {"ms": 11, "mfc": "none", "mec": "black", "mew": 1.4, "zorder": 3}
        accuracy.plot(best["epoch"], 100 * best["val_top1"], "o", label=label, **look)
        accuracy.set_ylabel("top-1 accuracy (%)")
        accuracy.set_ylim(bottom=0)
        accuracy.legend(frameon=False)
        loss.set_ylabel("cross-entropy")
        loss.set_ylim(bottom=0)
        figure.suptitle(title, fontsize=11)

    save_figure(path, (9, 3.6), draw)


def save_batch(path: Path, images: np.ndarray, titles: list[str], title: str, columns: int = 8) -> None:
    """A sheet of uint8 images (n, H, W, 3), each with its title, enlarged without smoothing."""
    rows = -(-len(images) // columns)

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
            axes.axis("off")
            if i < len(images):
                axes.imshow(images[i], interpolation="nearest")
                axes.set_title(fit(titles[i], 90, 8), fontsize=8)
        figure.suptitle(title, fontsize=10)

    save_figure(path, (1.5 * columns, 1.75 * rows + 0.4), draw)
