"""Frozen layers, a group of its own for the head, and classes left out: the pieces of transfer learning."""

import numpy as np
import pytest

import models
import train
from minidl.data import ArraySplit, load_shapes, only_classes
from minidl.diagnostics.summary import summary
from minidl.engine import fuse
from minidl.errors import UsageError
from minidl.layers import INFER, PROBE, TRAIN, Frozen, freeze
from minidl.optim import SGD, Adam, AdamW
from minidl.storage.weights import load_arrays
from minidl.training.checkpoints import load_checkpoint
from tests.small_runs import PART
from tests.strategies import randomized

pytestmark = pytest.mark.usefixtures("sketches")


@pytest.fixture(params=[lambda model: model, lambda model: fuse(model, 2)], ids=["plain", "fused"])
def frozen(request):
    """(the model, the same up to inception1 frozen), in float64."""
    model = randomized(models.build("three-module", 5, dtype=np.float64), np.random.default_rng(0))
    return model, request.param(freeze(model, "inception1"))


def test_frozen_layers_answer_as_in_inference_in_every_mode(frozen):
    model, frozen = frozen
    x = np.random.default_rng(1).normal(size=(4, 32, 32, 3))
    before = {name: b.copy() for name, b in model.named_buffers().items()}
    np.testing.assert_allclose(frozen.forward(x, INFER)[0], model.forward(x, INFER)[0], rtol=1e-11)
    np.testing.assert_allclose(frozen.forward(x, PROBE)[0], model.forward(x, PROBE)[0], rtol=1e-11)
    frozen.forward(x, TRAIN)
    changed = {name for name, b in model.named_buffers().items() if not np.array_equal(b, before[name])}
    assert changed == {name for name in before if not name.startswith(("stem", "inception1"))}


def test_only_the_other_parameters_get_gradients_and_they_are_those_of_the_rest_alone(frozen):
    model, frozen = frozen
    rng = np.random.default_rng(1)
    x, dy = rng.normal(size=(4, 32, 32, 3)), rng.normal(size=(4, 5))
    frozen.zero_grad()
    _, cache = frozen.forward(x, TRAIN)
    assert frozen.backward(dy, cache, need_dx=False) is None
    found = {name: p.grad.copy() for name, p in frozen.named_parameters().items()}
    assert {name for name, g in found.items() if not g.any()} == {
        name for name in found if name.startswith(("stem", "inception1"))
    }
    layers = list(model.layers.values())
    for layer in layers[:3]:
        x, _ = layer.forward(x, INFER)
    model.zero_grad()
    caches = []
    for layer in layers[3:]:
        x, cache = layer.forward(x, TRAIN)
        caches.append(cache)
    for layer, cache in zip(reversed(layers[3:]), reversed(caches), strict=True):
        dy = layer.backward(dy, cache)
    for name, p in model.named_parameters().items():
        np.testing.assert_allclose(found[name], p.grad, rtol=1e-9, atol=1e-11 * np.abs(p.grad).max())


def test_names_stay_and_a_gradient_of_the_input_is_refused_after_training_only(frozen):
    model, frozen = frozen
    assert list(frozen.named_parameters()) == list(model.named_parameters())
    assert list(frozen.named_buffers()) == list(model.named_buffers())
    x = np.random.default_rng(1).normal(size=(2, 32, 32, 3))
    y, cache = frozen.forward(x, PROBE)
    _, own = model.forward(x, PROBE)
    np.testing.assert_allclose(frozen.input_grad(y, cache), model.input_grad(y, own), rtol=1e-9, atol=1e-12)
    y, cache = frozen.forward(x, TRAIN)
    with pytest.raises(UsageError, match="frozen layers keep nothing"):
        frozen.backward(y, cache)


@pytest.mark.parametrize("last", ["inception9", "fc", "inception1.b3", ""])
def test_freezing_up_to_no_layer_of_the_chain_or_to_the_end_is_refused(last):
    with pytest.raises(UsageError, match="stem, pool1"):
        freeze(models.build("refined", 5), last)


def test_a_fused_frozen_part_is_still_frozen():
    fused = fuse(freeze(models.build("refined", 5), "inception2"))
    assert sum(isinstance(layer, Frozen) for layer in fused.layers.values()) == 1


# --------------------------------------------------------------------- whole runs


def weights(folder, name="last"):
    return load_arrays(folder / "checkpoints" / f"{name}.safetensors")[0]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run on classes 0 to 14."""
    root = tmp_path_factory.mktemp("transfer")
    flags = [*PART, "--classes", "0-14", "--epochs", "1", "--output", str(root), "--name", "first"]
    assert train.main(flags) == 0
    return root / "first"


@pytest.mark.slow
def test_a_run_on_some_classes_knows_only_those(first, capsys):
    about = load_checkpoint(first / "checkpoints" / "last.safetensors").about
    assert about.classes == [f"s{c:02d}" for c in range(15)]
    assert weights(first)["fc.weight"].shape == (64, 15)
    assert train.main(["eval", str(first)]) == 0
    assert "15 images (2 % of val" in capsys.readouterr().out
    assert train.main(["eval", str(first), "--whole"]) == 0
    assert "750 images\n" in capsys.readouterr().out


def test_transfer_to_other_classes_learns_a_new_head_over_frozen_layers(first, tmp_path, capsys):
    flags = ["--classes", "15-19", "--init-from", str(first), "--freeze", "pool2", "--head-lr", "3", "--epochs", "2"]
    assert train.main([*PART, *flags, "--subset", "0.1", "--output", str(tmp_path), "--name", "second"]) == 0
    assert "new: fc.weight, fc.bias" in capsys.readouterr().out
    before, after = weights(first, "best"), weights(tmp_path / "second")
    kept = ("conv1", "bn1", "conv2", "bn2")
    for name in before:
        if name.startswith(kept):
            np.testing.assert_array_equal(after[name], before[name])
        elif name.startswith(("conv3", "bn3")):
            assert not np.array_equal(after[name], before[name])
    assert after["fc.weight"].shape == (64, 5)
    assert not any(name.startswith(f"optimizer/{layer}") for name in after for layer in kept)


def test_a_transfer_that_is_stopped_and_resumed_ends_in_the_same_bits(first, tmp_path):
    flags = [*PART, "--classes", "15-19", "--init-from", str(first), "--freeze", "pool1", "--subset", "0.1"]
    flags += ["--epochs", "2", "--snapshot-epochs", "1", "--output", str(tmp_path)]
    assert train.main([*flags, "--name", "whole"]) == 0
    again = tmp_path / "again"
    (again / "checkpoints").mkdir(parents=True)
    (again / "figures").mkdir()
    for name in ("config.json", "env.json", "log.txt"):
        (again / name).write_bytes((tmp_path / "whole" / name).read_bytes())
    snapshot = (tmp_path / "whole" / "checkpoints" / "epoch-001.safetensors").read_bytes()
    (again / "checkpoints" / "last.safetensors").write_bytes(snapshot)
    assert train.main(["--resume", str(again)]) == 0
    one, two = weights(tmp_path / "whole"), weights(again)
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_the_head_learns_at_a_rate_of_its_own(tmp_path):
    """One step of SGD moves the head ten times as far, and the other layers as far as before."""
    moved = []
    for factor in ("1", "10"):
        flags = ["--optimizer", "sgd", "--momentum", "0", "--weight-decay", "0", "--lr", "0.001", "--head-lr", factor]
        flags += ["--schedule", "constant", "--epochs", "1", "--batch-size", "80", "--subset", "0.02"]
        assert train.main([*PART, *flags, "--output", str(tmp_path), "--name", factor]) == 0
        moved.append(weights(tmp_path / factor))
    start = {n: p.value for n, p in models.build("convnet", 20).named_parameters().items()}
    one, ten = ({name: a[name] - start[name] for name in start} for a in moved)
    np.testing.assert_allclose(ten["fc.weight"], 10 * one["fc.weight"], rtol=1e-2, atol=1e-6)
    np.testing.assert_array_equal(ten["conv1.weight"], one["conv1.weight"])


# ------------------------------------------------------------------------ classes


def test_only_classes_renumbers_the_chosen_ones_and_keeps_their_images():
    data = load_shapes(60, 40)
    part = only_classes(data, "3-4,17")
    assert part.classes == ["s03", "s04", "s17"]
    assert part.words == [data.words[c] for c in (3, 4, 17)]
    assert part.train.labels.tolist() == [0, 1, 2] * 3
    np.testing.assert_array_equal(part.val.images(np.arange(2)), data.val.images(np.array([3, 4])))
    data.test = ArraySplit(np.zeros((2, 8, 8, 3), np.uint8))
    assert only_classes(data, "3-4,17").test is data.test  # without labels


@pytest.mark.parametrize("text", ["", "a", "3-", "-3", "5-3", "3,20", "0-20", "7", "1.5,2"])
def test_classes_that_are_not_there_are_named(text):
    with pytest.raises(UsageError, match="class"):
        only_classes(load_shapes(20, 20), text)


@pytest.mark.parametrize("kind", [AdamW, Adam, SGD])
def test_no_optimizer_changes_what_is_frozen_not_even_one_from_before(kind):
    model = models.build("convnet", 3)
    optimizer = kind(model.named_parameters(), lr=1e-2, weight_decay=0.1)
    x, dy = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype(np.float32), np.ones((4, 3), np.float32)
    _, cache = model.forward(x, TRAIN)
    model.backward(dy, cache)
    optimizer.step()  # fills the moments
    frozen = freeze(model, "pool2")
    before = {name: p.value.copy() for name, p in frozen.named_parameters().items()}
    optimizer.step()
    changed = {name for name, p in frozen.named_parameters().items() if not np.array_equal(p.value, before[name])}
    assert changed == {name for name in before if name.startswith(("conv3", "bn3", "fc"))}


def test_a_frozen_model_has_a_summary():
    assert summary(freeze(models.build("convnet", 3), "pool2"), (4, 64, 64, 3)).memory.arrays > 0


def test_weights_of_a_network_with_another_activation_are_pointed_out(tmp_path, capsys):
    flags = [*PART, "--epochs", "1", "--output", str(tmp_path)]
    assert train.main([*flags, "--activation", "silu", "--name", "silu"]) == 0
    start = ["--init-from", str(tmp_path / "silu"), "--name"]
    assert train.main([*flags, *start, "relu"]) == 0
    said = capsys.readouterr().out
    assert "were learned by convnet, activation silu, and this run trains convnet, activation relu" in said
    assert train.main([*flags, *start, "same", "--activation", "silu"]) == 0
    assert "warning  these weights" not in capsys.readouterr().out
