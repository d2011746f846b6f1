"""Solutions of softmax as different students write them, along the last axis."""

import numpy as np


def right_log_sum_exp(logits):
    m = np.max(logits, axis=-1, keepdims=True)
    log_total = m + np.log(np.exp(logits - m).sum(-1, keepdims=True))
    return np.exp(logits - log_total)


def right_row_by_row(logits):
    rows = logits.reshape(-1, logits.shape[-1])
    p = np.empty(rows.shape, rows.dtype)
    for i, z in enumerate(rows):
        e = np.exp(z - z.max())
        p[i] = e / e.sum()
    return p.reshape(logits.shape)


def right_apply_along_axis(logits):
    def one(z):
        e = np.exp(z - np.amax(z))
        return e / np.add.reduce(e)

    return np.apply_along_axis(one, -1, logits)


def right_pairwise_differences(logits):
    # p_j = 1 / sum_i exp(z_i - z_j), with the differences cut where exp would overflow
    z = logits.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = np.exp(z[..., None, :] - z[..., :, None])
        p = 1 / ratio.sum(axis=-1)
    return np.where(np.isneginf(z), 0, p).astype(logits.dtype)


def right_class_axis_first(logits):
    z = np.moveaxis(logits, -1, 0)
    e = np.exp(z - z.max(axis=0))
    return np.moveaxis(e / e.sum(axis=0), 0, -1)


def wrong_over_the_batch(logits):
    """normalizes over the first axis in place of the classes"""
    e = np.exp(logits - logits.max(axis=0))
    return e / e.sum(axis=0)


def wrong_sum_of_everything(logits):
    """divides by the sum over the whole batch"""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / np.sum(e)


def wrong_no_maximum(logits):
    """does not subtract the maximum, so that large logits overflow"""
    with np.errstate(over="ignore", invalid="ignore"):
        e = np.exp(logits)
        return e / e.sum(axis=-1, keepdims=True)


def wrong_one_maximum_for_all(logits):
    """subtracts the maximum of the whole batch, so that a row of much smaller logits becomes 0 / 0"""
    with np.errstate(invalid="ignore"):
        e = np.exp(logits - np.max(logits))
        return np.divide(e, e.sum(axis=-1)[..., None])


def wrong_no_keepdims(logits):
    """forgets keepdims, so that the sums are divided along the wrong axis or do not fit"""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    exp = np.exp(shifted)
    return exp / exp.sum(axis=-1)


def wrong_changes_the_logits(logits):
    """subtracts the maximum from the logits of the caller"""
    logits -= logits.max(axis=-1, keepdims=True)
    p = np.exp(logits)
    p /= p.sum(axis=-1, keepdims=True)
    return p


def wrong_log_probabilities(logits):
    """returns the logarithms of the probabilities"""
    z = logits - logits.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def wrong_shifts_once_more(logits):
    """subtracts the maximum in the numerator but not in the denominator"""
    m = logits.max(axis=-1, keepdims=True)
    out = np.zeros_like(logits)
    for place in np.ndindex(logits.shape[:-1]):
        out[place] = np.exp(logits[place] - m[place]) / np.exp(logits[place]).sum()
    return out


def wrong_two_axes_only(logits):
    """counts the class axis from the front, so that it works for two axes only"""
    shifted = logits - np.amax(logits, axis=1, keepdims=True)
    e = np.exp(shifted)
    return e / np.sum(e, axis=1, keepdims=True)


def wrong_without_exp(logits):
    """divides the shifted logits by their sum and forgets the exponential"""
    z = logits - logits.min(axis=-1, keepdims=True)
    return z / (z.sum(axis=-1, keepdims=True) + 1e-12)
