"""What once gave a wrong answer without a word, or an error that named an inner thing: each is right, or refused."""

import re
from dataclasses import dataclass

import numpy as np
import pytest

from minidl.diagnostics.gradcheck import gradcheck
from minidl.diagnostics.trace import trace
from minidl.engine import fuse
from minidl.errors import ShapeError, UsageError
from minidl.layers import (
    INFER,
    PROBE,
    TRAIN,
    AdaptiveAvgPool2D,
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Context,
    Conv2D,
    Dropout,
    Flatten,
    Frozen,
    GeneralAvgPool2D,
    GeneralMaxPool2D,
    GlobalAvgPool,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2D,
    Mode,
    Parameter,
    ReLU,
    Residual,
    Rule,
    Sequential,
    Sigmoid,
    SiLU,
    Tanh,
    freeze,
)
from minidl.layers.convert import convert
from minidl.losses import softmax, softmax_cross_entropy, top_k_correct
from minidl.optim import SGD, Adam
from minidl.storage.weights import model_arrays

X = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float32)


class Around(Layer):
    """A user's own container, with a parameter and a buffer of its own: y = scale x + body(x)."""

    def __init__(self, body, dtype=np.float32):
        self.body = body
        self.scale = Parameter(np.full(1, 0.5, dtype), tags=["norm"])
        self.buffers["passes"] = np.zeros(1, dtype)

    def out_shape(self, in_shape):
        return self.body.out_shape(in_shape)

    def forward(self, x, ctx):
        if ctx.training:
            self.buffers["passes"] += 1
        y, cache = ctx.run("body", self.body, x)
        return self.scale.value * x + y, ((x, cache) if ctx.keeps_cache else None)

    def backward(self, dy, cache, need_dx=True):
        x, inner = cache
        self.scale.grad += (dy * x).sum()
        dx = self.body.backward(dy, inner, need_dx)
        return dx + self.scale.value * dy if need_dx else None

    def input_grad(self, dy, cache):
        return self.body.input_grad(dy, cache[1]) + self.scale.value * dy


def block(channels=3, dtype=np.float32):
    conv = Conv2D(channels, channels, 3, padding=1, bias=False, rng=0, dtype=dtype)
    return Sequential({"conv": conv, "bn": BatchNorm2D(channels, dtype=dtype), "relu": ReLU()})


def own_net(dtype=np.float32):
    return Sequential(
        {"own": Around(block(dtype=dtype), dtype), "flat": Flatten(), "fc": Linear(108, 2, dtype=dtype)}
    )


def arrays(model):
    return [a for p in model.named_parameters().values() for a in (p.value, p.grad)] + [
        *model.named_buffers().values()
    ]


# ------------------------------------------------------------------ randomness


def test_dropout_draws_anew_in_each_step_of_the_loop_that_a_reader_copies():
    net = Sequential({"fc": Linear(4, 100, rng=0), "drop": Dropout(0.5)})
    optimizer, masks = SGD(net.named_parameters(), 0.0), []
    for _ in range(3):
        y, cache = net.forward(np.ones((1, 4), np.float32), TRAIN.at_step(optimizer.steps))
        masks.append(y == 0)
        net.backward(y, cache)
        optimizer.step()
    assert all(0.2 < (a != b).mean() < 0.8 for a, b in zip(masks, masks[1:], strict=False))


def test_without_a_step_dropout_is_refused_by_name():
    with pytest.raises(UsageError, match=r"^head.drop: .*TRAIN\.at_step\(step\)"):
        Sequential({"head": Sequential({"drop": Dropout(0.5)})}).forward(X, TRAIN)
    y, _ = Dropout(0).forward(X, TRAIN)  # which draws nothing
    assert y is X


@pytest.mark.parametrize(("seed", "step", "words"), [(0, 1.5, "step is 1.5"), (0, -1, "step is -1"), (-1, 0, "seed")])
def test_a_step_or_seed_that_is_no_whole_number_is_refused_by_name(seed, step, words):
    with pytest.raises(UsageError, match=rf"^drop: {words}"):
        Sequential({"drop": Dropout(0.5)}).forward(X, Context(Mode.TRAIN, seed, step))


def test_two_dropouts_of_one_container_draw_different_masks():
    net = Sequential({"way": Residual(Dropout(0.5), Dropout(0.5))})
    y, _ = net.forward(np.ones((1, 1000)), TRAIN.at_step(0))
    assert set(np.unique(y)) == {0, 2, 4}


# --------------------------------------------------------- a user's own container


@pytest.mark.parametrize("make", [own_net, lambda: fuse(own_net(), 1), lambda: freeze(own_net(), "own")])
def test_convert_shares_no_array_in_any_container(make):
    model = make()
    new = convert(model, dtype=np.float64)
    assert list(new.named_parameters()) == list(model.named_parameters())
    assert {a.dtype for a in arrays(new)} == {np.dtype(np.float64)}
    assert not any(np.shares_memory(a, b) for a in arrays(convert(model)) for b in arrays(model))
    np.testing.assert_allclose(new(X.astype(np.float64)), model(X), rtol=1e-4, atol=1e-4)


def test_freeze_reaches_into_it_and_leaves_the_rest_alone():
    model = own_net()
    frozen = freeze(model, "own")
    assert {name for name, p in frozen.named_parameters().items() if "frozen" in p.tags} == {
        name for name in model.named_parameters() if name.startswith("own.")
    }
    before = {name: b.copy() for name, b in model.named_buffers().items()}
    frozen.forward(X, TRAIN)
    assert before and all(np.array_equal(b, before[name]) for name, b in model.named_buffers().items())


def test_a_frozen_leaf_keeps_its_parameters():
    model = Sequential({"conv": Frozen(Conv2D(3, 2, 1, rng=0)), "flat": Flatten()})
    assert list(model.named_parameters()) == ["conv.weight", "conv.bias"]


def test_a_frozen_layer_of_ones_own_does_not_decay():
    net = Sequential({"a": Frozen(Linear(3, 3, rng=0)), "b": Linear(3, 2, rng=1)})
    before = net["a"].inner.weight.value.copy()
    y, cache = net.forward(np.ones((2, 3), np.float32), TRAIN)
    net.backward(y, cache, need_dx=False)
    SGD(net.named_parameters(), 0.1, weight_decay=0.5).step()
    np.testing.assert_array_equal(net["a"].inner.weight.value, before)


def test_a_network_that_is_no_chain_cannot_be_frozen_up_to_a_layer():
    with pytest.raises(UsageError, match="can't freeze up to 'body': Around is not a chain of layers$"):
        freeze(Around(block()), "body")


def test_fuse_fuses_what_is_in_it():
    model = own_net()
    fused = fuse(model, 1)
    assert type(fused["own"]) is Around and type(next(iter(fused["own.body"]))).__name__ == "ConvBlock"
    assert list(fused.named_parameters()) == list(model.named_parameters())
    np.testing.assert_allclose(fused(X), model(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [own_net, lambda: fuse(own_net(), 1)])
def test_trace_leaves_its_buffers_and_gradients_as_they_were(make):
    model = make()
    before = [a.copy() for a in arrays(model)]
    rows = trace(model, X, np.array([0, 1]))
    assert all(np.array_equal(a, b) for a, b in zip(arrays(model), before, strict=True))
    assert [row.path for row in rows] == ["own.body.conv", "own.body.bn", "own.body.relu", "flat", "fc"]


def test_parameters_and_buffers_that_a_container_itself_holds_are_named():
    model = own_net()
    assert "own.scale" in model.named_parameters() and "own.passes" in model.named_buffers()
    assert gradcheck(own_net(np.float64), X.astype(np.float64)).error < 1e-5


def test_a_deconv_through_a_container_without_project_is_refused_when_it_is_asked_for():
    model = own_net()
    y, cache = model.forward(X, PROBE)
    assert model.project(y, cache, Rule("gradient")).shape == X.shape
    for name in ("guided", "deconv"):
        with pytest.raises(UsageError, match=rf"^own \(Around\): .*project.*{name}"):
            model.project(y, cache, Rule(name))


def test_a_container_without_a_backward_of_its_own_is_refused():
    class Wrapped(Layer):
        def __init__(self, inner):
            self.inner = inner

        def forward(self, x, ctx):
            return ctx.run("inner", self.inner, x)

        def input_grad(self, dy, cache):
            return self.inner.input_grad(dy, cache)

    model = Sequential({"w": Wrapped(Conv2D(3, 2, 1))})
    y, cache = model.forward(X, TRAIN)
    with pytest.raises(UsageError, match=r"w \(Wrapped\): needs a backward"):
        model.backward(y, cache)


def test_with_children_that_gives_back_something_else_is_refused():
    class Wrong(Around):
        def with_children(self, children):
            return self

    class Forgets(Layer):
        def __init__(self, *parts):
            self.parts = parts

        def children(self):
            return dict(zip("ab", self.parts, strict=False))

        def with_children(self, children):
            return Forgets(children["a"])

    for layer in (Wrong(block()), Forgets(ReLU(), ReLU())):
        with pytest.raises(UsageError, match=f"{type(layer).__name__}: with_children must"):
            convert(Sequential([layer]))


# ------------------------------------------------------------------------ names


def test_two_things_of_one_name_are_refused():
    model = Sequential({"a": Sequential({"b": Linear(2, 2)}), "a.b": Linear(2, 2)})
    for ask in (model.named_parameters, model.named_layers):
        with pytest.raises(UsageError, match=r"a\.b"):
            ask()
    layer = Linear(2, 2)
    layer.buffers["weight"] = np.zeros(1)
    with pytest.raises(UsageError, match="weight"):
        model_arrays(layer)


def test_a_layer_in_a_second_model_keeps_its_name_in_the_first():
    conv = Conv2D(3, 2, 1)
    first = Sequential({"first": conv})
    second = Sequential({"x": Sequential({"y": conv})})
    assert list(first.named_parameters()) == ["first.weight", "first.bias"]
    assert list(second.named_parameters()) == ["x.y.weight", "x.y.bias"]


def test_a_layer_used_twice_is_one_layer():
    fc = Linear(3, 3, rng=0)
    model = Sequential({"a": fc, "relu": ReLU(), "b": fc})
    assert list(model.named_parameters()) == ["a.weight", "a.bias"]
    assert model["a"] is model["b"] is fc
    once = {"a": fc.weight, "again": fc.weight}
    fc.weight.grad[...] = 1
    before = fc.weight.value.copy()
    SGD(once, 0.25).step()
    np.testing.assert_array_equal(fc.weight.value, before - np.float32(0.25))
    assert gradcheck(convert(model, dtype=np.float64), np.ones((2, 3))).error < 1e-5
    new = convert(model)
    assert new["a"] is new["b"]


def test_errors_say_the_full_name():
    net = Sequential({"m": Concat([{"a": Conv2D(3, 2, 1)}, {"b": Residual(block(5))}])})
    for ask in (lambda: net.out_shape(X.shape), lambda: net(X)):
        with pytest.raises(ShapeError, match=r"^m\.b\.body\.conv \(Conv2D\): needs 5 channels"):
            ask()


# ----------------------------------------------------------------------- caches

CHAINS = {
    "plain": lambda: Sequential({"conv": Conv2D(3, 2, 3), "pool": MaxPool2D(2)}),
    "concat": lambda: Concat([{"a": Conv2D(3, 2, 3)}]),
    "residual": lambda: Residual(Conv2D(3, 3, 3, padding=1)),
    "fused": lambda: fuse(Sequential({"b": block(), "pool": MaxPool2D(3)}), 1),
    "composite": lambda: fuse(Sequential({"b": block()}), 1)["b"],
    "pool": lambda: fuse(MaxPool2D(3), 1),
}


@pytest.mark.parametrize("make", CHAINS.values(), ids=CHAINS)
def test_a_cache_that_was_never_made_or_is_spent_is_refused(make):
    model = make()
    y, cache = model.forward(X, INFER)
    for back in (model.backward, model.input_grad):
        with pytest.raises(UsageError, match=f"{type(model).__name__}: .*INFER"):
            back(y, cache)
    y, cache = model.forward(X, TRAIN)
    model.backward(y, cache)
    with pytest.raises(UsageError, match="no cache for the way back"):
        model.backward(y, cache)


def test_a_forward_that_forgets_the_cache_is_refused_by_name():
    class Forgets(Layer):
        def forward(self, x, ctx):
            return 2 * x

        def input_grad(self, dy, cache):
            return 2 * dy

    for model in (Sequential({"own": Forgets()}), Residual(Forgets()), fuse(Sequential({"own": Forgets()}), 1)):
        for ctx in (TRAIN, INFER):  # a batch of two, which unpacks into two rows
            with pytest.raises(UsageError, match=r"(own|body) \(Forgets\): .*must return \(y, cache\)"):
                model.forward(X, ctx)
    with pytest.raises(UsageError, match="Forgets"):
        gradcheck(Forgets(), X.astype(np.float64))


# ------------------------------------------------------------------------- loss


@pytest.mark.parametrize(
    ("label", "words"), [(-1, "label -1 .*without a label"), (3, "label 3 .*0 to 2"), (-3, "-3")]
)
def test_a_label_that_is_no_class_is_refused(label, words):
    logits, labels = np.zeros((4, 3), np.float32), np.array([0, 1, label, 2])
    for ask in (softmax_cross_entropy, lambda z, y: top_k_correct(z, y, 1)):
        with pytest.raises(UsageError, match=words):
            ask(logits, labels)


# ------------------------------------------------------ what one types first


def test_a_parameter_in_an_attribute_is_trained_and_checked():
    class Scale(Layer):
        def __init__(self):
            self.scale = Parameter(np.ones(3))

        def forward(self, x, ctx):
            return self.scale.value * x, x

        def input_grad(self, dy, cache):
            return self.scale.value * dy

    layer = Scale()
    assert list(layer.named_parameters()) == ["scale"] and layer.params["scale"] is layer.scale
    with pytest.raises(UsageError, match="Scale: needs a backward of its own"):
        gradcheck(layer, X.astype(np.float64))
    new = convert(layer)
    assert new.scale is new.params["scale"] is not layer.scale


def test_a_parameter_may_be_a_single_number():
    w = Parameter(np.float32(1))
    w.grad[...] = 2
    for optimizer in (SGD, Adam):
        before = w.value.copy()
        optimizer({"w": w}, 0.25).step()
        assert w.value < before and w.value.dtype == np.float32


@pytest.mark.parametrize("value", [0, np.float32(0), [0], None])
def test_a_buffer_that_cannot_be_written_in_place_is_named_before_a_run_would_save_it(value):
    net = Sequential({"own": ReLU()})
    net["own"].buffers["passes"] = value
    for ask in (net.named_parameters, net.named_buffers):
        with pytest.raises(UsageError, match=r"^own\.passes is a \w+ in buffers: give an array"):
            ask()


def test_an_array_among_the_parameters_is_named():
    net = Sequential({"own": ReLU()})
    net["own"].params["w"] = np.ones(3)
    with pytest.raises(UsageError, match=r"^own\.w is a ndarray in params: give Parameter"):
        net.named_parameters()


FC, W = Linear(1, 1), Parameter(np.ones(1))


@pytest.mark.parametrize(
    "hidden", [[FC], (None, FC), {"a": FC}, {FC}, [[FC]], [("fc", FC)], {"a": [W]}, [W], frozenset({W}), ([], [[W]])]
)
def test_layers_and_parameters_in_a_list_are_refused(hidden):
    class Hides(Layer):
        def __init__(self):
            self.parts = hidden

    with pytest.raises(UsageError, match=r"Hides\.parts: .* are not seen"):
        Sequential([Hides()]).named_parameters()


@pytest.mark.parametrize("shared", [FC, W, [FC], {"a": W}])
def test_layers_and_parameters_of_a_class_are_refused(shared):
    class Holds(Layer):
        part = shared

    class Below(Holds):
        pass

    for kind in (Holds, Below):
        with pytest.raises(UsageError, match=rf"{kind.__name__}\.part: .* not seen"):
            Sequential([kind()]).named_parameters()


def test_a_layer_of_a_class_may_be_the_default_of_one_that_is_set():
    @dataclass(eq=False)
    class Own(Layer):
        sizes: tuple = (1, 2)
        inner: Layer = FC

    assert list(Own().named_parameters()) == ["inner.weight", "inner.bias"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Sequential([ReLU]), r"'0' is the class ReLU.*write ReLU\("),
        (lambda: Sequential({"a": 3}), "'a' is 3, not a layer"),
        (lambda: Sequential(ReLU(), np.ones(2)), "not a layer"),
        (lambda: Concat([{"a": Conv2D}]), r"write Conv2D\("),
        (lambda: Residual(ReLU), r"write ReLU\("),
        (lambda: Frozen(None), "not a layer"),
        (lambda: Conv2D(3, 8, (3, 5)), r"kernel is \(3, 5\).*GeneralConv2D takes pairs"),
        (lambda: Conv2D(3, 8, 3, padding="same"), "padding is 'same'.*GeneralConv2D"),
        (lambda: Conv2D(4, 8, 3, groups=2), r"^Conv2D: has no option groups: GeneralConv2D takes .* groups$"),
        (lambda: Conv2D(4, 8, 3, dilation=2, strides=1), "has no option dilation, strides: GeneralConv2D"),
        (lambda: MaxPool2D(2.5), "kernel is 2.5"),
        (lambda: MaxPool2D((3, 2)), r"kernel is \(3, 2\).*GeneralMaxPool2D"),
        (lambda: MaxPool2D(3, ceil_mode=True), "^MaxPool2D: has no option ceil_mode: GeneralMaxPool2D"),
        (lambda: AvgPool2D(3, count_include_pad=False), "^AvgPool2D: has no option count_include_pad: .*GeneralAvg"),
        (lambda: Sequential([ReLU()])["fc"], "no layer 'fc'"),
    ],
)
def test_it_says_what_is_meant(make, words):
    with pytest.raises(UsageError, match=words):
        make()


@pytest.mark.parametrize("name", [0, None, "", " ", ("a", 1), b"fc"])
@pytest.mark.parametrize("make", [Sequential, Concat, lambda named: Concat([{"a": ReLU()}, named])])
def test_a_name_that_is_no_text_is_refused(make, name):
    with pytest.raises(UsageError, match=rf"^Sequential: {re.escape(repr(name))} is not a name"):
        make({name: ReLU()})


def test_it_just_works():
    a, b = Conv2D(3, 8, (3, 3), stride=(2, 2), padding=(1, 1), rng=0), ReLU()
    assert a.out_shape((1, 6, 6, 3)) == (1, 3, 3, 8)
    forms = [
        Sequential(a, b),
        Sequential([a, b]),
        Sequential({"0": a, "1": b}),
        Sequential(layer for layer in (a, b)),
    ]
    assert [list(net.named_parameters()) for net in forms] == [["0.weight", "0.bias"]] * 4
    net = forms[0]
    assert len(net) == 2 and list(net) == [a, b] and net[0] is net["0"] is a and net[-1] is b and bool(ReLU())
    assert "1" in net and a in net and "2" not in net
    assert list(net[:1].named_parameters()) == ["0.weight", "0.bias"] and list(net[1:]) == [b]
    np.testing.assert_array_equal(net(X), net.forward(X, INFER)[0])
    assert list(Concat(a, b).named_parameters()) == ["0.weight", "0.bias"]


def test_a_layer_without_super_init_is_a_layer():
    class Plain(Layer):
        def __init__(self):
            self.factor = 2

        def forward(self, x, ctx):
            return self.factor * x, None

    assert Plain().named_parameters() == {}
    np.testing.assert_array_equal(Sequential(Plain())(X), 2 * X)


def test_print_shows_the_tree():
    text = str(Sequential({"m": Concat([{"a": Conv2D(3, 2, 1)}, {"b": ReLU()}]), "fc": Linear(2, 4, rng=0)}))
    assert text.splitlines()[0].split() == ["Sequential", "20"]
    assert "a: Conv2D(3 -> 2, 1x1, stride 1, padding 0)  weight 1x1x3x2, bias 2" in text
    assert "fc: Linear(2 -> 4)" in text and text.splitlines()[-1].endswith("12")


def test_a_call_refuses_a_forward_that_forgets_the_cache():
    class Forgets(Layer):
        def forward(self, x, ctx):
            return x

    with pytest.raises(UsageError, match=r"Forgets: forward returns ndarray, must return \(y, cache\)"):
        Forgets()(X)


def test_a_float64_gradient_of_a_loss_of_ones_own_is_taken_in_the_models_type():
    model = Sequential(Conv2D(3, 4, 3, bias=False, rng=0), BatchNorm2D(4), ReLU(), Flatten(), Linear(64, 2, rng=0))
    gradients = []
    for net in (model, fuse(model, 1)):
        model.zero_grad()
        y, cache = net.forward(X, TRAIN)
        net.backward(np.ones(y.shape), cache)
        gradients.append({name: p.grad.copy() for name, p in net.named_parameters().items()})
    for name, grad in gradients[0].items():
        np.testing.assert_allclose(gradients[1][name], grad, rtol=1e-4, atol=1e-5, err_msg=name)


def blocks():
    chain = Sequential({"conv": Conv2D(3, 4, 3, rng=0), "bn": BatchNorm2D(4), "relu": ReLU()})
    return [chain, Concat(chain), Residual(ReLU()), fuse(chain), fuse(chain)[0], fuse(Sequential({"a": chain}))]


@pytest.mark.parametrize("ctx", ["train", True, None, TRAIN.mode, PROBE.mode])
def test_a_pass_that_is_no_context_is_told_which_there_are(ctx):
    for block in blocks():
        with pytest.raises(UsageError, match=r"md\.TRAIN\.at_step\(step\), md\.PROBE or md\.INFER"):
            block.forward(X, ctx)


def test_a_context_in_place_of_the_input_is_named():
    for block in blocks():
        with pytest.raises(UsageError, match="the other way round"):
            block.forward(TRAIN, X)


@pytest.mark.parametrize("x", [X.tolist(), None, type("Tensor", (), {"__module__": "math"})()])
def test_what_is_no_array_is_named_by_its_type(x):
    calls = [*blocks(), ReLU(), Linear(3, 2), softmax, lambda x: softmax_cross_entropy(x, np.zeros(2, int))]
    calls += [lambda x: softmax_cross_entropy(np.zeros((2, 3)), x), Parameter]
    for call in calls:
        with pytest.raises(UsageError, match=f"got a {type(x).__name__} in place of an array"):
            call(x)


def test_a_parameter_is_an_array_of_floats():
    with pytest.raises(UsageError, match="the value is int64, and must be floating"):
        Parameter(np.arange(3))


class Silent(ReLU):
    """A layer whose way back returns nothing."""

    def backward(self, dy, cache, need_dx=True):
        return None

    def input_grad(self, dy, cache):
        return None


@pytest.mark.parametrize("place", [lambda s: s, lambda s: Residual(s), lambda s: Residual(ReLU(), s), Concat])
def test_a_way_back_that_returns_nothing_names_its_layer(place):
    model = Sequential({"a": ReLU(), "b": place(Sequential({"silent": Silent()})), "c": ReLU()})
    for net in (model, fuse(model)):
        for back in (net.backward, net.input_grad, lambda dy, cache, net=net: net.project(dy, cache, "gradient")):
            y, cache = net.forward(X, PROBE)
            with pytest.raises(
                UsageError, match=r"b.*silent \(Silent\): the way back .* returns None, must return dx"
            ):
                back(y, cache)


def test_a_string_is_one_tag():
    assert Parameter(np.ones(3), tags="norm").tags == Parameter(np.ones(3), tags=["norm"]).tags == {"norm"}


@pytest.mark.parametrize("step", [-1, 0.5, "a", None])
def test_a_step_that_cannot_be_is_refused_at_once(step):
    with pytest.raises(UsageError, match=f"step is {step!r}"):
        TRAIN.at_step(step)


def test_the_mode_of_a_context_is_one_of_the_three():
    with pytest.raises(UsageError, match="mode is 'train'"):
        Context("train")


@pytest.mark.parametrize("base", [Sequential, Concat])
@pytest.mark.parametrize(
    "kept",
    [lambda layer: layer, lambda layer: [layer], lambda layer: {"a": layer}, lambda layer: ([layer],)],
    ids=["layer", "list", "dict", "list in a tuple"],
)
def test_layers_in_an_attribute_of_a_container_that_does_not_run_them_are_refused(base, kept):
    class Net(base):
        def __init__(self):
            super().__init__(Linear(3, 4, rng=0))
            self.head = kept(Linear(4, 2, rng=0))

    with pytest.raises(UsageError, match="Net.head: this container runs the layers that it is given"):
        Net().named_parameters()


def test_a_list_of_layers_that_is_filled_later_is_refused_too():
    net = Sequential(Linear(3, 4, rng=0))
    net.blocks = []
    net.blocks.append(Linear(4, 2, rng=0))
    with pytest.raises(UsageError, match="Sequential.blocks"):
        SGD(net.named_parameters(), 0.1)


def test_a_container_may_have_children_of_its_own_choice_and_other_attributes():
    class Net(Sequential):
        def __init__(self):
            super().__init__(Linear(3, 4, rng=0))
            self.extra, self.sizes, self.name = Linear(4, 2, rng=0), [3, 4, 2], "net"

        def children(self):
            return {**self.layers, "extra": self.extra}

    assert list(Net().named_parameters()) == ["0.weight", "0.bias", "extra.weight", "extra.bias"]


def test_a_parameter_takes_the_place_of_an_attribute_of_the_same_name():
    class Shift(Layer):
        def __init__(self):
            self.bias = None
            self.bias = Parameter(np.ones(3))

    layer = Shift()
    assert layer.bias is layer.named_parameters()["bias"]


@pytest.mark.parametrize("name", ["w", "level", "label"])
def test_a_parameter_that_the_class_would_hide_is_refused(name):
    class Scale(Layer):
        w = None

    with pytest.raises(UsageError, match=f"Scale.{name}: the class has an attribute of this name"):
        setattr(Scale(), name, Parameter(np.ones(3)))


@pytest.mark.parametrize(
    "pool",
    [MaxPool2D(2), AvgPool2D(2), GlobalAvgPool(), GeneralMaxPool2D(2), GeneralAvgPool2D(2), AdaptiveAvgPool2D(1)],
    ids=lambda pool: type(pool).__name__,
)
def test_no_pool_takes_integers(pool):
    with pytest.raises(UsageError, match="the input is uint8, and must be float32 or float64"):
        pool(np.full((1, 4, 4, 1), 200, np.uint8))


@pytest.mark.parametrize(
    "layer", [BatchNorm2D(3), Tanh(), Sigmoid(), SiLU(), LeakyReLU()], ids=lambda layer: type(layer).__name__
)
def test_a_dy_of_another_shape_is_refused(layer):
    y, cache = layer.forward(np.ones((2, 4, 4, 3), np.float32), TRAIN.at_step(0))
    with pytest.raises(ShapeError, match="dy must have the shape of y"):
        layer.backward(np.ones((2, 1, 1, 3), np.float32), cache)


def test_what_is_no_name_of_a_layer_is_said():
    with pytest.raises(UsageError, match="no layer 2.5"):
        Sequential(Linear(3, 4, rng=0))[2.5]
