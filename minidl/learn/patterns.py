"""Patterns that hold between a wrong output and the right one, in every case and every entry: facts, not guesses."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from minidl.learn.compare import apart, equal
from minidl.learn.exercise import Case
from minidl.learn.running import Answer

Bad = list[tuple[Case, Answer, Answer]]  # the cases with a wrong answer: (case, given, right)


NEARLY = 1e-4

POWERS = {
    1: "{} times too large",
    -1: "{} times too small",
    2: "{}^2 times too large",
    -2: "{}^2 times too small",
    0.5: "sqrt({}) times too large",
    -0.5: "sqrt({}) times too small",
}


def exchanged(bad: Bad) -> tuple[str, str] | None:
    """Whether two outputs stand in each other's place."""
    arrays = {name: None for _, _, b in bad for name, value in b.outcome.items() if isinstance(value, np.ndarray)}
    for one, other in itertools.combinations(arrays, 2):  # not two words or truth values, which are equal by chance
        if all(
            equal(a.outcome[one], b.outcome[other]) and equal(a.outcome[other], b.outcome[one]) for _, a, b in bad
        ) and any(not equal(b.outcome[one], b.outcome[other]) for _, _, b in bad):
            return "exchanged", f"{one} and {other} are exchanged."
    return None


def everywhere(bad: Bad) -> Iterator[tuple[str, str]]:
    """(kind, sentence) for patterns that explain everything that is wrong in an output."""
    for name in bad[0][2].outcome:
        pairs = [(case, a.outcome[name], b.outcome[name]) for case, a, b in bad]
        pairs = [(case, np.asarray(a), np.asarray(b)) for case, a, b in pairs if not equal(a, b)]
        if not pairs or any(b.dtype.kind != "f" or a.dtype.kind not in "fiub" for _, a, b in pairs):
            continue
        for pattern in (_not_a_number, _zero, _rounded, _nearly, _factor, _offset, _rearranged, _one_slice):
            if found := pattern(name, pairs):
                yield found
                break


def _not_a_number(name: str, pairs: list) -> tuple[str, str] | None:
    lost = [np.isnan(a).any() and not np.isnan(b).any() for _, a, b in pairs]
    return ("nan", f"{name} has a NaN, which the right answer doesn't have.") if all(lost) else None


def _zero(name: str, pairs: list) -> tuple[str, str] | None:
    return ("zero", f"{name} is zero everywhere.") if all(not a.any() for _, a, _ in pairs) else None


def _rounded(name: str, pairs: list) -> tuple[str, str] | None:
    """The right numbers, each rounded down."""
    if all(np.array_equal(a, np.floor(b)) for _, a, b in pairs):
        return "rounded", f"{name} is rounded down to whole numbers. Do you divide by // in place of /?"
    return None


def _factor(name: str, pairs: list) -> tuple[str, str] | None:
    """All entries are too large or too small by one factor, which may depend on the case's numbers."""
    ratios = [_ratio(a, b) for _, a, b in pairs]
    if any(r is None for r in ratios):
        return None
    if np.allclose(ratios, ratios[0]):
        if np.isclose(ratios[0], -1):
            return "sign", f"{name} has the wrong sign."
        if len(pairs) > 1:  # in one case any number would do
            return "factor", f"{name} is exactly {_number(ratios[0])} times the right one."
        return None
    for power, say in POWERS.items():
        for letter in pairs[0][0].about:
            sizes = [case.about.get(letter) for case, _, _ in pairs]
            if all(isinstance(s, int) and s > 0 for s in sizes):
                for sign in (1, -1):
                    if np.allclose(np.array(sizes, float) ** power * sign, ratios):
                        negative = ", and has the wrong sign" if sign < 0 else ""
                        return "factor", f"{name} is exactly {say.format(letter)}{negative}."
    return None


def _ratio(a: np.ndarray, b: np.ndarray) -> float | None:
    """a / b if it is the same for all entries of two arrays of one shape; None if it isn't."""
    if a.shape != b.shape or not np.isfinite(a).all() or not np.isfinite(b).all() or not b.any():
        return None
    largest = np.unravel_index(np.abs(b).argmax(), b.shape)
    ratio = float(a[largest]) / float(b[largest])
    return ratio if ratio and not apart(a, b * ratio).any() else None


def _number(ratio: float) -> str:
    fraction = Fraction(ratio).limit_denominator(64)
    return str(fraction) if abs(float(fraction) - ratio) < 1e-9 * abs(ratio) else f"{ratio:.6g}"


def _nearly(name: str, pairs: list) -> tuple[str, str] | None:
    """Off by more than rounding, but by little everywhere."""
    if any(a.shape != b.shape or not np.isfinite(b).all() or not np.isfinite(a).all() for _, a, b in pairs):
        return None
    off = max(float(np.abs(a - b).max()) / float(np.abs(b).max() or 1.0) for _, a, b in pairs)
    if off > NEARLY:
        return None
    return "nearly", (
        f"{name} is nearly right, everywhere: it is off by up to {off:.1g} of the largest entry. Do you add a small "
        "number (an epsilon) that doesn't belong there, or leave one out? Do you compute in float32 in between?"
    )


def _offset(name: str, pairs: list) -> tuple[str, str] | None:
    """One number is added to all entries of an output, in every case the same or another one."""
    if any(a.shape != b.shape or not b.size for _, a, b in pairs):
        return None
    with np.errstate(invalid="ignore"):  # inf - inf
        differences = [a - b for _, a, b in pairs]
    many = sum(d.size > 2 for d in differences)  # two numbers may have the same difference by chance
    if many > 1 and not any(apart(d, np.full_like(d, d.flat[0])).any() for d in differences):
        return "offset", f"In {name} the same number is added to every entry."
    return None


def _rearranged(name: str, pairs: list) -> tuple[str, str] | None:
    """The right numbers, in another order."""
    if any(a.shape != b.shape or a.ndim == 0 for _, a, b in pairs):
        return None
    dims = pairs[0][2].ndim
    if any(b.ndim != dims for _, _, b in pairs):
        return None
    for count in range(1, dims + 1):
        for axes in itertools.combinations(range(dims), count):
            if all(not apart(np.flip(a, axes), b).any() for _, a, b in pairs):
                where = "axis" if count == 1 else "axes"
                return "flipped", f"{name} is reversed along {where} {', '.join(map(str, axes))}."
    for order in itertools.permutations(range(dims)):
        if order != tuple(range(dims)) and all(
            a.T.shape
            and np.transpose(b, order).size == a.size
            and not apart(a.ravel(), np.transpose(b, order).ravel()).any()
            for _, a, b in pairs
        ):
            return (
                "reordered",
                f"{name} has the right numbers in the order of axes {order}: axes are exchanged before a reshape.",
            )
    if all(not apart(np.sort(a, axis=None), np.sort(b, axis=None)).any() for _, a, b in pairs):
        return "reordered", f"{name} has the right numbers, each in the wrong place."
    return None


def _one_slice(name: str, pairs: list) -> tuple[str, str] | None:
    """Right at the first index of an axis and nowhere else, or wrong at the last index only."""
    if len(pairs) < 2 or any(a.shape != b.shape or a.ndim != pairs[0][2].ndim for _, a, b in pairs):
        return None
    for axis in range(pairs[0][2].ndim):
        wrong = [apart(a, b).any(axis=tuple(i for i in range(b.ndim) if i != axis)) for _, a, b in pairs]
        if all(len(w) > 1 and not w[0] and w[1:].all() for w in wrong):
            return "slice", f"{name} is right at index 0 of axis {axis}, and wrong at all others."
        if all(len(w) > 1 and w[-1] and not w[:-1].any() for w in wrong):
            return "slice", f"{name} is wrong at the last index of axis {axis} only."
    return None
