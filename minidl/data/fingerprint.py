"""What a run stores about its data set, so that `--resume` can see whether it is still the same."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from minidl.data.base import Dataset, Split


def fingerprint(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """For train and val: the number of images, a digest of their order, and a digest of their pixels.

    images    how many there are
    order     digest of the label and, if there is one, the name of each image, in order
    pixels    digest of the sums of each image's pixels and of their squares; None if the sums aren't stored
    """
    return {"train": _fingerprint(dataset.train), "val": _fingerprint(dataset.val)}


def _fingerprint(split: Split) -> dict[str, Any]:
    names, sums = getattr(split, "names", None), getattr(split, "sums", None)
    order = np.asarray(split.labels, "<i8").tobytes() + json.dumps(names).encode()
    pixels = None if sums is None else _digest(np.asarray(sums, "<u8").tobytes())
    return {"images": len(split), "order": _digest(order), "pixels": pixels}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
