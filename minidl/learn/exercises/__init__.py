"""The exercises, one a file. Here is their order: that of the chapters."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from minidl.learn.exercise import Exercise

ORDER = {
    "01_linear": ("linear_forward", "linear_backward", "relu", "relu_dx"),
    "02_softmax": ("softmax", "softmax_cross_entropy", "label_smoothing"),
    "03_convolution": ("pad2d", "conv2d"),
    "04_im2col": ("im2col", "conv2d_dw"),
    "05_col2im": ("col2im", "conv2d_dx"),
    "06_batch_norm": (
        *("batch_statistics", "move_running", "batch_norm", "batch_norm_sums", "batch_norm_dx"),
        "batch_norm_input_grad",
    ),
    "07_pooling": ("max_pool", "max_pool_dx", "avg_pool", "avg_pool_dx", "global_avg_pool_dx"),
    "08_branches": ("sequential_backward", "concat_backward", "residual_backward"),
    "09_training": ("dropout_forward", "dropout_dx", "sgd", "adam", "cosine", "one_cycle", "train_step"),
    "10_gradient_check": ("central_difference", "numeric_gradient"),
    "11_looking_back": ("relu_project", "unpool"),
    "12_fast_engine": ("fold_batch_norm", "winograd_matrices"),
}

EXERCISES: dict[str, Exercise] = {
    name: import_module(f"{__name__}.{name}").EXERCISE
    for names in ORDER.values()
    for name in names
    if find_spec(f"{__name__}.{name}")
}
