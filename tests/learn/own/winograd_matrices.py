"""Wrong answers to winograd_matrices; each says first which diagnosis it must get."""

import numpy as np


def _matrices(kernel, m, points=(0, 1, -1, 2, -2, 3, -3)):
    """Other points than minidl's."""
    a = m + kernel - 1

    def values(n):
        rows = [[float(p) ** i for i in range(n)] for p in points[: a - 1]]
        return np.array([*rows, [0.0] * (n - 1) + [1.0]])

    return np.linalg.inv(values(a)), values(kernel), values(m)


def wrong_convolution(kernel, m):
    """typical flipped: the filter of a mathematician's convolution"""
    inverse, g, a = _matrices(kernel, m)
    return inverse.T, np.fliplr(g), a.T


def wrong_not_transposed(kernel, m):
    """typical not transposed: B for B.T"""
    inverse, g, a = _matrices(kernel, m, (0, 1, -1, 2, -2, 0.5, -0.5))
    norm = np.abs(inverse).max(axis=1, keepdims=True)
    return inverse / norm, g * norm, a.T


def wrong_a(kernel, m):
    """typical A not transposed: returns B.T, G, A"""
    inverse, g, a = _matrices(kernel, m)
    return inverse.T, g, a


def wrong_order(kernel, m):
    """typical in the order of the formula: A.T, G, B.T"""
    inverse, g, a = _matrices(kernel, m)
    return a.T, g, inverse.T


def wrong_sign(kernel, m):
    """typical infinity: minus in the last column of A.T"""
    inverse, g, a = _matrices(kernel, m)
    a[-1] *= -1
    return inverse.T, g, a.T


def wrong_paper(kernel, m):
    """typical only F(2, 3): typed from the paper, in whole numbers"""
    b_t = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]])
    g = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2
    return b_t, g, np.array([[1, 1, 1, 0], [0, 1, -1, 1]])


def wrong_no_infinity(kernel, m):
    """typical infinity: its row is empty in G"""
    inverse, g, a = _matrices(kernel, m)
    g[-1] = 0
    return inverse.T, g, a.T


def wrong_twice(kernel, m):
    """factor: everything counts twice"""
    inverse, g, a = _matrices(kernel, m)
    return inverse.T, 2 * g, a.T


def wrong_two(kernel, m):
    """kind: only two matrices"""
    inverse, g, _ = _matrices(kernel, m)
    return inverse.T, g
