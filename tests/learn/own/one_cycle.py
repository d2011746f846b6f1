"""Wrong answers to one_cycle; each says first which diagnosis it must get."""

import numpy as np


def _table(first, peak_rate, last, peak, end, steps):
    """Half cosines through (0, first), (peak, peak_rate), (end, last), as an array."""
    s = np.arange(steps, dtype=float)
    up = first + (peak_rate - first) * np.sin(np.pi / 2 * s / max(peak, 1e-300)) ** 2
    down = last + (peak_rate - last) * np.cos(np.pi / 2 * np.clip((s - peak) / (end - peak), 0, 1)) ** 2
    return np.where(s < peak, up, down)


def wrong_peak_at_share(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """typical peak one step late: rise T steps before the peak"""
    table = _table(lr / div, lr, lr / final_div, rise * total_steps, total_steps - 1, total_steps + 9)
    return lambda step: table[step]


def wrong_end_at_total(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """typical ends one step late: reaches the end after the run"""
    table = _table(lr / div, lr, lr / final_div, max(rise * total_steps - 1, 0), total_steps, total_steps + 9)
    return lambda step: table[step]


def wrong_symmetric(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """typical down to the start: the same on both sides"""
    table = _table(lr / div, lr, lr / div, max(rise * total_steps - 1, 0), total_steps - 1, total_steps + 9)
    return lambda step: table[step]


def wrong_as_torch(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """typical torch's last rate: initial_lr / final_div_factor"""
    first = lr / div
    table = _table(first, lr, first / final_div, max(rise * total_steps - 1, 0), total_steps - 1, total_steps + 9)
    return lambda step: table[step]


def wrong_table_too_short(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """raises: has no rates after the last step"""
    table = _table(lr / div, lr, lr / final_div, max(rise * total_steps - 1, 0), total_steps - 1, total_steps)
    return lambda step: table[step]


def wrong_no_rise(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """raises: divides by the length of a rise that isn't there"""
    peak = max(rise * total_steps - 1, 0)

    def schedule(step):
        t = min((step - peak) / (total_steps - 1 - peak), 1)
        up = lr / div + (lr - lr / div) * (1 - np.cos(np.pi * step / peak)) / 2
        return up if step < peak else lr + (lr / final_div - lr) * (1 - np.cos(np.pi * t)) / 2

    return schedule


def wrong_warm_up(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """typical linear rise: a linear warm-up, then a cosine"""
    peak = max(rise * total_steps - 1, 0)
    table = _table(lr / div, lr, lr / final_div, peak, total_steps - 1, total_steps + 9)
    return lambda step: np.interp(step, [0, peak], [lr / div, lr]) if step < peak else table[step]
