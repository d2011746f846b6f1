"""Solutions of move_running as different students write them: the running statistics move towards the batch's."""

import numpy as np


def right_weighted_mean(mean, var, running_mean, running_var, momentum, unbias):
    running_mean *= 1 - momentum
    running_mean += momentum * mean
    running_var *= 1 - momentum
    running_var += momentum * unbias * var


def right_slice_assignment(mean, var, running_mean, running_var, momentum, unbias):
    new_mean = (1 - momentum) * running_mean + momentum * mean
    new_var = (1 - momentum) * running_var + momentum * (unbias * var)
    running_mean[:] = new_mean
    running_var[...] = new_var


def right_channel_by_channel(mean, var, running_mean, running_var, momentum, unbias):
    for c in range(len(mean)):
        running_mean[c] += momentum * (mean[c] - running_mean[c])
        running_var[c] += momentum * (unbias * var[c] - running_var[c])


def right_pairs_and_out(mean, var, running_mean, running_var, momentum, unbias):
    for batch, running in ((mean, running_mean), (np.multiply(var, unbias), running_var)):
        step = np.subtract(batch, running) * momentum
        np.add(running, step, out=running, casting="same_kind")


def wrong_momentum_of_keras(mean, var, running_mean, running_var, momentum, unbias):
    """gives momentum to the old value and 1 - momentum to the batch, as Keras does"""
    running_mean[:] = momentum * running_mean + (1 - momentum) * mean
    running_var[:] = momentum * running_var + (1 - momentum) * var * unbias


def wrong_new_arrays(mean, var, running_mean, running_var, momentum, unbias):
    """binds the names to new arrays, so that those of the caller do not change"""
    running_mean = (1 - momentum) * running_mean + momentum * mean
    running_var = (1 - momentum) * running_var + momentum * var * unbias


def wrong_biased_variance(mean, var, running_mean, running_var, momentum, unbias):
    """does not multiply the variance by unbias"""
    for old, new in zip((running_mean, running_var), (mean, var), strict=True):
        old += (momentum * (new - old)).astype(old.dtype)


def wrong_unbias_divides(mean, var, running_mean, running_var, momentum, unbias):
    """divides the variance by unbias in place of multiplying"""
    running_mean += (momentum * (mean - running_mean)).astype(running_mean.dtype)
    running_var += (momentum * (var / unbias - running_var)).astype(running_var.dtype)


def wrong_mean_unbiased_too(mean, var, running_mean, running_var, momentum, unbias):
    """multiplies the mean by unbias too"""
    running_mean[...] = running_mean + momentum * (unbias * mean - running_mean)
    running_var[...] = running_var + momentum * (unbias * var - running_var)


def wrong_unbias_of_the_difference(mean, var, running_mean, running_var, momentum, unbias):
    """multiplies the whole difference by unbias, the old variance too"""
    np.copyto(running_mean, running_mean + momentum * (mean - running_mean), casting="same_kind")
    np.copyto(running_var, running_var + momentum * unbias * (var - running_var), casting="same_kind")


def wrong_adds_the_batch(mean, var, running_mean, running_var, momentum, unbias):
    """adds the batch's share without taking the old share away"""
    running_mean += (momentum * mean).astype(running_mean.dtype)
    running_var += (momentum * var * unbias).astype(running_var.dtype)


def wrong_replaces(mean, var, running_mean, running_var, momentum, unbias):
    """replaces the running values by the batch's and ignores the momentum"""
    running_mean[:] = mean
    running_var[:] = var * unbias


def wrong_changes_the_batch_variance(mean, var, running_mean, running_var, momentum, unbias):
    """multiplies the variance of the caller in place"""
    var *= unbias
    running_mean[:] += momentum * (mean - running_mean)
    running_var[:] += momentum * (var - running_var)


def wrong_moves_away(mean, var, running_mean, running_var, momentum, unbias):
    """subtracts the wrong way round, so that the running values move away from the batch's"""
    for c in range(mean.shape[0]):
        running_mean[c] += momentum * (running_mean[c] - mean[c])
        running_var[c] += momentum * (running_var[c] - unbias * var[c])


def wrong_variance_moves_to_the_mean(mean, var, running_mean, running_var, momentum, unbias):
    """moves the running variance towards the mean of the batch, after copying a line"""
    running_mean += (momentum * (mean - running_mean)).astype(running_mean.dtype)
    running_var += (momentum * (mean * unbias - running_var)).astype(running_var.dtype)


def wrong_unbias_of_the_running_variance(mean, var, running_mean, running_var, momentum, unbias):
    """multiplies the new running variance by unbias in place of the batch's variance alone"""
    running_mean[...] = (1 - momentum) * running_mean + momentum * mean
    running_var[...] = ((1 - momentum) * running_var + momentum * var) * unbias
