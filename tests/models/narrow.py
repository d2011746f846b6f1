"""The registered networks with few filters and units, for tests of what has nothing to do with their size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import models
from minidl.exchange.snippets import TORCHVISION
from minidl.layers import Layer
from models.googlenet import Head, build_googlenet
from models.resnet import build_resnet
from models.vgg import build_vgg

GROUPS = 4  # of a narrow ResNeXt


def _resnet(rows: dict, share: int) -> dict:
    body = [
        tuple(c._replace(groups=min(c.groups, GROUPS)) for c in row.body) for row in rows.values()
    ]  # of 32 groups there would be less than a channel in each
    return {
        name: row._replace(filters=row.filters // share, body=b)
        for (name, row), b in zip(rows.items(), body, strict=True)
    }


def _vgg(rows: tuple, share: int) -> tuple:
    return tuple(row._replace(filters=row.filters // share) for row in rows)


def _googlenet(rows: dict, share: int) -> dict:
    def few(row: Any) -> Any:
        if isinstance(row, Head):
            return Head(4, 12)
        counts = {f: max(2, n // share) for f, n in row._asdict().items() if f not in ("kernel", "stride", "padding")}
        return row._replace(**counts)

    return {name: few(row) for name, row in rows.items()}


_KINDS: dict[Any, Callable] = {build_resnet: _resnet, build_vgg: _vgg, build_googlenet: _googlenet}


def _narrow(build: Callable, share: int) -> Callable:
    if not isinstance(build, partial) or build.func not in _KINDS:
        return build  # the paper's, and the convnet, are small
    more = {"hidden": 48} if build.func is build_vgg else {}
    return partial(build.func, _KINDS[build.func](build.args[0], share), **build.keywords, **more)


def short(
    name: str, classes: int = 5, *, dropout: float = 0.0, seed: int = 0, dtype: type = np.float32, **options: Any
) -> Layer:
    """As `narrow`, with a layer or block of each kind where there are many alike."""
    build = NARROW[name]
    if name in LARGE:
        rows = build.args[0]
        if build.func is build_googlenet:
            rows = {
                key: row
                for key, row in rows.items()
                if key not in ("inception3a", "inception4b", "inception4c", "inception5a")
            }
        elif build.func is build_vgg:
            rows = tuple(row._replace(number=1) for row in rows)
        else:
            rows = {
                key: row._replace(number=min(row.number, 2 if key == "layer1" else 1)) for key, row in rows.items()
            }
        build = partial(build.func, rows, **build.keywords)
    return build(classes=classes, dropout=dropout, rng=np.random.default_rng([seed, 0]), dtype=dtype, **options)


NARROW = {name: _narrow(build, 16) for name, build in models.REGISTRY.items()}
LARGE = [name for name, build in models.REGISTRY.items() if NARROW[name] is not build]
TORCHVISIONS = list(TORCHVISION)


def narrow(
    name: str, classes: int = 5, *, dropout: float = 0.0, seed: int = 0, dtype: type = np.float32, **options: Any
) -> Layer:
    """As `models.build`, but narrow."""
    rng = np.random.default_rng([seed, 0])
    return NARROW[name](classes=classes, dropout=dropout, rng=rng, dtype=dtype, **options)


@pytest.fixture
def narrow_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """`models.build`, and so the command line, makes narrow networks."""
    for name in LARGE:
        monkeypatch.setitem(models.REGISTRY, name, NARROW[name])
