"""Wrong answers to softmax_cross_entropy; each says first which diagnosis it must get."""

import numpy as np


def _log_p(logits):
    z = logits - logits.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def wrong_sum_in_the_gradient(logits, labels, smoothing):
    """typical mean missing in the gradient: of the sum of the losses"""
    log_p, rows = _log_p(logits), np.arange(len(labels))
    dz = np.exp(log_p)
    dz[rows, labels] -= 1
    return -log_p[rows, labels].mean(), dz


def wrong_sums(logits, labels, smoothing):
    """typical mean missing: adds up, image by image"""
    loss, dz = 0.0, np.zeros_like(logits)
    for i, (row, y) in enumerate(zip(_log_p(logits), labels, strict=True)):
        loss -= row[y]
        dz[i] = np.exp(row) - np.eye(len(row))[y]
    return loss, dz


def wrong_only_p(logits, labels, smoothing):
    """typical label not subtracted: forgets the label"""
    log_p = _log_p(logits)
    return -np.mean([row[y] for row, y in zip(log_p, labels, strict=True)]), np.exp(log_p) / len(labels)


def wrong_log_of_p(logits, labels, smoothing):
    """typical logarithm of zero: the logarithm of softmax"""
    n = len(labels)
    p = np.exp(logits - logits.max(1)[:, None])
    p /= p.sum(1)[:, None]
    dz = p.copy()
    dz[range(n), labels] -= 1
    return -np.log(p[range(n), labels]).sum() / n, dz / n


def wrong_unshifted(logits, labels, smoothing):
    """typical overflows before the logarithm: exp of the logits as they are"""
    n = len(labels)
    p = np.exp(logits) / np.sum(np.exp(logits), axis=1, keepdims=True)
    loss = -np.mean(np.log(p[np.arange(n), labels]))
    p[np.arange(n), labels] -= 1
    return loss, p / n


def wrong_logsumexp(logits, labels, smoothing):
    """typical overflows: logsumexp without the maximum"""
    n, k = logits.shape
    e = np.exp(logits)
    loss = np.mean(np.log(e.sum(1)) - logits[np.arange(n), labels])
    return loss, (e / e.sum(1, keepdims=True) - np.eye(k)[labels]) / n


def wrong_small_number(logits, labels, smoothing):
    """outputs: a small number in the logarithm"""
    n, k = logits.shape
    p = np.exp(_log_p(logits))
    return -np.log(p[np.arange(n), labels] + 1e-13).mean(), (p - np.eye(k)[labels]) / n


def wrong_sign(logits, labels, smoothing):
    """sign: the label minus p"""
    (n, k), log_p = logits.shape, _log_p(logits)
    return -(np.eye(k)[labels] * log_p).sum() / n, (np.eye(k)[labels] - np.exp(log_p)) / n


def wrong_mean_of_everything(logits, labels, smoothing):
    """factor: mean over images and classes"""
    (n, k), log_p = logits.shape, _log_p(logits)
    return -log_p[np.arange(n), labels].mean(), (np.exp(log_p) - np.eye(k)[labels]) / (n * k)


def wrong_list_of_losses(logits, labels, smoothing):
    """shape: the losses of the images, without their mean"""
    (n, k), log_p = logits.shape, _log_p(logits)
    return -log_p[np.arange(n), labels], (np.exp(log_p) - np.eye(k)[labels]) / n
