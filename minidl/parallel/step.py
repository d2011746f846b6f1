"""One training step of several ranks: each computes a part of the batch, and all get the gradients of the whole."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from minidl.backend.arrays import Array, array_module
from minidl.engine.tiles.grid import SHARDS
from minidl.errors import UsageError
from minidl.layers.base import Context, Layer
from minidl.layers.parameter import FROZEN
from minidl.losses import label_ranks, main_head, softmax_cross_entropy, top_k_correct
from minidl.losses.protocol import Loss, call_loss, mean_weight
from minidl.parallel.layers import sharing
from minidl.parallel.share import Share


class DataParallel:
    """Training steps of `model` on the ranks of `share`.

    Rank r has n_r of the n images of a batch. The loss is a mean over images, so

        loss = sum_r (n_r / n) loss_r        dw = sum_r (n_r / n) dw_r

    Each rank multiplies dlogits by n_r / n. A loss of the user's own may be a mean over weights W_r instead, of which
    only all ranks together know the sum W. The way back is linear in dlogits. So each rank multiplies them by W_r,
    and the sum of all gradients is divided by W, which is added up with them. All gradients, the loss and the number
    of right answers are one flat vector, which is summed over ranks once in a step. It is not begun before the end of
    backward: for 568,000 parameters the sum takes a millisecond on one machine, a step several hundred.

    sync_bn    batch normalization takes the statistics of the whole batch; else each rank takes its part's, as in
               PyTorch's DistributedDataParallel
    exact      the same bits on 1, 2, 4 and 8 ranks, for a model on the fused engine with a `RankRunner`: sums over
               the batch are added in a fixed tree of shards (`engine/tiles/grid.py`), and all other layers and the
               loss work on the whole batch on every rank
    """

    def __init__(self, model: Layer, share: Share, *, sync_bn: bool = False, exact: bool = False) -> None:
        self.share, self.comm, self.exact = share, share.comm, exact
        self.keeps_statistics = sync_bn or exact or share.comm.size == 1  # running ones are equal on all ranks
        self.model = sharing(model, share, sync_bn, exact)
        self._params = [p for p in model.named_parameters().values() if FROZEN not in p.tags]

    def require(self, batch: int) -> None:
        """Raises UsageError if a batch of so many images can't be cut for these ranks."""
        check_batch(batch, self.comm.size, self.exact)

    def gradients(
        self, x: Array, y: Array, images: int, ctx: Context, label_smoothing: float, loss: Loss | None = None
    ) -> tuple[Array, Array]:
        """Sets the gradients to those of a batch of `images`, of which x and y are this rank's part.

        Returns the batch's loss and number of right answers, on the device. `loss` None: softmax_cross_entropy.
        """
        with self.share.of(images):
            logits, cache = self.model.forward(x, ctx)
            if self.exact:
                logits, y = self.comm.allgather(logits), self.comm.allgather(y)
            if loss is None:
                value, dlogits = softmax_cross_entropy(logits, y, label_smoothing)
                correct = top_k_correct(logits, y, 1)
            else:
                value, dlogits = call_loss(loss, logits, y)
                correct = (label_ranks(main_head(logits), y) == 0).sum()
            weight = mean_weight(loss, y)
            if self.exact:
                dlogits = dlogits[self.share.rows]
            else:
                factor = len(y) / images if weight is None else weight.astype(value.dtype)
                dlogits *= factor
            self.model.zero_grad()
            self.model.backward(dlogits, cache, need_dx=False)
            if self.exact:
                self._sum([])
                return value, correct
            value, correct, *total = self._sum([value * factor, correct, *([] if weight is None else [factor])])
            for sum_of_weights in total:
                value = self._divide(value, sum_of_weights)
            return value, correct.astype(np.int64)  # it was summed as a float

    def _divide(self, value: Array, weight: Array) -> Array:
        """The loss, from the sum over ranks; the gradients become those of the loss too. 0 if the weight is 0."""
        scale = (weight != 0) / (weight + (weight == 0))
        for p in self._params:
            p.grad *= scale.astype(p.dtype)
        return value * scale

    def _sum(self, numbers: list[Array]) -> Iterable[Array]:
        """Sums all gradients over the ranks, and returns the sums of the numbers."""
        if self.comm.size == 1:
            return numbers
        xp = array_module(self._params[0].grad)
        grads = [p.grad for p in self._params]
        dtype = np.result_type(*(g.dtype for g in grads))
        flat = xp.concatenate([a.reshape(-1).astype(dtype, copy=False) for a in (*grads, *numbers)])
        (self.comm.tree_sum if self.exact else self.comm.allreduce)(flat)
        at = 0
        for g in grads:
            g[...] = flat[at : at + g.size].reshape(g.shape)
            at += g.size
        return flat[at:]

    def agree(self, arrays: Iterable[Array]) -> None:
        """Running statistics, which differ if every rank has its own, become their mean over the ranks.

        Those that are equal already, such as those of frozen layers, keep their bits: a third three times is not one.
        """
        if self.keeps_statistics:
            return
        for a in arrays:
            first = a.copy()
            self.comm.broadcast(first)
            a -= first
            self.comm.allreduce(a)
            a /= self.comm.size
            a += first


def least_batch(ranks: int, exact: bool) -> int:
    """The fewest images that ranks can share: one for each, or for each shard."""
    return SHARDS if exact else ranks


def check_batch(batch: int, ranks: int, exact: bool) -> None:
    """Raises UsageError if a batch of so many images can't be cut for the ranks."""
    if exact and ranks not in (1, 2, 4, 8):
        raise UsageError(f"--exact: {ranks} ranks can't share {SHARDS} shards evenly: start 1, 2, 4 or 8")
    if batch < (least := least_batch(ranks, exact)):
        what = f"--exact cuts it into {SHARDS} shards" if exact else f"there are {ranks} ranks"
        fewer = "" if exact else ", or fewer ranks"
        raise UsageError(f"a batch of {batch} is too small, because {what}: --batch-size {least} or more{fewer}")
