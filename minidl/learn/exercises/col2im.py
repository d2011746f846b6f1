"""From the gradients of the patches back to the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Exercise, Mistake, returns
from minidl.learn.exercises.geometry import copies
from minidl.learn.exercises.images import conv_cases, touches
from minidl.learn.exercises.paper import number


def _overlaps(arguments: Arguments, name: str) -> Mapping[str, np.ndarray]:
    n, h, w, c = arguments["x_shape"]
    counts = copies(h, w, arguments["kernel"], arguments["stride"], arguments["padding"])
    return {"where windows overlap": np.broadcast_to((counts > 1)[None, :, :, None], (n, h, w, c))}


def _on_paper(arguments: Arguments, name: str, index: tuple[int, ...]) -> str:
    """Which entries of dpatches a pixel receives, and their sum."""
    n, row, column, c = index
    shape, (_, width), found = arguments["x_shape"], arguments["kernel"], []
    out = reference.out_size(shape, arguments["kernel"], arguments["stride"], arguments["padding"])
    for oh, ow, kh, kw, h, w in touches(shape, arguments["kernel"], arguments["stride"], arguments["padding"]):
        if (h, w) == (row, column):
            p, k = (n * out[0] + oh) * out[1] + ow, (kh * width + kw) * shape[3] + c
            found.append((f"dpatches[{p}, {k}]", arguments["dpatches"][p, k]))
    if not found:
        return "no window contains this pixel: 0"
    if len(found) == 1:
        return f"{found[0][0]}, which is {found[0][1]:.6g}"
    numbers = " + ".join(number(value) for _, value in found)
    return f"{' + '.join(entry for entry, _ in found)} = {numbers} = {sum(value for _, value in found):.6g}"


def _witness(arguments: Arguments) -> Mapping[str, tuple[Callable, np.ndarray]]:
    dpatches, x_shape, kernel, stride, padding = arguments.values()
    return {"dx": (lambda x: (reference.im2col(x, kernel, stride, padding) * dpatches).sum(), np.zeros(x_shape))}


EXERCISE = Exercise(
    name="col2im",
    chapter="05_col2im",
    target="minidl.kernels.reference:col2im",
    task="Carry the gradients of all patches back to the image. A pixel was copied into every patch that "
    "contains it, so it receives the sum over its copies. Given are `offsets`, which goes through a window, "
    "`out_size` and `unpad2d`.",
    cases=lambda rng: conv_cases(rng, "dpatches", "x_shape", "kernel", "stride", "padding"),
    call=returns("dx"),
    places=_overlaps,
    worked=_on_paper,
    gradient=_witness,
    mistakes=(
        Mistake(
            "overwritten",
            "Right except where windows overlap: only the last gradient arrives there, and they must add up. Do you "
            "assign where you must add? (With arrays of indices `+=` assigns too: an index that occurs twice counts "
            "once. `np.add.at` counts it twice.)",
            (("columns] += dpatches", "columns] = dpatches"),),
        ),
        Mistake(
            "overwritten window by window",
            "Right except where windows overlap: the last window wins there, and all of them must add up. Do you "
            "assign where you must add? (With arrays of indices `+=` assigns too: an index that occurs twice counts "
            "once. `np.add.at` counts it twice.)",
            (
                ("columns] += dpatches", "columns] = dpatches"),
                ("in offsets(kernel, stride, (oh, ow)):", "in [*offsets(kernel, stride, (oh, ow))][::-1]:"),
            ),
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
            "You placed the windows as if the stride were 1. Window (oh, ow) begins at row oh * stride of the padded "
            "image; the columns alike.",
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
