"""Solutions of softmax_cross_entropy as different students write them; they need not know smoothing."""

import numpy as np


def right_cs231n(logits, labels, smoothing):
    n = logits.shape[0]
    shifted = logits - logits.max(axis=1, keepdims=True)
    total = np.exp(shifted).sum(axis=1, keepdims=True)
    log_probs = shifted - np.log(total)
    loss = -log_probs[np.arange(n), labels].sum() / n
    dlogits = np.exp(log_probs)
    dlogits[np.arange(n), labels] -= 1
    dlogits /= n
    return np.asarray(loss, dtype=logits.dtype), dlogits


def right_row_by_row(logits, labels, smoothing):
    n = len(labels)
    loss = 0.0
    grad = np.zeros(logits.shape, logits.dtype)
    for i in range(n):
        z = logits[i].astype(np.float64)
        biggest = z.max()
        e = np.exp(z - biggest)
        loss += (np.log(e.sum()) - (z[labels[i]] - biggest)) / n
        for j in range(len(z)):
            grad[i, j] = (e[j] / e.sum() - (j == labels[i])) / n
    return np.array(loss, logits.dtype), grad


def right_eye(logits, labels, smoothing):
    hot = np.eye(logits.shape[1], dtype=logits.dtype)[labels]
    m = logits.max(axis=1)[:, None]
    logsumexp = m[:, 0] + np.log(np.exp(logits - m).sum(axis=1))
    own = logits[hot.astype(bool)]
    p = np.exp(logits - logsumexp[:, None])
    return np.asarray(np.mean(logsumexp - own)), (p - hot) / len(labels)


def right_numpy_scalar(logits, labels, smoothing):
    """The loss is a NumPy scalar, which has no axes either."""
    p = np.exp(logits - np.amax(logits, axis=1, keepdims=True))
    s = p.sum(axis=1)
    rows = np.arange(len(p))
    loss = np.mean(np.log(s) - (logits[rows, labels] - logits.max(axis=1)))
    dz = p / s[:, None]
    np.subtract.at(dz, (rows, labels), 1)
    return loss, dz / dz.dtype.type(len(p))


def wrong_gradient_not_divided(logits, labels, smoothing):
    """forgets to divide the gradient by the batch size"""
    z = logits - logits.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    rows = np.arange(len(labels))
    loss = -log_p[rows, labels].mean()
    d = np.exp(log_p)
    d[rows, labels] -= 1
    return np.asarray(loss), d


def wrong_loss_not_divided(logits, labels, smoothing):
    """sums the loss over the batch where the mean is wanted"""
    n, k = logits.shape
    e = np.exp(logits - logits.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    hot = np.zeros((n, k), logits.dtype)
    hot[np.arange(n), labels] = 1
    loss = -np.log((p * hot).sum(axis=1)).sum()
    return np.asarray(loss), (p - hot) / n


def wrong_all_rows_of_the_label(logits, labels, smoothing):
    """subtracts 1 from the columns of all labels in every row: p[:, labels] in place of p[rows, labels]"""
    n = len(labels)
    z = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(n), labels]).mean()
    dlogits = p.copy()
    dlogits[:, labels] -= 1
    return np.asarray(loss), dlogits / n


def wrong_gradient_before_the_loss(logits, labels, smoothing):
    """makes the gradient an alias of the probabilities, and takes their logarithm after 1 was subtracted"""
    n = logits.shape[0]
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    grad = probs
    grad[range(n), labels] -= 1
    with np.errstate(invalid="ignore", divide="ignore"):
        loss = -np.log(probs[range(n), labels]).mean()
    return np.asarray(loss), grad / n


def wrong_log_of_a_rounded_zero(logits, labels, smoothing):
    """takes the logarithm of the probability, which is rounded to 0 if the label is far behind"""
    n = logits.shape[0]
    e = np.exp(logits - logits.max(axis=1)[:, None])
    p = np.einsum("nk,n->nk", e, 1 / e.sum(axis=1))
    with np.errstate(divide="ignore"):
        loss = -np.mean(np.log(p[np.arange(n), labels]))
    p[np.arange(n), labels] -= 1
    return np.asarray(loss), p / n


def wrong_gradient_turned_round(logits, labels, smoothing):
    """returns q - p in place of p - q"""
    n, k = logits.shape
    hot = (labels.reshape(-1, 1) == np.arange(k)).astype(logits.dtype)
    top = logits.max(axis=1, keepdims=True)
    log_p = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
    loss = -(hot * log_p).sum() / n
    return np.asarray(loss), (hot - np.exp(log_p)) / n


def wrong_mean_over_the_classes_too(logits, labels, smoothing):
    """takes the mean over batch and classes, which is smaller by the number of classes"""
    z = logits - logits.max(axis=1, keepdims=True)
    log_p = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    hot = np.eye(logits.shape[1], dtype=logits.dtype)[labels]
    return np.asarray(-np.mean(hot * log_p)), (np.exp(log_p) - hot) / hot.size


def wrong_only_the_label_has_a_gradient(logits, labels, smoothing):
    """gives a gradient to the logit of the label only"""
    n = len(labels)
    loss = 0
    d = np.zeros_like(logits)
    for i, y in enumerate(labels):
        e = np.exp(logits[i] - logits[i].max())
        p = e[y] / e.sum()
        loss -= np.log(p) / n
        d[i, y] = (p - 1) / n
    return np.asarray(loss, logits.dtype), d


def wrong_softmax_over_the_batch(logits, labels, smoothing):
    """normalizes each class over the batch"""
    n = logits.shape[0]
    z = logits - logits.max(axis=0)
    log_p = z - np.log(np.exp(z).sum(axis=0))
    loss = -log_p[np.arange(n), labels].mean()
    dz = np.exp(log_p)
    dz[np.arange(n), labels] -= 1
    return np.asarray(loss), dz / n


def wrong_order(logits, labels, smoothing):
    """returns (dlogits, loss) in place of (loss, dlogits)"""
    n = logits.shape[0]
    z = logits - logits.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    d = np.exp(log_p)
    d[np.arange(n), labels] -= 1
    return d / n, np.asarray(-log_p[np.arange(n), labels].mean())


def wrong_changes_the_logits(logits, labels, smoothing):
    """shifts the logits of the caller in place"""
    n = logits.shape[0]
    logits -= np.max(logits, axis=1, keepdims=True)
    e = np.exp(logits)
    total = e.sum(axis=1)
    loss = np.mean(np.log(total) - logits[np.arange(n), labels])
    p = e / total[:, None]
    p[np.arange(n), labels] -= 1
    return np.asarray(loss), p / n
