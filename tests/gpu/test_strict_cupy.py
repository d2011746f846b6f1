"""minidl on the strict stand-in for CuPy: NumPy's results, nothing converted silently, waits only where it says so.

On the reference kernels everywhere, on the CUDA sources where g++ can run them. What the stand-in itself refuses and
counts is in `test_cuda_standin.py`.
"""

import json

import numpy as np
import pytest

import models
import train
import visualize
from minidl import trace
from minidl.backend.arrays import get_backend, to_device, to_host
from minidl.data.loader import Loader
from minidl.kernels import cuda, kernels_for, reference
from minidl.layers import Rule, freeze
from minidl.layers.convert import convert
from minidl.optim import Adam, AdamW
from minidl.schedules import make_schedule
from minidl.training.checkpoints import About, load_checkpoint, save_checkpoint
from minidl.training.evaluation import evaluate
from minidl.training.prediction import predict_split
from minidl.training.trainer import Trainer
from minidl.visual.embedding import features
from minidl.visual.gradcam import grad_cam
from minidl.visual.occlusion import occlusion
from minidl.visual.probe import probe
from minidl.visual.projection import Projector
from tests.cuda_standin import KERNEL_SETS, RECORD, device, install, run_on_the_host

SIZE, CLASSES, BATCH = 32, 5, 2
TYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
BOUND = {np.float64: 1e-10, np.float32: 1e-3}  # float32: the kernel sets sum in another order, BN over few pixels


@pytest.fixture(params=KERNEL_SETS)
def xp(request, monkeypatch):
    """The stand-in as CuPy; whatever it has refused, caught or not, fails the test unless the test has looked."""
    yield install(monkeypatch, request.param)
    assert not RECORD.refusals


class Noise:
    """A split of random images."""

    def __init__(self, n: int, size: int) -> None:
        rng = np.random.default_rng(0)
        self.pictures = rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)
        self.labels = rng.integers(0, CLASSES, n)

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, indices: np.ndarray) -> np.ndarray:
        return self.pictures[indices]


class Batches(Loader):
    """A Loader of images of type `dtype`."""

    def __init__(self, n: int, dtype: type, shuffle: bool = False, size: int = SIZE) -> None:
        super().__init__(
            Noise(n, size), BATCH, mean=[0.5] * 3, std=[0.3] * 3, shuffle=shuffle, drop_last=False, workers=0
        )
        self.dtype = dtype

    def batch(self, indices, epoch):
        x, y = super().batch(indices, epoch)
        return x.astype(self.dtype), y


def network(dtype, backend):
    """The refined net with weights of its own and BNs that have seen images, on NumPy or the stand-in."""
    model = models.build("refined", CLASSES, dropout=0.3, dtype=dtype)
    rng = np.random.default_rng(1)
    for name, b in model.named_buffers().items():
        b += rng.uniform(0, 0.3, b.shape) if name.endswith("var") else rng.normal(0, 0.1, b.shape)
    return model if backend is np else convert(model, xp=backend)


def trainer(dtype, backend, steps=2, rule=Adam, size=SIZE):
    model = network(dtype, backend)
    batches = Batches(BATCH * steps, dtype, shuffle=True, size=size)
    schedule = make_schedule("cosine", 1e-3, steps)
    optimizer = rule(model.named_parameters(), 1e-3, weight_decay=1e-3, groups={"norm": {"weight_decay": 0.0}})
    return Trainer(
        model, optimizer, schedule, batches, Batches(3, dtype, size=size), epochs=1, label_smoothing=0.1, xp=backend
    )  # fmt: skip


def assert_close(got, expected, dtype):
    scale = np.abs(expected).max()
    assert got.shape == expected.shape and got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=0, atol=BOUND[dtype] * scale)


def test_the_stand_in_is_the_backend_that_minidl_asks_for(xp):
    assert get_backend("cupy") is xp
    x = to_device(np.ones(3), xp)
    assert isinstance(x, xp.ndarray)
    assert isinstance(to_host(x), np.ndarray)
    assert kernels_for(x) is (cuda if device.LAUNCH.run else reference)


@pytest.mark.compiler
def test_the_layers_launch_the_cuda_sources(monkeypatch):
    xp, launched = install(monkeypatch, run_on_the_host), []
    monkeypatch.setattr(device.LAUNCH, "run", lambda *call: (launched.append(call[1]), run_on_the_host(*call)))
    t = trainer(np.float32, xp)
    x, y = next(iter(t.train.epoch(0)))
    t.train_step(to_device(x, xp), to_device(y, xp))
    assert {"im2col", "col2im"} <= set(launched)


@TYPES
def test_a_training_step_changes_every_weight_as_on_numpy(dtype, xp):
    pair = [trainer(dtype, backend, rule=AdamW) for backend in (np, xp)]
    for t in pair:
        x, y = next(iter(t.train.epoch(0)))
        t.train_step(to_device(x, t.xp), to_device(y, t.xp))
    host, device_ = (t.model for t in pair)
    for name, p in host.named_parameters().items():
        assert_close(to_host(device_.named_parameters()[name].grad), p.grad, dtype)
        np.testing.assert_allclose(to_host(device_.named_parameters()[name].value), p.value, rtol=0, atol=3e-3)
    for name, b in host.named_buffers().items():
        assert_close(to_host(device_.named_buffers()[name]), b, dtype)


@pytest.mark.slow
def test_twenty_steps_have_numpys_losses(xp):
    losses = []
    for backend in (np, xp):
        t = trainer(np.float64, backend, steps=20, size=24)
        row = []
        for x, y in t.train.epoch(0):
            row.append(t.train_step(to_device(x, backend), to_device(y, backend))[0])
            t.state.step += 1
        losses.append([float(loss) for loss in row])
    np.testing.assert_allclose(losses[1], losses[0], rtol=0, atol=1e-10)


def test_an_epoch_waits_only_where_it_reads_the_loss(xp, monkeypatch):
    monkeypatch.setattr("minidl.training.trainer.READ_EVERY", 4)
    t = trainer(np.float32, xp, steps=6, size=16)
    RECORD.clear()
    t.run_epoch()
    by_file = {}
    for place, times in RECORD.syncs.items():
        file, what = place.partition(":")[0], place.partition(" ")[2]
        by_file[file, what] = by_file.get((file, what), 0) + times
    # One look after 4 steps, one at the epoch's end; the evaluation's, once an epoch. From the third of the six
    # batches on the host waits for the copy two batches before; at the end of either split, for all copies.
    assert by_file == {
        ("trainer.py", "float"): 2,
        ("trainer.py", "int"): 2,
        ("arrays.py", "get"): 3,  # labels, answers and ranks of the evaluation
        ("evaluation.py", "float"): 1,
        ("prefetch.py", "event"): 4,
        ("prefetch.py", "stream"): 2,
    }


def test_a_step_waits_for_nothing_and_copies_two_arrays_and_the_dropout_mask(xp):
    t = trainer(np.float32, xp)
    x, y = next(iter(t.train.epoch(0)))
    RECORD.clear()
    t.train_step(to_device(x, xp), to_device(y, xp))
    assert not RECORD.syncs
    assert RECORD.uploads.total() == 3


@TYPES
def test_an_evaluation_is_that_of_numpy(dtype, xp):
    host, device_ = (evaluate(network(dtype, backend), Batches(5, dtype), backend) for backend in (np, xp))
    assert (host.images, host.top1, host.top5) == (device_.images, device_.top1, device_.top5)
    np.testing.assert_array_equal(host.confusion, device_.confusion)
    assert device_.loss == pytest.approx(host.loss, rel=BOUND[dtype])


def test_predictions_are_those_of_numpy(xp):
    names = ["a", "b", "c"]
    pair = [
        list(predict_split(network(np.float64, b), Batches(3, np.float64), names, b, lambda n: None))
        for b in (np, xp)
    ]
    for host, device_ in zip(*pair, strict=True):
        assert host.classes == device_.classes
        np.testing.assert_allclose(host.probabilities, device_.probabilities, rtol=1e-10)


@pytest.mark.parametrize("way", ["to the device", "from the device"])
def test_a_checkpoint_goes_from_one_backend_to_the_other(way, xp, tmp_path):
    source, target = (xp, np) if way == "from the device" else (np, xp)
    t = trainer(np.float32, source)
    x, y = next(iter(t.train.epoch(0)))
    t.train_step(to_device(x, source), to_device(y, source))
    about = About(
        "refined",
        list("abcde"),
        list("abcde"),
        [SIZE, SIZE, 3],
        [0.5] * 3,
        [0.3] * 3,
        {"data": "shapes", "dropout": 0.3},
    )
    save_checkpoint(tmp_path / "c.safetensors", t, about)
    other = trainer(np.float32, target)
    checkpoint = load_checkpoint(tmp_path / "c.safetensors")
    checkpoint.restore_weights(other.model)
    checkpoint.restore_optimizer(other.optimizer)
    for name, p in t.model.named_parameters().items():
        np.testing.assert_array_equal(to_host(p.value), to_host(other.model.named_parameters()[name].value))
    for name, a in t.optimizer.state().items():
        np.testing.assert_array_equal(to_host(a), to_host(other.optimizer.state()[name]))


RULES = [
    Rule("gradient"),
    Rule("guided"),
    Rule("deconv"),
    Rule("deconv", bn="scale", unpool="last"),
    Rule("deconv", unpool="max"),
]


def pictures(n, dtype):
    return next(iter(Batches(n, dtype).epoch(0)))[0][:n]


@TYPES
@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r.name}-{r.bn}-{r.unpool}")
def test_projections_are_those_of_numpy(rule, dtype, xp):
    x, image, units = pictures(2, dtype), np.array([0, 1, 1]), np.array([3, 60, 3])
    model = network(dtype, np)
    host, device_ = (
        Projector(model, "inception2.b3", rule, engine="plain", xp=backend)(x, image, units) for backend in (np, xp)
    )
    assert np.abs(host).max() > 0
    assert_close(device_, host, dtype)


@pytest.mark.parametrize("seed_map", ["norm", "map", "max", "ones"])
@pytest.mark.parametrize("norm", ["inf", "l2"])
def test_every_seed_and_norm_is_that_of_numpy(norm, seed_map, xp):
    x, image, units = pictures(1, np.float64), np.array([0, 0]), np.array([5, 1])
    model = network(np.float64, np)
    pair = [
        Projector(model, "inception1", Rule("guided"), norm=norm, seed_map=seed_map, engine="plain", xp=backend)
        for backend in (np, xp)
    ]
    host, device_ = (projector(x, image, units) for projector in pair)
    assert_close(device_, host, np.float64)
    host, device_ = (projector.strengths(x) for projector in pair)
    assert_close(device_, host, np.float64)


@TYPES
def test_a_probe_finds_what_it_finds_on_numpy(dtype, xp):
    layers = ["pool1", "inception1.b3", "avgpool"]
    host, device_ = (
        probe(network(dtype, b), layers, Batches(5, dtype), CLASSES, xp=b, engine="plain") for b in (np, xp)
    )
    for name in layers:
        for norm in ("inf", "l2"):
            assert_close(device_[name].values[norm], host[name].values[norm], np.float32)
            if dtype is np.float64:
                np.testing.assert_array_equal(device_[name].images[norm], host[name].images[norm])
        np.testing.assert_allclose(device_[name].class_mean, host[name].class_mean, rtol=BOUND[dtype], atol=1e-6)


@TYPES
def test_occlusion_is_that_of_numpy(dtype, xp):
    x = pictures(1, dtype)[0]
    host, device_ = (
        occlusion(network(dtype, b), x, 2, fill=[0, 0, 0], patch=16, stride=16, xp=b, batch_size=2) for b in (np, xp)
    )
    assert_close(device_.probability, host.probability, dtype)
    np.testing.assert_array_equal(device_.predicted, host.predicted)
    assert device_.whole_probability == pytest.approx(host.whole_probability, rel=BOUND[dtype])


@TYPES
def test_grad_cam_is_that_of_numpy(dtype, xp):
    x = pictures(2, dtype)
    host, device_ = (grad_cam(network(dtype, b), to_device(x, b), "inception4", [1, 4]) for b in (np, xp))
    assert host.max() > 0
    assert_close(device_, host, dtype)


@TYPES
def test_features_are_those_of_numpy(dtype, xp):
    host, device_ = (features(network(dtype, b), Batches(3, dtype), b) for b in (np, xp))
    np.testing.assert_allclose(device_, host, rtol=0, atol=np.abs(host).max() * max(BOUND[dtype], 1e-6))


def test_a_trace_is_that_of_numpy(xp):
    x = pictures(2, np.float64)
    host, device_ = (trace(network(np.float64, b), to_device(x, b)) for b in (np, xp))
    for h, d in zip(host, device_, strict=True):
        assert (h.path, h.shape) == (d.path, d.shape)
        assert d.output.std == pytest.approx(h.output.std)
        assert d.gradient.std == pytest.approx(h.gradient.std)


def test_a_frozen_start_and_its_training_are_those_of_numpy(xp):
    grads = []
    for backend in (np, xp):
        t = trainer(np.float64, backend)
        t.model = freeze(t.model, "inception3")
        x, y = next(iter(t.train.epoch(0)))
        t.train_step(to_device(x, backend), to_device(y, backend))
        grads.append(to_host(t.model.named_parameters()["inception4.b3.conv.weight"].grad))
    assert_close(grads[1], grads[0], np.float64)


# ------------------------------------------------------------- the command lines


def commands(folder, backend):
    """Everything train.py and visualize.py do with a network, as a user asks for it; their exit codes."""
    data = ["--data", str(folder.parent / "data")]
    plain = ["--backend", backend, "--engine", "plain", "--threads", "1"]
    small = ["--model", "convnet", "--batch-size", "8", "--epochs", "1", "--dropout", "0.2", *data, *plain]
    run, figures = str(folder / "run"), ["--output", str(folder), "--format", "svg", *plain]
    yield train.main(["fit", *small, "--output", str(folder), "--name", "run"])
    yield train.main(["fit", "--resume", run])
    yield train.main(["find-lr", *small[:4], *data, *plain, "--steps", "10", "--picture", str(folder / "lr.png")])
    yield train.main(["eval", run, "--json", *plain])
    yield train.main(["predict", run, "--split", "val", *plain])
    for command in (
        ["pca", "--classes", "0,1"],
        ["guided", "--layer", "pool2", "--unit", "3", "--raw"],
        ["deconv", "--layer", "relu2", "--unit", "5", "--unpool", "max", "--raw"],
        ["occlusion", "--index", "3", "--patch", "32", "--stride", "32", "--raw"],
        ["gradcam", "--index", "3", "--raw"],
    ):
        yield visualize.main([command[0], run, *command[1:], *figures])


@pytest.mark.slow
def test_every_command_runs_on_the_device_and_says_what_it_says_on_numpy(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    assert train.main(["export-shapes", str(tmp_path / "data"), "--train", "80", "--val", "24"]) == 0
    install(monkeypatch)  # the reference kernels: 64x64 images are many for the shim
    said, arrays = {}, {}
    for backend in ("numpy", "cupy"):
        folder = tmp_path / backend
        folder.mkdir()
        capsys.readouterr()
        assert set(commands(folder, backend)) == {0}
        text = capsys.readouterr().out
        said[backend] = json.loads(text[text.index("{") : text.rindex("}") + 1])
        arrays[backend] = {p.name: np.load(p) for p in sorted(folder.rglob("*.npy"))}
    assert not RECORD.refusals
    assert said["cupy"]["loss"] == pytest.approx(said["numpy"]["loss"], rel=1e-3)
    assert len(arrays["cupy"]) == 4
    for name, array in arrays["numpy"].items():
        other = arrays["cupy"][name]
        np.testing.assert_allclose(other, array, rtol=0, atol=0.02 * np.abs(array).max(), err_msg=name)
