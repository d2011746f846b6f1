"""Computes what the page shows: passes of the images there and back, and the stages from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minidl.engine import unfuse
from minidl.errors import ShapeError, UsageError
from minidl.explain import facts, trail
from minidl.explain.convolution import conv_stage
from minidl.explain.cut import place_of
from minidl.explain.joining import join_stage
from minidl.explain.pointwise import norm_stage, relu_stage
from minidl.explain.pooling import pool_stage
from minidl.explain.records import JoinStage, NormStage, Page, PoolStage, ReluStage
from minidl.explain.watch import Pass, Seen
from minidl.layers import INFER, PROBE, TRAIN, BatchNorm2D, Layer, ReLU
from minidl.layers.convert import convert
from minidl.layers.frozen import thawed
from minidl.losses import SideHeads, softmax, softmax_cross_entropy
from minidl.visual.screen import require_finite
from minidl.visual.truncate import truncate

STARTS = ("loss", "unit")
BATCH = 8  # images, for batch normalization


@dataclass
class Looked:
    """The images, and what is known of them.

    x    (N, H, W, C) as the network takes them; the first one is explained, all of them are the small batch
    picture    uint8 (H, W, 3), the first one for the eye
    labels    (N,); -1 where unknown
    words    names of the classes
    image    what the page calls the first one
    """

    x: np.ndarray
    picture: np.ndarray
    labels: np.ndarray
    words: Sequence[str]
    image: str


def make_page(
    model: Layer, looked: Looked, layer: str | None, unit: int | None, start: str = "loss", title: str = "a network"
) -> Page:
    """The page about a unit of a layer of `model`.

    layer    None: one in the middle
    unit    None: the one that responds most
    start    where the way back begins: "loss" is the cross-entropy loss of the image, "unit" the unit's maximum

    Raises UsageError for a layer, unit or start that there isn't.
    """
    if start not in STARTS:
        raise UsageError(f"start {start!r}: choose {' or '.join(STARTS)}")
    model = convert(thawed(unfuse(model)), dtype=np.float64)  # so that sums are right to the last digit shown
    return _Making(model, looked, layer, unit, start).page(title)


class _Making:
    def __init__(self, model: Layer, looked: Looked, layer: str | None, unit: int | None, start: str) -> None:
        self.model, self.looked, self.start = model, looked, start
        self.x = looked.x.astype(np.float64)
        self.layer = layer or trail.middle(model, self.x.shape[1:])
        self.upto = truncate(model, self.layer)
        self.keys = trail.place_of_layer(model, self.layer).keys

        self.alone = Pass(self.upto, self.x[:1], PROBE)
        require_finite(self.layer, self.alone.y)
        self.unit = _unit(self.layer, self.alone.y, unit)
        conv, self.filter = trail.convolution(self.alone.seen, self.layer, self.keys, self.unit)
        self.place = place_of(self.alone.y[0, ..., self.unit])
        self.alone.back(self._one_hot(self.alone.y))

        self.loss, self.scores, self.labels = None, None, looked.labels
        self.seen = self.alone.seen
        if start == "loss":
            self._from_the_loss()
        self.conv = self.seen[conv.keys]
        self.made_at = self._made_at(self.alone.seen[conv.keys])

    def _one_hot(self, y: np.ndarray) -> np.ndarray:
        """dy for L = the unit's value at its maximum in the first image."""
        dy = np.zeros_like(y)
        dy[(0, *self.place, self.unit)] = 1
        return dy

    def _made_at(self, conv: Seen) -> tuple[int, int]:
        """Where in the convolution's output: the same place, or what a pool between them made the maximum of."""
        reached = np.abs(conv.dy[0, ..., self.filter])
        same_size = conv.y.shape[1:3] == self.alone.y.shape[1:3]
        if same_size and (reached[self.place] or not reached.any()):
            return self.place
        return place_of(reached if reached.any() else conv.y[0, ..., self.filter])

    def _from_the_loss(self) -> None:
        passed = Pass(self.model, self.x[:1], PROBE)
        if passed.y.ndim != 2:
            raise UsageError(f"the network gives {passed.y.shape[1:]} and no scores (K,): choose start 'unit'")
        require_finite("the network's scores", passed.y)
        self.scores = softmax(passed.y)[0]
        if (self.labels >= len(self.scores)).any():
            raise UsageError(f"label {self.labels.max()}: the network has classes 0 to {len(self.scores) - 1}")
        if (self.labels < 0).any():
            said = self.model.forward(self.x, INFER)[0].argmax(axis=1)
            self.labels = np.where(self.labels >= 0, self.labels, said)
        self.loss, dy = softmax_cross_entropy(passed.y, self.labels[:1])
        self.seen = passed.back(dy).seen

    def page(self, title: str) -> Page:
        page = Page(
            title=title,
            layer=self.layer,
            unit=self.unit,
            start=self.start,
            loss=None if self.loss is None else float(self.loss),
            image=self.looked.image,
            picture=facts.data_address(self.looked.picture),
            picture_shape=self.looked.picture.shape[:2],
            label=facts.word(self.looked.words, int(self.looked.labels[0])),
            predicted=facts.predicted(self.looked.words, self.scores),
            value=float(self.alone.y[(0, *self.place, self.unit)]),
            place=self.place,
            field=facts.box(np.abs(self.alone.seen[()].dx[0]).sum(axis=2)),
            blocks=facts.blocks(self.model, self.x[:1].shape, self.keys),
            stages={"conv": conv_stage(self.conv, self.filter, self.made_at)},
            missing={},
        )
        for name, make in {"pool": self._pool, "norm": self._norm, "relu": self._relu, "join": self._join}.items():
            found = make()
            (page.missing if isinstance(found, str) else page.stages)[name] = found
        return page

    def _pool(self) -> PoolStage | str:
        seen = trail.pool(self.seen, self.conv)
        return pool_stage(seen) if seen else self._none("MaxPool2D or AvgPool2D", " on the way to this unit")

    def _relu(self) -> ReluStage | str:
        seen = trail.next_of(ReLU, self.seen, self.conv)
        if seen is None or seen.dy is None:
            return self._none("ReLU", f" right after {self.conv.name}")
        return relu_stage(seen, self.filter, self.made_at)

    def _norm(self) -> NormStage | str:
        seen = trail.next_of(BatchNorm2D, self.seen, self.conv)
        if seen is None or seen.dy is None:
            return self._none("batch normalization", f" right after {self.conv.name}")
        model = self.model if self.start == "loss" else self.upto  # a copy, so its running statistics may move
        try:
            passed = Pass(model, self.x, TRAIN.at_step(0), keep={seen.keys})
        except ShapeError as error:  # a single number has no variance
            return f"The batch is too small: {error}."
        from_loss = self.start == "loss"
        dy = SideHeads()(passed.y, self.labels)[1] if from_loss else self._one_hot(passed.y)
        return norm_stage(passed.back(dy).seen[seen.keys], seen.cache, self.filter, self.made_at)

    def _join(self) -> JoinStage | str:
        seen = trail.join(self.seen, self.conv)
        if seen is None:
            return self._none("module with branches of maps", " on the way to this unit")
        inner = [self.seen[(*seen.keys, key)] for key in seen.layer.children()]
        return join_stage(seen, [(facts.branch_name(b), b) for b in inner])

    def _none(self, what: str, where: str) -> str:
        if self.start == "unit":
            return f"The way back begins at {self.layer} and meets no {what}. From the loss it might: --start loss."
        return f"This network has no {what}{where}."


def _unit(layer: str, y: np.ndarray, unit: int | None) -> int:
    if y.ndim != 4:
        raise UsageError(f"{layer}: its output has the shape {y.shape[1:]}, and the page needs a layer with maps")
    if unit is None:
        return int(y[0].max(axis=(0, 1)).argmax())
    if np.asarray(unit).dtype.kind not in "iu" or np.ndim(unit) or not 0 <= unit < y.shape[3]:
        raise UsageError(f"unit {unit}: {layer} has units 0 to {y.shape[3] - 1}")
    return int(unit)
