"""What scores lose without a unit: for every class, and for every mistake."""

from __future__ import annotations

from dataclasses import dataclass

from minidl.atlas.records import Effects, Pair
from minidl.atlas.viewed import Viewed
from minidl.atlas.work import Arrays, Work
from minidl.visual.truncate import LayerInfo


@dataclass
class EffectsFound:
    agreement: Effects

    def of_unit(self, layer: str, unit: int, most: int) -> list[Pair]:
        return []

    def of_mistake(self, true: int, predicted: int, most: int) -> list[tuple[str, int, float]]:
        return []


def find_effects(viewed: Viewed, layers: list[LayerInfo], said: Arrays, work: Work) -> EffectsFound:
    return EffectsFound(Effects(None, 0, 0, 0))
