"""Right and wrong answers of learners to the exercise numeric_gradient."""

import numpy as np


def right_ndindex(f, x, step=1e-5):
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        plus, minus = x.copy(), x.copy()
        plus[i] += step
        minus[i] -= step
        grad[i] = (f(plus) - f(minus)) / (2 * step)
    return grad


def right_one_copy_restored(f, x, step=1e-5):
    work = np.array(x)
    grad = np.zeros(x.shape, dtype=x.dtype)
    it = np.nditer(work, flags=["multi_index"])
    while not it.finished:
        ix = it.multi_index
        old = x[ix]
        work[ix] = old + step
        fp = f(work)
        work[ix] = old - step
        fm = f(work)
        work[ix] = old
        grad[ix] = (fp - fm) / (2 * step)
        it.iternext()
    return grad


def right_identity_matrix(f, x, step=1e-5):
    units = np.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)  # (size, size) -> size arrays of x's shape
    slopes = [(float(f(x + step * u)) - float(f(x - step * u))) / (2 * step) for u in units]
    return np.array(slopes, dtype=x.dtype).reshape(x.shape)


def right_flat_function(f, x, step=1e-5):
    shape = x.shape
    flat = x.flatten()

    def value(v):
        return f(v.reshape(shape))

    g = np.empty(flat.shape, flat.dtype)
    for k in range(len(flat)):
        e = np.where(np.arange(len(flat)) == k, step, 0.0)
        g[k] = (value(flat + e) - value(flat - e)) / (2 * step)
    return g.reshape(shape)


def right_recursion(f, x, step=1e-5):
    grad = np.zeros_like(x)

    def walk(prefix):
        if len(prefix) < x.ndim:
            for i in range(x.shape[len(prefix)]):
                walk((*prefix, i))
            return
        moved = [x.copy(), x.copy()]
        moved[0][prefix] += step
        moved[1][prefix] -= step
        grad[prefix] = (f(moved[0]) - f(moved[1])) / (2 * step)

    walk(())
    return grad


def wrong_not_put_back(f, x, step=1e-5):
    """An entry is not put back before the next one is moved: each slope is taken at another point."""
    a = x.copy()
    grad = np.zeros_like(x)
    for i in np.ndindex(a.shape):
        a[i] += step
        hi = f(a)
        a[i] -= 2 * step
        lo = f(a)
        grad[i] = (hi - lo) / (2 * step)
    return grad


def wrong_one_sided(f, x, step=1e-5):
    """A one-sided difference: its error is O(step), not O(step^2)."""
    fx = f(x)
    grad = np.zeros(x.shape, x.dtype)
    for i in np.ndindex(x.shape):
        moved = x.copy()
        moved[i] += step
        grad[i] = (f(moved) - fx) / step
    return grad


def wrong_ravel_is_a_copy(f, x, step=1e-5):
    """ravel copies an array that is not contiguous, so f never sees the change and the gradient is 0."""
    flat = x.ravel()
    grad = np.zeros(flat.size, x.dtype)
    for i in range(flat.size):
        old = flat[i]
        flat[i] = old + step
        hi = f(x)
        flat[i] = old - step
        lo = f(x)
        flat[i] = old
        grad[i] = (hi - lo) / (2 * step)
    return grad.reshape(x.shape)


def wrong_flat_result(f, x, step=1e-5):
    """The gradient is one long vector: it doesn't get the shape of x back."""
    grad = []
    for i in range(x.size):
        d = np.zeros(x.size)
        d[i] = step
        d = d.reshape(x.shape)
        grad.append((f(x + d) - f(x - d)) / (2 * step))
    return np.array(grad)


def wrong_rows_only(f, x, step=1e-5):
    """len(x) counts rows: a whole row is moved at once, and all its entries get the same slope."""
    grad = np.zeros_like(x)
    for i in range(len(x)):
        e = np.zeros_like(x)
        e[i] = step
        grad[i] = (f(x + e) - f(x - e)) / (2 * step)
    return grad


def wrong_divided_by_step(f, x, step=1e-5):
    """Divides by step instead of 2 step: twice too large."""
    grad = np.zeros_like(x)
    for i, value in np.ndenumerate(x):
        z = x.copy()
        z[i] = value + step
        up = f(z)
        z[i] = value - step
        grad[i] = (up - f(z)) / step
    return grad


def wrong_column_order(f, x, step=1e-5):
    """Entries are walked in reading order and written back in column order."""
    values = []
    for i in np.ndindex(x.shape):
        e = np.zeros(x.shape, x.dtype)
        e[i] = step
        values.append(float(f(x + e) - f(x - e)) / (2 * step))
    return np.reshape(np.array(values), x.shape, order="F")


def wrong_last_entry_missing(f, x, step=1e-5):
    """The loop ends one entry too early: the last slope stays 0."""
    g = np.zeros(x.size, dtype=x.dtype)
    for i in range(x.size - 1):
        unit = np.zeros(x.size)
        unit[i] = step
        g[i] = (f(x + unit.reshape(x.shape)) - f(x - unit.reshape(x.shape))) / (2 * step)
    return g.reshape(x.shape)


def wrong_x_moved_in_place(f, x, step=1e-5):
    """Moves the caller's x and adds the step back, which leaves x changed in its last digits."""
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        x[i] += step
        high = f(x)
        x[i] -= 2 * step
        low = f(x)
        x[i] += step
        grad[i] = (high - low) / (2 * step)
    return grad


def wrong_whole_numbers(f, x, step=1e-5):
    """The gradient is an array of integers, so every slope loses its fraction."""
    grad = np.zeros(x.shape, dtype=int)
    for i in np.ndindex(x.shape):
        e = np.zeros_like(x)
        e[i] = 1
        grad[i] = float(f(x + step * e) - f(x - step * e)) / (2 * step)
    return grad


def wrong_step_relative(f, x, step=1e-5):
    """The step is multiplied by the entry, but the difference is divided by step alone."""
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        d = np.zeros_like(x)
        d[i] = step * x[i]
        grad[i] = (f(x + d) - f(x - d)) / (2 * step)
    return grad
