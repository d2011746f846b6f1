"""Facts about the images of a data set that are worth printing: counts, each with its words."""

from __future__ import annotations

import numpy as np

from minidl.errors import printable
from minidl.text.calls import call


def facts(
    classes: list[str],
    gray: dict[str, np.ndarray],
    sizes: dict[str, np.ndarray],
    val_labels: np.ndarray | None,
    image_size: int,
    unread: int,
) -> dict[str, int]:
    """The counts worth printing, each under its words: 2 "val images", but 1 "val image". The first seven are always
    there, the others only if they aren't 0.

    gray, sizes    of each split: bool (n,), and heights and widths (n, 2) of the images in their files
    val_labels     int (n,); None if there is no val
    image_size     height and width to which they are resized
    unread         number of files that aren't read
    """
    empty = np.zeros(0, bool)
    train, val, test = (gray.get(split, empty) for split in ("train", "val", "test"))
    rgb = len(train) - int(train.sum())
    counts = {
        "train images": len(train),
        "val images": len(val),
        "test images": len(test),
        "gray train images": int(train.sum()),
        "gray val images": int(val.sum()),
        "RGB train images": rgb,
        "train images with --augment paper": len(train) + rgb,
    }
    more = {
        f"{'file that is' if unread == 1 else 'files that are'} not read ({call('check-data')} names them)": unread,
        **_enlarged(sizes, image_size),
        **_without_val(classes, val_labels),
    }
    images = {what.replace("images", "image") if count == 1 else what: count for what, count in counts.items()}
    return images | {what: count for what, count in more.items() if count}


def _enlarged(sizes: dict[str, np.ndarray], image_size: int) -> dict[str, int]:
    """How many images are enlarged, and, if it is most of them, what to do about it."""
    pixels = np.concatenate([np.zeros((0, 2), np.int32), *sizes.values()])
    small = pixels[pixels.min(axis=1) < image_size]
    if len(small) == 0:
        return {}
    (least, most), side = np.sort(small.min(axis=1))[[0, -1]], int(np.median(small.min(axis=1)))
    images = "image" if len(small) == 1 else "images"
    if (small == small[0]).all():
        what = f"{images} of {small[0, 1]}x{small[0, 0]}"
    else:
        what = f"{images} of {least} to {most} pixels on the shorter side"
    advice = f" (--image-size {side} would be quicker)" if 2 * len(small) > len(pixels) else ""
    return {f"{what}, enlarged to {image_size}x{image_size}{advice}": len(small)}


def _without_val(classes: list[str], labels: np.ndarray | None) -> dict[str, int]:
    missing = [] if labels is None else np.setdiff1d(np.arange(len(classes)), labels).tolist()
    some = ", ".join(printable(classes[label]) for label in missing[:3])
    what = "class" if len(missing) == 1 else "classes"
    return {f"{what} without validation images ({some}{', ...' * (len(missing) > 3)})": len(missing)}
