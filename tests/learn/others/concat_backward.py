"""Right and wrong answers of learners to the exercise concat_backward."""

import numpy as np


def right_running_start(self, dy, cache, need_dx=True):
    caches, widths = cache
    start, dx = 0, None
    for i in range(len(self.branches)):
        end = start + widths[i]
        part = self.branches[i].backward(dy[..., start:end], caches[i], need_dx)
        start = end
        if need_dx:
            dx = part if dx is None else dx + part
    return dx


def right_np_split(self, dy, cache, need_dx=True):
    caches, widths = cache
    pieces = np.split(dy, np.cumsum(widths)[:-1], axis=-1)
    grads = [b.backward(p, c, need_dx) for b, p, c in zip(self.branches, pieces, caches, strict=True)]
    return sum(grads[1:], grads[0]) if need_dx else None


def right_recursion(self, dy, cache, need_dx=True):
    caches, widths = cache

    def rest(i, left):
        mine = self.branches[i].backward(left[..., : widths[i]], caches[i], need_dx)
        if i + 1 == len(self.branches):
            return mine
        others = rest(i + 1, left[..., widths[i] :])
        return mine + others if need_dx else None

    return rest(0, dy)


def right_stacked_sum(self, dy, cache, need_dx=True):
    caches, widths = cache
    ends = np.add.accumulate(widths)
    all_dx = []
    for branch, c, a, b in zip(self.branches, caches, ends - widths, ends, strict=True):
        all_dx.append(branch.backward(np.ascontiguousarray(dy[..., a:b]), c, need_dx=need_dx))
    if not need_dx:
        return None
    return np.stack(all_dx).sum(axis=0)


def wrong_last_branch_only(self, dy, cache, need_dx=True):
    """dx is that of the last branch only: the variable is overwritten."""
    caches, widths = cache
    a = 0
    for branch, c, width in zip(self.branches, caches, widths, strict=True):
        dx = branch.backward(dy[..., a : a + width], c, need_dx)
        a += width
    return dx


def wrong_equal_parts(self, dy, cache, need_dx=True):
    """dy is cut into equal parts, but the branches differ in width."""
    caches, widths = cache
    parts = np.array_split(dy, len(widths), axis=-1)
    grads = [self.branches[i].backward(parts[i], caches[i], need_dx) for i in range(len(parts))]
    return sum(grads) if need_dx else None


def wrong_channels_first(self, dy, cache, need_dx=True):
    """Cuts dy along axis 1, where torch has the channels."""
    caches, widths = cache
    start, dx = 0, 0
    for branch, c, k in zip(self.branches, caches, widths, strict=True):
        g = branch.backward(dy[:, start : start + k], c, need_dx)
        dx = dx + g if need_dx else None
        start += k
    return dx


def wrong_joined(self, dy, cache, need_dx=True):
    """The dx of the branches are concatenated instead of added."""
    caches, widths = cache
    stops = np.cumsum(widths)
    out = []
    for i, b in enumerate(self.branches):
        out.append(b.backward(dy[..., stops[i] - widths[i] : stops[i]], caches[i], need_dx))
    return np.concatenate(out, axis=-1) if need_dx else None


def wrong_mean(self, dy, cache, need_dx=True):
    """The mean of the branches' dx instead of their sum."""
    caches, widths = cache
    splits = np.split(dy, np.cumsum(widths[:-1]), axis=-1)
    dxs = [br.backward(d, c, need_dx) for br, d, c in zip(self.branches, splits, caches, strict=True)]
    return np.mean(dxs, axis=0, dtype=dy.dtype) if need_dx else None


def wrong_start_not_moved(self, dy, cache, need_dx=True):
    """start is set to the width of the branch before, not moved on by it: wrong from the third branch on."""
    caches, widths = cache
    start = 0
    dx = None
    for j, branch in enumerate(self.branches):
        g = branch.backward(dy[..., start : start + widths[j]], caches[j], need_dx)
        start = widths[j]
        if need_dx:
            dx = g if j == 0 else dx + g
    return dx


def wrong_no_backward_without_dx(self, dy, cache, need_dx=True):
    """Returns at once if dx is not needed: the parameters of the branches get no gradient."""
    if not need_dx:
        return None
    caches, widths = cache
    offset, dx = 0, 0
    for branch, c, width in zip(self.branches, caches, widths, strict=True):
        dx = dx + branch.backward(dy[..., offset : offset + width], c)
        offset += width
    return dx


def wrong_added_in_place(self, dy, cache, need_dx=True):
    """dx += works in the array of the first branch, which may be a part of dy: dy is changed."""
    caches, widths = cache
    dx, pos = None, 0
    for branch, c, width in zip(self.branches, caches, widths, strict=True):
        g = branch.backward(dy[..., pos : pos + width], c, need_dx)
        pos += width
        if dx is None:
            dx = g
        elif g is not None:
            dx += g
    return dx


def wrong_counts_first_twice(self, dy, cache, need_dx=True):
    """The sum starts with the dx of the first branch and adds it again."""
    caches, widths = cache
    edges = np.concatenate([[0], np.cumsum(widths)])
    grads = [b.backward(dy[..., edges[i] : edges[i + 1]], caches[i], need_dx) for i, b in enumerate(self.branches)]
    if not need_dx:
        return None
    total = grads[0]
    for g in grads:
        total = total + g
    return total
