"""Right and wrong answers of learners to the exercise winograd_matrices."""

from fractions import Fraction

import numpy as np


def right_inverse(kernel, m):
    nodes = [0, 1, -1, 2, -2, 0.5, -0.5]
    a = m + kernel - 1

    def values(n):
        e = np.zeros((a, n))
        for i, p in enumerate(nodes[: a - 1]):
            for j in range(n):
                e[i, j] = p**j
        e[-1, -1] = 1
        return e

    return np.linalg.inv(values(a)).T, values(kernel), values(m).T


def right_lagrange(kernel, m):
    nodes = [0, 1, -1, 2, -2, 0.5, -0.5]
    a = m + kernel - 1
    points = np.array(nodes[: a - 1], float)
    b_t = np.zeros((a, a))
    for i, p in enumerate(points):  # row i: the polynomial that is 1 at p and 0 at the other points
        others = np.delete(points, i)
        coefficients = np.poly(others)[::-1] / np.prod(p - others)
        b_t[i, : a - 1] = coefficients
    b_t[-1] = np.poly(points)[::-1]
    g = np.vstack([points[:, None] ** np.arange(kernel), np.eye(kernel)[-1]])
    a_t = np.hstack([points ** np.arange(m)[:, None], np.eye(m)[:, -1:]])
    return b_t, g, a_t


def right_exact_fractions(kernel, m):
    nodes = [0, 1, -1, 2, -2, 0.5, -0.5]
    a = m + kernel - 1

    def evaluate(n):
        rows = [[Fraction(p) ** j for j in range(n)] for p in nodes[: a - 1]]
        return [*rows, [Fraction(int(j == n - 1)) for j in range(n)]]

    rows = [row + [Fraction(int(i == j)) for j in range(a)] for i, row in enumerate(evaluate(a))]
    for i in range(a):  # Gauss-Jordan
        pivot = next(r for r in range(i, a) if rows[r][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for r in range(a):
            if r != i:
                rows[r] = [v - rows[r][i] * u for v, u in zip(rows[r], rows[i], strict=True)]
    inverse = np.array([[float(v) for v in row[a:]] for row in rows])
    g, a_mat = np.array(evaluate(kernel), float), np.array(evaluate(m), float)
    return inverse.T, g, a_mat.T


def right_solved_from_the_outputs(kernel, m):
    nodes = [0, 1, -1, 2, -2, 0.5, -0.5]
    a = m + kernel - 1
    points = np.array(nodes[: a - 1])
    g = np.zeros((a, kernel))
    g[:-1] = np.vander(points, kernel, increasing=True)
    g[-1, kernel - 1] = 1
    a_t = np.zeros((m, a))
    a_t[:, :-1] = np.vander(points, m, increasing=True).T
    a_t[m - 1, -1] = 1
    # y_i must be the sum of g_j d_{i+j}: sum over p of A.T[i,p] G[p,j] B.T[p,d] = [d = i + j]
    system = np.einsum("ip,pj->ijp", a_t, g).reshape(m * kernel, a)
    i, j, d = np.ogrid[:m, :kernel, :a]
    wanted = (i + j == d).astype(float).reshape(m * kernel, a)
    b_t, *_ = np.linalg.lstsq(system, wanted, rcond=None)
    return b_t, g, a_t


def right_other_points(kernel, m):
    a = m + kernel - 1
    finite = [(-1) ** (i + 1) * ((i + 1) // 2) for i in range(a - 1)]  # 0, 1, -1, 2, -2, 3, -3

    def evaluate(n):
        return np.array([[float(p) ** j for j in range(n)] for p in finite] + [[0.0] * (n - 1) + [1.0]])

    e_a, e_k, e_m = evaluate(a), evaluate(kernel), evaluate(m)
    return np.linalg.solve(e_a.T, np.eye(a)), e_k, e_m.T


def wrong_not_transposed(kernel, m):
    """B.T is the inverse itself: its transpose is missing."""
    nodes = [0, 1, -1, 2, -2, 0.5, -0.5]
    a = m + kernel - 1
    e = [np.vstack([np.vander(nodes[: a - 1], n, increasing=True), np.eye(n)[-1]]) for n in (a, kernel, m)]
    return np.linalg.inv(e[0]), e[1], e[2].T


def wrong_falling_powers(kernel, m):
    """np.vander gives the highest power first, so the rows don't fit the coefficients."""
    nodes = [0, 1, -1, 2, -2, 0.5, -0.5]
    a = m + kernel - 1

    def E(n):
        return np.concatenate([np.vander(nodes[: a - 1], n), np.eye(1, n, n - 1)])

    return np.linalg.inv(E(a)).T, E(kernel), E(m).T


def wrong_a_not_transposed(kernel, m):
    """Returns A instead of A.T."""
    nodes = [0, 1, -1, 2, -2, 0.5, -0.5]
    a = m + kernel - 1
    pts = np.array(nodes)[: a - 1, None]

    def ev(n):
        return np.r_[pts ** np.arange(n), np.eye(n)[[n - 1]]]

    return np.linalg.inv(ev(a)).T, ev(kernel), ev(m)


def wrong_filter_flipped(kernel, m):
    """The taps of the filter are in reverse order: a convolution instead of a correlation."""
    nodes = [0, 1, -1, 2, -2, 0.5, -0.5]
    a = m + kernel - 1
    pts = nodes[: a - 1]
    ea = np.array([[p**j for j in range(a)] for p in pts] + [[0] * (a - 1) + [1]], float)
    g = np.array([[p ** (kernel - 1 - j) for j in range(kernel)] for p in pts] + [[1] + [0] * (kernel - 1)], float)
    a_t = np.array([[p**j for p in pts] + [float(j == m - 1)] for j in range(m)])
    return np.linalg.inv(ea).T, g, a_t


def wrong_infinity_at_the_front(kernel, m):
    """In G and A the row for infinity takes the first coefficient, which is the value at 0, not the leading one."""
    nodes = [0, 1, -1, 2, -2, 0.5, -0.5]
    a = m + kernel - 1

    def evaluate(n):
        e = np.vander([*nodes[: a - 1], 0], n, increasing=True).astype(float)
        e[-1] = 0
        e[-1, 0] = 1
        return e

    big = evaluate(a)
    big[-1] = np.eye(a)[-1]  # without this the matrix could not be inverted
    return np.linalg.inv(big).T, evaluate(kernel), evaluate(m).T


def wrong_norm_on_one_side(kernel, m):
    """The rows of B.T are divided by their largest entry, and those of G are not multiplied by it."""
    nodes = [0, 1, -1, 2, -2, 0.5, -0.5]
    a = m + kernel - 1
    pts = np.array(nodes[: a - 1])
    parts = []
    for n in (a, kernel, m):
        parts.append(np.vstack([np.vander(pts, n, increasing=True), np.eye(1, n, n - 1)]))
    b_t = np.linalg.inv(parts[0]).T
    b_t = b_t / np.abs(b_t).max(axis=1, keepdims=True)
    return b_t, parts[1], parts[2].T


def wrong_only_two_outputs(kernel, m):
    """The table of F(2, 3) from the paper, whatever kernel and m are."""
    b_t = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], float)
    g = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    a_t = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], float)
    return b_t, g, a_t


def wrong_order(kernel, m):
    """Returns (G, B.T, A.T) instead of (B.T, G, A.T)."""
    nodes = [0, 1, -1, 2, -2, 0.5, -0.5]
    a = m + kernel - 1
    stack = {n: np.vstack([np.vander(nodes[: a - 1], n, increasing=True), np.eye(n)[n - 1]]) for n in (a, kernel, m)}
    return stack[kernel], np.linalg.inv(stack[a]).T, stack[m].T


def wrong_one_point_too_few(kernel, m):
    """Uses m + k - 2 products: the point at infinity is missing."""
    nodes = [0, 1, -1, 2, -2, 0.5, -0.5]
    a = m + kernel - 2
    pts = np.array(nodes[:a], float)
    e = np.vander(pts, a, increasing=True)
    inv = np.linalg.inv(e)
    return np.pad(inv.T, ((0, 0), (0, 1))), np.vander(pts, kernel, increasing=True), np.vander(pts, m, True).T


def wrong_k_and_m_exchanged(kernel, m):
    """G evaluates m coefficients and A evaluates k: the two are exchanged."""
    nodes = [0, 1, -1, 2, -2, 0.5, -0.5]
    a = m + kernel - 1
    points = nodes[: a - 1]

    def table(n):
        out = np.zeros((len(points) + 1, n))
        for row, x in enumerate(points):
            out[row] = [x**power for power in range(n)]
        out[-1, n - 1] = 1.0
        return out

    return np.linalg.solve(table(a).T, np.eye(a)), table(m), table(kernel).T
