"""The parts of the recipe: what each technique changes, what a row measures, and the table."""

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import models
from benchmarks import recipe, techniques
from benchmarks.recipe import Result
from minidl.data.loader import Loader
from minidl.losses import softmax_cross_entropy
from minidl.optim import SGD
from minidl.schedules import constant
from minidl.training.batches import make_augment
from minidl.training.config import make_config
from minidl.training.trainer import Trainer
from tests.tiny_fixture import make_tiny

rng = np.random.default_rng(0)
IMAGES, LABELS = rng.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8), rng.integers(0, 5, 24)
IMAGES //= 2
IMAGES[:, :, 1:] += IMAGES[:, :, :-1] // 2  # neighbours alike


@pytest.fixture
def trainer():
    model = models.build("refined", 5, seed=1)
    loader = Loader((IMAGES, LABELS), 8, mean=0.5, std=0.3)
    return Trainer(model, SGD(model.named_parameters(), 0.1), constant(0.1), loader, loader, epochs=1)


# ----------------------------------------------------------------------- techniques


def test_whitened_filters_make_the_patches_uncorrelated(trainer):
    w = trainer.model.named_parameters()["stem.conv.weight"].value
    before = w.copy()
    techniques.whitened(trainer)
    x, _ = trainer.train.batch(np.arange(24), 0)
    y = trainer.model["stem"]["conv"](x)[..., :27].reshape(-1, 27)  # (N, H, W, 27) -> (N*H*W, 27)
    covariance = np.cov(y, rowvar=False)
    apart = covariance - np.diag(np.diag(covariance))
    assert abs(apart).max() < 1e-4 * np.diag(covariance).max()
    np.testing.assert_array_equal(w[..., 27:54], -w[..., :27])  # each axis in both directions
    np.testing.assert_array_equal(w[..., 54:], before[..., 54:])
    norms = np.sqrt((before**2).sum(axis=(0, 1, 2)))
    np.testing.assert_allclose(np.sqrt((w[..., :54] ** 2).sum(axis=(0, 1, 2))), norms.mean(), rtol=1e-5)


def test_fast_betas_are_the_shifts_of_batch_normalization_alone(trainer):
    techniques.fast_betas(trainer, 8)
    fast = {name for name, options in trainer.optimizer.options.items() if options["lr_scale"] == 8}
    assert fast == {name for name in trainer.optimizer.params if name.endswith("bn.beta")} and len(fast) == 25


def test_independent_flips_mirror_half_of_the_images_whatever_the_epoch_before(trainer):
    seen = []

    def before(images, indices, seed, epoch):
        return images[:, :, ::-1] if epoch % 2 else images

    trainer.train.augment = before
    techniques.independent_flips(trainer)
    images, indices = np.repeat(IMAGES[:1], 4000, axis=0), np.arange(4000)
    for epoch in range(3):
        out = trainer.train.augment(images.copy(), indices, 0, epoch)
        seen.append((out == IMAGES[0, :, ::-1]).all(axis=(1, 2, 3)))
        assert ((out == IMAGES[0]).all(axis=(1, 2, 3)) ^ seen[-1]).all()
    assert all(0.45 < flipped.mean() < 0.55 for flipped in seen)
    assert 0.45 < (seen[0] == seen[1]).mean() < 0.55


def test_images_are_stretched_in_the_share_of_the_epochs_that_is_asked_for(trainer):
    trainer.epochs, indices = 8, np.arange(24)
    best = make_augment(
        make_config("best", {"epochs": 8}), SimpleNamespace(dataset=SimpleNamespace(image_shape=(64, 64, 3)))
    )
    techniques.stretched(trainer, 0.85)
    for epoch in range(8):
        images = rng.integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)
        np.testing.assert_array_equal(
            trainer.train.augment(images, indices, 0, epoch), best(images, indices, 0, epoch)
        )
    techniques.stretched(trainer, 0.5)
    sizes = [trainer.train.augment(images, indices, 0, epoch).shape[1] for epoch in range(8)]
    assert sizes == [40, 40, 48, 56, 64, 64, 64, 64]


@pytest.mark.parametrize("technique", [techniques.mixup, techniques.cutmix])
def test_a_mixed_step_is_a_step_on_the_mean_of_both_losses(technique, trainer, monkeypatch):
    seen = {}
    x, y = trainer.train.batch(np.arange(8), 0)
    forward, backward = trainer.model.forward, trainer.model.backward

    def watched_forward(x, context):
        seen["x"], (seen["logits"], cache) = x, forward(x, context)
        return seen["logits"], cache

    def watched_backward(dlogits, cache, need_dx):
        seen["dlogits"] = dlogits
        return backward(dlogits, cache, need_dx=need_dx)

    monkeypatch.setattr(trainer.model, "forward", watched_forward)
    monkeypatch.setattr(trainer.model, "backward", watched_backward)
    technique(trainer)
    before = trainer.model.named_parameters()["fc.weight"].value.copy()
    loss, _ = trainer.step(x, y)
    assert not np.array_equal(before, trainer.model.named_parameters()["fc.weight"].value)
    other = x[::-1]
    if technique is techniques.mixup:
        mixed = seen["x"][0] - other[0]
        share = float((mixed * (x - other)[0]).sum() / ((x - other)[0] ** 2).sum())
        np.testing.assert_allclose(seen["x"], share * x + (1 - share) * other, atol=1e-4)
    else:
        own, theirs = ((seen["x"] == image).all(axis=(0, 3)) for image in (x, other))
        assert (own | theirs).all() and own.any() and theirs.any()
        share = own.mean()
        rows, columns = np.flatnonzero(theirs.any(axis=1)), np.flatnonzero(theirs.any(axis=0))
        assert theirs[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()  # a rectangle
    first, second = softmax_cross_entropy(seen["logits"], y), softmax_cross_entropy(seen["logits"], y[::-1].copy())
    np.testing.assert_allclose(loss, share * first[0] + (1 - share) * second[0], rtol=1e-4)
    np.testing.assert_allclose(seen["dlogits"], share * first[1] + (1 - share) * second[1], atol=1e-5)


def test_the_same_seed_mixes_alike(trainer):
    x, _ = trainer.train.batch(np.arange(8), 0)
    losses = []
    for _ in range(2):
        techniques.cutmix(trainer)
        arrays = trainer.model.named_parameters() | trainer.model.named_buffers()
        kept = {name: getattr(a, "value", a).copy() for name, a in arrays.items()}
        losses.append(float(trainer.step(x, LABELS[:8])[0]))
        for name, a in arrays.items():
            getattr(a, "value", a)[...] = kept[name]
    assert losses[0] == losses[1]


# ----------------------------------------------------------------------- rows and the table


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"), ("n00000001", "n00000002"), train=20, val=2, test=1)


def command(monkeypatch, folder, data, *flags):
    monkeypatch.setattr(recipe, "SHORT", {"epochs": 1, "val_split": 0.4, "ema": 0.5, "batch_size": 8})
    monkeypatch.setattr(sys, "argv", ["recipe", "--data", str(data), "--results", str(folder), *flags])
    recipe.main()


def test_a_row_is_trained_once_and_evaluated_on_all_images_held_out(monkeypatch, tmp_path, data, capsys):
    command(monkeypatch, tmp_path, data, "--only", "recipe", "mixup", "--threads", "1")
    lines = [json.loads(line) for line in (tmp_path / "recipe.jsonl").read_text().splitlines()]
    assert [(line["row"], line["seed"], line["images"]) for line in lines] == [("recipe", 0, 16), ("mixup", 0, 16)]
    assert all(0 <= line["top1"] <= line["top5"] <= 1 and math.isfinite(line["loss"]) for line in lines)
    assert lines[0]["train_loss"] != lines[1]["train_loss"]
    before = (tmp_path / "recipe.jsonl").read_text()
    command(monkeypatch, tmp_path, data, "--only", "recipe", "--threads", "1")
    assert (tmp_path / "recipe.jsonl").read_text() == before
    assert (
        f"recipe, seed 0: in {tmp_path / 'recipe.jsonl'} already; another --results repeats it"
        in capsys.readouterr().err
    )
    assert "| `mixup` | mixup, alpha 0.2 |" in (tmp_path / "recipe.md").read_text()


def test_every_row_changes_a_setting_or_is_a_technique():
    base = recipe.make_config("best", recipe.SHORT).as_dict()
    for name, row in recipe.ROWS.items():
        assert (name == "recipe") == (not row.settings and row.technique is None), name
        assert all(base[key] != value for key, value in row.settings.items()), name


def result(row, seed, top1, images=5000):
    return Result(row, seed, top1, 0.5, 3.0, 2.5, images, 6.0)


def test_a_difference_of_one_seed_has_the_error_of_two_shares():
    pairs = [(result("adamw", 0, 0.30), result("recipe", 0, 0.25))]
    error = 100 * math.sqrt((0.3 * 0.7 + 0.25 * 0.75) / 5000)
    assert recipe.difference(pairs) == f"+5.0 ± {error:.1f}"


def test_a_difference_of_several_seeds_has_the_error_of_the_seeds_if_that_is_larger():
    pairs = [(result("adamw", seed, top1), result("recipe", seed, 0.25)) for seed, top1 in ((0, 0.20), (1, 0.40))]
    assert recipe.difference(pairs) == "+5.0 ± 10.0"  # -5 and 15: a deviation of 14.1 over the root of 2


def test_a_difference_that_rounds_to_zero_has_no_minus():
    pairs = [(result("adamw", 0, 0.2498), result("recipe", 0, 0.25))]
    assert recipe.difference(pairs).startswith("+0.0 ±")


def test_the_table_compares_only_seeds_that_both_rows_have():
    found = [result("recipe", 0, 0.2), result("recipe", 1, 0.3), result("flips", 1, 0.31)]
    line = next(line for line in recipe.report(found).splitlines() if line.startswith("| `flips`"))
    assert "| 31.0 % |" in line and "| +1.0 ± " in line and "| 1 |" in line


def test_the_page_has_the_table_of_the_results():
    found = recipe.read(recipe.RESULTS / "recipe.jsonl")
    page = (Path(__file__).parents[2] / "docs/experiments.md").read_text("utf-8")
    assert found and recipe.report(found) in page
