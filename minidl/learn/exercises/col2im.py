"""From the gradients of the patches back to the image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, returns
from minidl.learn.exercises.geometry import GEOMETRIES, Geometry, copies


def _patch_cases(rng: np.random.Generator) -> list[Case]:
    dpatches = np.array([[1.0, 10, 100], [2, 20, 200]])  # of a row of four pixels
    by_hand = {"dpatches": dpatches, "x_shape": (1, 1, 4, 1), "kernel": (1, 3), "stride": 1, "padding": 0}
    cases = [Case(by_hand, Geometry(1, 1, 4, 1, 1, 3, 1, 1, 0).about)]
    for g in GEOMETRIES:
        oh, ow = g.out
        dpatches = rng.normal(size=(g.n * oh * ow, g.kh * g.kw * g.c))
        shape, kernel = (g.n, g.h, g.w, g.c), (g.kh, g.kw)
        cases.append(
            Case(
                {"dpatches": dpatches, "x_shape": shape, "kernel": kernel, "stride": g.stride, "padding": g.padding},
                g.about,
            )
        )
    return cases


def _overlaps(arguments: Arguments, name: str) -> Mapping[str, np.ndarray]:
    n, h, w, c = arguments["x_shape"]
    counts = copies(h, w, arguments["kernel"], arguments["stride"], arguments["padding"])
    return {"where windows overlap": np.broadcast_to((counts > 1)[None, :, :, None], (n, h, w, c))}


EXERCISE = Exercise(
    name="col2im",
    chapter="05_col2im",
    target="minidl.kernels.reference:col2im",
    task="Carry the gradients of all patches back to the image. A pixel was copied into every patch that "
    "contains it, so it receives the sum over its copies. Given are `offsets`, which goes through a window, "
    "`out_size` and `unpad2d`.",
    cases=_patch_cases,
    call=returns("dx"),
    places=_overlaps,
    mistakes=(
        Mistake(
            "overwritten",
            "Right except where windows overlap: you assigned where you must add. A pixel that lies in several "
            "patches receives the sum of their gradients.",
            (("columns] += dpatches", "columns] = dpatches"),),
        ),
        Mistake(
            "averaged",
            "You took the mean over the copies of a pixel. The chain rule adds: every copy reaches the loss by a way "
            "of its own.",
            wrong=lambda dpatches, x_shape, kernel, stride, padding: (
                reference.col2im(dpatches, x_shape, kernel, stride, padding)
                / np.maximum(copies(x_shape[1], x_shape[2], kernel, stride, padding), 1)[None, :, :, None]
            ),
        ),
        Mistake(
            "not cropped",
            "The padding is still there. Its pixels don't belong to x: cut the border off at the end.",
            (("return unpad2d(dpadded, padding)", "return dpadded"),),
        ),
        Mistake(
            "kernel exchanged",
            "KH and KW are exchanged: the pixels of a window are numbered kh KW + kw.",
            (("offsets(kernel, stride", "offsets(kernel[::-1], stride"),),
        ),
        Mistake(
            "axes exchanged",
            "The reshape mixes up the axes: a row of dpatches has the KH KW pixels first, and the C channels of each "
            "pixel side by side.",
            wrong=lambda dpatches, x_shape, kernel, stride, padding: reference.col2im(
                dpatches.reshape(len(dpatches), x_shape[3], -1).swapaxes(1, 2).reshape(dpatches.shape),
                x_shape,
                kernel,
                stride,
                padding,
            ),
        ),
        Mistake(
            "flipped",
            "The window is turned by 180 degrees. Pixel k of a patch goes back to exactly where im2col took it from.",
            (("dpatches[:, :, :, k]", "dpatches[:, :, :, -1 - k]"),),
        ),
        Mistake(
            "stride ignored",
            "You put the windows side by side as if the stride were 1.",
            (("offsets(kernel, stride, (oh, ow))", "offsets(kernel, 1, (oh, ow))"),),
        ),
    ),
    hints=(
        "im2col copied x[rows, columns] into patches[..., k]. Go through the same k, rows and columns; what was "
        "copied from there comes back to there.",
        "Begin with zeros of the padded shape (N, H + 2 p, W + 2 p, C). Two windows may contain the same pixel: what "
        "must happen to a number that is there already?",
        "dpatches.reshape(n, oh, ow, KH KW, c); for each k: dpadded[:, rows, columns] += dpatches[:, :, :, k]; at "
        "the end unpad2d(dpadded, padding).",
    ),
)
