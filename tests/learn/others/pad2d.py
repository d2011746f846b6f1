"""Solutions of pad2d as different students write them: a border around the two image axes."""

import numpy as np


def right_np_pad(x, padding, value=0.0):
    border = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return np.pad(x, border, mode="constant", constant_values=value)


def right_concatenate(x, padding, value=0.0):
    n, h, w, c = x.shape
    row = np.full((n, padding, w, c), value, x.dtype)
    tall = np.concatenate([row, x, row], axis=1)
    column = np.full((n, h + 2 * padding, padding, c), value, x.dtype)
    return np.concatenate([column, tall, column], axis=2)


def right_pixel_by_pixel(x, padding, value=0.0):
    n, h, w, c = x.shape
    out = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dtype=x.dtype)
    for i in range(h + 2 * padding):
        for j in range(w + 2 * padding):
            if padding <= i < padding + h and padding <= j < padding + w:
                out[:, i, j] = x[:, i - padding, j - padding]
            else:
                out[:, i, j] = value
    return out


def right_index_and_mask(x, padding, value=0.0):
    _, h, w, _ = x.shape
    i = np.arange(-padding, h + padding)
    j = np.arange(-padding, w + padding)
    inside = ((i >= 0) & (i < h))[:, None] & ((j >= 0) & (j < w))[None, :]
    taken = x[:, i.clip(0, h - 1)[:, None], j.clip(0, w - 1)[None, :]]
    return np.where(inside[None, :, :, None], taken, x.dtype.type(value))


def wrong_all_four_axes(x, padding, value=0.0):
    """pads the batch and the channels too"""
    return np.pad(x, padding, constant_values=value)


def wrong_axes_of_torch(x, padding, value=0.0):
    """pads the last two axes, as if the channels came second"""
    return np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)], constant_values=value)


def wrong_always_zero(x, padding, value=0.0):
    """ignores the value and pads with zeros"""
    n, h, w, c = x.shape
    out = np.zeros((n, h + 2 * padding, w + 2 * padding, c), x.dtype)
    out[:, padding : padding + h, padding : padding + w, :] = x
    return out


def wrong_slice_to_minus_zero(x, padding, value=0.0):
    """ends the slice at -padding, which is empty for padding 0"""
    n, h, w, c = x.shape
    out = np.full((n, h + 2 * padding, w + 2 * padding, c), value, dtype=x.dtype)
    out[:, padding:-padding, padding:-padding] = x
    return out


def wrong_one_side_only(x, padding, value=0.0):
    """pads on the left and at the top only"""
    n, h, w, c = x.shape
    out = np.full((n, h + padding, w + padding, c), value, dtype=x.dtype)
    out[:, padding:, padding:] = x
    return out


def wrong_image_in_the_corner(x, padding, value=0.0):
    """places the image in the corner of a rightly sized array in place of its middle"""
    n, h, w, c = x.shape
    out = np.full((n, h + 2 * padding, w + 2 * padding, c), value, dtype=x.dtype)
    for i in range(h):
        for j in range(w):
            out[:, i, j, :] = x[:, i, j, :]
    return out


def wrong_rows_only(x, padding, value=0.0):
    """pads the rows and forgets the columns"""
    n, _, w, c = x.shape
    band = np.full((n, padding, w, c), value, dtype=x.dtype)
    return np.concatenate((band, x, band), axis=1)


def wrong_float64(x, padding, value=0.0):
    """makes the padded array without a dtype, so that float32 becomes float64"""
    n, h, w, c = x.shape
    out = np.ones((n, h + 2 * padding, w + 2 * padding, c)) * value
    out[:, padding : padding + h, padding : padding + w] = x
    return out


def wrong_repeats_the_edge(x, padding, value=0.0):
    """repeats the outermost pixels in place of the value"""
    width = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    return np.pad(x, width, mode="edge")


def wrong_square_images(x, padding, value=0.0):
    """uses the height for both sides, which fits square images only"""
    n, size, _, c = x.shape
    side = size + 2 * padding
    out = np.full((n, side, side, c), value, x.dtype)
    out[:, padding : size + padding, padding : size + padding] = x
    return out


def wrong_same_array_without_padding(x, padding, value=0.0):
    """returns the input itself if there is nothing to pad, where a new array is promised"""
    if padding == 0:
        return x
    return np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)), constant_values=value)
