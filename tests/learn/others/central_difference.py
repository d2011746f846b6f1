"""Right and wrong answers of learners to the exercise central_difference."""

import numpy as np


def right_two_names(f, x, direction, step=1e-5):
    ahead = x + step * direction
    behind = x - step * direction
    return (float(f(ahead)) - float(f(behind))) / (2.0 * step)


def right_copies(f, x, direction, step=1e-5):
    x_plus, x_minus = np.copy(x), np.copy(x)
    x_plus += direction * step
    x_minus -= direction * step
    slope = 0.5 * (f(x_plus) - f(x_minus)) / step
    return float(slope)


def right_function_of_one_number(f, x, direction, step=1e-5):
    def along(t):
        return f(np.add(x, np.multiply(t, direction)))

    return float(np.subtract(along(step), along(-step)) / (step + step))


def right_weighted_sum(f, x, direction, step=1e-5):
    return float(sum(sign * f(x + sign * step * direction) for sign in (1, -1))) / (2 * step)


def wrong_forward_difference(f, x, direction, step=1e-5):
    """A one-sided difference: its error is O(step), not O(step^2)."""
    return float(f(x + step * direction) - f(x)) / step


def wrong_backward_difference(f, x, direction, step=1e-5):
    """A backward difference, f(x) - f(x - step u): its error is O(step), not O(step^2)."""
    here, before = f(x), f(x - direction * step)
    return float((here - before) / step)


def wrong_factor_two(f, x, direction, step=1e-5):
    """Divides by step instead of 2 step: twice too large."""
    up = f(x + step * direction)
    down = f(x - step * direction)
    return float(up - down) / step


def wrong_precedence(f, x, direction, step=1e-5):
    """/ 2 * step divides by 2 and then multiplies by step: the parentheses are missing."""
    return float(f(x + step * direction) - f(x - step * direction)) / 2 * step


def wrong_x_changed(f, x, direction, step=1e-5):
    """x += changes the caller's x, and it is not put back."""
    x += step * direction
    high = f(x)
    x -= 2 * step * direction
    low = f(x)
    return float(high - low) / (2 * step)


def wrong_unit_direction(f, x, direction, step=1e-5):
    """The direction is divided by its length first: the result is too small by that factor."""
    u = direction / np.linalg.norm(direction)
    return float(f(x + step * u) - f(x - step * u)) / (2 * step)


def wrong_sign(f, x, direction, step=1e-5):
    """The two values are subtracted the wrong way round."""
    a = f(x - step * direction)
    b = f(x + step * direction)
    return float(a - b) / (2 * step)


def wrong_all_entries(f, x, direction, step=1e-5):
    """Adds step to every entry of x: the direction is not used."""
    return float(f(x + step) - f(x - step)) / (2 * step)


def wrong_step_not_in_f(f, x, direction, step=1e-5):
    """x moves by the whole direction, not by step times it."""
    diff = f(x + direction) - f(x - direction)
    return float(diff) / (2 * step)


def wrong_aliased(f, x, direction, step=1e-5):
    """x_plus = x makes no copy, so both names are one array: x is changed and the slope is 0."""
    x_plus = x
    x_minus = x
    x_plus += step * direction
    x_minus -= step * direction
    return float(f(x_plus) - f(x_minus)) / (2 * step)
