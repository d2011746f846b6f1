"""Schedules are pure functions of the step, with the values of their formulae and of torch."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import UsageError
from minidl.schedules import SCHEDULES, make_schedule, step_drops

names = st.sampled_from(SCHEDULES)


@given(names, st.integers(2, 200), st.integers(0, 50), st.randoms())
def test_a_schedule_has_no_memory(name, total, warmup, shuffler: random.Random):
    warmup = min(warmup, total - 1)
    options = {"warmup_steps": warmup, "drop_steps": (warmup + 1, warmup + 9)}
    schedule = make_schedule(name, 0.1, total, **options)
    steps = list(range(total))
    shuffler.shuffle(steps)
    seen = {step: schedule(step) for step in steps}
    assert seen == {step: make_schedule(name, 0.1, total, **options)(step) for step in range(total)}


@given(names, st.floats(1e-6, 10), st.integers(1, 200), st.integers(0, 50), st.integers(0, 400))
def test_every_rate_is_a_python_float_between_zero_and_the_peak(name, lr, total, warmup, step):
    rate = make_schedule(name, lr, total, warmup_steps=min(warmup, total - 1))(step)
    assert type(rate) is float
    assert 0 <= rate <= lr * (1 + 1e-12)


@given(names, st.integers(1, 200), st.integers(1, 300))
def test_past_the_end_the_rate_stays(name, total, beyond):
    schedule = make_schedule(name, 0.1, total, drop_steps=(1,))
    assert schedule(total + beyond) == schedule(total)


def test_constant_is_constant():
    assert {make_schedule("constant", 0.1, 50)(step) for step in range(50)} == {0.1}


def test_step_drops_by_the_factor_at_the_given_steps():
    schedule = make_schedule("step", 1.0, 40, drop_steps=(10, 30), factor=0.5)
    assert [schedule(step) for step in (0, 9, 10, 29, 30, 39)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_drop_steps_count_from_the_start_of_the_run_with_warm_up_too():
    schedule = make_schedule("step", 1.0, 40, drop_steps=(10,), warmup_steps=5)
    assert schedule(9) == 1 and schedule(10) == pytest.approx(0.1)


@given(st.integers(2, 300))
def test_cosine_falls_all_the_way(total):
    rates = [make_schedule("cosine", 0.1, total, final_lr=0.01)(step) for step in range(total + 1)]
    assert rates[0] == pytest.approx(0.1) and rates[-1] == pytest.approx(0.01)
    assert all(a > b for a, b in zip(rates, rates[1:], strict=False))


def test_half_way_cosine_is_at_half_the_rate():
    assert make_schedule("cosine", 0.1, 100)(50) == pytest.approx(0.05)


@given(st.integers(10, 300), st.floats(0.1, 0.9), st.floats(2, 100), st.floats(2, 1e5))
def test_one_cycle_rises_once_and_falls_once(total, rise, div, final_div):
    schedule = make_schedule("one-cycle", 1.0, total, rise=rise, div=div, final_div=final_div)
    rates = [schedule(step) for step in range(total)]
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert abs(top - (rise * total - 1)) <= 1
    assert rates[-1] == pytest.approx(1 / final_div)
    if rise * total > 1.01:
        assert rates[0] == pytest.approx(1 / div)


def test_one_cycle_of_a_single_step_is_at_the_peak():
    assert make_schedule("one-cycle", 0.1, 1)(0) == pytest.approx(0.1)


@given(names, st.integers(1, 50))
def test_warm_up_rises_in_a_line_to_the_first_rate_and_then_starts_the_schedule(name, warmup):
    bare = make_schedule(name, 0.1, 100)
    warmed = make_schedule(name, 0.1, 100 + warmup, warmup_steps=warmup)
    assert warmed(warmup - 1) == bare(0)
    assert warmed(0) == pytest.approx(bare(0) / warmup)
    assert [warmed(warmup + step) for step in range(100)] == [bare(step) for step in range(100)]


@pytest.mark.parametrize(
    "name, lr, total, options",
    [
        ("cosin", 0.1, 10, {}),
        ("cosine", -0.1, 10, {}),
        ("cosine", math.nan, 10, {}),
        ("cosine", 0.1, 0, {}),
        ("cosine", 0.1, 10, {"warmup_steps": 10}),
        ("step", 0.1, 10, {"drop_steps": (3,), "warmup_steps": 5}),
        ("one-cycle", 0.1, 10, {"rise": 1.5}),
        ("one-cycle", 0.1, 10, {"div": 0}),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(name, lr, total, options):
    with pytest.raises(UsageError, match="learning-rate schedule") as error:
        make_schedule(name, lr, total, **options)
    assert "\n" not in str(error.value)


def torch_rates(make, steps, lr=0.1):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr)
    scheduler, rates = make(torch.optim.lr_scheduler, optimizer), []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < steps:
            scheduler.step()
    return rates


@pytest.mark.parity
@pytest.mark.parametrize("total, rise", [(100, 0.3), (37, 0.25), (10, 0.5)])
def test_one_cycle_is_torchs(total, rise):
    expected = torch_rates(
        lambda lib, opt: lib.OneCycleLR(opt, 0.1, total, pct_start=rise, div_factor=20, final_div_factor=50), total
    )
    schedule = make_schedule("one-cycle", 0.1, total, rise=rise, div=20, final_div=20 * 50)
    assert [schedule(step) for step in range(total)] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parity
def test_cosine_is_torchs():
    expected = torch_rates(lambda lib, opt: lib.CosineAnnealingLR(opt, 50, eta_min=0.01), 50)
    schedule = make_schedule("cosine", 0.1, 50, final_lr=0.01)
    assert [schedule(step) for step in range(50)] == pytest.approx(expected, rel=1e-10)  # torch's is a recurrence


@pytest.mark.parity
def test_step_is_torchs():
    expected = torch_rates(lambda lib, opt: lib.MultiStepLR(opt, [10, 30], gamma=0.1), 50)
    schedule = make_schedule("step", 0.1, 50, drop_steps=(10, 30))
    assert [schedule(step) for step in range(50)] == pytest.approx(expected, rel=1e-12)


def test_drops_may_come_from_an_iterator():
    for schedule in (
        make_schedule("step", 1.0, 10, drop_steps=map(int, ["3", "6"])),
        step_drops(1.0, iter((3, 6))),
    ):
        assert [schedule(step) for step in (0, 4, 8, 4)] == pytest.approx([1, 0.1, 0.01, 0.1])


def test_a_rate_that_is_a_text_is_refused():
    with pytest.raises(UsageError, match="lr can't be 0.1"):
        make_schedule("constant", "0.1", 10)
