"""Right and wrong answers of learners to the exercise cosine."""

import cmath
import math

import numpy as np


def right_closure(lr, total_steps, final_lr=0.0):
    def schedule(step):
        if step >= total_steps:
            return final_lr
        return final_lr + (lr - final_lr) * (1 + math.cos(math.pi * step / total_steps)) / 2

    return schedule


def right_half_angle(lr, total_steps, final_lr=0.0):
    def rate(s):
        c2 = math.cos(math.pi / 2 * min(s / total_steps, 1)) ** 2
        return lr * c2 + final_lr * (1 - c2)

    return rate


def right_class(lr, total_steps, final_lr=0.0):
    class Cosine:
        def __init__(self, top, bottom):
            self.middle, self.radius = (top + bottom) / 2, (top - bottom) / 2

        def __call__(self, step):
            angle = np.pi * np.clip(step / total_steps, 0, 1)
            return float(self.middle + self.radius * np.cos(angle))

    return Cosine(lr, final_lr)


def right_complex_exponential(lr, total_steps, final_lr=0.0):
    def at(t):
        return final_lr + (lr - final_lr) * (1 + cmath.exp(1j * cmath.pi * t)).real / 2

    return lambda step: at(step / total_steps) if step < total_steps else at(1)


def wrong_degrees(lr, total_steps, final_lr=0.0):
    """The angle is in degrees, and math.cos takes radians."""
    return lambda s: final_lr + (lr - final_lr) * (1 + math.cos(180 * min(s / total_steps, 1.0))) / 2


def wrong_comes_back(lr, total_steps, final_lr=0.0):
    """After the last step the rate rises again: it must stay at final_lr."""

    def f(step):
        return final_lr + 0.5 * (lr - final_lr) * (1 + np.cos(np.pi * step / total_steps))

    return f


def wrong_whole_period(lr, total_steps, final_lr=0.0):
    """A whole period (2 pi) instead of half of one: the rate is back at lr at the end."""

    def f(step):
        t = min(step, total_steps) / total_steps
        return final_lr + (lr - final_lr) * (1 + math.cos(2 * math.pi * t)) / 2

    return f


def wrong_last_step_early(lr, total_steps, final_lr=0.0):
    """final_lr is reached one step too early: divided by T - 1."""

    def f(step):
        t = min(step / max(total_steps - 1, 1), 1.0)
        return final_lr + (lr - final_lr) * (1 + math.cos(math.pi * t)) / 2

    return f


def wrong_final_on_top(lr, total_steps, final_lr=0.0):
    """final_lr is added without being subtracted from lr: the rate starts at lr + final_lr."""
    return lambda step: final_lr + lr * (1 + math.cos(math.pi * min(step, total_steps) / total_steps)) / 2


def wrong_not_halved(lr, total_steps, final_lr=0.0):
    """The division by 2 is missing: the rate starts at twice lr."""

    def schedule(step):
        progress = min(1.0, step / total_steps)
        return final_lr + (lr - final_lr) * (1 + math.cos(math.pi * progress))

    return schedule


def wrong_whole_numbers(lr, total_steps, final_lr=0.0):
    """step // total_steps is 0 until the end: the rate stays at lr and then drops."""
    return lambda step: final_lr + (lr - final_lr) * (1 + math.cos(math.pi * min(step // total_steps, 1))) / 2


def wrong_counts_from_one(lr, total_steps, final_lr=0.0):
    """Steps are counted from 1: every rate is that of the next step."""

    def schedule(step):
        t = min((step + 1) / total_steps, 1.0)
        return final_lr + (lr - final_lr) / 2 * (1 + math.cos(t * math.pi))

    return schedule


def wrong_restarts(lr, total_steps, final_lr=0.0):
    """Starts again from lr after T steps (warm restarts)."""

    def schedule(step):
        t = (step % total_steps) / total_steps
        return final_lr + (lr - final_lr) * (math.cos(math.pi * t) + 1) / 2

    return schedule


def wrong_straight_line(lr, total_steps, final_lr=0.0):
    """Falls in a straight line, not along a cosine."""
    return lambda step: lr + (final_lr - lr) * min(step / total_steps, 1.0)
