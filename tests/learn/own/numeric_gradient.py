"""Wrong answers to numeric_gradient; each says first which diagnosis it must get."""

import numpy as np


def _slopes(f, x, h):
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        high, low = x.copy(), x.copy()
        high[index] += h
        low[index] -= h
        gradient[index] = (f(high) - f(low)) / (2 * h)
    return gradient


def wrong_own_step(f, x, step=1e-5):
    """typical kink: h = 1e-3"""
    return _slopes(f, x, 1e-3)


def wrong_constant(f, x, step=1e-5):
    """typical the default step: h = 1e-5, as in CS231n"""
    return _slopes(f, x, 1e-5)


def wrong_drifts(f, x, step=1e-5):
    """typical x not put back: moves x in place"""
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        x[index] += step
        gradient[index] = f(x)
        x[index] -= 2 * step
        gradient[index] -= f(x)
    return gradient / (2 * step)


def wrong_forward(f, x, step=1e-5):
    """typical one-sided: one value at x for all"""
    base, gradient = f(x), np.zeros_like(x)
    for index in np.ndindex(x.shape):
        moved = x.copy()
        moved[index] += step
        gradient[index] = (f(moved) - base) / step
    return gradient


def wrong_rows(f, x, step=1e-5):
    """typical whole rows: for i in range(len(x))"""
    gradient = np.zeros_like(x)
    for i, _ in enumerate(x):
        high, low = np.array(x), np.array(x)
        high[i] += step
        low[i] -= step
        gradient[i] = (f(high) - f(low)) / step / 2
    return gradient


def wrong_flat(f, x, step=1e-5):
    """shape: returns a vector"""
    return _slopes(f, x, step).ravel()


def wrong_view(f, x, step=1e-5):
    """arrays that are not contiguous: takes x.reshape(-1) for a view"""
    y, gradient = x.reshape(-1), np.zeros(x.size)
    for i in range(x.size):
        old = y[i]
        y[i] = old + step
        high = f(x)
        y[i] = old - step
        gradient[i] = (high - f(x)) / (2 * step)
        y[i] = old
    return gradient.reshape(x.shape)


def wrong_descent(f, x, step=1e-5):
    """sign: the direction in which f falls"""
    return -_slopes(f, x, step)


def wrong_put_back(f, x, step=1e-5):
    """typical put back by adding: up, down, up again"""
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        x[i] += step
        up = f(x)
        x[i] -= 2 * step
        down = f(x)
        x[i] += step
        gradient[i] = (up - down) / (2 * step)
    return gradient
