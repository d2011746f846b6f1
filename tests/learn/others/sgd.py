"""Right and wrong answers of learners to the exercise sgd."""

import numpy as np


def right_as_in_the_docstring(self, w, g, state, lr, wd):
    g = g + wd * w
    if not self.momentum:
        w -= lr * g
        return
    v = state[0]
    v[...] = self.momentum * v + g
    w -= lr * (g + self.momentum * v) if self.nesterov else lr * v


def right_in_place_operators(self, w, g, state, lr, wd):
    step = g.copy()
    step += wd * w
    if state:
        (velocity,) = state
        velocity *= self.momentum
        velocity += step
        if self.nesterov:
            step += self.momentum * velocity
        else:
            step = velocity
    np.subtract(w, lr * step, out=w)


def right_number_by_number(self, w, g, state, lr, wd):
    mu = self.momentum
    for i in np.ndindex(w.shape):
        grad = g[i] + wd * w[i]
        move = grad
        if mu > 0:
            state[0][i] = mu * state[0][i] + grad
            move = grad + mu * state[0][i] if self.nesterov else state[0][i]
        w[i] -= lr * move


def right_einsum(self, w, g, state, lr, wd):
    full = np.stack([g, w])
    grad = np.einsum("k...,k->...", full, np.array([1, wd], w.dtype))
    if len(state) == 0:
        w[...] = w - lr * grad
        return
    np.copyto(state[0], np.einsum("k...,k->...", np.stack([state[0], grad]), np.array([self.momentum, 1], w.dtype)))
    a, b = (1, self.momentum) if self.nesterov else (0, 1)
    w[...] = w - lr * (a * grad + b * state[0])


def wrong_new_arrays(self, w, g, state, lr, wd):
    """w = w - ... makes a new array: the caller's weights don't change."""
    g = g + wd * w
    if self.momentum:
        v = state[0]
        v *= self.momentum
        v += g
        g = g + self.momentum * v if self.nesterov else v
    w = w - lr * g


def wrong_velocity_not_kept(self, w, g, state, lr, wd):
    """The new velocity is not written back into the state."""
    d = g + wd * w
    if self.momentum:
        v = self.momentum * state[0] + d
        d = d + self.momentum * v if self.nesterov else v
    w -= lr * d


def wrong_dampened(self, w, g, state, lr, wd):
    """The gradient enters the velocity with the factor 1 - mu, as in Adam's first moment."""
    g = g + w * wd
    if self.momentum == 0:
        w -= g * lr
    else:
        (v,) = state
        v[:] = self.momentum * v + (1 - self.momentum) * g
        if self.nesterov:
            w -= lr * (g + self.momentum * v)
        else:
            w -= lr * v


def wrong_rate_inside_velocity(self, w, g, state, lr, wd):
    """lr is inside the velocity (v <- mu v - lr g, as in CS231n), so the state differs."""
    g = g + wd * w
    if not self.momentum:
        w -= lr * g
        return
    v = state[0]
    v[...] = self.momentum * v - lr * g
    w += self.momentum * v - lr * g if self.nesterov else v


def wrong_uphill(self, w, g, state, lr, wd):
    """The step is added to the weights instead of subtracted."""
    g = g + wd * w
    if self.momentum:
        state[0][...] = state[0] * self.momentum + g
        g = (g + self.momentum * state[0]) if self.nesterov else state[0]
    w += lr * g


def wrong_nesterov_ignored(self, w, g, state, lr, wd):
    """Always takes the plain step lr v: nesterov is ignored."""
    grad = g if wd == 0 else g + wd * w
    for v in state:
        v *= self.momentum
        v += grad
        grad = v
    w -= lr * grad


def wrong_nesterov_without_gradient(self, w, g, state, lr, wd):
    """With nesterov the step is lr mu v, without the gradient g."""
    g = g + wd * w
    if self.momentum:
        v = state[0]
        v[...] = self.momentum * v + g
        if self.nesterov:
            w -= lr * (self.momentum * v)
        else:
            w -= lr * v
    else:
        w -= lr * g


def wrong_old_velocity(self, w, g, state, lr, wd):
    """The weights move by the old velocity: v is updated after w."""
    g = g + wd * w
    if not self.momentum:
        w -= lr * g
        return
    v = state[0]
    w -= lr * (g + self.momentum * v) if self.nesterov else lr * v
    v[...] = self.momentum * v + g


def wrong_decay_without_w(self, w, g, state, lr, wd):
    """The decay adds wd itself to the gradient, not wd w."""
    grad = g + wd
    if self.momentum:
        state[0][...] = self.momentum * state[0] + grad
        grad = grad + self.momentum * state[0] if self.nesterov else state[0]
    w -= lr * grad


def wrong_decay_twice(self, w, g, state, lr, wd):
    """The penalty is taken for wd |w|^2 instead of wd/2 |w|^2: the decay is twice too large."""
    g = g + 2 * wd * w
    step = g
    for v in state:
        np.add(self.momentum * v, g, out=v)
        step = g + self.momentum * v if self.nesterov else v
    w[...] = w - lr * step


def wrong_decay_sign(self, w, g, state, lr, wd):
    """The decay is subtracted from the gradient, so the weights grow."""
    d = g - wd * w
    if not state:
        w -= lr * d
        return
    v = state[0]
    v *= self.momentum
    v += d
    w -= lr * (d + self.momentum * v) if self.nesterov else lr * v


def wrong_always_nesterov(self, w, g, state, lr, wd):
    """Takes Nesterov's step even where nesterov is off."""
    d = g + wd * w
    if self.momentum:
        (v,) = state
        v[...] = self.momentum * v + d
        d = d + self.momentum * v
    w -= lr * d


def wrong_decoupled_decay(self, w, g, state, lr, wd):
    """The decay is applied to the weights after the step, as in AdamW, and not added to the gradient."""
    if self.momentum:
        v = state[0]
        v[...] = self.momentum * v + g
        move = g + self.momentum * v if self.nesterov else v
    else:
        move = g
    w *= 1 - lr * wd
    w -= lr * move


def wrong_changes_the_gradient(self, w, g, state, lr, wd):
    """g += wd w changes the caller's gradient."""
    g += wd * w
    if self.momentum:
        v = state[0]
        v *= self.momentum
        v += g
        w -= lr * (g + self.momentum * v) if self.nesterov else lr * v
    else:
        w -= lr * g


def wrong_state_expected(self, w, g, state, lr, wd):
    """Takes a velocity out of the state even without momentum, where there is none."""
    g = g + wd * w
    v = state[0]
    v[...] = self.momentum * v + g
    w -= lr * (g + self.momentum * v if self.nesterov else v)
