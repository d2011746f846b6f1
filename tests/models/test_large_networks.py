"""The networks that torchvision has too, narrow: they learn, stop and go on, are shared, cut and looked into."""

import numpy as np
import pytest

import models
import train
import visualize
from minidl.atlas.places import choose
from minidl.cli import train as fit
from minidl.diagnostics.trace import trace
from minidl.engine import fuse, prepare
from minidl.errors import UsageError
from minidl.explain.build import Looked, make_page
from minidl.layers import INFER, PROBE, Conv2D, GeneralConv2D, Linear, ReLU, freeze
from minidl.layers.base import Context, Mode
from minidl.layers.heads import last_leaves, main_line
from minidl.layers.parameter import FROZEN
from minidl.losses import SideHeads, main_head, softmax_cross_entropy
from minidl.optim import Adam
from minidl.parallel.runner import RankRunner
from minidl.parallel.share import Share
from minidl.parallel.step import DataParallel
from minidl.storage.weights import load_arrays, model_arrays
from minidl.training.checkpoints import About, Checkpoint
from minidl.training.network import initialise_from
from minidl.training.trainer import TrainState
from minidl.visual.embedding import ends
from minidl.visual.gradcam import grad_cam
from minidl.visual.taps import Taps
from minidl.visual.truncate import layer_table, truncate
from tests.conftest import ENGINE
from tests.models.by_name import undrawn
from tests.models.narrow import LARGE, NARROW, narrow, narrow_networks
from tests.parallel.threads import on_ranks
from tests.training.test_training import assert_same_run, stop_after

__all__ = ["narrow_networks"]  # a fixture

ENGINES = pytest.mark.parametrize("engine", [lambda net: net, fuse], ids=["plain", "fused"])
LOSS = SideHeads()
HEADS = {"v": ["classifier.6"], "r": ["fc"], "g": ["fc", "aux2.fc2", "aux1.fc2"]}  # by the name's first letter
CUTS = {"v": "features", "r": "layer3", "g": "inception4d"}  # behind the first side head


def batch(n=8, side=32, classes=5):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, side, side, 3)).astype(np.float32), np.arange(n) % classes


def step(net, x, y, context):
    logits, cache = net.forward(x, context)
    loss, dlogits = LOSS(logits, y)
    net.zero_grad()
    net.backward(dlogits, cache, need_dx=False)
    return float(loss)


@ENGINES
@pytest.mark.parametrize("name", LARGE)
def test_a_few_steps_of_training_lower_the_loss(name, engine):
    net = engine(narrow(name, dropout=0.0))
    optimizer, (x, y) = Adam(net.named_parameters(), lr=3e-3), batch()
    losses = []
    for i in range(6):
        losses.append(step(net, x, y, Context(Mode.TRAIN, 0, i)))
        optimizer.step()
    assert np.mean(losses[-2:]) < 0.9 * losses[0]


@pytest.mark.parametrize("name", LARGE)
def test_weights_begin_as_he_normal_by_fan_in(name):
    net = narrow(name, 40, seed=1)
    before_relu = {id(a) for a, b in zip(net.leaves(), list(net.leaves())[1:], strict=False) if isinstance(b, ReLU)}
    for leaf in net.leaves():
        if isinstance(leaf, Conv2D | GeneralConv2D | Linear):
            w = leaf.params["weight"].value
            gain = 1 if isinstance(leaf, Linear) and id(leaf) not in before_relu else 2
            assert np.mean(w**2) == pytest.approx(gain / np.prod(w.shape[:-1]), rel=8 / np.sqrt(w.size))
            assert "bias" not in leaf.params or not leaf.params["bias"].value.any()


@pytest.mark.parametrize("name", LARGE)
def test_its_heads_are_the_layers_that_know_the_classes(name):
    net = narrow(name, 11)
    heads = list(last_leaves(net))
    assert heads == [net[head] for head in HEADS[name[0]]]
    assert [head.params["weight"].shape[1] for head in heads] == [11] * len(heads)
    named = net.named_parameters()
    assert [n for n in named if named[n].shape[-1] == 11] == [
        n for n in named if n.rpartition(".")[0] in HEADS[name[0]]
    ]
    last, before = ends(net)
    assert last == HEADS[name[0]][0] and before == {"v": "classifier.4", "r": "avgpool", "g": "avgpool"}[name[0]]


@pytest.mark.parametrize("name", ["googlenet", "vgg11-bn"])
def test_weights_of_another_task_leave_every_head_new(name):
    source = narrow(name, 5, seed=1)
    about = About(name, list("abcde"), list("abcde"), [32, 32, 3], [0] * 3, [1] * 3, {})
    checkpoint = Checkpoint("x", about, TrainState(), {n: a.copy() for n, a in model_arrays(source).items()})
    heads = sorted(f"{head}.{part}" for head in HEADS[name[0]] for part in ("weight", "bias"))
    for classes, new in ((3, heads), (5, [])):
        net = narrow(name, classes)
        known = about.classes if classes == 5 else ["f", "g", "h"]
        before = {n: p.value.copy() for n, p in net.named_parameters().items()}
        assert sorted(initialise_from(net, checkpoint, known)) == new
        for n, p in net.named_parameters().items():
            np.testing.assert_array_equal(p.value, before[n] if n in new else source.named_parameters()[n].value)


@pytest.mark.parametrize("name", ["googlenet", "vgg11-bn", "resnext50"])
def test_the_first_layers_can_be_frozen_and_the_rest_learns(name):
    net, (x, y) = narrow(name), batch()
    last = CUTS[name[0]]
    line = [n for n, _, _ in main_line(net)]
    kept = tuple(f"{n}." for n in line[: line.index(last) + 1])
    frozen = fuse(freeze(net, last))
    assert all((FROZEN in p.tags) == n.startswith(kept) for n, p in frozen.named_parameters().items())
    before = {n: a.copy() for n, a in model_arrays(net).items()}
    optimizer = Adam({n: p for n, p in frozen.named_parameters().items() if FROZEN not in p.tags}, lr=1e-2)
    step(frozen, x, y, Context(Mode.TRAIN, 0, 0))
    optimizer.step()
    for n, a in model_arrays(net).items():
        if n.startswith(kept):
            np.testing.assert_array_equal(a, before[n])
    changed = {n.split(".")[0] for n, a in model_arrays(net).items() if (a != before[n]).any()}
    assert changed >= {"fc"} | ({"aux1", "aux2", "inception5b"} if name == "googlenet" else set()) or changed == {
        "classifier"
    }


@pytest.mark.parametrize("name", ["googlenet", "resnext50", "vgg16"])
def test_its_parts_are_found_by_name(name):
    net, (x, y) = narrow(name), batch(2)
    infos = layer_table(net, x.shape[1:])
    assert infos[-1].shape == (5,) and not any(info.name.startswith("aux") for info in infos)
    for info in infos[:: max(1, len(infos) // 6)]:
        part = truncate(net, info.name)
        a, cache = part.forward(x, PROBE)
        assert a.shape == (2, *info.shape)
        np.testing.assert_array_equal(part.forward(x, INFER)[0], a)
        for rule in ("gradient", "guided", "deconv"):
            assert part.project(a, cache, rule).shape == x.shape
    maps = [info.name for info in infos if len(info.shape) == 3]
    assert grad_cam(net, x, maps[-1], y).shape[0] == 2
    rows = str(trace(net, x)).splitlines()
    assert len(rows) > len(list(net.leaves()))


@pytest.mark.parametrize("engine", ["fused", "plain"])
def test_units_are_measured_behind_side_heads(engine):
    net, (x, _) = narrow("googlenet"), batch(3)
    names = ["inception4a", "inception4b", "inception5b.branch2.0", "fc"]
    found = dict(Taps(net, names, x.shape[1:], engine, threads=1)(x))
    assert set(found) == set(names)
    for name in names:
        a = truncate(net, name)(x)
        largest = np.abs(a).max(axis=(1, 2)) if a.ndim == 4 else a
        np.testing.assert_allclose(found[name][:, 0], largest, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["aux1.conv", "aux1.conv.conv", "aux2"])
def test_no_picture_shows_a_side_head_and_one_line_says_why(name):
    net, (x, y) = narrow("googlenet"), batch(3)
    looked = Looked(x, np.zeros((64, 64, 3), np.uint8), y, [], "x")
    for ask in (
        lambda: truncate(net, name),
        lambda: Taps(net, [name], x.shape[1:]),
        lambda: grad_cam(net, x, name, y),
        lambda: choose(net, x.shape[1:], [name]),
        lambda: make_page(net, looked, name, None),
    ):
        with pytest.raises(UsageError, match=f"layer '{name}' is in a side head, which only serves training"):
            ask()
    with pytest.raises(UsageError, match="no layer 'aux3': choose") as error:
        truncate(net, "aux3")
    assert "aux1" not in str(error.value)


@pytest.mark.parametrize("engine", ["fused", "plain"])
def test_ranks_share_a_step_of_googlenet_side_heads_and_dropout_too(engine):
    x, y = batch(6)
    x = x.astype(np.float64)

    def made(comm=None):
        net = narrow("googlenet", dropout=0.3, dtype=np.float64)
        share = None if comm is None else Share(comm)
        runner = None if comm is None else RankRunner(1, share, exact=False)
        return (prepare(net, 1, runner) if engine == "fused" else net), share

    def rank(comm):
        net, share = made(comm)
        parallel = DataParallel(net, share, sync_bn=True)
        part = comm.share(len(x))
        loss, _ = parallel.gradients(x[part], y[part], len(x), Context(Mode.TRAIN, 3, 0), 0.0, LOSS)
        return float(loss), {n: p.grad.copy() for n, p in net.named_parameters().items()}

    net, _ = made()
    want = step(net, x, y, Context(Mode.TRAIN, 3, 0))
    for loss, grads in on_ranks(2, rank):
        assert loss == pytest.approx(want, rel=1e-9)
        for n, p in net.named_parameters().items():
            np.testing.assert_allclose(grads[n], p.grad, rtol=0, atol=1e-9 * np.abs(p.grad).max() + 1e-14, err_msg=n)


def test_the_loss_counts_the_side_heads_with_three_tenths():
    net, (x, y) = narrow("googlenet"), batch()
    logits, _ = net.forward(x, Context(Mode.TRAIN, 0, 0))
    each = [float(softmax_cross_entropy(logits[:, h], y)[0]) for h in range(3)]
    assert float(LOSS(logits, y)[0]) == pytest.approx(each[0] + 0.3 * (each[1] + each[2]), rel=1e-6)
    assert main_head(logits).shape == (8, 5)


# --------------------------------------------------------------------- the command line

RUN = ["--subset", "0.006", "--batch-size", "8", "--dropout", "0.4", "--threads", "1", *ENGINE]


def trained(folder, name, *flags, run="run"):
    code = train.main([*RUN, "--model", name, "--epochs", "1", "--output", str(folder), "--name", run, *flags])
    return code, folder / run


@pytest.mark.usefixtures("sketches", "narrow_networks")
def test_googlenet_stopped_in_mid_epoch_and_resumed_ends_in_the_same_bits(tmp_path, monkeypatch):
    code, whole = trained(tmp_path, "googlenet", "--subset", "0.01")
    assert code == 0
    with monkeypatch.context() as patch:
        patch.setattr(fit, "Interruption", stop_after(3))
        code, again = trained(tmp_path, "googlenet", "--subset", "0.01", run="again")
    assert code == 130
    assert train.main(["--resume", str(again)]) == 0
    assert_same_run(whole, again)


@pytest.mark.slow
@pytest.mark.usefixtures("sketches", "narrow_networks")
@pytest.mark.parametrize("name", ["resnext50", "vgg11-bn", "googlenet"])
def test_every_command_works_with_it(name, tmp_path, capsys):
    code, run = trained(tmp_path, name)
    assert code == 0 and train.main(["eval", str(run)]) == 0
    for command, *flags in (
        ["layers"], ["top", "--unit", "0"], ["deconv", "--unit", "0"], ["gradient", "--unit", "0"],
        ["guided", "--unit", "0"], ["gradcam", "--index", "1"], ["occlusion", "--index", "1"], ["explain"],
        ["pca", "--classes", "0-5"], ["tsne", "--classes", "0-5"],
    ):  # fmt: skip
        assert visualize.main([command, str(run), *flags]) == 0, (command, capsys.readouterr().err)
    flags = ["--classes", "0-9", "--init-from", str(run), "--freeze", CUTS[name[0]], "--head-lr", "3"]
    assert trained(tmp_path, name, *flags, "--subset", "0.1", run="transfer")[0] == 0
    before, after = (load_arrays(f / "checkpoints" / "last.safetensors")[0] for f in (run, tmp_path / "transfer"))
    for head in HEADS[name[0]]:
        assert (before[f"{head}.weight"].shape[1], after[f"{head}.weight"].shape[1]) == (20, 10)


def test_a_narrow_network_has_the_layers_of_the_whole_one():
    for name in ("googlenet", "resnext50"):
        with undrawn():
            whole = models.build(name, 5)
        assert list(narrow(name, 5).named_parameters()) == list(whole.named_parameters())
    assert set(NARROW) == set(models.REGISTRY)
