"""Solutions of relu_dx as different students write them: dy where the input was positive, 0 elsewhere."""

import numpy as np


def right_where(dy, mask):
    return np.where(mask, dy, dy.dtype.type(0))


def right_boolean_index(dy, mask):
    dx = np.zeros(dy.shape, dtype=dy.dtype)
    dx[mask] = dy[mask]
    return dx


def right_copy_and_zero(dy, mask):
    dx = dy.copy()
    np.putmask(dx, ~mask, 0)
    return dx


def right_number_by_number(dy, mask):
    values = [g if m else 0 for g, m in zip(dy.ravel(), mask.ravel(), strict=True)]
    return np.array(values, dtype=dy.dtype).reshape(dy.shape)


def wrong_in_place(dy, mask):
    """sets numbers of dy itself to zero"""
    dy *= mask
    return dy


def wrong_mask_turned_round(dy, mask):
    """lets dy pass where the input was negative"""
    return dy * (1 - mask.astype(dy.dtype))


def wrong_sign_of_dy(dy, mask):
    """looks at the sign of dy in place of the mask of the input"""
    return np.where(dy > 0, dy, dy.dtype.type(0))


def wrong_guided(dy, mask):
    """drops the negative gradients too, as guided backpropagation does"""
    return np.maximum(dy, 0) * mask


def wrong_only_the_passing_ones(dy, mask):
    """picks the passing numbers out, so that the shape is lost"""
    return dy[mask]


def wrong_mask_alone(dy, mask):
    """returns the derivative of the ReLU without multiplying by dy"""
    dx = np.zeros_like(dy)
    dx[mask] = 1
    return dx


def wrong_passes_everything(dy, mask):
    """gives dy on without looking at the mask"""
    return np.array(dy, copy=True)


def wrong_summed_over_the_batch(dy, mask):
    """sums over the batch axis"""
    return np.einsum("n...,n...->...", dy, mask.astype(dy.dtype))


def wrong_mask_of_the_first_sample(dy, mask):
    """uses the mask of the first sample for the whole batch"""
    dx = dy.copy()
    dx[:, ~mask[0]] = 0
    return dx
