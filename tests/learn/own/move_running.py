"""Wrong answers to move_running; each says first which diagnosis it must get."""


def wrong_new_names(mean, var, running_mean, running_var, momentum, unbias):
    """typical not in place: makes new arrays and returns them"""
    running_mean = (1 - momentum) * running_mean + momentum * mean
    running_var = (1 - momentum) * running_var + momentum * unbias * var
    return running_mean, running_var


def wrong_keras(mean, var, running_mean, running_var, momentum, unbias):
    """typical momentum the other way round: the old value keeps the share momentum"""
    running_mean[...] = running_mean * momentum + mean * (1 - momentum)
    running_var[...] = running_var * momentum + var * unbias * (1 - momentum)


def wrong_biased(mean, var, running_mean, running_var, momentum, unbias):
    """typical unbias missing: in a loop"""
    for c in range(len(mean)):
        running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean[c]
        running_var[c] = (1 - momentum) * running_var[c] + momentum * var[c]


def wrong_both_unbiased(mean, var, running_mean, running_var, momentum, unbias):
    """typical unbias at the mean too: treats both alike"""
    for batch, running in ((mean, running_mean), (var, running_var)):
        running *= 1 - momentum
        running += momentum * unbias * batch


def wrong_copied(mean, var, running_mean, running_var, momentum, unbias):
    """typical overwritten: copies the batch's"""
    running_mean[:] = mean
    running_var[:] = unbias * var


def wrong_only_the_mean(mean, var, running_mean, running_var, momentum, unbias):
    """outputs: forgets the variance"""
    running_mean += momentum * (mean - running_mean)


def wrong_batch_changed(mean, var, running_mean, running_var, momentum, unbias):
    """changed: multiplies the batch's variance in place"""
    var *= unbias
    running_mean += momentum * (mean - running_mean)
    running_var += momentum * (var - running_var)
