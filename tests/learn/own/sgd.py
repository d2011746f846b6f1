"""Wrong answers to sgd; each says first which diagnosis it must get."""

import numpy as np


def wrong_plain_momentum(self, w, g, state, lr, wd):
    """typical nesterov ignored: never asks for it"""
    step = g + wd * w
    if state:
        np.multiply(state[0], self.momentum, out=state[0])
        np.add(state[0], step, out=state[0])
        step = state[0]
    w[...] = w - lr * step


def wrong_list_entry(self, w, g, state, lr, wd):
    """typical v not kept: puts a new array into the list"""
    step = g + wd * w
    if self.momentum:
        state[0] = self.momentum * state[0] + step
        step = step + self.momentum * state[0] if self.nesterov else state[0]
    w -= lr * step


def wrong_cs231n(self, w, g, state, lr, wd):
    """typical v downhill: the update of CS231n"""
    dx = g + wd * w
    if not state:
        w += -lr * dx
        return
    v = state[0]
    v_prev = np.copy(v)
    v *= self.momentum
    v -= lr * dx
    w += -self.momentum * v_prev + (1 + self.momentum) * v if self.nesterov else v


def wrong_rate_in_v(self, w, g, state, lr, wd):
    """typical rate inside v: the form of the paper"""
    grad = lr * (g + wd * w)
    if state:
        (v,) = state
        v[...] = self.momentum * v + grad
        grad = grad + self.momentum * v if self.nesterov else v
    w -= grad


def wrong_average(self, w, g, state, lr, wd):
    """typical averaged velocity: as Adam's first moment"""
    grad = g + wd * w
    if state:
        (v,) = state
        v += (1 - self.momentum) * (grad - v)
        grad = grad + self.momentum * v if self.nesterov else v
    w -= lr * grad


def wrong_adamw_way(self, w, g, state, lr, wd):
    """typical decay past v: subtracts the decay at the end"""
    shrink, grad = lr * wd * w, g
    if state:
        (v,) = state
        v[...] = self.momentum * v + g
        grad = g + self.momentum * v if self.nesterov else v
    w -= lr * grad + shrink


def wrong_always_a_state(self, w, g, state, lr, wd):
    """raises: takes v from an empty list"""
    v = state[0]
    grad = g + wd * w
    v[...] = self.momentum * v + grad
    w -= lr * (grad + self.momentum * v if self.nesterov else v)


def wrong_v_twice(self, w, g, state, lr, wd):
    """condition: adds the gradient to v twice"""
    grad = g + wd * w
    if state:
        (v,) = state
        v[...] = self.momentum * v + 2 * grad
        grad = grad + self.momentum * v if self.nesterov else v
    w -= lr * grad
