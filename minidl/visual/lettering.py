"""Words on pictures: in one line, as long as there is room for, whatever letters they are of."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from minidl.errors import printable
from minidl.visual.canvas import Artist, Axes, Figure, text_width

SLANT = 1.03  # how much wider than upright letters the cursive is, at most
TITLE_SHARE = 0.96  # of the figure's width
LETTERS = 1000  # of a text are read, however long it is
NARROWEST = 0.25  # width of a letter as a share of its size; those that take room are wider


def one_line(text: str) -> str:
    """`text` with single spaces for its line breaks, and escapes for what no font has, some of it barred from SVG.

    At most `LETTERS` of it, with … after them.
    """
    line = printable(" ".join(text[:LETTERS].split()))
    return line if len(text) <= LETTERS and len(line) <= LETTERS else line[:LETTERS] + "…"


@lru_cache(maxsize=4096)
def fit(text: str, width: float, size: float) -> str:
    """`text` in one line, or the start of it that stands in `width` points at the font size `size`, with … after it.

    Of synonyms (words parted by commas) only whole ones are kept, if there is room for one. No more letters are
    measured than could stand there.
    """
    text = one_line(text)
    most = int(width / (NARROWEST * size)) + 1
    if len(text) > most:
        text = text[:most] + "…"
    if _stands(text, width, size):
        return text
    shown, hidden = 0, len(text)  # a number of letters that stand there, and one that don't
    while hidden - shown > 1:
        middle = (shown + hidden) // 2
        shown, hidden = (middle, hidden) if _stands(text[:middle] + "…", width, size) else (shown, middle)
    start = text[:shown]
    return (start.rpartition(",")[0] or start.rstrip()) + "…"


def wrap(text: str, width: float, size: float) -> list[str]:
    """Lines of `text` at most `width` points wide, broken after "·"; what is too long between two of them is cut."""
    lines = [""]
    for part in one_line(text).split(" · "):
        longer = f"{lines[-1]} · {part}" if lines[-1] else part
        if _stands(longer, width, size) or not lines[-1]:
            lines[-1] = longer
        else:
            lines[-1] += " ·"
            lines.append(part)
    return [fit(line, width, size) for line in lines if line]


def _stands(line: str, width: float, size: float) -> bool:
    return SLANT * text_width(line, size) <= width


def add_title(figure: Figure, text: str, size: float = 11, **look: Any) -> None:
    """A title over the whole figure, in one line."""
    figure.suptitle(fit(text, TITLE_SHARE * 72 * figure.get_figwidth(), size), fontsize=size, **look)


def add_legend(owner: Figure | Axes, handles: list[Artist], names: list[str], **look: Any) -> None:
    """A legend without a frame that has every name; matplotlib's own leaves out those that begin with "_"."""
    legend = owner.legend(handles, [str(i) for i in range(len(names))], frameon=False, fontsize=8, **look)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(one_line(name))
