"""Wrong answers to central_difference; each says first which diagnosis it must get."""

import numpy as np


def wrong_step_of_a_thousandth(f, x, direction, step=1e-5):
    """typical kink: h = 1e-3"""
    h = 1e-3
    return (f(x + h * direction) - f(x - h * direction)) / (2 * h)


def wrong_step_of_a_tenth(f, x, direction, step=1e-5):
    """typical kink: h = 0.1, as a first try has it"""
    return 5 * (f(x + direction / 10) - f(x - direction / 10))


def wrong_tiny(f, x, direction, step=1e-5):
    """typical a smaller step: h = 1e-10, "the smaller the better\""""
    move = 1e-10 * direction
    return (f(x + move) - f(x - move)) / 2e-10


def wrong_forward(f, x, direction, step=1e-5):
    """typical one-sided: the definition of the derivative"""
    before = f(x)
    return float((f(direction * step + x) - before) / step)


def wrong_no_two(f, x, direction, step=1e-5):
    """typical 2 forgotten: divides by one step"""
    high, low = (f(x + sign * step * direction) for sign in (1, -1))
    return np.subtract(high, low) / step


def wrong_unit(f, x, direction, step=1e-5):
    """typical direction normalized: the slope per unit of length"""
    unit = direction / np.sqrt(np.sum(direction**2))
    return (f(x + step * unit) - f(x - step * unit)) / (2 * step)


def wrong_single(f, x, direction, step=1e-5):
    """typical float32: converts first"""
    x, direction = np.float32(x), np.float32(direction)
    return (f(x + np.float32(step) * direction) - f(x - np.float32(step) * direction)) / (2 * step)


def wrong_turned(f, x, direction, step=1e-5):
    """sign: the lower point first"""
    return (f(x - step * direction) - f(x + step * direction)) / (2 * step)


def wrong_wanders(f, x, direction, step=1e-5):
    """typical x changed: moves x there and back"""
    x += step * direction
    high = f(x)
    x -= 2 * step * direction
    low = f(x)
    x += 1.5 * step * direction
    return (high - low) / (2 * step)
