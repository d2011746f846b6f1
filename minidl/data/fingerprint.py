"""What a run remembers of its data set, to see on resume whether it is still the same."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from minidl.data.base import Dataset, Split


def fingerprint(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """For train and val: the number of images, a digest of their order, and one of their pixels.

    images    how many there are
    order     of the label and, where there is one, the name of each image in turn
    pixels    of the sums of each image's pixels and their squares; None where they aren't known beforehand
    """
    return {"train": _fingerprint(dataset.train), "val": _fingerprint(dataset.val)}


def _fingerprint(split: Split) -> dict[str, Any]:
    names, sums = getattr(split, "names", None), getattr(split, "sums", None)
    order = np.asarray(split.labels, "<i8").tobytes() + json.dumps(names).encode()
    pixels = None if sums is None else _digest(np.asarray(sums, "<u8").tobytes())
    return {"images": len(split), "order": _digest(order), "pixels": pixels}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
