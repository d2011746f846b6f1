"""Right and wrong answers of learners to the exercise adam."""

import math

import numpy as np


def right_as_in_the_docstring(w, g, m, v, step, betas, root, eps, decay):
    b1, b2 = betas
    g = g + decay * w
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g**2
    w -= step * m / (np.sqrt(v) / root + eps)


def right_moving_averages(w, g, m, v, step, betas, root, eps, decay):
    grad = g + w * decay
    m += (1 - betas[0]) * (grad - m)
    v += (1 - betas[1]) * (np.square(grad) - v)
    denominator = np.sqrt(v)
    denominator /= root
    denominator += eps
    w[...] = w - step * np.divide(m, denominator)


def right_number_by_number(w, g, m, v, step, betas, root, eps, decay):
    b1, b2 = betas
    for i in np.ndindex(*w.shape):
        grad = float(g[i]) + decay * float(w[i])
        m_new = b1 * float(m[i]) + (1 - b1) * grad
        v_new = b2 * float(v[i]) + (1 - b2) * grad * grad
        w[i] = float(w[i]) - step * m_new / (math.sqrt(v_new) / root + eps)
        m[i], v[i] = m_new, v_new


def right_one_fraction(w, g, m, v, step, betas, root, eps, decay):
    (b1, b2), d = betas, g + decay * w
    np.copyto(m, np.stack([m, d], axis=-1) @ np.array([b1, 1 - b1], w.dtype))
    np.copyto(v, np.stack([v, d * d], axis=-1) @ np.array([b2, 1 - b2], w.dtype))
    w -= (step * root) * m / (v**0.5 + eps * root)


def wrong_moments_exchanged(w, g, m, v, step, betas, root, eps, decay):
    """The betas are exchanged: b2 for the mean and b1 for the square."""
    b2, b1 = betas
    g = g + decay * w
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g * g
    w -= step * m / (np.sqrt(v) / root + eps)


def wrong_eps_in_the_root(w, g, m, v, step, betas, root, eps, decay):
    """eps stands under the square root."""
    b1, b2 = betas
    g = g + decay * w
    m[:] = m * b1 + g * (1 - b1)
    v[:] = v * b2 + g**2 * (1 - b2)
    w -= step * m / np.sqrt(v / root**2 + eps)


def wrong_no_correction_of_v(w, g, m, v, step, betas, root, eps, decay):
    """The division of sqrt(v) by root is missing: v is not corrected for its start at zero."""
    beta1, beta2 = betas
    grad = g + decay * w
    m *= beta1
    m += (1 - beta1) * grad
    v *= beta2
    v += (1 - beta2) * grad * grad
    w -= step * m / (np.sqrt(v) + eps)


def wrong_no_square_root(w, g, m, v, step, betas, root, eps, decay):
    """The square root of v is missing."""
    b1, b2 = betas
    g = g + decay * w
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * np.square(g)
    v_hat = v / root**2
    w -= step * m / (v_hat + eps)


def wrong_g_not_squared(w, g, m, v, step, betas, root, eps, decay):
    """v averages |g| instead of g^2."""
    b1, b2 = betas
    g = g + decay * w
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * np.abs(g)
    w -= step * m / (np.sqrt(v) / root + eps)


def wrong_moments_not_kept(w, g, m, v, step, betas, root, eps, decay):
    """m and v are new arrays: the caller's moments stay as they were."""
    b1, b2 = betas
    g = g + decay * w
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    w -= step * m / (np.sqrt(v) / root + eps)


def wrong_old_moments(w, g, m, v, step, betas, root, eps, decay):
    """The step is made with the old moments, before they are updated."""
    b1, b2 = betas
    grad = g + decay * w
    w -= step * m / (np.sqrt(v) / root + eps)
    m[...] = b1 * m + (1 - b1) * grad
    v[...] = b2 * v + (1 - b2) * grad**2


def wrong_decoupled_decay(w, g, m, v, step, betas, root, eps, decay):
    """The decay acts on the weights directly (AdamW), not through the gradient."""
    b1, b2 = betas
    w -= step * decay * w
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g * g
    w -= step * m / (np.sqrt(v) / root + eps)


def wrong_first_moment_corrected_again(w, g, m, v, step, betas, root, eps, decay):
    """m is divided by 1 - b1 again, though step contains the correction."""
    b1, b2 = betas
    g = g + decay * w
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g * g
    m_hat = m / (1 - b1)
    w -= step * m_hat / (np.sqrt(v) / root + eps)


def wrong_accumulates(w, g, m, v, step, betas, root, eps, decay):
    """The new gradient enters the moments whole: the factors 1 - b1 and 1 - b2 are missing."""
    b1, b2 = betas
    g = g + decay * w
    m[...] = b1 * m + g
    v[...] = b2 * v + g * g
    w -= step * m / (np.sqrt(v) / root + eps)


def wrong_gradient_without_mean(w, g, m, v, step, betas, root, eps, decay):
    """The weights move along g instead of its mean m (that is RMSprop)."""
    b1, b2 = betas
    g = g + decay * w
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g * g
    w -= step * g / (np.sqrt(v) / root + eps)


def wrong_decay_only_in_m(w, g, m, v, step, betas, root, eps, decay):
    """The decay is added for m only; v is made of the gradient without it."""
    b1, b2 = betas
    m[...] = b1 * m + (1 - b1) * (g + decay * w)
    v[...] = b2 * v + (1 - b2) * g**2
    w -= step * m / (np.sqrt(v) / root + eps)


def wrong_changes_the_gradient(w, g, m, v, step, betas, root, eps, decay):
    """g += decay w changes the caller's gradient."""
    b1, b2 = betas
    g += decay * w
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g * g
    w -= step * m / (np.sqrt(v) / root + eps)
