"""Solutions of batch_norm_dx as different students write them: dx of a batch normalization in training."""

import numpy as np


def right_common_factor(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    m = np.prod(x.shape[:-1]).astype(x.dtype)
    xhat = (x - mean) * inv_std
    return gamma * inv_std / m * (m * dy - dbeta - xhat * dgamma)


def right_three_ways(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    m = x.size // x.shape[-1]
    centred = x - mean
    dxhat = dy * gamma
    dvar = -0.5 * inv_std**2 * (gamma * dgamma)  # sum dxhat (x - mean) = gamma dgamma / inv_std
    dmean = -inv_std * (gamma * dbeta)
    direct = dxhat * inv_std
    through_var = dvar * 2 * centred / m
    through_mean = dmean / m
    return direct + through_var + through_mean


def right_one_channel_after_the_other(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    dx = np.empty(dy.shape, dy.dtype)
    for c in range(dy.shape[-1]):
        g = dy[..., c]
        xhat = (x[..., c] - mean[c]) * inv_std[c]
        dx[..., c] = gamma[c] * inv_std[c] * (g - dbeta[c] / g.size - xhat * (dgamma[c] / g.size))
    return dx


def right_matrix_of_basis_vectors(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    rows = dy.reshape(-1, dy.shape[-1])
    m = len(rows)
    xhat = (x.reshape(rows.shape) - mean) * inv_std
    basis = np.stack([np.ones_like(xhat), xhat])  # (2, M, C)
    shares = np.stack([dbeta, dgamma]) / m  # (2, C)
    rest = rows - np.einsum("kmc,kc->mc", basis, shares).astype(dy.dtype)
    return np.einsum("mc,c,c->mc", rest, gamma, inv_std).reshape(dy.shape)


def wrong_statistics_as_constants(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """takes mean and variance for constants and returns gamma inv_std dy"""
    return dy * (gamma * inv_std)


def wrong_way_through_the_mean_forgotten(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """leaves out the way through the mean"""
    m = x.size // x.shape[-1]
    xhat = (x - mean) * inv_std
    return np.einsum("...c,c->...c", dy - xhat * dgamma / m, gamma * inv_std)


def wrong_way_through_the_variance_forgotten(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """leaves out the way through the variance"""
    rows = dy.reshape(-1, dy.shape[-1])
    dx = (rows - dbeta / len(rows)) * gamma * inv_std
    return dx.reshape(x.shape)


def wrong_m_is_the_batch(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """divides by N in place of N H W"""
    n = x.shape[0]
    xhat = (x - mean) * inv_std
    return gamma * inv_std * (dy - dbeta / n - xhat * dgamma / n)


def wrong_m_forgotten(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """does not divide the two sums by M"""
    dx = np.zeros_like(dy)
    for c in range(x.shape[-1]):
        xhat = (x[..., c] - mean[c]) * inv_std[c]
        dx[..., c] = gamma[c] * inv_std[c] * (dy[..., c] - dbeta[c] - xhat * dgamma[c])
    return dx


def wrong_gamma_forgotten(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """forgets gamma"""
    m = x.size // x.shape[-1]
    xhat = (x - mean) * inv_std
    return inv_std / m * (m * dy - dbeta - xhat * dgamma)


def wrong_sums_swapped(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """swaps dgamma and dbeta"""
    m = x.size // x.shape[-1]
    xhat = (x - mean) * inv_std
    return (dy - dgamma / m - xhat * dbeta / m) * (gamma * inv_std)


def wrong_x_in_place_of_xhat(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """uses x where the normalized x belongs"""
    m = x.size // x.shape[-1]
    return gamma * inv_std * (dy - np.add(dbeta, x * dgamma) / m)


def wrong_sign_of_the_variance(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """adds the way through the variance where it is subtracted"""
    m = x.size // x.shape[-1]
    dxhat = gamma * dy
    dvar = 0.5 * gamma * dgamma * inv_std * inv_std
    dmean = -gamma * dbeta * inv_std
    return dxhat * inv_std + 2 * dvar * (x - mean) / m + dmean / m


def wrong_factor_two_forgotten(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """forgets the 2 of the derivative of the square"""
    m = x.size // x.shape[-1]
    dvar = -0.5 * (gamma * dgamma) * inv_std**2
    dmean = -inv_std * gamma * dbeta
    return dy * gamma * inv_std + dvar * (x - mean) / m + dmean / m


def wrong_inv_std_for_a_part(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """multiplies only the last term by gamma inv_std, because brackets are missing"""
    m = x.size // x.shape[-1]
    xhat = (x - mean) * inv_std
    return dy - dbeta / m - xhat * dgamma / m * gamma * inv_std


def wrong_changes_dy(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """computes in place in dy"""
    m = x.size // x.shape[-1]
    dy -= dbeta / m
    dy -= (x - mean) * inv_std * (dgamma / m)
    dy *= gamma * inv_std
    return dy
