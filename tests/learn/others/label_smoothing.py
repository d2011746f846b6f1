"""Solutions of label_smoothing as different students write them: the cross-entropy with a smoothed target."""

import numpy as np


def right_target_matrix(logits, labels, smoothing):
    n, k = logits.shape
    q = np.full((n, k), smoothing / k, logits.dtype)
    q[np.arange(n), labels] += 1 - smoothing
    z = logits - logits.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    loss = -np.sum(q[q > 0] * log_p[q > 0]) / n
    return np.asarray(loss), (np.exp(log_p) - q) / n


def right_blend_of_two_losses(logits, labels, smoothing):
    n, k = logits.shape
    m = np.max(logits, axis=1)
    lse = m + np.log(np.exp(logits - m[:, None]).sum(axis=1))
    hard = np.mean(lse - logits[np.arange(n), labels])
    loss = (1 - smoothing) * hard
    if smoothing > 0:
        loss = loss + smoothing * np.mean(lse - logits.mean(axis=1))
    p = np.exp(logits - lse[:, None])
    dz = p - smoothing / k
    dz[np.arange(n), labels] -= 1 - smoothing
    return np.asarray(loss, logits.dtype), dz / n


def right_row_by_row(logits, labels, smoothing):
    n, k = logits.shape
    loss, dlogits = 0.0, []
    for z, y in zip(logits.astype(np.float64), labels, strict=True):
        e = np.exp(z - z.max())
        p = e / e.sum()
        log_p = z - z.max() - np.log(e.sum())
        row = np.empty(k)
        for j in range(k):
            q = (1 - smoothing) * (j == y) + smoothing / k
            if q:
                loss -= q * log_p[j]
            row[j] = (p[j] - q) / n
        dlogits.append(row)
    return np.array(loss / n, logits.dtype), np.array(dlogits, logits.dtype)


def right_einsum(logits, labels, smoothing):
    n, k = logits.shape
    eye = np.eye(k, dtype=logits.dtype)
    q = ((1 - smoothing) * eye + smoothing / k)[labels].astype(logits.dtype)
    shifted = logits - logits.max(1, keepdims=True)
    p = np.exp(shifted)
    norm = np.einsum("nk->n", p)
    log_p = shifted - np.log(norm)[:, None]
    terms = np.where(q == 0, 0, log_p)
    return np.asarray(-np.einsum("nk,nk->", q, terms) / n), (p / norm[:, None] - q) / n


def wrong_spread_over_the_others(logits, labels, smoothing):
    """spreads the smoothing over the K - 1 other classes only"""
    n, k = logits.shape
    q = np.full((n, k), smoothing / max(k - 1, 1), logits.dtype)
    q[np.arange(n), labels] = 1 - smoothing
    z = logits - logits.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return np.asarray(-(q * log_p).sum() / n), (np.exp(log_p) - q) / n


def wrong_gradient_not_smoothed(logits, labels, smoothing):
    """smooths the target of the loss but not that of the gradient"""
    n, k = logits.shape
    z = logits - logits.max(axis=1)[:, None]
    log_p = z - np.log(np.exp(z).sum(axis=1))[:, None]
    loss = -(1 - smoothing) * log_p[np.arange(n), labels].mean() - smoothing * log_p.mean()
    grad = np.exp(log_p)
    grad[np.arange(n), labels] -= 1
    return np.asarray(loss), grad / n


def wrong_loss_not_smoothed(logits, labels, smoothing):
    """smooths the target of the gradient but not that of the loss"""
    n, k = logits.shape
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    q = (1 - smoothing) * np.eye(k)[labels] + smoothing / k
    loss = -np.log(p[np.arange(n), labels]).mean()
    return np.asarray(loss), ((p - q) / n).astype(logits.dtype)


def wrong_sum_over_the_classes(logits, labels, smoothing):
    """adds the sum over the classes in place of their mean: s in place of s / K, in loss and gradient"""
    n, k = logits.shape
    q = (labels[:, None] == np.arange(k)) * (1 - smoothing) + smoothing
    q = q.astype(logits.dtype)
    z = logits - logits.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return np.asarray(-np.einsum("nk,nk->", q, log_p) / n), (np.exp(log_p) - q) / n


def wrong_divided_by_the_batch(logits, labels, smoothing):
    """spreads the smoothing over the batch size in place of the number of classes"""
    n, k = logits.shape
    q = np.zeros((n, k), dtype=logits.dtype) + smoothing / n
    for i in range(n):
        q[i, labels[i]] += 1 - smoothing
    z = logits - logits.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return np.asarray(-np.sum(q * log_p) / n), (np.exp(log_p) - q) / n


def wrong_label_keeps_its_one(logits, labels, smoothing):
    """adds s / K to every class but leaves the label its whole 1, so that the target adds up to more than 1"""
    n, k = logits.shape
    q = np.eye(k, dtype=logits.dtype)[labels] + logits.dtype.type(smoothing / k)
    m = logits.max(axis=1, keepdims=True)
    lse = m + np.log(np.exp(logits - m).sum(axis=1, keepdims=True))
    loss = np.sum(q * (lse - logits)) / n
    return np.asarray(loss), (np.exp(logits - lse) - q) / n


def wrong_ignores_smoothing(logits, labels, smoothing):
    """computes the loss without smoothing"""
    n = len(labels)
    z = logits - logits.max(axis=1, keepdims=True)
    e = np.exp(z)
    loss = (np.log(e.sum(axis=1)) - z[np.arange(n), labels]).mean()
    d = e / e.sum(axis=1, keepdims=True)
    d[np.arange(n), labels] -= 1
    return np.asarray(loss), d / n


def wrong_weights_swapped(logits, labels, smoothing):
    """swaps the two weights: s for the label and 1 - s for all classes"""
    n, k = logits.shape
    q = np.full(logits.shape, (1 - smoothing) / k, dtype=logits.dtype)
    np.add.at(q, (np.arange(n), labels), smoothing)
    z = logits - np.amax(logits, axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return np.asarray(-(q * log_p).sum() / n), (np.exp(log_p) - q) / n


def wrong_smooths_the_prediction(logits, labels, smoothing):
    """mixes the predicted probabilities with 1 / K in place of the target"""
    n, k = logits.shape
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = (1 - smoothing) * e / e.sum(axis=1, keepdims=True) + smoothing / k
    loss = -np.log(p[np.arange(n), labels]).sum() / n
    d = p.copy()
    d[np.arange(n), labels] -= 1
    return np.asarray(loss), d / n
