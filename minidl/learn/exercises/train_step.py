"""One step of the loop that trains."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from minidl.layers.activation import ReLU
from minidl.layers.base import Context, Layer, Mode
from minidl.layers.containers import Sequential
from minidl.layers.dropout import Dropout
from minidl.layers.linear import Linear
from minidl.layers.norm import BatchNorm2D
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, Outcome, Returned, described
from minidl.losses import softmax, softmax_cross_entropy, top_k_correct
from minidl.optim import SGD, Adam
from minidl.training.trainer import Trainer, TrainState

RATES = (0.5, 0.25, 1.0, 0.125, 0.5, 0.25, 2.0, 0.5, 0.25, 1.0)  # of the steps


def _cases(rng: np.random.Generator) -> list[Case]:
    by_hand = {
        "x": np.array([[1.0, 2]]),
        "y": np.array([0]),
        "layers": "linear from 0",
    }  # p = 1/3 for all three classes
    options = {"optimizer": "SGD", "smoothing": 0.0, "first step": 0, "steps": 1}
    cases = [Case({**by_hand, **options}, _about("linear", "SGD", 0.0, 0, 1, 1))]
    for layers, optimizer, smoothing, first, steps, n in (
        ("linear", "SGD", 0.0, 0, 3, 2),
        ("linear", "SGD", 0.2, 0, 1, 2),
        ("linear", "SGD", 0.0, 4, 1, 2),
        ("linear, relu, linear", "Adam", 0.0, 0, 3, 4),
        ("linear, dropout, linear", "SGD", 0.0, 0, 2, 4),
        ("linear with no bias, batch norm, linear", "SGD", 0.0, 0, 2, 4),
        ("linear with no bias, batch norm, relu, dropout, linear", "Adam", 0.1, 2, 3, 8),
    ):
        arrays = {"x": rng.normal(size=(n, 2)), "y": rng.permutation(np.arange(n) % 3)}
        options = {"optimizer": optimizer, "smoothing": smoothing, "first step": first, "steps": steps}
        about = _about(layers, optimizer, smoothing, first, steps, n)
        cases.append(Case({**arrays, "layers": layers, **options}, about))
    return cases


def _about(layers: str, optimizer: str, smoothing: float, first: int, steps: int, n: int) -> dict[str, int | str]:
    return {
        "label smoothing": "zero" if smoothing == 0 else "not zero",
        "dropout": "present" if "dropout" in layers else "absent",
        "batch normalization": "present" if "batch norm" in layers else "absent",
        "the first step": first,
        "the number of steps": "1" if steps == 1 else "several",
        "N": n,
    }


def _layer(name: str, c: int, f: int, rng: np.random.Generator, dtype: type) -> Layer:
    if name.startswith("linear"):
        layer = Linear(c, f, bias="no bias" not in name, rng=rng, dtype=dtype)
        layer.params["weight"].value[...] *= "from 0" not in name
        return layer
    return {"relu": ReLU, "dropout": Dropout, "batch norm": lambda: BatchNorm2D(c, dtype=dtype)}[name]()


def _trainer(arguments: Arguments) -> Trainer:
    """A trainer whose data loader is empty: the check hands it its batches."""
    names, rng = arguments["layers"].split(", "), np.random.default_rng(0)
    last = len(names) - 1
    dtype = arguments["x"].dtype.type
    layers = {
        f"{name}{i}": _layer(name, 2 if i == 0 else 6, 3 if i == last else 6, rng, dtype)
        for i, name in enumerate(names)
    }
    model = Sequential(layers)
    optimizers = {"SGD": lambda p: SGD(p, 0.01, momentum=0.5), "Adam": lambda p: Adam(p, 0.01)}
    optimizer = optimizers[arguments["optimizer"]](model.named_parameters())
    optimizer.steps = arguments["first step"]
    empty = SimpleNamespace(epoch=lambda *_, **__: iter(()), batch_size=len(arguments["x"]))
    return Trainer(
        *(model, optimizer, RATES.__getitem__, empty, empty),
        epochs=1,
        label_smoothing=arguments["smoothing"],
        seed=3,
        state=TrainState(step=arguments["first step"]),
    )


def _call(function: Callable, arguments: Arguments) -> Outcome:
    """What some steps on the same batch return, and what they make of the weights."""
    trainer, losses, right = _trainer(arguments), [], []
    for _ in range(arguments["steps"]):
        result = function(trainer, arguments["x"], arguments["y"])
        if not isinstance(result, tuple) or len(result) != 2 or not all(map(_is_number, result)):
            raise Returned(f"Return loss, correct, both of them numbers: yours returns {described(result)}")
        losses.append(float(result[0]))
        right.append(float(result[1]))
        trainer.state.step += 1
    values = [p.value for p in trainer.model.named_parameters().values()]
    buffers = [b for b in trainer.model.named_buffers().values()]
    return {
        "loss of each step": np.array(losses, arguments["x"].dtype),
        "right answers of each step": np.array(right),
        "weights": np.concatenate([a.ravel() for a in values]),
        "running statistics": np.concatenate([np.zeros(0, values[0].dtype), *(a.ravel() for a in buffers)]),
        "state.step": trainer.state.step,
        "optimizer.steps": trainer.optimizer.steps,
    }


def _is_number(value: object) -> bool:
    return isinstance(value, float | int | np.number) or isinstance(value, np.ndarray) and not value.ndim


def _zero_after_backward(self: Trainer, x, y):
    logits, cache = self.model.forward(x, Context(Mode.TRAIN, self.seed, self.state.step))
    loss, dlogits = softmax_cross_entropy(logits, y, self.label_smoothing)
    self.model.backward(dlogits, cache, need_dx=False)
    self.model.zero_grad()
    self.optimizer.step(self.schedule(self.state.step))
    return loss, top_k_correct(logits, y, 1)


def _counts_too(self: Trainer, x, y):
    result = Trainer.train_step(self, x, y)
    self.state.step += 1
    return result


def _counts_first(self: Trainer, x, y):
    self.state.step += 1
    return Trainer.train_step(self, x, y)


def _loss_afterwards(self: Trainer, x, y):
    context = Context(Mode.TRAIN, self.seed, self.state.step)
    Trainer.train_step(self, x, y)
    logits = self.model.forward(x, context)[0]
    return softmax_cross_entropy(logits, y, self.label_smoothing)[0], top_k_correct(logits, y, 1)


def _softmax_twice(self: Trainer, x, y):
    logits, cache = self.model.forward(x, Context(Mode.TRAIN, self.seed, self.state.step))
    loss, dlogits = softmax_cross_entropy(softmax(logits), y, self.label_smoothing)
    self.model.zero_grad()
    self.model.backward(dlogits, cache, need_dx=False)
    self.optimizer.step(self.schedule(self.state.step))
    return loss, top_k_correct(logits, y, 1)


_CONTEXT = "Context(Mode.TRAIN, self.seed, self.state.step)"
_STEP = "self.optimizer.step(self.schedule(self.state.step))"

EXERCISE = Exercise(
    name="train_step",
    chapter="09_training",
    target="minidl.training.trainer:Trainer.train_step",
    task="One step of the training: forward, loss, backward, update. Given are self.model, self.optimizer, "
    "self.schedule (the learning rate of a step), self.label_smoothing, self.seed and self.state.step, the number "
    "of this step, which the loop around it counts. model.forward(x, ctx) gives (logits, cache); ctx is a "
    "Context(mode, seed, step) in TRAIN mode. softmax_cross_entropy(logits, y, smoothing) gives (loss, dlogits). "
    "model.zero_grad() empties the gradients, model.backward(dlogits, cache, need_dx=False) adds to them, and "
    "optimizer.step(lr) changes the weights. top_k_correct(logits, y, 1) is the number of right answers.",
    cases=_cases,
    call=_call,
    any_dtype=False,  # after some steps rounding in float32 has grown
    mistakes=(
        Mistake(
            "gradients not emptied",
            "The gradients of the steps before are still there: backward adds to them. Call self.model.zero_grad() "
            "before it.",
            (("self.model.zero_grad()", "pass"),),
        ),
        Mistake(
            "empty gradients",
            "The optimizer finds empty gradients. Either its step comes before backward, or zero_grad stands between "
            "the two. The order is zero_grad, backward, step.",
            wrong=_zero_after_backward,
        ),
        Mistake(
            "no update",
            "The weights don't move: the optimizer's step is missing.",
            ((_STEP, "pass"),),
        ),
        Mistake(
            "schedule ignored",
            "The learning rate doesn't follow the schedule: optimizer.step() takes the optimizer's own rate. Give it "
            "that of this step: self.schedule(self.state.step).",
            ((_STEP, "self.optimizer.step()"),),
        ),
        Mistake(
            "rate of the next step",
            "You use the learning rate of the next step. The schedule counts from 0, as self.state.step does.",
            ((_STEP, "self.optimizer.step(self.schedule(self.state.step + 1))"),),
        ),
        Mistake(
            "label smoothing ignored",
            "Right without label smoothing. Give self.label_smoothing to softmax_cross_entropy.",
            (("(logits, y, self.label_smoothing)", "(logits, y)"),),
        ),
        Mistake(
            "PROBE mode",
            "The forward pass isn't in TRAIN mode: no dropout, and batch normalization uses the running statistics, "
            "which then never change.",
            ((_CONTEXT, "Context(Mode.PROBE, self.seed, self.state.step)"),),
        ),
        Mistake(
            "no step",
            "Right without dropout. Dropout draws new numbers in every step, so your context needs the step: "
            "Context(Mode.TRAIN, self.seed, self.state.step).",
            ((_CONTEXT, "Context(Mode.TRAIN, self.seed)"),),
        ),
        Mistake(
            "always the same step",
            "Right without dropout. Your context has the same step every time, so dropout drops the same numbers for "
            "ever. Give it self.state.step.",
            ((_CONTEXT, "Context(Mode.TRAIN, self.seed, 0)"),),
        ),
        Mistake(
            "seed ignored",
            "Right without dropout. Your context doesn't have self.seed, so another seed changes nothing.",
            ((_CONTEXT, "Context(Mode.TRAIN, step=self.state.step)"),),
        ),
        Mistake(
            "softmax twice",
            "You apply softmax before softmax_cross_entropy, which contains it: it takes the logits themselves.",
            wrong=_softmax_twice,
        ),
        Mistake(
            "uphill",
            "The weights move in the direction of the gradient, and the loss rises: dlogits has the wrong sign.",
            (("backward(dlogits, cache", "backward(-dlogits, cache"),),
        ),
        Mistake(
            "averaged again",
            "The gradient is N times too small. The loss is the mean over the batch, so dlogits is divided by N "
            "already.",
            (("backward(dlogits, cache", "backward(dlogits / len(x), cache"),),
        ),
        Mistake(
            "share of right answers",
            "Return the number of right answers, not their share: the loop adds the numbers of all batches.",
            (("return loss, top_k_correct(logits, y, 1)", "return loss, top_k_correct(logits, y, 1) / len(x)"),),
        ),
        Mistake(
            "loss after the update",
            "The loss and the right answers must be those before the update. You run the forward pass once more, "
            "which also moves the running statistics twice.",
            wrong=_loss_afterwards,
        ),
        Mistake(
            "counted first",
            "You add 1 to self.state.step before the step, so rate and dropout are those of the next one. The "
            "loop around train_step counts the steps.",
            wrong=_counts_first,
        ),
        Mistake(
            "counted twice",
            "You add 1 to self.state.step. The loop around train_step does that.",
            wrong=_counts_too,
        ),
    ),
    hints=(
        "The four things happen in this order: forward, loss, backward, update. Which of them gives what to the "
        "next?",
        "forward(x, Context(Mode.TRAIN, self.seed, self.state.step)) returns (logits, cache). Before backward, "
        "the gradients of the last step must be set to zero. The update needs the rate of this step.",
        "loss, dlogits = softmax_cross_entropy(logits, y, self.label_smoothing); self.model.zero_grad(); "
        "self.model.backward(dlogits, cache, need_dx=False); self.optimizer.step(self.schedule(self.state.step)); "
        "return loss, top_k_correct(logits, y, 1).",
    ),
)
