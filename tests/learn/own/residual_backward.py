"""Wrong answers to residual_backward; each says first which diagnosis it must get."""

import numpy as np


def wrong_as_a_chain(self, dy, cache, need_dx=True):
    """typical only the body: forgets the way around"""
    if self.shortcut is not None:
        self.shortcut.backward(dy, cache[1], False)
    return self.body.backward(dy, cache[0], need_dx)


def wrong_always_dy(self, dy, cache, need_dx=True):
    """typical shortcut left out: adds dy in any case"""
    dx = self.body.backward(dy, cache[0], True)
    return np.add(dx, dy) if need_dx else None


def wrong_changes_dy(self, dy, cache, need_dx=True):
    """typical you changed dy: adds into dy"""
    shortcut = self.shortcut.backward(dy, cache[1], True) if self.shortcut else None
    body = self.body.backward(dy, cache[0], True)
    dx = dy if shortcut is None else shortcut
    np.add(dx, body, out=dx)
    return dx if need_dx else None


def wrong_through_both(self, dy, cache, need_dx=True):
    """typical one after the other: a chain of both"""
    if self.shortcut:
        dy = self.shortcut.backward(dy, cache.pop())
    else:
        cache.pop()
    dy = self.body.backward(dy, cache.pop())
    return dy if need_dx else None


def wrong_input_grads(self, dy, cache, need_dx=True):
    """typical only input_grad: no gradients"""
    ways = [(self.body, cache[0]), (self.shortcut, cache[1])]
    return sum(dy if way is None else way.input_grad(dy, c) for way, c in ways) if need_dx else None


def wrong_plus_none(self, dy, cache, need_dx=True):
    """typical None added up: doesn't ask for need_dx"""
    around = self.shortcut.backward(dy, cache[1], need_dx) if self.shortcut else dy
    return self.body.backward(dy, cache[0], need_dx) + around


def wrong_twice(self, dy, cache, need_dx=True):
    """factor: counts dx twice"""
    around = self.shortcut.backward(dy, cache[1]) if self.shortcut else dy
    dx = self.body.backward(dy, cache[0]) + around
    return dx + dx if need_dx else None


def wrong_shortcut_needed(self, dy, cache, need_dx=True):
    """raises: takes the shortcut for a layer in any case"""
    dx = self.body.backward(dy, cache[0]) + self.shortcut.backward(dy, cache[1])
    return dx if need_dx else None
