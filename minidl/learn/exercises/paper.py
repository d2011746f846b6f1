"""Sums as one writes them on paper."""

from __future__ import annotations

from collections.abc import Iterable

MOST = 12  # products in one line


def products(pairs: Iterable[tuple[float, float]], plus: float | None = None) -> str | None:
    """Such as "1*1 + 2*10 + 3 = 24"; None if there are no products, or too many for one line."""
    pairs = list(pairs)
    if not 1 <= len(pairs) <= MOST:
        return None
    terms = [f"{number(a)}*{number(b)}" for a, b in pairs]
    total = sum(float(a) * float(b) for a, b in pairs)
    if plus is not None:
        terms.append(number(plus))
        total += float(plus)
    return f"{' + '.join(terms)} = {total:.6g}"


def number(value: float) -> str:
    """A number with up to four digits; a negative one in brackets."""
    return f"{value:.4g}" if value >= 0 else f"({value:.4g})"
