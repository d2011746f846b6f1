"""Right and wrong answers of learners to the exercise global_avg_pool_dx."""

import numpy as np


def right_times_ones(self, dy, cache):
    n, h, w, c = cache
    return dy[:, None, None, :] * np.ones((1, h, w, 1), dtype=dy.dtype) / (h * w)


def right_repeat(self, dy, cache):
    n, h, w, c = cache
    flat = np.repeat(dy[:, np.newaxis, :], h * w, axis=1)  # (N, HW, C)
    return flat.reshape(cache) / (h * w)  # (N, HW, C) -> (N, H, W, C)


def right_assignment_by_broadcasting(self, dy, cache):
    dx = np.empty(cache, dtype=dy.dtype)
    dx[...] = dy.reshape(cache[0], 1, 1, cache[3])
    dx /= cache[1] * cache[2]
    return dx


def right_einsum(self, dy, cache):
    _, H, W, _ = cache
    a, b = np.full(H, 1 / H, dy.dtype), np.full(W, 1 / W, dy.dtype)
    return np.einsum("nc,h,w->nhwc", dy, a, b)


def right_loops(self, dy, cache):
    N, H, W, C = cache
    dx = np.zeros(cache, dy.dtype)
    for i in range(H):
        for j in range(W):
            dx[:, i, j, :] = dy * (1.0 / (H * W))
    return dx


def wrong_not_divided(self, dy, cache):
    """Every pixel receives the whole dy: the factor 1 / HW is missing."""
    return np.broadcast_to(dy[:, None, None, :], cache).copy()


def wrong_divided_by_size(self, dy, cache):
    """Divided by N H W C, all numbers of x, instead of the H W pixels of a map."""
    dx = np.ones(cache, dy.dtype)
    return dx * dy[:, None, None, :] / np.prod(cache).astype(dy.dtype)


def wrong_channels_first(self, dy, cache):
    """Takes the axes for N, C, H, W as in torch: dx has the wrong shape or a wrong factor."""
    n, c, h, w = cache
    return np.tile(dy[:, :, None, None], (1, 1, h, w)) / (h * w)


def wrong_reshaped_tile(self, dy, cache):
    """Tiles dy and reshapes it in the wrong order, so images and pixels are mixed up."""
    n, h, w, c = cache
    return (np.tile(dy, (h * w, 1)) / (h * w)).reshape(n, h, w, c)


def wrong_height_squared(self, dy, cache):
    """Divided by H^2, which is right for square maps only."""
    h = cache[1]
    share = dy / h**2
    return np.stack([np.stack([share] * cache[2], axis=1)] * h, axis=1)


def wrong_in_place(self, dy, cache):
    """dy /= HW changes the caller's dy."""
    dy /= cache[1] * cache[2]
    return np.zeros(cache, dy.dtype) + dy[:, None, None]


def wrong_always_float64(self, dy, cache):
    """np.ones without a dtype makes the result float64, whatever dy is."""
    n, h, w, c = cache
    return np.ones((n, h, w, c)) * dy.reshape(n, 1, 1, c) / (h * w)


def wrong_mean_over_the_batch(self, dy, cache):
    """Divided by N too, as if the mean went over the batch."""
    n, h, w, c = cache
    dx = np.zeros(cache, dtype=dy.dtype)
    for img in range(n):
        for ch in range(c):
            dx[img, :, :, ch] = dy[img, ch] / (n * h * w)
    return dx
