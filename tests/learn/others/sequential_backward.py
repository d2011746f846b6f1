"""Right and wrong answers of learners to the exercise sequential_backward."""

from functools import reduce


def right_reversed_pairs(self, dy, cache, need_dx=True):
    layers = list(self.layers.values())
    for i in reversed(range(len(layers))):
        dy = layers[i].backward(dy, cache[i], need_dx or i > 0)
    return dy


def right_pop(self, dy, cache, need_dx=True):
    todo = list(self.layers.values())
    grad = dy
    while todo:
        layer = todo.pop()
        is_first = not todo
        grad = layer.backward(grad, cache.pop(), need_dx=need_dx if is_first else True)
    return grad


def right_recursion(self, dy, cache, need_dx=True):
    layers = list(self.layers.values())

    def back(n, g):
        if n < 0:
            return g
        return back(n - 1, layers[n].backward(g, cache[n], True if n else need_dx))

    return back(len(layers) - 1, dy)


def right_reduce(self, dy, cache, need_dx=True):
    needed = [need_dx] + [True] * (len(self.layers) - 1)
    steps = list(zip(self.layers.values(), cache, needed, strict=False))
    return reduce(lambda g, step: step[0].backward(g, step[1], step[2]), steps[::-1], dy)


def right_first_layer_apart(self, dy, cache, need_dx=True):
    names = list(self.layers)
    if not names:
        return dy
    for k in range(1, len(names)):
        dy = self.layers[names[-k]].backward(dy, cache[-k])
    return self.layers[names[0]].backward(dy, cache[0], need_dx)


def wrong_first_to_last(self, dy, cache, need_dx=True):
    """The layers are walked from the first to the last, as in the forward pass."""
    for i, layer in enumerate(self.layers.values()):
        dy = layer.backward(dy, cache[i], True)
    return dy if need_dx else None


def wrong_need_dx_for_all(self, dy, cache, need_dx=True):
    """need_dx is handed to every layer, but all except the first one must return their dx."""
    for layer, c in zip(reversed(list(self.layers.values())), reversed(cache), strict=True):
        dy = layer.backward(dy, c, need_dx)
    return dy


def wrong_same_dy(self, dy, cache, need_dx=True):
    """Every layer receives the dy of the output, not the dx of the layer behind it."""
    layers = list(self.layers.values())
    dx = dy
    for i in range(len(layers) - 1, -1, -1):
        dx = layers[i].backward(dy, cache[i], need_dx or i > 0)
    return dx


def wrong_first_layer_left_out(self, dy, cache, need_dx=True):
    """The loop stops one layer too early: the first layer gets no gradients."""
    layers = list(self.layers.values())
    for i in range(len(layers) - 1, 0, -1):
        dy = layers[i].backward(dy, cache[i])
    return dy if need_dx else None


def wrong_caches_from_the_front(self, dy, cache, need_dx=True):
    """The layers are reversed and the caches are not: each layer gets another one's cache."""
    for k, (layer, c) in enumerate(zip(reversed(self.layers.values()), cache, strict=True)):
        dy = layer.backward(dy, c, need_dx or k < len(cache) - 1)
    return dy


def wrong_skips_first_if_no_dx(self, dy, cache, need_dx=True):
    """Without need_dx the first layer is not visited at all, so its parameters get no gradient."""
    for i, layer in reversed(list(enumerate(self.layers.values()))):
        if i == 0 and not need_dx:
            return None
        dy = layer.backward(dy, cache[i])
    return dy


def wrong_input_grad(self, dy, cache, need_dx=True):
    """Calls input_grad, which gives dx and leaves the parameters' gradients as they were."""
    for name in list(self.layers)[::-1]:
        dy = self.layers[name].input_grad(dy, cache.pop())
    if need_dx:
        return dy


def wrong_returns_first_dy(self, dy, cache, need_dx=True):
    """Returns the dy of the first layer: its dx is computed and then forgotten."""
    layers = list(self.layers.values())
    for i in range(len(layers) - 1, -1, -1):
        dx = layers[i].backward(dy, cache[i])
        if i > 0:
            dy = dx
    return dy if need_dx else None


def wrong_last_layer_left_out(self, dy, cache, need_dx=True):
    """Begins with the last layer but one: dy is not taken back through the last layer."""
    layers = list(self.layers.values())
    k = len(layers) - 2
    while k >= 0:
        dy = layers[k].backward(dy, cache[k], need_dx or k > 0)
        k -= 1
    return dy
