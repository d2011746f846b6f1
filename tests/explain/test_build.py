"""The numbers of the page are those of the way back, and every sum adds up."""

import numpy as np
import pytest

import minidl as md
from minidl.errors import DivergedError, UsageError
from minidl.explain import facts, trail
from minidl.explain.build import Looked, make_page
from minidl.explain.watch import Pass
from minidl.kernels import reference
from minidl.layers import PROBE, TRAIN, Conv2D, GeneralConv2D, GlobalAvgPool, Linear, MaxPool2D, ReLU, Sequential
from minidl.layers.convert import convert
from minidl.losses import softmax_cross_entropy
from minidl.visual.truncate import gradient_at, truncate
from tests.explain.network import LABELS, images, network, page_of
from tests.visual.test_effects import Twice

LAYERS = {  # name: the convolution, what comes before it, the pool, the module
    "stem": ("stem.conv", None, "pool1", "res"),
    "pool1": ("stem.conv", None, "pool1", "res"),
    "res": ("res.body.conv", "pool1", "pool1", "res"),
    "mix.b3": ("mix.b3.conv", "mix.b3_reduce", "pool1", "mix"),
    "mix.pool.conv": ("mix.pool.conv", "mix.avgpool", "pool1", "mix"),
    "down": ("down.conv", "mix", "pool1", "mix"),
}


def close(a, b):
    np.testing.assert_allclose(np.asarray(a, float), b, rtol=1e-10, atol=1e-13)


def part(array, a_map):
    """The part of an array (H, W) that a map shows; its padding is 0."""
    rows, columns = np.shape(a_map.values)
    assert array.shape == (a_map.height, a_map.width)
    padded = np.pad(array, 9)
    return padded[a_map.row + 9 :, a_map.column + 9 :][:rows, :columns]


def passed(ctx=PROBE, count=1):
    """(model, dy, cache, x) of a pass from the loss."""
    model, x = network(), images()[:count]
    y, cache = model.forward(x, ctx)
    return model, softmax_cross_entropy(y, LABELS[:count])[1], cache, x


@pytest.fixture(scope="module")
def pages():
    return {layer: page_of(layer, 1) for layer in LAYERS}


@pytest.mark.parametrize("layer", LAYERS)
def test_the_stages_are_those_on_the_way_to_the_unit(pages, layer):
    conv, _, pool, join = LAYERS[layer]
    stages = pages[layer].stages
    assert (stages["conv"].name, stages["pool"].name, stages["join"].name) == (conv, pool, join)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_convolution_shows_what_backward_gives(pages, layer):
    conv, before, _, _ = LAYERS[layer]
    model, dy, cache, x = passed()
    stage = pages[layer].stages["conv"]
    unit = stage.unit
    close(stage.dy.values, part(gradient_at(model, dy, cache, conv)[0, ..., unit], stage.dy))
    close(stage.y.values, part(md.activations(model, x, conv)[conv][0, ..., unit], stage.y))
    if before:
        there, back = md.activations(model, x, before)[before], _into(model, dy, cache, x, conv)
    else:
        there, back = x, model.input_grad(dy, cache)
    for channel in stage.channels:
        close(channel.x.values, part(there[0, ..., channel.channel], channel.x))
        close(channel.dx.values, part(back[0, ..., channel.channel], channel.dx))


def _into(model, dy, cache, x, conv):
    """dx of the convolution, from its dy."""
    layer = model[conv]
    shape = (1, *_input_shape(model, x, conv))
    w = layer.params["weight"].value
    return reference.conv2d_dx(gradient_at(model, dy, cache, conv), w, shape, layer.stride, layer.padding)


def _input_shape(model, x, conv):
    layer = model[conv]
    size = md.activations(model, x, LAYERS_BEFORE[conv])[LAYERS_BEFORE[conv]].shape[1:3]
    return *size, layer.params["weight"].value.shape[2]


LAYERS_BEFORE = {conv: before for conv, before, _, _ in LAYERS.values() if before}


@pytest.mark.parametrize("layer", LAYERS)
def test_the_products_of_a_window_add_up_to_y(pages, layer):
    stage = pages[layer].stages["conv"]
    k, s, p = stage.window.kernel, stage.window.stride, stage.window.padding
    for channel in stage.channels:
        x, w = np.array(channel.x.values), np.array(channel.w.values)
        assert channel.x.row == s * stage.y.row - p and channel.x.column == s * stage.y.column - p
        for i, row in enumerate(stage.y.values):
            for j, y in enumerate(row):
                window = x[s * i : s * i + k, s * j : s * j + k]
                close((window * w).sum() + channel.others_y.values[i][j], y)


@pytest.mark.parametrize("layer", LAYERS)
def test_what_the_outputs_send_adds_up_to_dx(pages, layer):
    stage = pages[layer].stages["conv"]
    k, s, p = stage.window.kernel, stage.window.stride, stage.window.padding
    dy = np.array(stage.dy.values)
    for channel in stage.channels:
        for i, row in enumerate(channel.dx.values):
            for j, dx in enumerate(row):
                total = channel.others_dx.values[i][j]
                for kh in range(k):
                    for kw in range(k):
                        oh, left = divmod(channel.dx.row + i + p - kh, s)
                        ow, over = divmod(channel.dx.column + j + p - kw, s)
                        oh, ow = oh - stage.dy.row, ow - stage.dy.column
                        if not left and not over and 0 <= oh < len(dy) and 0 <= ow < dy.shape[1]:
                            total += dy[oh, ow] * channel.w.values[kh][kw]
                close(total, dx)


def test_a_max_pool_sends_each_dy_to_the_switch_of_its_window(pages):
    stage = pages["mix.b3"].stages["pool"]
    model, dy, cache, x = passed()
    c = stage.channel
    there = md.activations(model, x, "stem")["stem"]
    close(stage.x.values, part(there[0, ..., c], stage.x))
    close(stage.dy.values, part(gradient_at(model, dy, cache, "pool1")[0, ..., c], stage.dy))
    close(stage.dx.values, part(gradient_at(model, dy, cache, "stem")[0, ..., c], stage.dx))
    sent = np.zeros((stage.x.height, stage.x.width))
    for row, places in zip(stage.dy.values, stage.switches, strict=True):
        for value, place in zip(row, places, strict=True):
            sent[tuple(place)] += value
    close(stage.dx.values, part(sent, stage.dx))
    index = cache[1].index[0, ..., c].astype(int)
    rows, columns = (2 * np.indices(index.shape)[i] - 1 + (index // 3, index % 3)[i] for i in (0, 1))
    shares = np.zeros((stage.x.height, stage.x.width))
    np.add.at(shares, (rows, columns), 1)
    assert part(shares, stage.dx).max() == shares.max() == 4  # the page shows where the most windows share a maximum
    assert stage.overlaps and max(map(max, stage.counts.values)) == 4


@pytest.mark.parametrize(
    "kernel, stride, padding", [(3, 2, 1), (3, 1, 1), (2, 2, 0), (4, 2, 0), (3, 1, 0), (2, 3, 0)]
)
def test_the_counts_are_what_col2im_makes_of_ones(kernel, stride, padding):
    model = Sequential({"conv": Conv2D(3, 4, 1), "pool": MaxPool2D(kernel, stride, padding)})
    counts = page_of("pool", 0, "unit", model=model).stages["pool"].counts
    patches = reference.im2col(np.ones((1, 20, 20, 1)), (kernel, kernel), stride, padding)
    whole = reference.col2im(np.ones_like(patches), (1, 20, 20, 1), (kernel, kernel), stride, padding)[0, ..., 0]
    close(counts.values, part(whole, counts))


@pytest.mark.parametrize("start", ["loss", "unit"])
def test_three_paths_add_up_to_what_backward_gives_in_training(start):
    page = page_of("mix.b3", 2, start)
    stage = page.stages["norm"]
    close(np.add(np.add(stage.direct.values, stage.variance.values), stage.mean.values), stage.dx.values)
    model = network()
    if start == "unit":
        model = truncate(model, "mix.b3")
    y, cache = model.forward(images(), TRAIN)
    if start == "loss":
        dy = softmax_cross_entropy(y, LABELS)[1]
    else:
        dy = np.zeros_like(y)
        dy[(0, *page.place, 2)] = 1
    close(stage.dx.values, part(gradient_at(model, dy, cache, "mix.b3.conv")[0, ..., 2], stage.dx))
    close(stage.dy.values, part(gradient_at(model, dy, cache, "mix.b3.bn")[0, ..., 2], stage.dy))
    bn = network()["mix.b3.bn"]
    assert stage.probe_inv_std == 1 / np.sqrt(bn.buffers["running_var"][2] + bn.eps)
    assert np.abs(stage.variance.values).max() > 0 and np.abs(stage.mean.values).max() > 0


def test_a_relu_lets_dy_through_where_x_is_above_zero(pages):
    stage = pages["mix.b3"].stages["relu"]
    model, dy, cache, _ = passed()
    close(stage.dy.values, part(gradient_at(model, dy, cache, "mix.b3")[0, ..., 1], stage.dy))
    close(stage.dx.values, part(gradient_at(model, dy, cache, "mix.b3.bn")[0, ..., 1], stage.dx))
    close(np.multiply(stage.dy.values, np.array(stage.x.values) > 0), stage.dx.values)


@pytest.mark.parametrize("layer, before", [("mix.b3", "res"), ("res", "pool1")])
def test_what_the_branches_send_adds_up_to_dx(pages, layer, before):
    stage = pages[layer].stages["join"]
    model, dy, cache, _ = passed()
    close(sum(np.array(branch.dx.values) for branch in stage.branches), stage.dx.values)
    close(stage.dx.values, part(gradient_at(model, dy, cache, before)[0, ..., stage.channel], stage.dx))


def test_the_channels_of_a_module_are_those_of_its_branches(pages):
    stage = pages["mix.b3"].stages["join"]
    model, dy, cache, x = passed()
    names = [branch.name for branch in stage.branches]
    assert [(b.name, b.start, b.stop) for b in stage.branches] == [("b1", 0, 3), ("b3", 3, 8), ("pool", 8, 10)]
    seen = md.activations(model, x, [f"mix.{name}" for name in names])
    for branch in stage.branches:
        down = gradient_at(model, dy, cache, f"mix.{branch.name}")
        for channel, y, signal in branch.samples:
            at = (0, *stage.place, channel - branch.start)
            close([y, signal], [seen[f"mix.{branch.name}"][at], down[at]])


def test_from_the_unit_the_way_back_begins_with_a_one(pages):
    page = page_of("mix.b3.relu", 2, "unit")
    dy = np.array(page.stages["relu"].dy.values)
    assert dy.sum() == 1 and (dy != 0).sum() == 1
    assert page.loss is None and page.stages["join"].name == "res"  # mix comes after the unit


@pytest.mark.parametrize("start", ["loss", "unit"])
def test_the_value_and_the_pixels_of_the_unit_are_told(start):
    page = page_of("mix.b3", 2, start)
    model, x = network(), images()[:1]
    a = md.activations(model, x, "mix.b3")["mix.b3"][0, ..., 2]
    assert page.value == a.max() and a[page.place] == a.max()
    rows, columns = np.nonzero(np.abs(md.gradient(model, x, "mix.b3", 2, seed="max")[0]).sum(axis=2))
    assert page.field == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)


def test_without_a_layer_and_unit_the_page_takes_one_in_the_middle_and_the_strongest():
    page = page_of(None)
    assert page.layer == "res.body"
    a = md.activations(network(), images()[:1], page.layer)[page.layer][0]
    assert page.unit == a.max(axis=(0, 1)).argmax()


@pytest.mark.parametrize(
    "unit, conv, filter_", [(0, "mix.b1.conv", 0), (5, "mix.b3.conv", 2), (9, "mix.pool.conv", 1)]
)
def test_a_unit_of_a_module_is_one_of_its_branch(unit, conv, filter_):
    stage = page_of("mix", unit).stages["conv"]
    assert (stage.name, stage.unit) == (conv, filter_)


def test_a_pool_in_another_branch_is_not_on_the_way():
    model = Sequential({"mix": network()["mix"], "avgpool": GlobalAvgPool(), "fc": Linear(10, 5, dtype=np.float64)})
    x = np.random.default_rng(0).normal(size=(4, 20, 20, 6))
    page = make_page(model, Looked(x, np.zeros((20, 20, 3), np.uint8), LABELS, [], "image 0"), "mix.b3", 0)
    assert "pool" in page.missing and "join" in page.stages
    page = make_page(model, Looked(x, np.zeros((20, 20, 3), np.uint8), LABELS, [], "image 0"), "mix.pool", 0)
    assert page.stages["pool"].name == "mix.avgpool"


def test_a_float32_network_is_looked_at_in_float64():
    single = convert(network(), dtype=np.float32)
    assert page_of("mix.b3", 1, model=single) == page_of("mix.b3", 1, model=convert(single, dtype=np.float64))


def test_an_unknown_label_is_replaced_by_what_the_network_says():
    known = page_of("down", 0, labels=np.full(4, -1))
    said = network().forward(images()[:1], PROBE)[0].argmax()
    assert known.label == "" and known.loss == page_of("down", 0, labels=np.full(4, said)).loss


def test_each_unknown_label_of_the_batch_is_what_the_network_says_of_that_image():
    said = network().forward(images(), PROBE)[0].argmax(axis=1)
    assert len(set(said.tolist())) > 1
    unknown, given = (page_of("mix.b3", 1, labels=labels).stages["norm"] for labels in (np.full(4, -1), said))
    assert unknown == given


def test_a_module_without_maps_has_no_stage():
    rng = np.random.default_rng(0)
    dense = md.Residual(Sequential({"fc1": Linear(4, 4, rng=rng), "relu": ReLU()}))
    layers = {"conv": Conv2D(3, 4, 3, rng=rng), "gap": GlobalAvgPool(), "res": dense, "fc": Linear(4, 5, rng=rng)}
    page = page_of("conv", 0, model=Sequential(layers))
    assert "join" in page.missing and "conv" in page.stages


def test_a_network_that_has_diverged_has_no_page():
    model = network()
    model["fc"].params["bias"].value[...] = np.inf
    with pytest.raises(DivergedError, match="the network's scores: not finite"):
        page_of("mix.b3", 0, model=model)
    model["stem.conv"].params["weight"].value[...] = np.nan
    with pytest.raises(DivergedError, match="mix.b3: not finite"):
        page_of("mix.b3", 0, "unit", model=model)


def test_a_net_without_normalization_relu_pools_and_branches_says_so():
    model = Sequential({"conv": Conv2D(3, 4, 3, rng=0)})
    page = page_of("conv", 0, "unit", model=model)
    assert list(page.stages) == ["conv"] and list(page.missing) == ["pool", "norm", "relu", "join"]
    assert "batch normalization" in page.missing["norm"]
    model = Sequential({"conv": Conv2D(3, 4, 3, rng=0), "pool": md.GeneralMaxPool2D(2)})
    assert (
        "no MaxPool2D or AvgPool2D" in page_of("pool", 0, "unit", model=model).missing["pool"]
    )  # it has another pool


def test_a_batch_of_one_number_has_no_variance():
    page = page_of("down", 0, x=images(1, 5))
    assert "norm" in page.missing and "too small" in page.missing["norm"]


def test_the_model_does_not_change():
    model = network()
    before = {n: b.copy() for n, b in (model.named_buffers() | _values(model)).items()}
    page_of("mix.b3", 1, model=model)
    assert all(np.array_equal(b, before[n]) for n, b in (model.named_buffers() | _values(model)).items())


def _values(model):
    return {name: p.value for name, p in model.named_parameters().items()}


@pytest.mark.parametrize(
    "layer, unit, start, words",
    [
        ("mix.b4", 0, "loss", "did you mean mix.b3, mix.b1"),
        ("mix.b3", 5, "loss", "mix.b3 has units 0 to 4"),
        ("mix.b3", -1, "loss", "units 0 to 4"),
        ("fc", 0, "loss", "fc: its output has the shape (5,)"),
        ("mix.b3", 0, "end", "choose loss or unit"),
    ],
)
def test_a_wrong_request_gets_one_line(layer, unit, start, words):
    with pytest.raises(UsageError) as error:
        page_of(layer, unit, start)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_unit_of_groups_has_no_page_and_is_not_taken_for_one_before_it():
    conv, grouped = Conv2D(3, 4, 3, rng=0), GeneralConv2D(4, 4, 3, groups=2, rng=0)
    model = Sequential({"conv": conv, "grouped": grouped, "relu": ReLU()})
    with pytest.raises(
        UsageError, match=r"relu: unit 1 is made by a GeneralConv2D, and the pages show windows of Conv2D only"
    ):
        page_of("relu", 1, "unit", model=model)
    assert page_of("conv", 1, "unit", model=model).unit == 1


def test_a_convolution_of_ones_own_that_computes_something_else_has_no_page():
    class Doubled(Conv2D):
        def forward(self, x, ctx):
            y, cache = super().forward(x, ctx)
            return 2 * y, cache

    model = Sequential({"conv": Conv2D(3, 4, 3, rng=0), "own": Doubled(4, 4, 3, rng=0)})
    with pytest.raises(UsageError, match="own: unit 1 is made by a Doubled, and"):
        page_of("own", 1, "unit", model=model)
    assert page_of(None, 1, "unit", model=model).layer == "conv"


def test_after_a_pool_the_page_shows_where_the_maximum_comes_from():
    model = Sequential({"conv": Conv2D(3, 1, 1, bias=False), "relu": ReLU(), "pool": MaxPool2D(2)})
    model["conv"].params["weight"].value[...] = 1
    x = np.zeros((1, 20, 20, 3))
    x[0, 2, 3], x[0, 17, 17] = 3, -9
    stage = page_of("pool", 0, "unit", model=model, x=x).stages["conv"]
    assert np.max(stage.y.values) == 9 and np.max(stage.dy.values) == 1


def test_a_network_without_a_convolution_has_no_page():
    with pytest.raises(UsageError, match="is a convolution"):
        trail.middle(Sequential({"fc": Linear(3, 2)}), (4, 4, 3))
    with pytest.raises(UsageError, match="pool: no convolution"):
        page_of("pool", 0, "unit", model=Sequential({"pool": MaxPool2D(2)}))


def test_a_label_that_is_no_class_is_refused():
    with pytest.raises(UsageError, match="label 7: the network has classes 0 to 4"):
        page_of("mix.b3", model=network(), labels=np.array([7, 0, 4, 1]))


def test_a_frozen_network_has_the_page_of_the_network_itself():
    plain, frozen = network(), md.freeze(network(), "mix")
    assert page_of("mix.b3", 2, model=frozen) == page_of("mix.b3", 2, model=plain)


@pytest.mark.parametrize(
    ("layer", "unit"), [("mix.b3", 1.5), ("mix.b3", "a"), ("mix.b3", True), ("mix.b3", [1]), (3, None)]
)
def test_what_is_no_layer_or_unit_is_a_usage_error(layer, unit):
    with pytest.raises(UsageError):
        page_of(layer, unit)


def test_of_a_layer_that_its_container_runs_twice_all_arrays_are_of_the_last_run():
    conv, rng = Conv2D(2, 2, 3, padding=1, rng=0, dtype=np.float64), np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 1, 4, 4, 2))
    seen = Pass(Twice(conv), x, PROBE).back(dy).seen["f",]
    np.testing.assert_array_equal(seen.x, conv(x))
    np.testing.assert_array_equal(seen.dy, dy)
    np.testing.assert_array_equal(seen.dx, conv.input_grad(dy, conv.forward(seen.x, PROBE)[1]))


def test_a_unit_after_a_pool_that_keeps_the_size_is_made_where_the_maximum_was():
    model = Sequential({"conv": Conv2D(3, 2, 3, padding=1, rng=0, dtype=np.float64), "pool": MaxPool2D(3, 1, 1)})
    x = np.random.default_rng(0).normal(size=(1, 9, 9, 3))
    y = model["conv"](x)[0, ..., 1]
    looked = Looked(x, np.zeros((9, 9, 3), np.uint8), np.array([-1]), [], "an image")
    page = make_page(model, looked, "pool", 1, "unit")
    assert y[page.place] < y.max()  # the first window with the maximum, which is at its edge
    stage = page.stages["conv"]
    close(max(map(max, stage.y.values)), y.max())
    place = np.unravel_index(y.argmax(), y.shape)
    w, padded = model["conv"].params["weight"].value[..., 1], np.pad(x[0], ((1, 1), (1, 1), (0, 0)))
    window = padded[place[0] : place[0] + 3, place[1] : place[1] + 3]  # (3, 3, C)
    adds = np.abs((window * w).sum(axis=(0, 1)))
    assert [c.channel for c in stage.channels] == np.argsort(-adds).tolist()


def test_a_name_with_a_comma_is_shown_whole():
    assert facts.word(["crane (grus, g)", "cat"], 0) == "crane (grus, g)"
