"""The stage of a module with branches: their outputs are joined, and their dx add up."""

from __future__ import annotations

import numpy as np

from minidl.explain.cut import around, cut, inside, place_of, scale_of, strongest
from minidl.explain.records import Branch, JoinStage
from minidl.explain.watch import Seen

SAMPLES = 3  # channels of a branch


def join_stage(seen: Seen, inner: list[tuple[str, Seen]]) -> JoinStage:
    """A module of branches: how y is joined from theirs, and dx, in the channel with the largest gradient.

    inner    (name, what it received and gave) of each branch
    """
    y, dy, dx = seen.y[0], seen.dy[0], seen.dx[0]
    row, column, channel = strongest(dx)
    region = around((row, column), dx.shape[:2])
    outputs = seen.layer.outputs(seen.x.shape)
    middle = place_of(np.abs(dy).sum(axis=2))
    parts = [b.dx[0] for _, b in inner]
    names = [name for name, _ in inner]
    if not outputs and len(inner) == 1:  # a residual block whose shortcut is x itself
        parts.append(dy)
        names.append("shortcut (x itself)")
    widths = [b.y.shape[3] for _, b in inner]
    starts = np.cumsum([0, *widths]).tolist() if outputs else [0] * (len(names) + 1)
    stops = starts[1:] if outputs else [y.shape[2]] * len(names)
    gradient = scale_of(*(inside(p[..., channel], region) for p in (*parts, dx)))
    return JoinStage(
        name=seen.name,
        about=repr(seen.layer),
        joined="concatenation" if outputs else "sum",
        channel=channel,
        in_channels=dx.shape[2],
        channels=y.shape[2],
        place=middle,
        value=tuple(scale_of(y[middle])),
        gradient=tuple(scale_of(dy[middle])),
        branches=[
            Branch(
                name=name,
                start=start,
                stop=stop,
                samples=[
                    (c, float(y[(*middle, c)]), float(dy[(*middle, c)]))
                    for c in range(start, min(start + SAMPLES, stop))
                ],
                dx=cut(part[..., channel], region, gradient),
            )
            for name, start, stop, part in zip(names, starts, stops, parts, strict=False)
        ],
        dx=cut(dx[..., channel], region, gradient),
    )
