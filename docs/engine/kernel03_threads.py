"""Kernel 3: two tiles at once on two threads, instead of one product on two threads.

Kernel 2 uses the second core only during its products, because BLAS has threads and NumPy's copies have none. Here
each thread takes tiles of its own (some images each) and does everything with them: the copy and the product. NumPy
lets other Python threads run while it works inside an array. BLAS must keep to one thread meanwhile: four threads on
two cores would only push each other off.

How large is a tile? Between two calls of NumPy a thread needs the interpreter, which only one thread can have. So
many short calls make the threads wait for each other, and large tiles don't fit the cache. For the 5x5 convolution
below, tiles of 1, 2, 4, 8 and 16 images took 16, 9, 8, 9 and 15 ms.

Every thread has working memory of its own (`scratch`). It is made for the first tile and used for all later ones.
The tiles don't depend on the number of threads, so the results don't either.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from threadpoolctl import ThreadpoolController

import kernel01_im2col as kernel1
import kernel02_blocks as kernel2
from compare import Case, same_padding, show
from minidl.engine.tiles.runner import available_cores

BLAS, POOL = ThreadpoolController(), ThreadPoolExecutor(available_cores())


class Scratch(threading.local):
    """Arrays by name, made once in each thread. Those that begin as zeros have a border that nobody writes to; so
    their name must say what is inside. (In the engine such borders can't be written to: `Scratch.bordered`.)
    """

    def __init__(self):
        self.arrays = {}

    def __call__(self, name, shape, dtype, make=np.empty):
        key = name, shape, dtype
        if key not in self.arrays:
            self.arrays[key] = make(shape, dtype)
        return self.arrays[key]


scratch = Scratch()


def over_tiles(task, n, images=2):
    """Calls task(tile) for slices of `images` images until all n are done, on all cores; returns what they return."""
    tiles = [slice(i, min(i + images, n)) for i in range(0, n, images)]
    with BLAS.limit(limits=1, user_api="blas"):
        return list(POOL.map(task, tiles))


def conv2d(x, w, images=2):
    """See kernel 1."""
    (n, height, width, c), (k, _, _, f), p = x.shape, w.shape, w.shape[0] // 2
    y = np.empty((n, height, width, f), x.dtype)

    def task(tile):
        count = tile.stop - tile.start
        padded = scratch(f"padded by {p}", (count, height + 2 * p, width + 2 * p, c), x.dtype, np.zeros)
        padded[:, p : p + height, p : p + width] = x[tile]
        lines = padded.reshape(count, height + 2 * p, -1)  # (n, H', W', C) -> (n, H', W' C)
        runs = sliding_window_view(lines, k * c, axis=2)[:, :, ::c]  # (n, H', W, K C)
        patches = scratch("patches", (count, height, width, k, k * c), x.dtype)
        for i in range(k):
            patches[:, :, :, i] = runs[:, i : i + height]
        np.matmul(patches.reshape(-1, k * k * c), w.reshape(-1, f), out=y[tile].reshape(-1, f))

    over_tiles(task, n, images)
    return y


MODULE_1_5X5 = same_padding(5, 30, 8, 16)
CASES = [
    Case("3 threads", "5x5, 8->16 at 30x30", MODULE_1_5X5, kernel1.truth, kernel2.conv2d, partial(conv2d, images=4)),
    Case("3 threads", "3x3, 48->64 at 30x30", kernel1.MODULE_1, kernel1.truth, kernel2.conv2d, conv2d),
]

if __name__ == "__main__":
    show(*CASES)
