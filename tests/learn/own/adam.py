"""Wrong answers to adam; each says first which diagnosis it must get."""

import numpy as np


def _moments(m, v, g, betas):
    m *= betas[0]
    m += (1 - betas[0]) * g
    v *= betas[1]
    v += (1 - betas[1]) * np.square(g)


def wrong_no_root(w, g, m, v, step, betas, root, eps, decay):
    """typical v not corrected: forgets `root`"""
    _moments(m, v, g + decay * w, betas)
    w -= step * m / (v**0.5 + eps)


def wrong_epsilon_hat(w, g, m, v, step, betas, root, eps, decay):
    """typical eps divided by root: the step is multiplied by root, as in section 2 of the paper"""
    _moments(m, v, g + decay * w, betas)
    w -= (step * root) * m / (np.sqrt(v) + eps)


def wrong_eps_squared_in(w, g, m, v, step, betas, root, eps, decay):
    """typical eps inside the root: one root over everything"""
    _moments(m, v, g + decay * w, betas)
    w -= step * m * (v / (root * root) + eps) ** -0.5


def wrong_adamw(w, g, m, v, step, betas, root, eps, decay):
    """typical decoupled decay: AdamW with the corrected rate"""
    old = w.copy()
    _moments(m, v, g, betas)
    w -= step * (m / (np.sqrt(v) / root + eps) + decay * old)


def wrong_rebound(w, g, m, v, step, betas, root, eps, decay):
    """typical moments not kept: local names"""
    b1, b2 = betas
    g = g + decay * w
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    w -= step * m / (np.sqrt(v) / root + eps)


def wrong_decay_into_g(w, g, m, v, step, betas, root, eps, decay):
    """typical g changed: the decay is written into g"""
    np.add(g, decay * w, out=g)
    _moments(m, v, g, betas)
    w -= step * m / (np.sqrt(v) / root + eps)


def wrong_sign_of_m(w, g, m, v, step, betas, root, eps, decay):
    """outputs: v is right, m isn't"""
    _moments(m, v, g + decay * w, betas)
    w -= step * m / (np.sqrt(v) / root + eps)
    m *= -1 / (1 - betas[0])


def wrong_returned(w, g, m, v, step, betas, root, eps, decay):
    """outputs: returns the new w and doesn't write it"""
    _moments(m, v, g + decay * w, betas)
    v[...] = v / root**2
    w -= step * m / (np.sqrt(v) + eps)


def wrong_sums(w, g, m, v, step, betas, root, eps, decay):
    """typical m and v are sums: as momentum adds up"""
    g = g + decay * w
    m[:] = betas[0] * m + g
    v[:] = betas[1] * v + g**2
    w -= step * m / (np.sqrt(v) / root + eps)
