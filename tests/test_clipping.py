"""Clipping by norm against its formula, torch, and in whole trainings."""

import numpy as np
import pytest

import minidl as md
from minidl.clipping import BLOCK, clip_norm, gradient_norm
from minidl.errors import UsageError
from minidl.layers.base import Parameter
from minidl.optim import SGD, Adam, AdamW


def parameters(dtype=np.float64, scale=1.0):
    rng = np.random.default_rng(0)
    params = [Parameter(np.zeros(shape, dtype)) for shape in ((3, 4), (5,), (2, 1, 3), (0,))]
    for p in params:
        p.grad[...] = scale * rng.normal(size=p.shape)
    return params


def norm_by_hand(params):
    return np.sqrt(sum((p.grad.astype(np.float64) ** 2).sum() for p in params))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("most", [0.1, 2.0, 1e3])
def test_all_gradients_together_get_the_norm_and_keep_their_direction(dtype, most):
    params = parameters(dtype)
    before, length = [p.grad.copy() for p in params], norm_by_hand(params)
    norm = clip_norm(params, most)
    assert norm == pytest.approx(length, rel=1e-14) and norm.shape == () and norm.dtype == np.float64
    factor = min(1, most / (length + 1e-6))
    for p, g in zip(params, before, strict=True):
        assert p.grad.dtype == dtype
        np.testing.assert_allclose(p.grad, g * factor, rtol=1e-6 if dtype == np.float32 else 1e-14)
        if factor == 1:
            np.testing.assert_array_equal(p.grad, g)


def test_no_gradients_are_left_alone_and_large_ones_do_not_overflow():
    params = parameters(scale=0.0)
    assert clip_norm(params, 1.0) == 0 and not any(p.grad.any() for p in params)
    large = parameters(np.float32, scale=1e30)
    clip_norm(large, 1.0)
    assert norm_by_hand(large) == pytest.approx(1, rel=1e-6)


def test_a_nan_spreads_so_that_training_stops():
    params = parameters()
    params[0].grad[1, 1] = np.nan
    assert np.isnan(clip_norm(params, 1.0)) and all(np.isnan(p.grad).all() for p in params)


def test_frozen_gradients_neither_count_nor_change():
    params = parameters()
    params[0].tags |= {"frozen"}
    frozen = params[0].grad.copy()
    assert clip_norm(params, 0.5) == pytest.approx(norm_by_hand(parameters()[1:]))
    np.testing.assert_array_equal(params[0].grad, frozen)
    with pytest.raises(UsageError, match="no gradients"):
        gradient_norm(params[:1])


def test_a_large_parameter_is_squared_in_blocks():
    p = Parameter(np.zeros(2 * BLOCK + 3, np.float32))
    p.grad[...] = 1
    p.grad[-1] = 2
    assert gradient_norm([p]) == pytest.approx(np.sqrt(2 * BLOCK + 6), rel=1e-15)


@pytest.mark.parametrize("make", [SGD, Adam, AdamW])
def test_an_optimizer_clips_before_its_step(make):
    (clipped, *_), (shortened, *_) = parameters(), parameters()
    one = make({"w": clipped}, 0.1, clip_norm=0.3)
    two = make({"w": shortened}, 0.1)
    for step in range(3):
        clipped.grad[...] = shortened.grad[...] = step + np.arange(12).reshape(3, 4)
        length = clip_norm([shortened], 0.3)
        one.step()
        two.step()
        assert one.norm == length and two.norm is None
        np.testing.assert_array_equal(clipped.value, shortened.value)


@pytest.mark.parametrize("most", [0, -1.0, float("nan"), "1"])
def test_a_norm_that_is_none_is_refused(most):
    with pytest.raises(UsageError, match="clip_norm"):
        SGD({"w": parameters()[0]}, 0.1, clip_norm=most)


def trained(prepare):
    """The model, its optimizer and its Trainer for two steps."""
    data = md.load_shapes(train=24, val=8)
    model = prepare(md.models.build("convnet", classes=len(data.classes)))
    optimizer = SGD(model.named_parameters(), 0.1, momentum=0.9, clip_norm=0.05)
    batches = md.Loader(data.train, 12, mean=0.5, std=0.25, workers=0)
    return model, optimizer, md.Trainer(model, optimizer, md.schedules.constant(0.1), batches, batches, epochs=1)


@pytest.mark.parametrize("prepare", [lambda m: m, md.fuse], ids=["plain", "fused"])
def test_both_engines_train_with_it_to_the_same_weights_each_time(prepare):
    runs = []
    for _ in range(2):
        model, optimizer, trainer = trained(prepare)
        trainer.fit()
        assert optimizer.norm > 0.05  # it was clipped
        runs.append({name: p.value.copy() for name, p in model.named_parameters().items()})
    for name, a in runs[0].items():
        np.testing.assert_array_equal(runs[1][name], a, err_msg=name)


@pytest.mark.parity
@pytest.mark.parametrize("most", [0.1, 1.0, 100.0])
def test_it_is_torchs(most):
    torch = pytest.importorskip("torch")
    params = parameters()
    theirs = [torch.zeros(p.shape, dtype=torch.float64) for p in params]
    for t, p in zip(theirs, params, strict=True):
        t.grad = torch.from_numpy(p.grad.copy())
    norm = torch.nn.utils.clip_grad_norm_(theirs, most)
    assert clip_norm(params, most) == pytest.approx(float(norm), rel=1e-13)
    for t, p in zip(theirs, params, strict=True):
        np.testing.assert_allclose(p.grad, t.grad.numpy(), rtol=0, atol=1e-13)


def test_the_parameters_of_a_model_may_come_with_their_names():
    params = parameters()
    assert gradient_norm({str(i): p for i, p in enumerate(params)}) == gradient_norm(params)
    clip_norm({str(i): p for i, p in enumerate(params)}, 0.1)
    assert norm_by_hand(params) == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("most", [0.0, -1.0, np.nan])
def test_a_norm_that_cannot_be_is_refused_before_anything_changes(most):
    params = parameters()
    before = norm_by_hand(params)
    with pytest.raises(UsageError, match="choose a number above 0"):
        clip_norm(params, most)
    assert norm_by_hand(params) == before


def test_what_is_no_parameter_is_named():
    with pytest.raises(UsageError, match="'conv.weight' is no Parameter"):
        clip_norm(["conv.weight"], 1.0)
