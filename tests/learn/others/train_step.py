"""Right and wrong answers of learners to the exercise train_step."""

from dataclasses import replace

import numpy as np

import minidl as md
from minidl import TRAIN, Context, Mode, softmax_cross_entropy, top_k_correct


def right_step_by_step(self, x, y):
    self.model.zero_grad()
    ctx = Context(mode=Mode.TRAIN, seed=self.seed, step=self.state.step)
    scores, cache = self.model.forward(x, ctx)
    loss, dscores = softmax_cross_entropy(scores, y, self.label_smoothing)
    self.model.backward(dscores, cache)
    lr = self.schedule(self.state.step)
    self.optimizer.step(lr)
    return loss, top_k_correct(scores, y, 1)


def right_gradients_by_hand(self, x, y):
    step = self.state.step
    out, cache = self.model.forward(x, replace(TRAIN, seed=self.seed, step=step))
    for parameter in self.model.named_parameters().values():
        parameter.grad.fill(0)
    loss, grad = md.softmax_cross_entropy(out, y, label_smoothing=self.label_smoothing)
    right = md.top_k_correct(out, y, k=1)
    self.model.backward(grad, cache, need_dx=False)
    self.optimizer.step(self.schedule(step))
    return loss, right


def right_own_loss(self, x, y):
    z, cache = self.model.forward(x, Context(Mode.TRAIN, self.seed, self.state.step))
    n, k = z.shape
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    s = self.label_smoothing
    q = np.eye(k, dtype=z.dtype)[y] * (1 - s) + s / k
    loss = -(q * np.log(p)).sum() / n
    self.model.zero_grad()
    self.model.backward((p - q) / n, cache, False)
    self.optimizer.step(lr=self.schedule(self.state.step))
    return np.asarray(loss), np.asarray((z.argmax(axis=1) == y).sum())


def wrong_gradients_pile_up(self, x, y):
    """zero_grad is missing: the gradients of all steps add up."""
    ctx = Context(Mode.TRAIN, self.seed, self.state.step)
    logits, cache = self.model.forward(x, ctx)
    loss, dlogits = softmax_cross_entropy(logits, y, self.label_smoothing)
    self.model.backward(dlogits, cache, need_dx=False)
    self.optimizer.step(self.schedule(self.state.step))
    return loss, top_k_correct(logits, y, 1)


def wrong_zero_after_backward(self, x, y):
    """zero_grad stands between backward and step: the optimizer sees zeros."""
    logits, cache = self.model.forward(x, Context(Mode.TRAIN, self.seed, self.state.step))
    loss, dlogits = md.softmax_cross_entropy(logits, y, self.label_smoothing)
    self.model.backward(dlogits, cache)
    self.model.zero_grad()
    self.optimizer.step(self.schedule(self.state.step))
    return loss, md.top_k_correct(logits, y, 1)


def wrong_step_before_backward(self, x, y):
    """The optimizer steps before backward, with the gradients of the batch before (here zeros)."""
    self.model.zero_grad()
    logits, cache = self.model.forward(x, Context(Mode.TRAIN, self.seed, self.state.step))
    loss, dlogits = softmax_cross_entropy(logits, y, self.label_smoothing)
    self.optimizer.step(self.schedule(self.state.step))
    self.model.backward(dlogits, cache, need_dx=False)
    return loss, top_k_correct(logits, y, 1)


def wrong_no_smoothing(self, x, y):
    """The label smoothing is not handed to the loss."""
    logits, cache = self.model.forward(x, Context(Mode.TRAIN, self.seed, self.state.step))
    loss, d = softmax_cross_entropy(logits, y)
    self.model.zero_grad()
    self.model.backward(d, cache)
    self.optimizer.step(self.schedule(self.state.step))
    return loss, top_k_correct(logits, y, 1)


def wrong_constant_rate(self, x, y):
    """The schedule is not used: the optimizer takes its own lr."""
    self.model.zero_grad()
    context = Context(Mode.TRAIN, self.seed, self.state.step)
    pred, cache = self.model.forward(x, context)
    loss, dpred = softmax_cross_entropy(pred, y, self.label_smoothing)
    self.model.backward(dpred, cache, False)
    self.optimizer.step()
    return loss, top_k_correct(pred, y, 1)


def wrong_next_rate(self, x, y):
    """The rate is that of the next step: schedule(step + 1)."""
    self.model.zero_grad()
    logits, c = self.model.forward(x, Context(Mode.TRAIN, seed=self.seed, step=self.state.step))
    loss, dlogits = softmax_cross_entropy(logits, y, self.label_smoothing)
    self.model.backward(dlogits, c, need_dx=False)
    self.optimizer.step(self.schedule(self.state.step + 1))
    return loss, top_k_correct(logits, y, 1)


def wrong_probe(self, x, y):
    """The forward pass is a PROBE pass: no dropout, and running statistics that don't move."""
    self.model.zero_grad()
    logits, cache = self.model.forward(x, md.PROBE)
    loss, dlogits = softmax_cross_entropy(logits, y, self.label_smoothing)
    self.model.backward(dlogits, cache, need_dx=False)
    self.optimizer.step(self.schedule(self.state.step))
    return loss, top_k_correct(logits, y, 1)


def wrong_seed_forgotten(self, x, y):
    """The trainer's seed is not in the context: dropout draws the masks of seed 0."""
    self.model.zero_grad()
    logits, cache = self.model.forward(x, md.TRAIN.at_step(self.state.step))
    loss, dlogits = md.softmax_cross_entropy(logits, y, self.label_smoothing)
    self.model.backward(dlogits, cache, need_dx=False)
    self.optimizer.step(self.schedule(self.state.step))
    return loss, md.top_k_correct(logits, y, 1)


def wrong_accuracy(self, x, y):
    """Returns the share of right answers, not their number."""
    self.model.zero_grad()
    logits, cache = self.model.forward(x, Context(Mode.TRAIN, self.seed, self.state.step))
    loss, dlogits = softmax_cross_entropy(logits, y, self.label_smoothing)
    self.model.backward(dlogits, cache, need_dx=False)
    self.optimizer.step(self.schedule(self.state.step))
    accuracy = (np.argmax(logits, axis=1) == y).mean()
    return loss, accuracy


def wrong_counts_the_step(self, x, y):
    """Raises state.step too, which run_epoch does already: steps are counted twice."""
    self.model.zero_grad()
    logits, cache = self.model.forward(x, Context(Mode.TRAIN, self.seed, self.state.step))
    loss, dlogits = softmax_cross_entropy(logits, y, self.label_smoothing)
    self.model.backward(dlogits, cache, need_dx=False)
    self.optimizer.step(self.schedule(self.state.step))
    self.state.step += 1
    return loss, top_k_correct(logits, y, 1)


def wrong_softmax_twice(self, x, y):
    """softmax is applied before the loss, which applies it again."""
    self.model.zero_grad()
    logits, cache = self.model.forward(x, Context(Mode.TRAIN, self.seed, self.state.step))
    probs = md.softmax(logits)
    loss, dprobs = md.softmax_cross_entropy(probs, y, self.label_smoothing)
    self.model.backward(dprobs, cache, need_dx=False)
    self.optimizer.step(self.schedule(self.state.step))
    return loss, md.top_k_correct(probs, y, 1)


def wrong_divided_by_batch_again(self, x, y):
    """dlogits is divided by the batch size again; it is the gradient of the mean already."""
    self.model.zero_grad()
    logits, cache = self.model.forward(x, Context(Mode.TRAIN, self.seed, self.state.step))
    loss, dlogits = softmax_cross_entropy(logits, y, self.label_smoothing)
    self.model.backward(dlogits / len(x), cache, need_dx=False)
    self.optimizer.step(self.schedule(self.state.step))
    return loss, top_k_correct(logits, y, 1)


def wrong_counted_after_the_update(self, x, y):
    """The right answers are counted with a second forward pass, after the update."""
    self.model.zero_grad()
    logits, cache = self.model.forward(x, Context(Mode.TRAIN, self.seed, self.state.step))
    loss, dlogits = softmax_cross_entropy(logits, y, self.label_smoothing)
    self.model.backward(dlogits, cache, need_dx=False)
    self.optimizer.step(self.schedule(self.state.step))
    return loss, top_k_correct(self.model(x), y, 1)


def wrong_no_update(self, x, y):
    """optimizer.step is missing: the weights never change."""
    self.model.zero_grad()
    logits, cache = self.model.forward(x, Context(Mode.TRAIN, self.seed, self.state.step))
    loss, dlogits = softmax_cross_entropy(logits, y, self.label_smoothing)
    self.model.backward(dlogits, cache, need_dx=False)
    return loss, top_k_correct(logits, y, 1)


def wrong_correct_first(self, x, y):
    """Returns (correct, loss) instead of (loss, correct)."""
    z, cache = self.model.forward(x, Context(Mode.TRAIN, self.seed, self.state.step))
    loss, dz = softmax_cross_entropy(z, y, self.label_smoothing)
    self.model.zero_grad()
    self.model.backward(dz, cache, need_dx=False)
    self.optimizer.step(self.schedule(self.state.step))
    return top_k_correct(z, y, 1), loss


def wrong_step_zero(self, x, y):
    """The context always has step 0: dropout draws the same mask in every step."""
    self.model.zero_grad()
    logits, cache = self.model.forward(x, Context(Mode.TRAIN, self.seed, 0))
    loss, dlogits = md.softmax_cross_entropy(logits, y, self.label_smoothing)
    self.model.backward(dlogits, cache, need_dx=False)
    self.optimizer.step(self.schedule(self.state.step))
    return loss, md.top_k_correct(logits, y, 1)
