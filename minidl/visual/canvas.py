"""The only module that makes figures: without a screen, with matplotlib's own defaults and the style below.

No other module imports matplotlib, and pyplot is never used. A user's matplotlibrc, backend or style sheet changes no
picture.
"""

from __future__ import annotations

import gc
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from minidl.visual.loading import loading, quiet

with loading():
    import matplotlib
    from matplotlib import colormaps
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.lines import Line2D
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline
    from matplotlib.textpath import text_to_path
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

import numpy as np
from PIL import Image

from minidl.errors import DataError, MinidlError, UsageError
from minidl.storage.files import atomic

__all__ = [
    "AnnotationBbox",
    "Artist",
    "Axes",
    "Figure",
    "Line2D",
    "LogLocator",
    "MaxNLocator",
    "NullFormatter",
    "OffsetImage",
    "Outline",
    "PathPatch",
    "RendererBase",
    "check_picture",
    "check_place",
    "colormaps",
    "picture_format",
    "save_figure",
    "text_width",
]

DPI = 144  # a point is two pixels
FORMATS = (".png", ".svg")
# Okabe and Ito's colours, told apart by the colour-blind; other marks and line styles tell them apart in gray print.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
FONT = "DejaVu Sans"  # comes with matplotlib: the same letters everywhere
MISSING = "Glyph .* missing from"  # the warning of a letter that is drawn as an empty box, which says enough
STYLE = {
    # All settings have their default first, but for the backend, which matters to pyplot alone.
    **{name: value for name, value in dict.items(matplotlib.rcParamsDefault) if name != "backend"},
    "font.family": "sans-serif",
    "font.sans-serif": [FONT],
    "text.hinting": "none",  # letters of their own shape, drawn in two thirds of the time
    "text.parse_math": False,  # a $ in the name of a class is a dollar
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "minidl",  # ids that don't change from run to run
}


def picture_format(path: Path) -> str:
    """The format that the suffix of `path` names, "png" or "svg"; UsageError for another suffix."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"can't draw {path.name!r}: its name must end in {' or '.join(FORMATS)}")
    return path.suffix.lower()[1:]


def check_place(folder: Path) -> None:
    """Checks before a long computation that pictures can be written into `folder`, which doesn't have to exist yet.

    Raises DataError naming the folder or file that is the reason. Leaves no file or folder.
    """
    there = folder
    try:
        while not _is_there(there) and there != there.parent:
            there = there.parent
        if not there.is_dir():
            raise DataError(f"{there}: not a folder, so no picture can be written into {folder}")
        os.rmdir(tempfile.mkdtemp(prefix=".tmp-", dir=there))
    except OSError as error:
        raise DataError(f"{folder}: no picture can be written there ({error.strerror or error})") from error


def _is_there(path: Path) -> bool:
    """Like `path.exists()`, but raises OSError for an impossible path, such as a name of 300 letters."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def check_picture(path: Path) -> None:
    """Checks before a long computation that `path` can be written. Raises UsageError or DataError."""
    picture_format(path)
    if not path.parent.is_dir():
        raise DataError(f"{path.parent}: no such folder")
    if path.is_dir():
        raise DataError(f"{path}: a folder, not a picture")
    check_place(path.parent)


def save_figure(path: Path, size: tuple[float, float], draw: Callable[[Figure], None]) -> None:
    """Lets `draw` fill a figure of `size` (width, height) in inches and writes it. The same drawing gives the same
    bytes.

    Raises UsageError if `path` ends neither in .png nor in .svg, and DataError for everything that goes wrong in
    drawing and writing; its `__cause__` is the error.
    """
    # A figure is full of reference cycles: megabytes each until Python looks for them. As it doesn't meanwhile, they
    # all are of the youngest generation, and that alone is soon looked through once no frame holds the figure.
    collects = gc.isenabled()
    gc.disable()
    try:
        _write(path, size, draw)
    except MinidlError:
        raise
    except Exception as error:
        raise DataError(f"can't draw {path}: {type(error).__name__}: {error}".partition("\n")[0]) from error
    finally:
        gc.collect(0)
        if collects:
            gc.enable()


def _write(path: Path, size: tuple[float, float], draw: Callable[[Figure], None]) -> None:
    kind = picture_format(path)
    with matplotlib.rc_context(STYLE), quiet(), warnings.catch_warnings(), atomic(path) as temporary:
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


def text_width(text: str, size: float) -> float:
    """The width of one line of `text` at the font size `size`, in points."""
    plain = {"style": "normal", "variant": "normal", "weight": "normal", "stretch": "normal"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", MISSING)
        font = FontProperties(family=FONT, size=size, **plain)
        return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]
