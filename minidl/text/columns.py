"""Turns rows of texts into lines of aligned columns."""

from __future__ import annotations

from collections.abc import Sequence

from minidl.errors import printable

WIDEST = 80  # letters of a column


def align(table: Sequence[Sequence[str]], left: int) -> str:
    """Rows of texts as lines of columns: the first `left` columns are aligned to the left, the others to the right.

    A cell of more than 80 letters makes only its own line longer.
    """
    table = [[printable(text) for text in row] for row in table]
    widths = [min(max(map(len, column)), WIDEST) for column in zip(*table, strict=True)]
    lines = (
        "  ".join(
            f"{text:{'<' if i < left else '>'}{width}}"
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    )
    return "\n".join(line.rstrip() for line in lines)
