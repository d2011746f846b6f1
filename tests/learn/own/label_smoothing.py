"""Wrong answers to label_smoothing; each says first which diagnosis it must get."""

import numpy as np


def _log_p(logits):
    z = logits - np.max(logits, axis=1, keepdims=True)
    return z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))


def _answer(logits, q):
    log_p = _log_p(logits)
    return -np.einsum("nk,nk->", q, log_p) / len(q), (np.exp(log_p) - q) / len(q)


def wrong_hard(logits, labels, smoothing):
    """typical smoothing ignored: the exercise before"""
    return _answer(logits, np.eye(logits.shape[1])[labels])


def wrong_others_only(logits, labels, smoothing):
    """typical spread over the others: as in some papers"""
    n, k = logits.shape
    q = np.full((n, k), smoothing / (k - 1))
    q[np.arange(n), labels] = 1 - smoothing
    return _answer(logits, q)


def wrong_label_keeps_one(logits, labels, smoothing):
    """typical label not lowered: adds a share to every class"""
    q = np.full(logits.shape, smoothing / logits.shape[1])
    for i, y in enumerate(labels):
        q[i, y] += 1
    return _answer(logits, q)


def wrong_rest_lost(logits, labels, smoothing):
    """typical nothing for the others: lowers the label only"""
    q = np.zeros(logits.shape)
    q[np.arange(len(labels)), labels] = 1.0 - smoothing
    return _answer(logits, q)


def wrong_hard_gradient(logits, labels, smoothing):
    """typical gradient not smoothed: keeps the gradient of the exercise before"""
    k = logits.shape[1]
    loss, _ = _answer(logits, np.eye(k)[labels] * (1 - smoothing) + smoothing / k)
    return loss, _answer(logits, np.eye(k)[labels])[1]


def wrong_set_to_the_share(logits, labels, smoothing):
    """typical label without its share: the label has 1 - s in place of 1 - s + s / K"""
    q = np.full(logits.shape, smoothing / logits.shape[1])
    q[np.arange(len(labels)), labels] = 1 - smoothing
    return _answer(logits, q)


def wrong_sign(logits, labels, smoothing):
    """sign: the loss is negative"""
    k = logits.shape[1]
    loss, dz = _answer(logits, np.eye(k)[labels] * (1 - smoothing) + smoothing / k)
    return -loss, dz


def wrong_exchanged(logits, labels, smoothing):
    """exchanged: the gradient first"""
    k = logits.shape[1]
    loss, dz = _answer(logits, np.eye(k)[labels] * (1 - smoothing) + smoothing / k)
    return dz, loss


def wrong_label_keeps_too_much(logits, labels, smoothing):
    """typical label with 1 - s / K: np.where"""
    n, k = logits.shape
    z = logits - logits.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    q = np.where(np.arange(k) == labels[:, None], 1 - smoothing / k, smoothing / k)
    return -(q * log_p).sum() / n, (np.exp(log_p) - q) / n
