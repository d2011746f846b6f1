"""The three matrices of a fast convolution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl.engine.convolutions import winograd
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, Outcome, Returned, described
from minidl.learn.exercises.paper import products


def _cases(rng: np.random.Generator) -> list[Case]:
    by_hand = {"kernel": 3, "m": 2, "g": np.array([1.0, 10, 100]), "d": np.array([1.0, 2, 3, 4])}
    cases = [Case(by_hand, {"k": 3, "m": 2, "a": 4})]
    for kernel, m in ((3, 2), (3, 4), (3, 3), (3, 6), (5, 2), (5, 4), (7, 2), (2, 5), (3, 5)):
        arrays = {"g": rng.normal(size=kernel), "d": rng.normal(size=m + kernel - 1)}
        cases.append(Case({"kernel": kernel, "m": m, **arrays}, {"k": kernel, "m": m, "a": m + kernel - 1}))
    return cases


def _call(function: Callable, arguments: Arguments) -> Outcome:
    """The shapes, and y for the filter g and the inputs d: the points, and the scale of the rows, are free."""
    kernel, m, g, d = arguments.values()
    matrices = function(kernel, m)
    if not isinstance(matrices, tuple | list) or len(matrices) != 3:
        raise Returned(f"Return B.T, G, A.T: yours returns {described(matrices)}")
    b_t, g_matrix, a_t = (np.asarray(matrix) for matrix in matrices)
    a = m + kernel - 1
    shapes, wanted = (b_t.shape, g_matrix.shape, a_t.shape), ((a, a), (a, kernel), (m, a))
    if shapes != wanted:
        raise Returned(f"B.T, G and A.T have the shapes {shapes}, must have {wanted} (a is {a}, k {kernel}, m {m})")
    y, right = a_t @ ((g_matrix @ g) * (b_t @ d)), np.correlate(d, g)
    only_last = np.allclose(y[:-1], right[:-1]) and not np.allclose(y, right)  # how wrong depends on the points
    return {
        "y": right if only_last else y,
        "only the last output is wrong": bool(only_last),
    }


def _on_paper(arguments: Arguments, name: str, index: tuple[int, ...]) -> str | None:
    kernel, _, g, d = arguments.values()
    return products(zip(g, d[index[0] : index[0] + kernel], strict=True)) if name == "y" else None


def _changed(change: Callable) -> Callable:
    """The right matrices, changed: change(B.T, G, A.T)."""
    return lambda kernel, m: change(*winograd.winograd_matrices(kernel, m))


def _of_the_book(kernel: int, m: int) -> tuple:
    """F(2, 3) as Lavin and Gray write it."""
    b_t = np.array([[1.0, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    g = np.array([[1.0, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    return b_t, g, np.array([[1.0, 1, 1, 0], [0, 1, -1, -1]])


EXERCISE = Exercise(
    name="winograd_matrices",
    chapter="12_fast_engine",
    target="minidl.engine.convolutions.winograd:winograd_matrices",
    task="Return B.T, G and A.T for `kernel` taps and `m` outputs. Given is `evaluate`. Any points will do, and the "
    "rows of B.T and G may be scaled as the docstring says: the check multiplies the matrices with a filter g and "
    "inputs d, and compares y with the sums.",
    cases=_cases,
    call=_call,
    worked=_on_paper,
    related=("minidl.engine.convolutions.winograd:evaluate",),
    any_dtype=False,
    any_layout=False,
    mistakes=(
        Mistake(
            "flipped",
            "The kernel is flipped: y_i is the sum over j of g_j d_{i+j}, without turning g. Its first tap meets the "
            "first input of the window.",
            wrong=_changed(lambda b_t, g, a_t: (b_t, g[:, ::-1], a_t)),
        ),
        Mistake(
            "not transposed",
            "B.T is the transpose of the inverse: B.T = (E_a^-1).T. The fast product of two polynomials ends with "
            "E_a^-1; the convolution is its transpose, where it comes first and is transposed.",
            (("np.linalg.inv(evaluate(a, a)).T", "np.linalg.inv(evaluate(a, a))"),),
        ),
        Mistake(
            "not inverted",
            "You took E_a in place of its inverse. B.T must undo an evaluation: B.T = (E_a^-1).T.",
            (("np.linalg.inv(evaluate(a, a)).T", "evaluate(a, a).T"),),
        ),
        Mistake(
            "neither inverted nor transposed",
            "You took E_a itself. B.T is the transpose of its inverse: B.T = (E_a^-1).T.",
            (("np.linalg.inv(evaluate(a, a)).T", "evaluate(a, a)"),),
        ),
        Mistake(
            "scale lost",
            "You divided the rows of B.T by their largest number, and left G as it is. Multiply the rows of G by the "
            "same numbers, so that the products stay the same.",
            (("evaluate(a, kernel) * norm", "evaluate(a, kernel)"),),
        ),
        Mistake(
            "scaled twice",
            "You divided the rows of G by the numbers by which B.T is divided. Multiply: what one loses the other "
            "must gain.",
            (("evaluate(a, kernel) * norm", "evaluate(a, kernel) / norm"),),
        ),
        Mistake(
            "infinity",
            "Only the last output is wrong. It is the only one that the point infinity reaches. There the value of a "
            "polynomial is its leading coefficient: the last row of every E_n is 0, ..., 0, 1. If you change the "
            "sign of a row of B.T, change that of G too.",
            wrong=_changed(lambda b_t, g, a_t: (np.vstack([b_t[:-1], -b_t[-1:]]), g, a_t)),
        ),
        Mistake(
            "outputs reversed",
            "The outputs are in reverse order. A.T is E_m.T: its row i belongs to y_i.",
            (("evaluate(a, m).T", "evaluate(a, m).T[::-1]"),),
        ),
        Mistake(
            "A not transposed",
            "The third matrix must be A.T, of shape (m, a): the a products become m outputs. You returned A.",
            (("evaluate(a, m).T", "evaluate(a, m)"),),
        ),
        Mistake(
            "k and m exchanged",
            "G and A are exchanged: G = E_k has a column for each tap of the filter, A = E_m one for each output.",
            (("evaluate(a, kernel) * norm, evaluate(a, m).T", "evaluate(a, m) * norm, evaluate(a, kernel).T"),),
        ),
        Mistake(
            "in the order of the formula",
            "The matrices are right, in another order: return B.T, G, A.T.",
            wrong=_changed(lambda b_t, g, a_t: (a_t, g, b_t)),
        ),
        Mistake(
            "only F(2, 3)",
            "Right for three taps and two outputs: these are the matrices from the paper. Compute them for any "
            "kernel and m, with `evaluate`.",
            wrong=_of_the_book,
        ),
    ),
    hints=(
        "The docstring names all three: G = E_k, A = E_m, B.T = (E_a^-1).T. evaluate(a, n) makes E_n.",
        "a = m + kernel - 1 is the number of points. evaluate(a, a) is square; np.linalg.inv inverts it. The scaling "
        "is for float32, and may be left out.",
        "a = m + kernel - 1; return np.linalg.inv(evaluate(a, a)).T, evaluate(a, kernel), evaluate(a, m).T.",
    ),
)
