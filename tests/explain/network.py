"""A small network with all that the page shows, and its page."""

import json
import re

import numpy as np

from minidl.explain.build import Looked, make_page
from minidl.explain.write import html
from minidl.layers import (
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    GlobalAvgPool,
    Linear,
    MaxPool2D,
    ReLU,
    Residual,
    Sequential,
)

CLASSES = 5
HOSTILE = "</script><b>&amp;"


def block(inputs, filters, kernel, rng, **options):
    conv = Conv2D(inputs, filters, kernel, rng=rng, dtype=np.float64, **options)
    return Sequential({"conv": conv, "bn": BatchNorm2D(filters, dtype=np.float64), "relu": ReLU()})


def network(seed=0):
    """stem, an overlapping pool, a residual block, a module of three branches, and the classifier."""
    rng = np.random.default_rng(seed)
    module = [
        {"b1": block(6, 3, 1, rng)},
        {"b3_reduce": block(6, 4, 1, rng), "b3": block(4, 5, 3, rng, padding=1)},
        {"avgpool": AvgPool2D(3, 1, 1), "pool": block(6, 2, 1, rng)},
    ]
    model = Sequential(
        {
            "stem": block(3, 6, 5, rng, padding=2),
            "pool1": MaxPool2D(3, 2, 1),
            "res": Residual(Sequential({"conv": Conv2D(6, 6, 3, padding=1, rng=rng, dtype=np.float64)})),
            "mix": Concat(module),
            "down": block(10, 7, 3, rng, stride=2),
            "avgpool": GlobalAvgPool(),
            "fc": Linear(7, CLASSES, rng=rng, dtype=np.float64),
        }
    )
    for name, buffer in model.named_buffers().items():
        buffer[...] = rng.uniform(0.5, 1.5, buffer.shape) if name.endswith("var") else rng.normal(size=buffer.shape)
    for p in model.named_parameters().values():
        p.value += 0.1 * rng.normal(size=p.value.shape)
    return model


def images(count=4, size=20, seed=1):
    return np.random.default_rng(seed).normal(size=(count, size, size, 3))


LABELS = np.array([2, 0, 4, 1])


def looked(x=None, words=None, labels=None):
    x = images() if x is None else x
    return Looked(
        x=x,
        picture=np.zeros((*x.shape[1:3], 3), np.uint8),
        labels=LABELS[: len(x)] if labels is None else labels,
        words=words or [f"class {k}" for k in range(CLASSES)],
        image="image 0",
    )


def page_of(layer, unit=None, start="loss", model=None, **options):
    return make_page(model or network(), looked(**options), layer, unit, start, "a small network")


def record_in(text):
    """The record in the text of a page."""
    (found,) = re.findall(r'<script type="application/json" id="record">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


def written(folder, layer="mix.b3", unit=2, start="loss", **options):
    """A page in a file."""
    page = page_of(layer, unit, start, **options)
    path = folder / "page.html"
    path.write_text(html(page), "utf-8")
    return page, path
