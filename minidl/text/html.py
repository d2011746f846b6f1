"""Tables as HTML, for notebooks: static, without a script, and with every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from minidl.errors import printable

_CELL = "padding:0.2em 0.6em;text-align:{};white-space:pre;font-family:monospace"


def html_table(table: Sequence[Sequence[object]], left: int, caption: str = "") -> str:
    """Rows of texts as a table, the first row being its head. The first `left` columns are aligned left, the others
    right.

    The texts may be names that another person chose, so none of them is treated as markup.
    """

    def row(cells: Sequence[object], tag: str) -> str:
        styles = (_CELL.format("left" if i < left else "right") for i in range(len(cells)))
        return "".join(f'<{tag} style="{s}">{_text(c)}</{tag}>' for c, s in zip(cells, styles, strict=True))

    head, *body = table
    rows = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in body)
    title = f'<caption style="caption-side:top;text-align:left">{_text(caption)}</caption>' if caption else ""
    return f"<table>{title}<thead><tr>{row(head, 'th')}</tr></thead><tbody>{rows}</tbody></table>"


def _text(value: object) -> str:
    return escape(printable(str(value)))
