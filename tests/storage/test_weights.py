"""Weight files are whole or refused in one line; torch's layout is a round trip; atomic files never show a part."""

import errno
import os
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from minidl.errors import DataError, UsageError
from minidl.layers import Linear, Sequential
from minidl.layers.base import Layer, Parameter
from minidl.layers.convert import convert
from minidl.storage.files import atomic
from minidl.storage.weights import (
    load_arrays,
    load_torch_state_dict,
    load_weights,
    save_arrays,
    save_weights,
    to_torch_state_dict,
)


class Leaf(Layer):
    def __init__(self, params, buffers=None):
        super().__init__()
        self.params = {name: Parameter(value) for name, value in params.items()}
        self.buffers = buffers or {}


class Net(Layer):
    """conv - bn - fc, as torch's module in `torch_net`."""

    def __init__(self, seed=0, dtype=np.float32, classes=5):
        super().__init__()
        rng = np.random.default_rng(seed)

        def draw(*shape):
            return rng.normal(size=shape).astype(dtype)

        self.parts = {
            "conv": Leaf({"weight": draw(3, 2, 3, 4), "bias": draw(4)}),
            "bn": Leaf(
                {"gamma": draw(4), "beta": draw(4)}, {"running_mean": draw(4), "running_var": draw(4) ** 2 + 0.1}
            ),
            "fc": Leaf({"weight": draw(4, classes), "bias": draw(classes)}),
        }

    def children(self):
        return self.parts


class Deep(Layer):
    """More layers than an error would list."""

    def __init__(self, n=9):
        super().__init__()
        self.parts = {f"part{i}": Leaf({"weight": np.zeros((2, 2))}) for i in range(n)}

    def children(self):
        return self.parts


def contents(model):
    return {**{name: p.value for name, p in model.named_parameters().items()}, **model.named_buffers()}


def snapshot(model):
    return {name: a.copy() for name, a in contents(model).items()}


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def test_weights_and_metadata_come_back(tmp_path):
    path = tmp_path / "net.safetensors"
    save_weights(path, Net(0), {"epoch": "3"})
    model = Net(1)
    holders = contents(model)
    assert load_weights(path, model) == {"epoch": "3"}
    assert_same(holders, contents(Net(0)))  # the very arrays the model had: written in place


@pytest.mark.parametrize("stored, wanted", [(np.float32, np.float64), (np.float64, np.float32)])
def test_weights_are_cast_to_the_dtype_of_the_model(tmp_path, stored, wanted):
    path = tmp_path / "net.safetensors"
    save_weights(path, Net(0, stored))
    model = Net(1, wanted)
    load_weights(path, model)
    assert {a.dtype for a in contents(model).values()} == {np.dtype(wanted)}
    assert_same(contents(model), {name: a.astype(wanted) for name, a in contents(Net(0, stored)).items()})


@given(arrays(np.float64, array_shapes(min_dims=0, max_dims=4, min_side=0)), st.sampled_from("CFT"))
def test_arrays_of_any_shape_and_strides_come_back(tmp_path_factory, a, order):
    a = a.T if order == "T" else np.asarray(a, order=order)
    path = tmp_path_factory.mktemp("arrays") / "a.safetensors"
    save_arrays(path, {"a": a, "n": np.arange(3, dtype=np.uint8)})
    loaded, metadata = load_arrays(path)
    np.testing.assert_array_equal(loaded["a"], a)
    assert loaded["a"].shape == a.shape and loaded["n"].dtype == np.uint8 and metadata == {}


def test_all_that_does_not_fit_is_one_error_and_nothing_changes(tmp_path):
    path = tmp_path / "net.safetensors"
    state = snapshot(Net(0))
    state["other.weight"] = state.pop("conv.bias")
    state["fc.bias"] = np.zeros(9, np.float32)
    state["bn.beta"] = np.zeros(4, np.int64)
    save_arrays(path, state)
    model = Net(1)
    before = snapshot(model)
    with pytest.raises(DataError) as error:
        load_weights(path, model)
    text = one_line(error)
    assert str(path) in text
    assert "missing: conv.bias; unexpected: other.weight; wrong shape: fc.bias float32(9,) for (5,)" in text
    assert "wrong type: bn.beta int64 for float32" in text
    assert_same(contents(model), before)


def test_a_long_list_of_names_is_cut(tmp_path):
    save_arrays(tmp_path / "net.safetensors", {"x": np.zeros(1)})
    with pytest.raises(DataError, match=r"part4.weight and 4 more; unexpected: x$"):
        load_weights(tmp_path / "net.safetensors", Deep(9))


def test_loading_that_is_not_strict_takes_what_it_finds_but_no_wrong_shape(tmp_path):
    path, model = tmp_path / "net.safetensors", Net(1)
    before = snapshot(model)
    save_arrays(path, {"conv.bias": np.full(4, 7.0), "other": np.zeros(1)})
    load_weights(path, model, strict=False)
    assert_same(contents(model), before | {"conv.bias": np.full(4, 7.0)})
    with pytest.raises(DataError, match=r"wrong shape: fc.weight float32\(4, 5\) for \(4, 6\)"):
        save_weights(path, Net(0, classes=5))
        load_weights(path, Net(0, classes=6), strict=False)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_refused_in_one_line(tmp_path, keep):
    path = tmp_path / "net.safetensors"
    save_weights(path, Net(0))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError) as error:
        load_arrays(path)
    assert str(path) in one_line(error)


@pytest.mark.parametrize("garbage", [b"\x89PNG\r\n" * 40, b"\xff" * 64, (9).to_bytes(8, "little") + b'{"a":"\n"}'])
def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path, garbage):
    path = tmp_path / "net.safetensors"
    path.write_bytes(garbage)
    with pytest.raises(DataError) as error:
        load_arrays(path)
    assert str(path) in one_line(error)


def test_types_that_numpy_has_not_are_refused_in_one_line(tmp_path):
    if "ml_dtypes" in sys.modules:
        pytest.skip("JAX has given this NumPy a bfloat16")
    header = b'{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    path = tmp_path / "half.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(DataError, match="half.safetensors"):
        load_arrays(path)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(DataError, match="nothing.safetensors: no such file"):
        load_arrays(tmp_path / "nothing.safetensors")
    with pytest.raises(DataError, match="a folder, not a weight file"):
        load_arrays(tmp_path)


def test_torch_layout_and_names():
    model = Net(0)
    own, state = contents(model), to_torch_state_dict(model)
    assert sorted(state) == sorted(
        [
            "conv.weight",
            "conv.bias",
            "bn.weight",
            "bn.bias",
            "bn.running_mean",
            "bn.running_var",
            "fc.weight",
            "fc.bias",
        ]
    )
    assert (
        state["conv.weight"].shape == (4, 3, 3, 2)
        and state["conv.weight"][3, 2, 1, 0] == own["conv.weight"][1, 0, 2, 3]
    )
    assert state["fc.weight"].shape == (5, 4) and state["fc.weight"][4, 1] == own["fc.weight"][1, 4]
    np.testing.assert_array_equal(state["bn.weight"], own["bn.gamma"])
    assert all(a.flags.c_contiguous and not np.shares_memory(a, b) for a in state.values() for b in own.values())


def test_a_torch_state_dict_is_a_round_trip():
    model = Net(1)
    holders = contents(model)
    load_torch_state_dict(model, to_torch_state_dict(Net(0)) | {"bn.num_batches_tracked": np.array(7)})
    assert_same(holders, contents(Net(0)))


def test_what_stands_in_two_places_has_both_names_in_torch():
    def net(rng):
        a, b = Linear(3, 3, rng=rng), Linear(3, 3, bias=False)
        b.weight = a.weight
        return Sequential({"a": a, "b": b, "again": a})

    model, state = net(0), to_torch_state_dict(net(1))
    assert [*state] == ["a.weight", "a.bias", "b.weight", "again.weight", "again.bias"]
    for saved in (state, {"a.weight": state["a.weight"], "a.bias": state["a.bias"]}):  # safetensors' save_model
        load_torch_state_dict(model, saved)
        assert_same(to_torch_state_dict(model), state)
        load_torch_state_dict(model, to_torch_state_dict(net(0)))
    before = to_torch_state_dict(model)
    with pytest.raises(DataError, match=r"a\.weight and b\.weight differ"):
        load_torch_state_dict(model, state | {"b.weight": np.zeros((3, 3))})
    assert_same(to_torch_state_dict(model), before)


def test_two_arrays_that_would_have_one_name_in_torch_are_refused_not_lost():
    with pytest.raises(UsageError, match="gamma: its name in torch, weight, is taken"):
        to_torch_state_dict(Leaf({"weight": np.ones(2), "gamma": np.zeros(2)}))


def test_a_torch_state_dict_that_does_not_fit_changes_nothing():
    model = Net(1)
    before = snapshot(model)
    state = to_torch_state_dict(Net(0, classes=6)) | {"head.weight": np.zeros(1)}
    del state["bn.weight"]
    with pytest.raises(
        DataError, match=r"missing: bn.weight; unexpected: head.weight; wrong shape: fc.weight"
    ) as error:
        load_torch_state_dict(model, state)
    one_line(error)
    assert_same(contents(model), before)


def test_an_atomic_file_appears_only_when_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.suffix == ".txt"
        assert list(tmp_path.glob("*.txt")) == [path]
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_no_rubbish(tmp_path, failure):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(failure), atomic(path) as temporary:
        temporary.write_text("half")
        raise failure
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(DataError) as error, atomic(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert one_line(error) == f"can't write {path}: the disk is full, free some space"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_one_line_that_names_the_file(tmp_path):
    path = tmp_path / "nowhere" / "a.txt"
    with pytest.raises(DataError, match="a.txt") as error:
        save_arrays(path, {"a": np.zeros(1)})
    one_line(error)


@pytest.mark.skipif(os.name != "posix", reason="Windows refuses to replace an open file")
def test_a_reader_who_has_the_old_file_open_reads_it_to_the_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with path.open() as reader:
        with atomic(path) as temporary:
            temporary.write_text("new")
        assert reader.read() == "old"


@pytest.mark.skipif(os.name != "posix", reason="umask is POSIX's")
def test_an_atomic_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic(tmp_path / "atomic") as temporary:
        temporary.write_text("")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def torch_net(torch):
    net = torch.nn.Module()
    net.conv = torch.nn.Conv2d(3, 4, (3, 2))
    net.bn = torch.nn.BatchNorm2d(4)
    net.fc = torch.nn.Linear(4, 5)
    return net


@pytest.mark.parity
def test_a_torch_module_takes_our_weights_strictly_and_we_take_them_back():
    torch = pytest.importorskip("torch")
    net = torch_net(torch)
    net.load_state_dict({k: torch.from_numpy(v) for k, v in to_torch_state_dict(Net(0)).items()}, strict=True)
    assert net.bn.num_batches_tracked == 0
    model = Net(1)
    load_torch_state_dict(model, net.state_dict())
    assert_same(contents(model), contents(Net(0)))


@pytest.mark.parity
def test_weights_of_a_torch_module_in_bfloat16_are_taken():
    torch = pytest.importorskip("torch")
    net = torch_net(torch).bfloat16()
    load_torch_state_dict(model := Net(1), net.state_dict())
    np.testing.assert_array_equal(to_torch_state_dict(model)["conv.weight"], net.conv.weight.detach().float().numpy())


@pytest.mark.parity
def test_a_convolution_and_a_linear_layer_compute_in_torch_what_the_arrays_say():
    torch = pytest.importorskip("torch")
    model = Net(1, np.float64)
    net = torch_net(torch).double()
    load_torch_state_dict(model, net.state_dict())
    own = contents(model)
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 3))  # N H W C
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 2), axis=(1, 2))  # N OH OW C KH KW
    y = np.einsum("nhwcij,ijcf->nhwf", windows, own["conv.weight"]) + own["conv.bias"]
    with torch.no_grad():
        expected = net.conv(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        logits = net.fc(expected.mean((1, 2)))
    np.testing.assert_allclose(y, expected.numpy(), atol=1e-12)
    np.testing.assert_allclose(y.mean((1, 2)) @ own["fc.weight"] + own["fc.bias"], logits.numpy(), atol=1e-12)


@pytest.mark.parametrize("call", [save_weights, load_weights])
def test_a_model_in_the_place_of_the_file_is_named(call, tmp_path):
    for wrong in ((Net(), tmp_path / "a.safetensors"), (tmp_path / "a.safetensors", {"weight": np.ones(2)})):
        with pytest.raises(UsageError, match="the file comes first, then the model"):
            call(*wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_state_dict_in_the_place_of_the_model_is_named():
    with pytest.raises(UsageError, match="the model comes first, then the state dict"):
        load_torch_state_dict(to_torch_state_dict(Net()), Net())


@pytest.mark.parametrize("begin", [b"PK\x03\x04", b"\x80\x02\x8a\x0a"], ids=["zip", "pickle"])
def test_a_file_of_torch_is_told_how_to_read_it(tmp_path, begin):
    (tmp_path / "t.pt").write_bytes(begin + b"archive/data.pkl" * 9)
    with pytest.raises(DataError, match=r"minidl import-torch \S+ --model NAME` makes a checkpoint"):
        load_weights(tmp_path / "t.pt", Linear(2, 2))


class Permuted(Layer):
    """Channels in another order, which a buffer of whole numbers holds."""

    def __init__(self, channels):
        self.buffers["order"] = np.arange(channels)[::-1].copy()

    def forward(self, x, ctx):
        return x[..., self.buffers["order"]], None


def test_buffers_of_whole_numbers_are_saved_loaded_and_converted_as_they_are(tmp_path):
    model = Sequential(Linear(3, 3, rng=0), Permuted(3))
    save_weights(tmp_path / "a.safetensors", model)
    other = Sequential(Linear(3, 3, rng=1), Permuted(3))
    other.named_buffers()["1.order"][...] = 0
    load_weights(tmp_path / "a.safetensors", other)
    x = np.random.default_rng(0).normal(size=(2, 3))
    np.testing.assert_array_equal(model(x.astype(np.float32)), other(x.astype(np.float32)))
    wide = convert(model, dtype=np.float64)
    assert wide.named_buffers()["1.order"].dtype == np.int64
    np.testing.assert_allclose(wide(x), model(x.astype(np.float32)), rtol=1e-5)
    load_torch_state_dict(other, to_torch_state_dict(model))


def test_floats_are_not_taken_for_whole_numbers(tmp_path):
    save_arrays(tmp_path / "a.safetensors", {"order": np.zeros(3, np.float32)})
    with pytest.raises(DataError, match="wrong type: order float32 for int64"):
        load_weights(tmp_path / "a.safetensors", Permuted(3))


@pytest.mark.parametrize("metadata", [{"epoch": 3}, {3: "epoch"}, {"epoch": None}])
def test_metadata_are_texts(metadata, tmp_path):
    with pytest.raises(UsageError, match="give texts"):
        save_arrays(tmp_path / "a.safetensors", {"w": np.zeros(2)}, metadata)
    assert not any(tmp_path.iterdir())
