"""A moving average of the weights, which a run evaluates and saves instead of the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from minidl.backend.arrays import Array, array_module
from minidl.backend.named import assign, check_arrays
from minidl.errors import UsageError
from minidl.kernels.shapes import require_numbers
from minidl.layers.base import Layer
from minidl.storage.weights import model_arrays


class WeightAverage:
    """An exponential moving average of all arrays of `model`, kept beside those that training changes.

        d_t = min(decay, (t - 1) / (t + 8))
        a <- a + (1 - d_t) (w - a)            after step t = 1, 2, ...

    In the first step d_1 = 0, so a = w: the average doesn't contain the initial weights. This is the average of
    Polyak & Juditsky 1992 over about the last 1 / (1 - decay) steps, in the form of Szegedy et al. 2016
    (arXiv:1512.00567, section 8) with TensorFlow's slow start.

    The running mean and variance of a batch normalization are averaged like the weights (as in timm's ModelEmaV2).
    They are not exactly the statistics that the averaged weights would give. They are close if the weights change
    little, as they do at the end of every schedule with a falling learning rate.
    """

    def __init__(self, model: Layer, decay: float) -> None:
        """Raises UsageError for a decay that is no number from 0, below 1."""
        require_numbers("WeightAverage", decay=decay)
        if not 0 <= decay < 1:
            raise UsageError(f"WeightAverage: decay is {decay}: choose a number from 0, below 1")
        self.decay = decay
        self.trained = model_arrays(model)  # the model's own arrays, which training changes in place
        self.averaged = {name: a.copy() for name, a in self.trained.items()}

    def update(self, step: int) -> None:
        """Adds the weights after step number `step`, counted from 1, to the average."""
        share = 1 - min(self.decay, (step - 1) / (step + 8))
        for name, a in self.averaged.items():
            if a.dtype.kind != "f":  # a buffer of whole numbers, such as a counter, has no mean
                a[...] = self.trained[name]
                continue
            difference = array_module(a).subtract(self.trained[name], a)
            difference *= share
            a += difference

    @contextmanager
    def used(self) -> Iterator[None]:
        """Inside the block the model has the averaged weights, and `averaged` holds the others."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def restore(self, averaged: Mapping[str, Array], trained: Mapping[str, Array], source: str) -> None:
        """Loads both. If an array is missing or has the wrong shape, nothing is changed and DataError names it."""
        both = ((self.averaged, averaged), (self.trained, trained))
        for own, given in both:
            check_arrays(own, given, source)
        for own, given in both:
            for name, a in own.items():
                assign(a, given[name])

    def _swap(self) -> None:
        for name, a in self.trained.items():
            kept = a.copy()
            a[...] = self.averaged[name]
            self.averaged[name][...] = kept
