"""Wrong answers to sequential_backward; each says first which diagnosis it must get."""

import numpy as np


def wrong_forward_order(self, dy, cache, need_dx=True):
    """typical from the first to the last: forgets reversed"""
    for i, layer in enumerate(self.layers.values()):
        dy = layer.backward(dy, cache[i], True)
    return dy if need_dx else None


def wrong_caches(self, dy, cache, need_dx=True):
    """typical caches in the order of the forward pass: only the layers are reversed"""
    for layer, c in zip(list(self.layers.values())[::-1], cache, strict=True):
        dy = layer.backward(dy, c)
    return dy if need_dx else None


def wrong_other_name(self, dy, cache, need_dx=True):
    """typical dy for all: the loop returns dx and reads dy"""
    layers = list(self.layers.values())
    for i in range(len(layers))[::-1]:
        dx = layers[i].backward(dy, cache.pop(), True)
    return dx if need_dx else None


def wrong_range(self, dy, cache, need_dx=True):
    """typical first layer forgotten: range ends at 1"""
    layers = list(self.layers.values())
    for i in range(len(layers) - 1, 0, -1):
        dy = layers[i].backward(dy, cache[i], True)
    return dy if need_dx else None


def wrong_input_grads(self, dy, cache, need_dx=True):
    """typical only input_grad: no gradients"""
    for layer in reversed(self.layers.values()):
        dy = layer.input_grad(dy, cache.pop())
    return dy if need_dx else None


def wrong_need_dx_everywhere(self, dy, cache, need_dx=True):
    """typical need_dx for every layer: passes it on"""
    for layer in reversed(self.layers.values()):
        dy = layer.backward(dy, cache.pop(), need_dx)
    return dy


def wrong_always_dx(self, dy, cache, need_dx=True):
    """typical need_dx ignored: always returns dx"""
    for layer in reversed(self.layers.values()):
        dy = layer.backward(dy, cache.pop())
    return dy


def wrong_no_return(self, dy, cache, need_dx=True):
    """kind: returns nothing"""
    for layer in reversed(self.layers.values()):
        dy = layer.backward(dy, cache.pop())


def wrong_float64(self, dy, cache, need_dx=True):
    """float32: converts to float64"""
    dy = np.asarray(dy, np.float64)
    for layer in reversed(self.layers.values()):
        dy = layer.backward(dy, cache.pop())
    return dy if need_dx else None


def wrong_minus(self, dy, cache, need_dx=True):
    """sign: descends already"""
    for layer in reversed(self.layers.values()):
        dy = layer.backward(dy, cache.pop())
    return -dy if need_dx else None


def wrong_pops(self, dy, cache, need_dx=True):
    """typical only the caches from behind: pops while it goes forward"""
    for layer in self.layers.values():
        dy = layer.backward(dy, cache.pop())
    return dy if need_dx else None


def wrong_early(self, dy, cache, need_dx=True):
    """typical returned too early: leaves before the gradients"""
    if not need_dx:
        return None
    for layer in list(self)[::-1]:
        dy = layer.backward(dy, cache.pop())
    return dy
