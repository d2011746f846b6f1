"""Right and wrong answers of learners to the exercise one_cycle."""

import math

import numpy as np


def right_closure(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    low, end = lr / div, lr / final_div
    top = max(rise * total_steps - 1, 0)
    down = max(total_steps - 1 - top, 1)

    def schedule(step):
        if step < top:
            t, a, b = step / top, low, lr
        else:
            t, a, b = min((step - top) / down, 1), lr, end
        return b + (a - b) * 0.5 * (1 + math.cos(math.pi * t))

    return schedule


def right_interpolated_phase(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    peak = max(0.0, rise * total_steps - 1)
    last = max(total_steps - 1, peak + 1)

    def schedule(step):
        phase = float(np.interp(step, [peak, last], [1, 2])) if step >= peak else step / peak
        weight = (1 - math.cos(math.pi * phase)) / 2  # 0 at the start, 1 at the peak, 0 at the end
        bottom = lr / div if phase < 1 else lr / final_div
        return bottom + (lr - bottom) * weight

    return schedule


def right_class(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    class OneCycle:
        def __init__(self):
            self.first, self.top, self.last = lr / div, lr, lr / final_div
            self.peak = rise * total_steps - 1 if rise * total_steps > 1 else 0
            self.fall = max(total_steps - 1 - self.peak, 1)

        def between(self, a, b, t):
            s = math.sin(math.pi / 2 * t) ** 2
            return a * (1 - s) + b * s

        def __call__(self, step):
            if step < self.peak:
                return self.between(self.first, self.top, step / self.peak)
            if step > self.peak + self.fall:
                return self.last
            return self.between(self.top, self.last, (step - self.peak) / self.fall)

    return OneCycle()


def wrong_peak_one_step_late(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """The peak is at rise T instead of rise T - 1."""
    up = rise * total_steps

    def cos(a, b, t):
        return b + (a - b) * (1 + math.cos(math.pi * t)) / 2

    def schedule(step):
        if step < up:
            return cos(lr / div, lr, step / up)
        return cos(lr, lr / final_div, min((step - up) / max(total_steps - 1 - up, 1), 1))

    return schedule


def wrong_torch_final_div(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """The last rate is lr / div / final_div, as torch defines it."""
    start, finish = lr / div, lr / div / final_div
    p = max(rise * total_steps - 1, 0)
    q = max(total_steps - 1 - p, 1)

    def schedule(step):
        if step < p:
            return lr + (start - lr) * (1 + math.cos(math.pi * step / p)) / 2
        return finish + (lr - finish) * (1 + math.cos(math.pi * min(1, (step - p) / q))) / 2

    return schedule


def wrong_straight_lines(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """Rises and falls in straight lines, not along half a cosine."""
    p = max(rise * total_steps - 1, 0)
    q = max(total_steps - 1, p + 1)
    return lambda step: float(np.interp(step, [0, p, q], [lr / div, lr, lr / final_div]))


def wrong_starts_at_zero(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """Starts at 0 instead of lr / div."""
    peak = max(rise * total_steps - 1, 0)
    fall = max(total_steps - 1 - peak, 1)

    def schedule(s):
        if s < peak:
            return lr * (1 - math.cos(math.pi * s / peak)) / 2
        t = min((s - peak) / fall, 1.0)
        return lr / final_div + (lr - lr / final_div) * (1 + math.cos(math.pi * t)) / 2

    return schedule


def wrong_ends_one_step_late(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """The end is reached at step T, one step after the last one."""
    peak = max(rise * total_steps - 1, 0)
    fall = total_steps - peak

    def anneal(start, end, t):
        return end + (start - end) / 2 * (1 + math.cos(math.pi * t))

    def schedule(step):
        if step < peak:
            return anneal(lr / div, lr, step / peak)
        return anneal(lr, lr / final_div, min(1, (step - peak) / fall))

    return schedule


def wrong_divisors_exchanged(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """div and final_div are exchanged: starts at lr / final_div and ends at lr / div."""
    peak = max(rise * total_steps - 1, 0)
    fall = max(total_steps - 1 - peak, 1)

    def schedule(step):
        up = step < peak
        t = step / peak if up else min((step - peak) / fall, 1)
        low = lr / final_div if up else lr / div
        share = (1 - math.cos(math.pi * t)) / 2 if up else (1 + math.cos(math.pi * t)) / 2
        return low + (lr - low) * share

    return schedule


def wrong_rises_again(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """After the last step the rate follows the cosine upwards again; it must stay."""
    peak = max(rise * total_steps - 1, 0)
    fall = max(total_steps - 1 - peak, 1)

    def schedule(step):
        if step < peak:
            return lr + (lr / div - lr) * (1 + math.cos(math.pi * step / peak)) / 2
        return lr / final_div + (lr - lr / final_div) * (1 + math.cos(math.pi * (step - peak) / fall)) / 2

    return schedule


def wrong_fall_counted_from_the_start(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """The fall is measured from step 0, so the rate jumps down after the peak."""
    peak = max(rise * total_steps - 1, 0)

    def schedule(step):
        if step < peak:
            return lr + (lr / div - lr) * (1 + math.cos(math.pi * step / peak)) / 2
        t = min(step / max(total_steps - 1, 1), 1)
        return lr / final_div + (lr - lr / final_div) * (1 + math.cos(math.pi * t)) / 2

    return schedule


def wrong_sine(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """The rise follows a quarter of a sine, not half a cosine."""
    peak = max(rise * total_steps - 1, 0)
    fall = max(total_steps - 1 - peak, 1)

    def schedule(step):
        if step < peak:
            return lr / div + (lr - lr / div) * math.sin(math.pi / 2 * step / peak)
        return lr / final_div + (lr - lr / final_div) * (1 + math.cos(math.pi * min((step - peak) / fall, 1))) / 2

    return schedule


def wrong_ends_at_zero(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    """Falls to 0: final_div is not used."""
    peak = max(rise * total_steps - 1, 0)
    fall = max(total_steps - 1 - peak, 1)

    def schedule(step):
        if step < peak:
            return lr / div + (lr - lr / div) * (1 - math.cos(math.pi * step / peak)) / 2
        return lr * (1 + math.cos(math.pi * min(1.0, (step - peak) / fall))) / 2

    return schedule
