"""Wrong answers to linear_backward; each says first which diagnosis it must get."""

import numpy as np


def _dx(self, dy):
    return np.einsum("nk,dk->nd", dy, self.params["weight"].value)


def wrong_written_into(self, dy, cache, need_dx=True):
    """typical assigned: copies the gradients into the arrays"""
    np.copyto(self.params["weight"].grad, np.einsum("nd,nk->dk", cache, dy))
    if "bias" in self.params:
        np.copyto(self.params["bias"].grad, np.einsum("nk->k", dy))
    return _dx(self, dy) if need_dx else None


def wrong_mean_of_the_images(self, dy, cache, need_dx=True):
    """typical averaged: the mean of the gradients of single images"""
    self.params["weight"].grad += np.mean([np.outer(x, g) for x, g in zip(cache, dy, strict=True)], axis=0)
    if "bias" in self.params:
        self.params["bias"].grad += np.mean(list(dy), axis=0)
    return _dx(self, dy) if need_dx else None


def wrong_always_dx(self, dy, cache, need_dx=True):
    """typical need_dx ignored: never asks for need_dx"""
    for x, g in zip(cache, dy, strict=True):
        self.params["weight"].grad += x[:, None] * g
        if "bias" in self.params:
            self.params["bias"].grad += g
    return _dx(self, dy)


def wrong_bias_from_all(self, dy, cache, need_dx=True):
    """typical bias over everything: forgets the axis"""
    self.params["weight"].grad += np.tensordot(cache, dy, (0, 0))
    if "bias" in self.params:
        self.params["bias"].grad += np.sum(dy)
    return _dx(self, dy) if need_dx else None


def wrong_local_name(self, dy, cache, need_dx=True):
    """zero: binds a new array to a local name, so nothing is added"""
    dw, db = self.params["weight"].grad, None
    dw = dw + cache.T @ dy
    if "bias" in self.params:
        db = self.params["bias"].grad
        db = db + dy.sum(0)
    return _dx(self, dy) if need_dx else None


def wrong_descent(self, dy, cache, need_dx=True):
    """sign: subtracts, as if it were the step of the optimizer"""
    self.params["weight"].grad -= cache.T @ dy
    if "bias" in self.params:
        self.params["bias"].grad -= dy.sum(0)
    return _dx(self, dy) if need_dx else None


def wrong_three_results(self, dy, cache, need_dx=True):
    """kind: returns (dx, dw, db), as an assignment of another course wants it"""
    dw = cache.T @ dy
    self.params["weight"].grad += dw
    if "bias" in self.params:
        self.params["bias"].grad += dy.sum(0)
    return (_dx(self, dy), dw, dy.sum(0)) if need_dx else None


def wrong_rebound(self, dy, cache, need_dx=True):
    """raises: puts a new array in the place of the gradient"""
    self.params["weight"].grad = self.params["weight"].grad + cache.T @ dy
    if "bias" in self.params:
        self.params["bias"].grad = self.params["bias"].grad + dy.sum(0)
    return _dx(self, dy) if need_dx else None
