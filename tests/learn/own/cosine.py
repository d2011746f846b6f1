"""Wrong answers to cosine; each says first which diagnosis it must get."""

import numpy as np


def wrong_not_held(lr, total_steps, final_lr=0.0):
    """typical up again: no min"""

    def schedule(step):
        share = 0.5 * (1.0 + np.cos(np.pi * step / total_steps))
        return share * lr + (1 - share) * final_lr

    return schedule


def wrong_table(lr, total_steps, final_lr=0.0):
    """typical final at the last step: a table from np.linspace, which contains its end"""
    share = (1 + np.cos(np.linspace(0, np.pi, total_steps))) / 2
    table = final_lr + (lr - final_lr) * share
    return lambda step: float(table[min(step, total_steps - 1)])


def wrong_line(lr, total_steps, final_lr=0.0):
    """typical linear: np.interp"""
    return lambda step: np.interp(step, [0, total_steps], [lr, final_lr])


def wrong_maximum(lr, total_steps, final_lr=0.0):
    """typical a floor: np.maximum"""
    return lambda step: np.maximum(final_lr, lr * np.cos(np.pi / 2 * min(step, total_steps) / total_steps) ** 2)


def wrong_to_zero(lr, total_steps, final_lr=0.0):
    """typical final ignored: cos^2(x / 2) is (1 + cos x) / 2"""
    return lambda step: lr * np.cos(np.pi / 2 * min(step / total_steps, 1)) ** 2


def wrong_not_halved(lr, total_steps, final_lr=0.0):
    """typical not halved: 2 at step 0"""
    return lambda step: final_lr + (lr - final_lr) * (1 + np.cos(np.pi * min(step / total_steps, 1)))


def wrong_a_number(lr, total_steps, final_lr=0.0):
    """kind: returns the first rate"""
    return lr


def wrong_counter(lr, total_steps, final_lr=0.0):
    """kind: counts its own calls"""
    steps = iter(range(10**6))
    return lambda step: final_lr + (lr - final_lr) * (1 + np.cos(np.pi * min(next(steps) / total_steps, 1))) / 2
