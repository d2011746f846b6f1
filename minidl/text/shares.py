"""A part of a whole in percent."""

from __future__ import annotations


def percent(part: int, whole: int) -> str:
    """`part` of `whole` in percent, to three digits: "2 %", "33.3 %". Only the whole is "100 %"."""
    share = 100 * part / whole
    return f"{share if part == whole else min(share, 99.9):.3g} %"
