"""The optimizers against their equations written out, and against torch; groups, dtypes and resumption."""

import math

import numpy as np
import pytest

from minidl.errors import DataError, UsageError
from minidl.layers.base import Parameter
from minidl.optim import OPTIMIZERS, SGD, Adam, AdamW, get_optimizer
from minidl.schedules import constant

MAKERS = {
    "sgd": lambda params, **kw: SGD(params, 0.1, **kw),
    "momentum": lambda params, **kw: SGD(params, 0.1, momentum=0.9, **kw),
    "nesterov": lambda params, **kw: SGD(params, 0.1, momentum=0.9, nesterov=True, **kw),
    "adam": lambda params, **kw: Adam(params, 0.1, **kw),
    "adamw": lambda params, **kw: AdamW(params, 0.1, **kw),
}


def parameters(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"conv.weight": (3, 3, 2, 4), "bn.gamma": (4,), "fc.weight": (4, 3), "fc.bias": (3,)}
    tags = {"weight": "weight", "gamma": "norm", "bias": "bias"}
    return {
        name: Parameter(rng.normal(size=shape).astype(dtype), {tags[name.split(".")[1]]})
        for name, shape in shapes.items()
    }


def fill_grads(params, step):
    rng = np.random.default_rng([7, step])
    for p in params.values():
        p.grad[...] = rng.normal(size=p.value.shape)


def train(optimizer, steps, lr=...):
    for _ in range(steps):
        fill_grads(optimizer.params, optimizer.steps)
        optimizer.step(lr)


def scalar_run(update, wd, steps=5, w=1.5):
    """The values of one weight under `update(w, g, t, memory)`, written with Python floats."""
    rng, memory = np.random.default_rng(3), {"m": 0.0, "v": 0.0}
    grads = rng.normal(size=steps)
    for t, g in enumerate(grads, 1):
        w = update(w, float(g), t, memory, wd)
    return w, grads


def sgd(w, g, t, s, wd):
    return w - 0.1 * (g + wd * w)


def momentum(w, g, t, s, wd):
    s["v"] = 0.9 * s["v"] + g + wd * w
    return w - 0.1 * s["v"]


def nesterov(w, g, t, s, wd):
    g = g + wd * w
    s["v"] = 0.9 * s["v"] + g
    return w - 0.1 * (g + 0.9 * s["v"])


def adam(w, g, t, s, wd):
    g = g + wd * w
    s["m"] = 0.9 * s["m"] + 0.1 * g
    s["v"] = 0.999 * s["v"] + 0.001 * g * g
    return w - 0.1 * (s["m"] / (1 - 0.9**t)) / (math.sqrt(s["v"] / (1 - 0.999**t)) + 1e-8)


def adamw(w, g, t, s, wd):
    return adam(w - 0.1 * wd * w, g, t, s, 0.0)


@pytest.mark.parametrize("wd", [0.0, 0.05])
@pytest.mark.parametrize("update", [sgd, momentum, nesterov, adam, adamw], ids=lambda f: f.__name__)
def test_five_steps_follow_the_equations(update, wd):
    expected, grads = scalar_run(update, wd)
    p = Parameter(np.array([1.5]))
    optimizer = MAKERS[update.__name__]({"w": p}, weight_decay=wd)
    for g in grads:
        p.grad[...] = g
        optimizer.step()
    assert p.value[0] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("name", MAKERS)
def test_a_step_leaves_the_gradient_alone_and_writes_the_value_in_place(name):
    flat = np.ones(10)
    p = Parameter(flat[:6].reshape(2, 3), grad=np.full((2, 3), 0.5))
    MAKERS[name]({"w": p}, weight_decay=0.1).step()
    np.testing.assert_array_equal(p.grad, 0.5)
    assert (flat[:6] != 1).all() and (flat[6:] == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MAKERS)
def test_values_state_and_scratch_keep_the_dtype(name, dtype):
    optimizer = MAKERS[name](parameters(dtype), weight_decay=np.float64(0.1), groups={"bias": {"lr_scale": 2.0}})
    train(optimizer, 2, lr=np.float64(0.1))
    arrays = [p.value for p in optimizer.params.values()] + list(optimizer.state().values())
    assert {a.dtype for a in arrays} | {a.dtype for a in optimizer._pool.values()} == {np.dtype(dtype)}


@pytest.mark.parametrize("name", MAKERS)
def test_numpy_scalars_as_options_give_the_bits_of_python_floats(name):
    runs = [MAKERS[name](parameters(np.float32), weight_decay=number(0.1)) for number in (float, np.float64)]
    for optimizer, number in zip(runs, (float, np.float64), strict=True):
        train(optimizer, 3, lr=number(0.1))
    for key in runs[0].params:
        np.testing.assert_array_equal(runs[0].params[key].value, runs[1].params[key].value)


@pytest.mark.parametrize("name", MAKERS)
def test_scratch_is_no_larger_than_two_of_the_largest_parameter(name):
    optimizer = MAKERS[name](parameters(), weight_decay=0.1)
    train(optimizer, 3)
    assert sum(a.size for a in optimizer._pool.values()) <= 2 * 72


@pytest.mark.parametrize("name", MAKERS)
def test_a_run_resumed_from_its_state_continues_bit_for_bit(name):
    whole = MAKERS[name](parameters(), weight_decay=0.01)
    train(whole, 6)

    first = MAKERS[name](parameters(), weight_decay=0.01)
    train(first, 3)
    saved = {key: a.copy() for key, a in first.state().items()}, first.steps
    second = MAKERS[name](parameters(seed=1), weight_decay=0.01)
    for key, p in first.params.items():
        second.params[key].value[...] = p.value
    second.load_state(*saved)
    train(second, 3)
    for key in whole.params:
        np.testing.assert_array_equal(second.params[key].value, whole.params[key].value)


def test_state_is_named_after_the_parameters_in_their_order():
    assert list(Adam(parameters(), 0.1).state())[:3] == ["conv.weight/m", "conv.weight/v", "bn.gamma/m"]
    assert list(SGD(parameters(), 0.1).state()) == []


def test_a_state_that_does_not_fit_is_one_error_and_changes_nothing():
    optimizer = Adam(parameters(), 0.1)
    train(optimizer, 1)
    before = {key: a.copy() for key, a in optimizer.state().items()}
    state = {key: a + 1 for key, a in before.items()}
    state["fc.bias/m"] = np.zeros(9)
    state["other/m"] = state.pop("fc.weight/v")
    with pytest.raises(
        DataError, match=r"missing: fc.weight/v; unexpected: other/m; wrong shape: fc.bias/m"
    ) as error:
        optimizer.load_state(state, 5)
    assert "\n" not in str(error.value)
    assert optimizer.steps == 1
    for key, a in optimizer.state().items():
        np.testing.assert_array_equal(a, before[key])


def test_the_learning_rate_of_a_step_replaces_the_default():
    one, other = SGD(parameters(), 0.1), SGD(parameters(), 99.0)
    train(one, 2)
    train(other, 2, lr=0.1)
    for key in one.params:
        np.testing.assert_array_equal(one.params[key].value, other.params[key].value)


def test_groups_choose_decay_and_rate_by_tag():
    groups = {"norm": {"weight_decay": 0.0}, "bias": {"weight_decay": 0.0, "lr_scale": 2.0}}
    params = {tag: Parameter(np.array([1.0]), {tag}) for tag in ("weight", "norm", "bias")}
    optimizer = SGD(params, 0.1, weight_decay=0.5, groups=groups)
    for p in params.values():
        p.grad[...] = 1
    optimizer.step()
    assert params["weight"].value[0] == pytest.approx(1 - 0.1 * 1.5)
    assert params["norm"].value[0] == pytest.approx(1 - 0.1)
    assert params["bias"].value[0] == pytest.approx(1 - 0.2)


def test_a_parameter_of_two_groups_takes_the_options_of_both_the_later_ones_first():
    p = Parameter(np.array([1.0]), {"bias", "head"})
    groups = {"head": {"lr_scale": 3.0}, "bias": {"lr_scale": 5.0, "weight_decay": 0.0}}
    assert SGD({"b": p}, 0.1, weight_decay=0.5, groups=groups).options["b"] == {"weight_decay": 0.0, "lr_scale": 5.0}


@pytest.mark.parametrize(
    "make",
    [
        lambda p: SGD(p, -0.1),
        lambda p: SGD(p, math.nan),
        lambda p: Adam(p, 0.1, weight_decay=-1.0),
        lambda p: Adam(p, 0.1, betas=(0.9, 1.0)),
        lambda p: SGD(p, 0.1, momentum=1.0),
        lambda p: SGD(p, 0.1, nesterov=True),
        lambda p: SGD(p, 0.1, groups={"biass": {"weight_decay": 0.0}}),
        lambda p: SGD(p, 0.1, groups={"bias": {"decay": 0.0}}),
        lambda p: SGD(p, 0.1, groups={"bias": {"lr_scale": -1.0}}),
        lambda p: get_optimizer("adm"),
        lambda p: Adam(p, "0.1"),
        lambda p: Adam(p, constant(0.1)),
        lambda p: Adam(p, 0.1, betas=0.9),
        lambda p: Adam(p, 0.1, betas=(0.9, 0.99, 0.999)),
        lambda p: Adam(p, 0.1, betas=("0.9", 0.99)),
        lambda p: Adam(p, 0.1, eps=None),
        lambda p: SGD(p, 0.1, momentum="0.9"),
        lambda p: SGD(p, 0.1, weight_decay=[0.1]),
        lambda p: SGD(p, 0.1, groups={"bias": 0.0}),
        lambda p: SGD(p, 0.1, groups=["bias"]),
        lambda p: SGD({name: q.value for name, q in p.items()}, 0.1),
        lambda p: SGD(p, 0.1).step(constant(0.1)),
        lambda p: SGD(p, 0.1).step("0.1"),
        lambda p: SGD(p, 0.1).step(None),
        lambda p: SGD(p, 0.1).step(np.array([0.1, 0.2])),
        lambda p: SGD(p, [0.1]),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(make):
    with pytest.raises(UsageError) as error:
        make(parameters())
    assert "\n" not in str(error.value)


def test_nesterov_without_momentum_is_told_what_is_missing():
    with pytest.raises(UsageError, match="nesterov needs a momentum"):
        SGD(parameters(), 0.1, nesterov=True)


def test_a_schedule_in_place_of_a_rate_is_told_where_it_goes():
    with pytest.raises(UsageError, match=r"lr is a function, .* optimizer\.step\(schedule\(step\)\)"):
        Adam(parameters(), lr=constant(0.1))


def test_a_group_for_norms_is_welcome_in_a_model_without_any():
    SGD({"fc.bias": Parameter(np.zeros(2), {"bias"})}, 0.1, groups={"norm": {"weight_decay": 0.0}})


def test_every_registered_name_is_found():
    assert {name: get_optimizer(name) for name in ("sgd", "adam", "adamw")} == OPTIMIZERS


@pytest.mark.parity
@pytest.mark.parametrize("wd", [0.0, 0.05])
@pytest.mark.parametrize("name", MAKERS)
def test_twenty_steps_are_torchs(name, wd):
    torch = pytest.importorskip("torch")
    theirs = {
        "sgd": lambda p: torch.optim.SGD(p, 0.1, weight_decay=wd),
        "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=wd),
        "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=wd),
        "adam": lambda p: torch.optim.Adam(p, 0.1, weight_decay=wd),
        "adamw": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=wd),
    }
    params = parameters()
    tensors = [torch.tensor(p.value.copy(), requires_grad=True) for p in params.values()]
    ours, theirs = MAKERS[name](params, weight_decay=wd), theirs[name](tensors)
    for step in range(20):
        lr = 0.1 / (1 + step)
        fill_grads(params, step)
        for p, t in zip(params.values(), tensors, strict=True):
            t.grad = torch.tensor(p.grad.copy())
        theirs.param_groups[0]["lr"] = lr
        ours.step(lr)
        theirs.step()
    for p, t in zip(params.values(), tensors, strict=True):
        np.testing.assert_allclose(p.value, t.detach().numpy(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("rate", [math.nan, math.inf, -1.0])
def test_a_step_at_an_impossible_rate_changes_nothing(rate):
    p = Parameter(np.ones(3))
    p.grad[...] = 1
    optimizer = SGD({"p": p}, 0.1)
    with pytest.raises(UsageError, match="lr can't be"):
        optimizer.step(rate)
    assert (p.value == 1).all() and optimizer.steps == 0


@pytest.mark.parametrize("steps", [-3, 1.5])
def test_the_number_of_steps_of_a_loaded_state_is_checked(steps):
    optimizer = Adam({"p": Parameter(np.ones(3))}, 0.1)
    with pytest.raises(UsageError, match="steps is"):
        optimizer.load_state(optimizer.state(), steps)
