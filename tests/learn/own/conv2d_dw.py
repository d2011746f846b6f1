"""Wrong answers to conv2d_dw; each says first which diagnosis it must get."""

import numpy as np


def _windows(x, w_shape, stride, padding):
    """(N, OH, OW, C, KH, KW)"""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(x, w_shape[:2], (1, 2))[:, ::stride, ::stride]


def wrong_turned(x, dy, w_shape, stride, padding):
    """typical flipped: turns the result"""
    dw = np.einsum("nijcab,nijf->abcf", _windows(x, w_shape, stride, padding), dy)
    return np.rot90(dw, 2, (0, 1))


def wrong_per_image(x, dy, w_shape, stride, padding):
    """typical averaged over the images: a mean of the images' gradients"""
    windows = _windows(x, w_shape, stride, padding)
    return np.mean([np.einsum("ijcab,ijf->abcf", p, g) for p, g in zip(windows, dy, strict=True)], axis=0)


def wrong_mean_of_patches(x, dy, w_shape, stride, padding):
    """typical averaged over the windows: a mean over all of them"""
    windows = _windows(x, w_shape, stride, padding)
    return np.mean(np.einsum("nijcab,nijf->nijabcf", windows, dy), axis=(0, 1, 2))


def wrong_assigned(x, dy, w_shape, stride, padding):
    """typical last window only: forgets to add, in loops"""
    windows = _windows(x, w_shape, stride, padding)
    dw = np.zeros(w_shape)
    for n, i, j in np.ndindex(dy.shape[:3]):
        dw[...] = windows[n, i, j].transpose(1, 2, 0)[..., None] * dy[n, i, j]
    return dw


def wrong_assigned_in_batches(x, dy, w_shape, stride, padding):
    """typical last window of each image only: forgets to add, all images at once"""
    windows = _windows(x, w_shape, stride, padding)
    for i, j in np.ndindex(dy.shape[1:3]):
        dw = np.einsum("ncab,nf->abcf", windows[:, i, j], dy[:, i, j])
    return dw


def wrong_patches_only(x, dy, w_shape, stride, padding):
    """typical dy ignored: the slope without dL/dy"""
    total = _windows(x, w_shape, stride, padding).sum((0, 1, 2)).transpose(1, 2, 0)
    return np.repeat(total[..., None], w_shape[3], axis=3)


def wrong_other_layout(x, dy, w_shape, stride, padding):
    """typical filter in another order: (C, KH, KW) reshaped as if it were (KH, KW, C)"""
    dw = np.einsum("nijcab,nijf->abcf", _windows(x, w_shape, stride, padding), dy)
    return dw.reshape(w_shape[2], *w_shape[:2], w_shape[3]).transpose(1, 2, 0, 3).copy()


def wrong_filters_first(x, dy, w_shape, stride, padding):
    """shape: dw as (F, C, KH, KW)"""
    return np.einsum("nijcab,nijf->fcab", _windows(x, w_shape, stride, padding), dy)


def wrong_product_reshaped(x, dy, w_shape, stride, padding):
    """typical not transposed back: dy.T @ patches"""
    patches = _windows(x, w_shape, stride, padding).transpose(0, 1, 2, 4, 5, 3).reshape(-1, np.prod(w_shape[:3]))
    return np.matmul(dy.reshape(-1, w_shape[3]).T, patches).reshape(w_shape)


def wrong_sign(x, dy, w_shape, stride, padding):
    """sign: a step of descent in place of the gradient"""
    return -np.einsum("nijcab,nijf->abcf", _windows(x, w_shape, stride, padding), dy)


def wrong_unpadded(x, dy, w_shape, stride, padding):
    """raises: forgets to pad, so that the windows are fewer than the dy"""
    return np.einsum("nijcab,nijf->abcf", _windows(x, w_shape, stride, 0), dy)
