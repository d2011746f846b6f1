"""The moving average of the weights, which a run evaluates and saves in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from minidl.backend.arrays import Array, array_module
from minidl.backend.named import assign, check_arrays
from minidl.layers.base import Layer
from minidl.storage.weights import model_arrays


class WeightAverage:
    """An exponential moving average of all arrays of `model`, beside those that training changes.

        d_t = min(decay, (t - 1) / (t + 8))
        a <- a + (1 - d_t) (w - a)            after step t = 1, 2, ...

    The first step has d_1 = 0 and so a = w: nothing is left of where the weights began. It is the average of Polyak &
    Juditsky 1992 over the last 1 / (1 - decay) steps or so, in the form of Szegedy et al. 2016 (arXiv:1512.00567,
    section 8) with TensorFlow's slow start.

    The running mean and variance of a batch normalization are averaged as the weights are (as in timm's ModelEmaV2).
    They are then not exactly those that the averaged weights give, but near them where the weights move little, as
    they do at the end of every schedule that lets the learning rate fall.
    """

    def __init__(self, model: Layer, decay: float) -> None:
        self.decay = decay
        self.trained = model_arrays(model)  # the live arrays: written in place by training, never rebound
        self.averaged = {name: a.copy() for name, a in self.trained.items()}

    def update(self, step: int) -> None:
        """Takes in the weights after step number `step`, counted from 1."""
        share = 1 - min(self.decay, (step - 1) / (step + 8))
        for name, a in self.averaged.items():
            difference = array_module(a).subtract(self.trained[name], a)
            difference *= share
            a += difference

    @contextmanager
    def used(self) -> Iterator[None]:
        """Inside, the model has the averaged weights, and `averaged` keeps the others for it."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def restore(self, averaged: Mapping[str, Array], trained: Mapping[str, Array], source: str) -> None:
        """Takes up both; raises DataError naming what is missing or misshapen, and then changes nothing."""
        both = ((self.averaged, averaged), (self.trained, trained))
        for own, given in both:
            check_arrays({name: a.shape for name, a in own.items()}, given, source)
        for own, given in both:
            for name, a in own.items():
                assign(a, given[name])

    def _swap(self) -> None:
        for name, a in self.trained.items():
            kept = a.copy()
            a[...] = self.averaged[name]
            self.averaged[name][...] = kept
