"""Right and wrong answers of learners to the exercise residual_backward."""

import numpy as np


def right_two_cases(self, dy, cache, need_dx=True):
    body_cache, shortcut_cache = cache
    dx = self.body.backward(dy, body_cache, need_dx)
    if self.shortcut is None:
        return dx + dy if need_dx else None
    dx2 = self.shortcut.backward(dy, shortcut_cache, need_dx)
    if need_dx:
        return dx + dx2
    return None


def right_list_of_ways(self, dy, cache, need_dx=True):
    ways = []
    for layer, c in zip([self.body, self.shortcut], cache, strict=True):
        ways.append(layer.backward(dy, c, need_dx) if layer is not None else dy)
    return sum(ways) if need_dx else None


def right_identity_function(self, dy, cache, need_dx=True):
    def identity(g, c, need):
        return g

    around = self.shortcut.backward if self.shortcut is not None else identity
    g2 = around(dy, cache[1], need_dx)
    g1 = self.body.backward(dy, cache[0], need_dx)
    if not need_dx:
        return
    out = np.empty_like(g1)
    np.add(g1, g2, out=out)
    return out


def right_always_asks_for_dx(self, dy, cache, need_dx=True):
    total = self.body.backward(dy, cache[0]).copy()
    total += dy if self.shortcut is None else self.shortcut.backward(dy, cache[1])
    return total if need_dx else None


def wrong_body_only(self, dy, cache, need_dx=True):
    """The way around the body is forgotten if there is no shortcut layer."""
    dx = self.body.backward(dy, cache[0], need_dx)
    if self.shortcut is not None:
        more = self.shortcut.backward(dy, cache[1], need_dx)
        dx = dx + more if need_dx else None
    return dx


def wrong_dy_for_the_shortcut(self, dy, cache, need_dx=True):
    """dy itself is added even where a shortcut layer stands, which is never visited."""
    through = self.body.backward(dy, cache[0], need_dx)
    return through + dy if need_dx else None


def wrong_caches_exchanged(self, dy, cache, need_dx=True):
    """The caches of body and shortcut are exchanged: pop takes from the end of the list."""
    dx = self.body.backward(dy, cache.pop(), need_dx)
    other = cache.pop()
    if self.shortcut is None:
        return dx + dy if need_dx else None
    dx_s = self.shortcut.backward(dy, other, need_dx)
    return dx + dx_s if need_dx else None


def wrong_one_after_the_other(self, dy, cache, need_dx=True):
    """The shortcut receives the dx of the body instead of dy, as if it came before the body."""
    d = self.body.backward(dy, cache[0], True)
    if self.shortcut is not None:
        return d + self.shortcut.backward(d, cache[1], True) if need_dx else None
    return d + dy if need_dx else None


def wrong_none_plus_dy(self, dy, cache, need_dx=True):
    """Without need_dx the body returns None, and None + dy fails."""
    skip = self.shortcut.backward(dy, cache[1], need_dx) if self.shortcut else dy
    return self.body.backward(dy, cache[0], need_dx) + skip


def wrong_adds_into_dy(self, dy, cache, need_dx=True):
    """dy += changes the caller's dy."""
    dx = self.body.backward(dy, cache[0], need_dx)
    if self.shortcut:
        s = self.shortcut.backward(dy, cache[1], need_dx)
        return dx + s if need_dx else None
    if not need_dx:
        return None
    dy += dx
    return dy


def wrong_shortcut_not_trained(self, dy, cache, need_dx=True):
    """Returns before the shortcut's backward if dx is not needed: its parameters get no gradient."""
    through = self.body.backward(dy, cache[0], need_dx)
    if not need_dx:
        return None
    if self.shortcut is None:
        return through + dy
    return through + self.shortcut.backward(dy, cache[1])


def wrong_half(self, dy, cache, need_dx=True):
    """dy is shared out, half for each way; both ways receive all of it."""
    half = dy * 0.5
    dx = self.body.backward(half, cache[0], need_dx)
    way2 = half if self.shortcut is None else self.shortcut.backward(half, cache[1], need_dx)
    return dx + way2 if need_dx else None
