"""Optimizers: SGD with momentum, Adam and AdamW. They work in place, without large temporary arrays.

In the equations t is the number of the step (from 1), w a parameter's value, g its gradient, lr the learning rate of
the step times the lr_scale of the parameter's group, and wd the weight decay. Nothing here waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from minidl.backend.arrays import Array, array_module
from minidl.backend.named import assign, check_arrays
from minidl.clipping import clip_norm, gradient_norm
from minidl.errors import UsageError, require_whole
from minidl.kernels import kernels_for
from minidl.layers.base import Parameter
from minidl.layers.parameter import FROZEN

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "clip_norm", "get_optimizer", "gradient_norm"]

_TAGS = {"weight", "bias", "norm"}  # the tags of minidl's own layers: a group may name one that no parameter has

_MEANT = {  # what people look for who know another framework
    "zero_grad": "model.zero_grad(): the gradients are the model's",
    "state_dict": "optimizer.state(), and optimizer.steps",
    "load_state_dict": "optimizer.load_state(arrays, steps)",
    "param_groups": "optimizer.lr, and options by tag: groups={...}",
}


class Optimizer:
    """Updates parameters from their gradients. A subclass implements `_update` for one parameter.

    `params` is Layer.named_parameters(); the optimizer's state has the same names. `groups` sets weight_decay and
    lr_scale for all parameters with a tag: {"norm": {"weight_decay": 0.0}, "bias": {"lr_scale": 2.0}}. A parameter
    with several tags takes the options of all their groups; if two groups set the same option, the later one counts.
    A parameter with the tag "frozen" stays as it is (`layers.freeze`). With `clip_norm`, each step first shortens the
    gradients to this norm if they are longer (`minidl/clipping.py`); `norm` is what they had before, on the device.
    Raises UsageError for a rate or decay below zero, and for an unknown tag or option.
    """

    slots: tuple[str, ...] = ()  # names of the state arrays each parameter has

    def __init__(
        self,
        params: Mapping[str, Parameter],
        lr: float,
        weight_decay: float = 0.0,
        groups: Mapping[str, Mapping[str, float]] | None = None,
        clip_norm: float | None = None,
    ) -> None:
        if not isinstance(params, Mapping):
            raise UsageError(
                f"{type(self).__name__}: got a {type(params).__name__} of parameters: give model.named_parameters()"
            )
        if other := [name for name, p in params.items() if not isinstance(p, Parameter)]:
            raise UsageError(f"{type(self).__name__}: {other[0]} is no Parameter: give model.named_parameters()")
        _require("lr", lr, _is_rate)
        _require("weight_decay", weight_decay, lambda v: v >= 0)
        if clip_norm is not None:
            _require("clip_norm", clip_norm, lambda v: v > 0)
        first = {id(p): name for name, p in reversed(params.items())}
        self.params = {name: p for name, p in params.items() if first[id(p)] == name}  # each once
        self.lr = float(lr)
        self.steps = 0
        self.clip_norm = None if clip_norm is None else float(clip_norm)
        self.norm: Array | None = None  # of the gradients of the last step, if they are clipped
        self.options = _options(self.params, float(weight_decay), groups or {})
        self._state = {
            f"{name}/{slot}": array_module(p.value).zeros_like(p.value)
            for name, p in self.params.items()
            for slot in self.slots
        }
        self._pool: dict[Any, Array] = {}

    def step(self, lr: float = ...) -> None:
        """One update of every parameter that isn't frozen, with the learning rate `lr` (by default `self.lr`).

        UsageError if `lr` isn't a number from 0. None is an error too: a schedule that forgets its `return` gives it.
        """
        if lr is None:
            raise UsageError("optimizer: lr is None, must be a number: does the schedule return one for every step?")
        lr = self.lr if lr is ... else _number("lr", lr)  # no np.float64: float32 arrays would compute in float64
        _require("lr", lr, _is_rate)
        self.steps += 1
        if self.clip_norm is not None:
            self.norm = clip_norm(self.params.values(), self.clip_norm)
        for name, p in self.params.items():
            if FROZEN in p.tags:
                continue
            option = self.options[name]
            state = [self._state[f"{name}/{slot}"] for slot in self.slots]
            self._update(p.value, p.grad, state, lr * option["lr_scale"], option["weight_decay"])

    def __getattr__(self, name: str) -> Any:
        meant = f": write {_MEANT[name]}" if name in _MEANT else ""
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{meant}", name=name, obj=self)

    def state(self) -> dict[str, Array]:
        """The state arrays by name, such as "stem.conv.weight/m": the live ones, to be saved with `steps`."""
        return dict(self._state)

    def load_state(self, arrays: Mapping[str, Array], steps: int) -> None:
        """Continues from the `state()` and `steps` of an earlier run: the next step is the one it would have made.

        If an array is missing, unexpected or of the wrong shape, nothing is changed and DataError names all of them.
        Raises UsageError unless `steps` is a whole number from 0.
        """
        require_whole("steps", steps)
        check_arrays(self._state, arrays, "the optimizer's state")
        for name, a in self._state.items():
            assign(a, arrays[name])
        self.steps = int(steps)

    def _update(self, w: Array, g: Array, state: list[Array], lr: float, wd: float) -> None:
        raise NotImplementedError

    def _scratch(self, like: Array, slot: int) -> Array:
        """Working memory of the shape of `like`, which all parameters share. Slots 0 and 1 don't overlap."""
        key = (slot, like.dtype)
        if key not in self._pool:
            size = max(p.size for p in self.params.values() if p.dtype == like.dtype)
            self._pool[key] = array_module(like).empty(size, like.dtype)
        return self._pool[key][: like.size].reshape(like.shape)  # (size,) -> shape of the parameter

    def _decayed(self, w: Array, g: Array, wd: float) -> Array:
        """g + wd w, in slot 0: the gradient of the loss plus that of the penalty wd/2 |w|^2. Just g if wd is 0."""
        if not wd:
            return g
        xp = array_module(w)
        out = xp.multiply(w, wd, out=self._scratch(w, 0))
        return xp.add(out, g, out=out)


def _options(
    params: Mapping[str, Parameter], weight_decay: float, groups: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """weight_decay and lr_scale of each parameter, by name."""
    defaults = {"weight_decay": weight_decay, "lr_scale": 1.0}
    tags = _TAGS.union(*(p.tags for p in params.values()))
    if not isinstance(groups, Mapping) or not all(isinstance(group, Mapping) for group in groups.values()):
        raise UsageError(f'optimizer: groups is {groups!r:.60}, must be as in {{"norm": {{"weight_decay": 0.0}}}}')
    for tag, group in groups.items():
        if tag not in tags:
            raise UsageError(f"optimizer: no parameter has the tag {tag!r}, choose {', '.join(sorted(tags))}")
        for option, value in group.items():
            if option not in defaults:
                raise UsageError(f"optimizer: group {tag} has no option {option!r}, choose {', '.join(defaults)}")
            _require(f"{option} of group {tag}", value, lambda v: v >= 0)
    return {
        name: defaults | {k: float(v) for tag in groups if tag in p.tags for k, v in groups[tag].items()}
        for name, p in params.items()
    }


class SGD(Optimizer):
    """Gradient descent with momentum mu (Sutskever et al. 2013, section 2, in the form of torch.optim.SGD).

        g <- g + wd w
        v <- mu v + g
        w <- w - lr v                without nesterov
        w <- w - lr (g + mu v)       with nesterov

    In the paper v contains lr. Here lr is outside, so that a change of lr acts at once. Without momentum v = g, and
    there is no state.
    """

    def __init__(
        self,
        params: Mapping[str, Parameter],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        groups: Mapping[str, Mapping[str, float]] | None = None,
        clip_norm: float | None = None,
    ) -> None:
        _require("momentum", momentum, lambda v: 0 <= v < 1)
        _number("nesterov", nesterov)
        if nesterov and not momentum:
            raise UsageError("optimizer: nesterov needs a momentum above 0, such as momentum=0.9")
        self.momentum, self.nesterov = float(momentum), nesterov
        self.slots = ("v",) if momentum else ()
        super().__init__(params, lr, weight_decay, groups, clip_norm)

    def _update(self, w: Array, g: Array, state: list[Array], lr: float, wd: float) -> None:
        xp = array_module(w)
        g = self._decayed(w, g, wd)
        move = self._scratch(w, 1)
        if not self.momentum:
            xp.multiply(g, lr, out=move)
        else:
            (v,) = state
            v *= self.momentum
            v += g
            if self.nesterov:
                xp.multiply(v, self.momentum, out=move)
                move += g
                move *= lr
            else:
                xp.multiply(v, lr, out=move)
        w -= move


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1). The decay is added to the gradient, as in torch.optim.Adam.

    g <- g + wd w
    m <- b1 m + (1 - b1) g
    v <- b2 v + (1 - b2) g^2
    w <- w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
    """

    slots = ("m", "v")

    def __init__(
        self,
        params: Mapping[str, Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        groups: Mapping[str, Mapping[str, float]] | None = None,
        clip_norm: float | None = None,
    ) -> None:
        try:
            b1, b2 = betas
        except (TypeError, ValueError) as error:
            raise UsageError(f"optimizer: betas is {betas!r}, must be two numbers such as (0.9, 0.999)") from error
        for beta in (b1, b2):
            _require("betas", beta, lambda v: 0 <= v < 1)
        _require("eps", eps, lambda v: v >= 0)
        self.betas, self.eps = (float(b1), float(b2)), float(eps)
        super().__init__(params, lr, weight_decay, groups, clip_norm)

    def _update(self, w: Array, g: Array, state: list[Array], lr: float, wd: float) -> None:
        (m, v), (b1, b2) = state, self.betas
        step, root = lr / (1 - b1**self.steps), math.sqrt(1 - b2**self.steps)
        kernels_for(w).adam(w, g, m, v, step, self.betas, root, self.eps, wd)


class AdamW(Adam):
    """Adam with decoupled decay (Loshchilov & Hutter 2019, algorithm 2): the decay doesn't pass through m and v.

    w <- w - lr wd w            (as in torch.optim.AdamW, the decay is multiplied by lr)
    then Adam's step with wd = 0

    `weight_decay` is 0 unless it is given (torch's default is 0.01).
    """

    def _update(self, w: Array, g: Array, state: list[Array], lr: float, wd: float) -> None:
        if wd:
            w *= 1 - lr * wd
        super()._update(w, g, state, lr, 0.0)


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def get_optimizer(name: str) -> type[Optimizer]:
    """The class registered as "sgd", "adam" or "adamw"; UsageError for any other name."""
    if name not in OPTIMIZERS:
        raise UsageError(f"unknown optimizer {name!r}: choose {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[name]


def _number(option: str, value: Any) -> float:
    if callable(value):
        raise UsageError(
            f"optimizer: {option} is a function, must be a number: a schedule goes to the Trainer, or gives the rate "
            "of each step: optimizer.step(schedule(step))"
        )
    if isinstance(value, str) or not hasattr(value, "__float__") or getattr(value, "shape", ()):
        raise UsageError(f"optimizer: {option} is {value!r:.60}, must be a number")
    return float(value)


def _is_rate(value: float) -> bool:
    return 0 <= value < math.inf


def _require(option: str, value: Any, fits: Callable[[float], bool]) -> None:
    if not fits(_number(option, value)):
        raise UsageError(f"optimizer: {option} can't be {value}")
