"""A number and its noun."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """The number with its noun, which is given in the singular: "1 epoch", "2 epochs", "1,000 batches"."""
    many = "es" if noun.endswith(("s", "x", "tch")) else "s"
    return f"{count:,} {noun}{many if count != 1 else ''}"
