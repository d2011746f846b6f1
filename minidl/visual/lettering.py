"""Texts on pictures: in one line, cut where there is no room, in any script."""

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
    """`text` with spaces in place of line breaks, and escapes for characters that fonts lack or SVG forbids.

    It is cut after `LETTERS` letters, with … at the end.
    """
    line = printable(" ".join(text[:LETTERS].split()))
    return line if len(text) <= LETTERS and len(line) <= LETTERS else line[:LETTERS] + "…"


@lru_cache(maxsize=4096)
def fit(text: str, width: float, size: float) -> str:
    """`text` in one line; if it is wider than `width` points at the font size `size`, its beginning with … at the
    end.

    Of synonyms (words separated by commas) only whole ones are kept, if there is room for one. Only as many letters
    are measured as may fit.
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
    """Lines of `text` at most `width` points wide, broken after "·"; a part that is too long is cut."""
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
    """A legend without a frame, with every name. matplotlib's own legend omits names that begin with "_"."""
    legend = owner.legend(handles, [str(i) for i in range(len(names))], frameon=False, fontsize=8, **look)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(one_line(name))
