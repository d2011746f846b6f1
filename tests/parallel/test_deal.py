"""Passes whose batches are dealt to ranks give every rank what one process gives, bit for bit."""

import numpy as np
import pytest
from PIL import Image

import models
from minidl.data import Loader
from minidl.engine import prepare
from minidl.errors import DataError
from minidl.optim import Adam
from minidl.parallel.communicator import ALONE
from minidl.parallel.deal import collect
from minidl.parallel.share import Share
from minidl.parallel.step import DataParallel
from minidl.schedules import constant
from minidl.training import prediction
from minidl.training.checkpoints import About
from minidl.training.evaluation import evaluate
from minidl.training.prediction import predict_files, predict_split
from minidl.training.trainer import Callback, Trainer
from minidl.visual.embedding import features
from minidl.visual.probe import NORMS, probe
from tests.parallel.threads import on_ranks

CLASSES = 7
LAYERS = ["relu1", "fc"]
SIZES = pytest.mark.parametrize("size", [2, 3, 5])
# of batches of 8: full ones, a last one of 1; fewer than ranks; a single image
IMAGES = pytest.mark.parametrize("images", [72, 41, 9, 1])


def network():
    return models.build("convnet", classes=CLASSES, seed=3)


def split(images):
    draw = np.random.default_rng(images)
    return draw.integers(0, 256, (images, 32, 32, 3), dtype=np.uint8), draw.integers(0, CLASSES, images)


def loader(images):
    return Loader(split(images), 8, mean=0.5, std=0.25, shuffle=False, drop_last=False)


def assert_as_alone(work, size):
    """`work(comm)` gives every rank the bytes that it gives one process."""
    alone = work(ALONE)
    assert on_ranks(size, work) == [alone] * size
    return alone


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("batches", [0, 1, 2, 3, 4, 9])
def test_results_come_in_the_order_of_batches_each_once(batches, size):
    def work(comm):
        own = ((np.full((k, 2), k), np.array([f"batch {k}"])) for k in range(comm.rank, batches, comm.size))
        return [(a.tolist(), words.tolist()) for a, words in collect(own, range(batches), comm)]

    assert assert_as_alone(work, size) == [([[k, k]] * k, [f"batch {k}"]) for k in range(batches)]


def test_arrays_keep_their_type_and_shape():
    arrays = (
        np.array(1.5, np.float32),
        np.zeros((0, 3), np.int64),
        np.eye(3)[:, ::2],
        np.array([True]),
        np.array([], str),
    )
    for rank in on_ranks(2, lambda comm: list(collect(iter([arrays]), range(2), comm))):
        for result in rank:
            assert [(a.dtype, a.shape, a.tobytes()) for a in result] == [
                (a.dtype, a.shape, a.tobytes()) for a in arrays
            ]


@SIZES
@IMAGES
def test_an_evaluation_has_the_same_bits(images, size):
    def work(comm):
        seen = []
        result = evaluate(prepare(network(), 1), loader(images), on_batch=seen.append, comm=comm)
        return result.images, result.loss, result.top1, result.top5, result.confusion.tobytes(), seen

    assert assert_as_alone(work, size)[0] == images


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_that_train_together_share_the_evaluation_of_an_epoch(size):
    """All of them get the same figures, those of one process with these weights."""

    class Seen(Callback):
        def __init__(self):
            self.images = []

        def on_evaluation_batch(self, trainer, images):
            self.images.append(images)

    def work(comm):
        model, seen, forwards = network(), Seen(), []
        parallel = DataParallel(model, Share(comm))
        t = Trainer(
            model, Adam(model.named_parameters(), lr=1e-3), constant(1e-3), loader(24), loader(33), epochs=1,
            parallel=parallel, callbacks=[seen],
        )  # fmt: skip
        forward = model.forward
        model.forward = lambda x, ctx: forwards.append(len(x)) or forward(x, ctx)
        row = t.fit().history[-1]
        figures = {name: row[name] for name in ("train_loss", "train_top1", "val_loss", "val_top1", "val_top5")}
        whole = evaluate(model, loader(33))
        return figures, (whole.loss, whole.top1, whole.top5), seen.images, forwards[-5 - len(own(comm)) : -5]

    def own(comm):
        return range(comm.rank, 5, comm.size)

    ranks = on_ranks(size, work)
    assert all(rank[:3] == ranks[0][:3] for rank in ranks)
    figures, whole, seen, _ = ranks[0]
    assert (figures["val_loss"], figures["val_top1"], figures["val_top5"]) == whole
    assert seen == [8, 8, 8, 8, 1]
    assert [images for *_, images in ranks] == [seen[r::size] for r in range(size)]


@SIZES
@IMAGES
def test_features_and_probes_have_the_same_bits(images, size):
    def work(comm):
        seen = []
        x = features(network(), loader(images), on_batch=seen.append, comm=comm)
        found = probe(
            network(), LAYERS, loader(images), CLASSES, threads=1, comm=comm,
            on_norms=lambda layer, first, norms: seen.append((layer, first, norms.tobytes())),
        )  # fmt: skip
        tops = [(p.images[n].tobytes(), p.values[n].tobytes()) for p in found.values() for n in NORMS]
        return x.tobytes(), len(x), tops, [p.class_mean.tobytes() for p in found.values()], seen

    assert assert_as_alone(work, size)[1] == images


@SIZES
def test_predictions_of_a_split_have_the_same_bits(size):
    def work(comm):
        names, seen = [f"{i}.png" for i in range(41)], []
        return list(predict_split(network(), loader(41), names, np, seen.append, comm)), seen

    predictions, seen = assert_as_alone(work, size)
    assert [p.name for p in predictions] == [f"{i}.png" for i in range(41)] and sum(seen) == 41


@SIZES
@pytest.mark.parametrize("photos", [11, 4, 1])
def test_predictions_of_photos_have_the_same_bits_and_unreadable_ones_are_named_in_order(
    photos, size, tmp_path, monkeypatch
):
    monkeypatch.setattr(prediction, "BATCH", 3)
    about = About("convnet", [*"abcdefg"], [*"ABCDEFG"], [32, 32, 3], [0.5] * 3, [0.25] * 3, {})
    paths = [str(tmp_path / f"{i}.png") for i in range(photos)]
    bad = {*paths[3:6], *paths[8:9], *(paths if photos == 1 else [])}  # a whole batch, and one more
    for path, pixels in zip(paths, split(photos)[0], strict=True):
        if path not in bad:
            Image.fromarray(pixels).save(path)

    def work(comm):
        told = []
        found = predict_files(network(), about, paths, np, told.append, told.append, comm)
        return [(p.name, p.classes, p.probabilities) for p in found], told

    predictions, told = assert_as_alone(work, size)
    assert [name for name, *_ in predictions] == [path for path in paths if path not in bad]
    assert [line.partition(":")[0] for line in told if isinstance(line, str)] == [p for p in paths if p in bad]
    assert sum(n for n in told if isinstance(n, int)) == photos


def test_a_network_that_answers_no_number_is_refused_by_every_rank():
    model = network()
    next(iter(list(model.leaves())[-1].params.values())).value[:] = np.nan

    def work(comm):
        try:
            list(predict_split(model, loader(9), [str(i) for i in range(9)], np, len, comm))
        except DataError as error:
            return str(error)

    assert "not a number" in assert_as_alone(work, 3)
