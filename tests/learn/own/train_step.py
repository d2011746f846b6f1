"""Wrong answers to train_step; each says first which diagnosis it must get."""

import numpy as np

from minidl.layers.base import PROBE, TRAIN, Context, Mode
from minidl.losses import softmax_cross_entropy


def _pass(self, x, y, context=None):
    context = context or Context(Mode.TRAIN, seed=self.seed, step=self.state.step)
    logits, cache = self.model.forward(x, context)
    loss, dlogits = softmax_cross_entropy(logits, y, self.label_smoothing)
    return cache, loss, dlogits, (np.argmax(logits, axis=1) == y).sum()


def _learn(self, dlogits, cache):
    self.model.zero_grad()
    self.model.backward(dlogits, cache)
    self.optimizer.step(self.schedule(self.state.step))


def wrong_no_zero_grad(self, x, y):
    """typical gradients not emptied: they pile up"""
    cache, loss, dlogits, right = _pass(self, x, y)
    self.model.backward(dlogits, cache)
    self.optimizer.step(lr=self.schedule(self.state.step))
    return loss, right


def wrong_own_rate(self, x, y):
    """typical schedule ignored: the optimizer's rate"""
    cache, loss, dlogits, right = _pass(self, x, y)
    self.model.zero_grad()
    self.model.backward(dlogits, cache)
    self.optimizer.step(self.optimizer.lr)
    return loss, right


def wrong_probe(self, x, y):
    """typical PROBE mode: no context of its own"""
    cache, loss, dlogits, right = _pass(self, x, y, PROBE)
    _learn(self, dlogits, cache)
    return loss, right


def wrong_no_seed(self, x, y):
    """typical seed ignored: TRAIN.at_step"""
    cache, loss, dlogits, right = _pass(self, x, y, TRAIN.at_step(self.state.step))
    _learn(self, dlogits, cache)
    return loss, right


def wrong_accuracy(self, x, y):
    """typical share of right answers: np.mean"""
    cache, loss, dlogits, right = _pass(self, x, y)
    _learn(self, dlogits, cache)
    return loss, right / y.size


def wrong_counter(self, x, y):
    """typical counted twice: counts the step"""
    cache, loss, dlogits, right = _pass(self, x, y)
    _learn(self, dlogits, cache)
    self.state.step = self.state.step + 1
    return loss, right


def wrong_sum_of_losses(self, x, y):
    """factor: the loss of the whole batch"""
    cache, loss, dlogits, right = _pass(self, x, y)
    _learn(self, dlogits, cache)
    return loss * len(y), right


def wrong_infer(self, x, y):
    """raises: a context by default is for INFER, which keeps no cache"""
    cache, loss, dlogits, right = _pass(self, x, y, Context())
    _learn(self, dlogits, cache)
    return loss, right


def wrong_wrong_answers(self, x, y):
    """outputs: counts the wrong answers"""
    cache, loss, dlogits, right = _pass(self, x, y)
    _learn(self, dlogits, cache)
    return loss, y.size - right


def wrong_no_return(self, x, y):
    """kind: returns nothing"""
    cache, _, dlogits, _ = _pass(self, x, y)
    _learn(self, dlogits, cache)


def wrong_early_count(self, x, y):
    """typical counted first: counts the step at the beginning"""
    self.state.step += 1
    cache, loss, dlogits, right = _pass(self, x, y)
    _learn(self, dlogits, cache)
    return loss, right


def wrong_attribute(self, x, y):
    """raises: asks the optimizer for zero_grad"""
    cache, loss, dlogits, right = _pass(self, x, y)
    self.optimizer.zero_grad()
    self.model.backward(dlogits, cache)
    self.optimizer.step(self.schedule(self.state.step))
    return loss, right


def wrong_mode_for_context(self, x, y):
    """raises: gives the mode in place of a context"""
    cache, loss, dlogits, right = _pass(self, x, y, Mode.TRAIN)
    _learn(self, dlogits, cache)
    return loss, right


def wrong_array(self, x, y):
    """kind: an array of truth values in place of their number"""
    logits, cache = self.model.forward(x, TRAIN.at_step(self.state.step))
    loss, dlogits = softmax_cross_entropy(logits, y, self.label_smoothing)
    self.model.zero_grad()
    self.model.backward(dlogits, cache)
    self.optimizer.step(self.schedule(self.state.step))
    return loss, logits.argmax(axis=1) == y
