"""Chooses units of a layer, and lists all of them in a table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minidl.errors import UsageError
from minidl.visual.probe import LayerProbe

DEFAULT = "top:9"


def choose_units(text: str, units: int, ranking: np.ndarray) -> list[int]:
    """The units that `text` means: "17", "3,17", "all" in the order of the ranking, or "top:20" for its first twenty.

    The nine of DEFAULT are fewer if there aren't as many.

    ranking   all units, the most interesting first
    Raises UsageError, with what is allowed, for anything else.
    """
    if text == "all" or (text == DEFAULT and units < 9):
        return ranking.tolist()
    if text.startswith("top:"):
        if not (number := text[4:]).isdecimal() or not 1 <= int(number) <= units:
            raise UsageError(f"--unit {text}: give top:1 to top:{units}")
        return ranking[: int(number)].tolist()
    chosen = []
    for part in text.split(","):
        if not (part := part.strip()).isdecimal():
            raise UsageError(f"--unit {text!r}: give numbers such as 17 or 3,17, or all, or top:20")
        if int(part) >= units:
            raise UsageError(f"--unit {part}: the layer has units 0 to {units - 1}")
        if int(part) not in chosen:
            chosen.append(int(part))
    return chosen


def by_selectivity(found: LayerProbe) -> np.ndarray:
    """All units, the most selective first; dead ones come last."""
    return np.argsort(-found.selectivity, kind="stable")


def table(found: LayerProbe, words: list[str], names: list[str] | None) -> Iterator[list[str]]:
    """A row of headings and a row per unit, for a CSV file.

    names   of the images; None: their positions in the split

    Without labels no selectivity and no best class is known, and their columns are empty. A dead unit has no best
    class.
    """
    norms = list(found.images)
    columns = [f"{norm}_{what}{i + 1}" for norm in norms for i in range(found.images[norm].shape[1])
               for what in ("image", "value")]  # fmt: skip
    yield ["unit", "dead", "selectivity", "best_class", *columns]
    for unit in range(found.units):
        best = found.best_class[unit]
        row = [
            str(unit),
            str(int(found.dead[unit])),
            f"{found.selectivity[unit]:.4f}" if best >= 0 else "",
            words[best] if best >= 0 and not found.dead[unit] else "",
        ]
        for norm in norms:
            for image, value in zip(found.images[norm][unit], found.values[norm][unit], strict=True):
                name = "" if image < 0 else str(image) if names is None else names[image]
                row += [name, "" if image < 0 else f"{value:.6g}"]
        yield row
