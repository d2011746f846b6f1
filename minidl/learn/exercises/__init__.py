"""All exercises, in the order of the chapters."""

from __future__ import annotations

from minidl.learn.exercise import Exercise
from minidl.learn.exercises import col2im

EXERCISES: dict[str, Exercise] = {e.name: e for module in (col2im,) for e in module.EXERCISES}
