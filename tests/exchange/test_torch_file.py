"""Files of torch.save are read without torch: both forms, every kind of tensor; other files in one line."""

import io
import pickle
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest

import minidl as md
from minidl.errors import DataError, OutOfMemoryError
from minidl.exchange import torch_file
from minidl.exchange.pickle_reader import read_pickle
from minidl.exchange.torch_file import read_torch_file, read_weights
from minidl.exchange.torch_tensors import Tensors
from minidl.exchange.torch_writer import pickle_of, write_state_dict
from tests.exchange.zoo import GOLDEN, expected, stream_of

ZOOS = [f"torch{version}-{form}" for version in (1, 2) for form in ("zip", "stream")]


def zip_of(entries, method=zipfile.ZIP_STORED):
    """A zip with these entries in the folder archive/; a list of pairs can have the same name twice."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, content in entries.items() if isinstance(entries, dict) else entries:
            archive.writestr(f"archive/{name}", content)
    return file.getvalue()


def refused(tmp_path, content, error=DataError):
    """The line with which the file is refused, without its name."""
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(error) as caught:
        read_torch_file(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ") and line.isprintable() and len(line) < len(str(path)) + 400
    return line.removeprefix(f"{path}: ")


def assert_arrays(found, wanted):
    assert list(found) == list(wanted)
    for name, a in wanted.items():
        assert found[name].dtype == a.dtype and found[name].shape == a.shape, name
        np.testing.assert_array_equal(found[name], a, name)


@pytest.mark.parametrize("name", ZOOS)
def test_files_that_torch_wrote_are_read_with_every_kind_of_tensor(name):
    assert_arrays(read_torch_file(GOLDEN / f"{name}.pth"), expected())


@pytest.mark.parametrize("name", ZOOS)
def test_tensors_that_share_memory_share_it_here(name):
    state = read_torch_file(GOLDEN / f"{name}.pth")
    assert np.shares_memory(state["base"], state["shared"])
    assert not np.shares_memory(state["base"], state["double"])


@pytest.mark.parametrize("name", ZOOS)
def test_the_state_dict_is_found_in_a_checkpoint(name):
    found = read_weights(GOLDEN / f"{name}-checkpoint.pth")
    assert found.inside == "state_dict"
    assert_arrays(found.arrays, {"0.weight": np.full((2, 1, 1, 1), 0.25, "f"), "0.bias": np.full(2, 0.25, "f")})


def test_a_stream_of_python_2_with_views_of_storages_is_read(tmp_path):
    """As torch 0.3 wrote it: texts of bytes, _rebuild_tensor, OrderedDict with a list, a view of a storage."""
    storage = b"(U\x07storagectorch\nFloatStorage\nU\x0294U\x03cpuK\x06(U\x0295K\x02K\x03ttQ"
    tensor = b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"K\x01(K\x02t(K\x01ttR"
    content = b"\x80\x02ccollections\nOrderedDict\n(]](T\x01\x00\x00\x00a" + tensor + b"eatR."
    head = stream_of({})
    head = head[: head.index(pickle_of({}))]
    numbers = np.arange(6, dtype="<f4")
    path = tmp_path / "old.pth"
    path.write_bytes(head + content + pickle.dumps(["94"], 2) + (6).to_bytes(8, "little") + numbers.tobytes())
    assert_arrays(read_torch_file(path), {"a": numbers[3:5]})


@pytest.mark.parametrize(
    ("content", "inside"),
    [
        ({"model": "@"}, "model"),
        ({"epoch": 3, "net": "@", "accuracy": 0.5}, "net"),
        ({"whatever": "@"}, "whatever"),
        ({"checkpoint": {"model": {"state_dict": "@"}}}, "checkpoint.model.state_dict"),
        ({"model_ema": "@", "model": "@"}, "model"),
        ({"accuracy": 0.5, "own": {"b": {"c": "@"}}}, "own.b.c"),
        ({"optimizer": {"state": {0: "@"}}, "state_dict": "@"}, "state_dict"),
    ],
)
def test_a_state_dict_is_looked_for_by_its_usual_names(tmp_path, content, inside):
    state = {"a": np.arange(3, dtype="f")}

    def written(value):
        if isinstance(value, dict):
            return b"}(" + b"".join(written(part) for pair in value.items() for part in pair) + b"u"
        return pickle_of(state)[2:-1] if value == "@" else pickle.dumps(value, 2)[2:-1]

    path = tmp_path / "checkpoint.pth"
    path.write_bytes(zip_of({"data.pkl": b"\x80\x02" + written(content) + b".", "data/0": state["a"].tobytes()}))
    found = read_weights(path)
    assert found.inside == inside
    assert_arrays(found.arrays, state)


def test_a_dict_that_has_as_many_tensors_as_one_in_it_is_the_state_dict(tmp_path):
    one = pickle_of({"a": np.zeros(1, "f")})[2:-1]
    inner = b"X\x05\0\0\0model" + one
    outer = pickle_of({"a": np.zeros(1, "f")})[:-2] + inner + b"u."
    (tmp_path / "a.pth").write_bytes(zip_of({"data.pkl": outer, "data/0": bytes(4)}))
    assert read_weights(tmp_path / "a.pth").inside == ""


def test_files_of_a_big_endian_machine_are_read(tmp_path):
    a = np.arange(3, dtype=">f4")
    path = tmp_path / "big.pth"
    path.write_bytes(
        zip_of({"data.pkl": pickle_of({"a": a.astype("f")}), "byteorder": b"big", "data/0": a.tobytes()})
    )
    assert_arrays(read_torch_file(path), {"a": np.arange(3, dtype="f")})


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
def test_what_is_written_is_read_in_both_forms(tmp_path, dtype):
    rng = np.random.default_rng(0)
    arrays = {
        "a.b": (10 * rng.normal(size=(2, 3, 4))).astype(dtype),
        "é": np.array(1, dtype),
        "0": np.empty(0, dtype),
    }
    arrays["turned"] = arrays["a.b"].transpose(2, 0, 1)
    write_state_dict(tmp_path / "zip.pth", arrays)
    (tmp_path / "stream.pth").write_bytes(stream_of(arrays))
    for name in ("zip.pth", "stream.pth"):
        assert_arrays(read_torch_file(tmp_path / name), arrays)


def test_the_same_arrays_give_the_same_bytes_on_aligned_places(tmp_path):
    arrays = {name: np.arange(n, dtype="f") for name, n in (("a", 3), ("b", 50))}
    for name in ("x.pth", "y.pth"):
        write_state_dict(tmp_path / name, arrays)
    content = (tmp_path / "x.pth").read_bytes()
    assert content == (tmp_path / "y.pth").read_bytes()
    assert [content.index(a.tobytes()) % 64 for a in arrays.values()] == [0, 0]


def test_a_file_has_the_entries_of_torch_and_says_nothing_of_time_and_machine(tmp_path):
    write_state_dict(tmp_path / "x.pth", {"a": np.arange(3, dtype="f"), "b": np.zeros(2, "f")})
    with zipfile.ZipFile(tmp_path / "x.pth") as file:
        contents = {i.filename: file.read(i) for i in file.infolist()}
        assert {(i.date_time, i.create_system, i.compress_type) for i in file.infolist()} == {
            ((1980, 1, 1, 0, 0, 0), 0, 0)
        }
    assert [name.removeprefix("archive/") for name in contents] == [
        *("data.pkl", ".format_version", "byteorder", "data/0", "data/1", "version")
    ]
    rest = {name: contents[f"archive/{name}"] for name in (".format_version", "byteorder", "version", "data/1")}
    assert rest == {".format_version": b"1", "byteorder": b"little", "version": b"3\n", "data/1": bytes(8)}


def test_a_type_that_torch_has_not_is_refused_by_name(tmp_path):
    with pytest.raises(md.MinidlError, match="a.b is complex128"):
        write_state_dict(tmp_path / "x.pth", {"a.b": np.zeros(1, complex)})
    assert not list(tmp_path.iterdir())


def test_bfloat16_in_safetensors_becomes_float32(tmp_path):
    header = b'{"a":{"dtype":"BF16","shape":[2,1],"data_offsets":[0,4]},'
    header += b'"n":{"dtype":"I64","shape":[],"data_offsets":[4,12]}}'
    numbers = np.array([1.5, -2], "<f4").view("<u2")[1::2].tobytes() + (7).to_bytes(8, "little")
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + numbers)
    found = read_torch_file(path)
    assert_arrays({name: found[name] for name in ("a", "n")}, {"a": np.array([[1.5], [-2]], "f"), "n": np.array(7)})


LINES = [
    (b"", "the file is empty"),
    (b"<!DOCTYPE html><title>Not found</title>", "a web page"),
    (b"\n <html>", "a web page"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
    (b"\0" * 257 + b"ustar\x0000" + b"\0" * 248, "a tar file"),
    (b"\x1f\x8b\x08\0\0", "a compressed file"),
    (b"\x08\x08\x12\x07pytorch", "an ONNX model"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"\x93NUMPY\x01\0", "an array of NumPy"),
    (b"PK\x05\x06" + b"\0" * 18, "cut short, damaged or empty"),
    (b"PK\x03\x04 and no more", "cut short or damaged"),
    (b"weights", "neither a file of torch.save nor safetensors"),
    (pickle.dumps({"a": 1}, 2), "a pickle that torch.save didn't write"),
    (b"\x80\x09abc", "a pickle of a version that torch.save doesn't write"),
    (b"a\x02abc", "neither a file of torch.save nor safetensors"),
    (pickle.dumps({"a": 1}, 0), "neither a file of torch.save nor safetensors"),
    (zip_of({"weights.npy": b""}), "NumPy's, not torch's"),
    (zip_of({"data.pkl": b"\x80\x02}.", "constants.pkl": b"", "code/x.py": b""}), "TorchScript"),
    (zip_of({"data.pkl": b"\x80\x02}."}), "no state dict (names with tensors), but a dict without tensors"),
    (zip_of({"data.pkl": b"\x80\x02].", "byteorder": b"little"}), "no state dict (names with tensors), but a list"),
    (zip_of({"data.pkl": b"\x80\x02].", "byteorder": b"middle"}), "neither little nor big"),
    (b'\x20\0\0\0\0\0\0\0{"a"', "can't be read as safetensors"),
]


@pytest.mark.parametrize(("content", "line"), LINES, ids=[line for _, line in LINES])
def test_what_people_take_for_weights_is_named_in_one_line(tmp_path, content, line):
    assert line in refused(tmp_path, content)


def test_files_that_are_not_there_and_folders_are_named(tmp_path):
    with pytest.raises(DataError, match="nothing.pth: no such file"):
        read_torch_file(tmp_path / "nothing.pth")
    with pytest.raises(DataError, match="a folder, not a file of torch.save"):
        read_torch_file(tmp_path)


@pytest.mark.parametrize("name", ["torch2-zip", "torch1-zip", "torch2-stream", "torch2-zip-checkpoint"])
def test_a_file_that_is_cut_anywhere_is_refused(tmp_path, name):
    content = (GOLDEN / f"{name}.pth").read_bytes()
    for length in range(0, len(content), 61):
        refused(tmp_path, content[:length])


@pytest.mark.parametrize("name", ZOOS)
def test_a_number_that_was_changed_is_seen_in_a_zip(tmp_path, name):
    content = (GOLDEN / f"{name}.pth").read_bytes()
    at = content.index(np.arange(24, dtype="<f4").tobytes()) + 9
    changed = content[:at] + b"\xff" + content[at + 1 :]
    if "zip" in name:
        assert "checksum of its entry 'torch" in refused(tmp_path, changed)


def test_a_program_or_two_state_dicts_without_usual_names_are_refused(tmp_path):
    part = pickle_of({"a": np.arange(3, dtype="f")})[2:-1]
    two = b"\x80\x02}(X\x01\x00\x00\x00G" + part + b"X\x01\x00\x00\x00D" + part + b"u."
    assert "it holds 2 state dicts (G, D)" in refused(tmp_path, zip_of({"data.pkl": two, "data/0": bytes(12)}))


def test_a_checkpoint_of_minidl_is_no_file_of_torch(tmp_path):
    with pytest.raises(DataError, match="a checkpoint of minidl already"):
        read_torch_file(md.models.weights_file("refined"))


def test_numbers_that_are_expanded_beyond_the_free_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_file, "available_memory", lambda xp: 2**30)
    tensor = pickle_of({"a": np.zeros(1, "f")}).replace(b"(J\x01\0\0\0t(J\x01\0\0\0t", b"(J\0\0\0\x40t(J\0\0\0\0t")
    content = zip_of({"data.pkl": tensor, "data/0": bytes(4)})
    assert "GB of arrays" in refused(tmp_path, content, OutOfMemoryError)


def test_reading_imports_neither_torch_nor_pickletools():
    code = (
        "import sys, minidl as md\n"
        f"md.read_torch_file({str(GOLDEN / 'torch2-zip.pth')!r})\n"
        "print([m for m in ('torch', 'pickletools') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("form", ["zip", "stream"])
def test_the_progress_of_reading_counts_all_bytes(tmp_path, monkeypatch, form):
    bars = []

    class Bar(torch_file.Progress):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            bars.append(self)

    monkeypatch.setattr(torch_file, "Progress", Bar)
    read_torch_file(GOLDEN / f"torch2-{form}.pth")
    assert bars[0].done == bars[0].total == 400 and not bars[0].live  # bytes of the zoo's twelve storages


def test_safetensors_larger_than_the_free_memory_are_refused(tmp_path, monkeypatch):
    md.save(tmp_path / "a.safetensors", md.Linear(10, 10))
    size = (tmp_path / "a.safetensors").stat().st_size
    for free, refused in ((2 * size, False), (2 * size - 1, True)):
        monkeypatch.setattr(torch_file, "available_memory", lambda xp, free=free: free)
        if refused:
            with pytest.raises(OutOfMemoryError, match=r"a.safetensors: 0.0 GB of arrays"):
                read_torch_file(tmp_path / "a.safetensors")
        else:
            assert read_torch_file(tmp_path / "a.safetensors")["weight"].shape == (10, 10)


@pytest.mark.parametrize("count", [2**31 - 1, 2**31, 2**40])
def test_numbers_beyond_31_bits_are_written(count):
    pickled = pickle_of({"a": np.broadcast_to(np.zeros((), "f"), count)})
    (tensor,) = read_pickle(pickled, 0, Tensors().meaning)[0].values()
    assert tensor.shape == (count,) and tensor.storage.count == count


@pytest.mark.parametrize(("error", "refused"), [("PanicException", True), ("Interrupted", False)])
def test_an_error_of_rust_is_a_line_and_an_interruption_is_none(tmp_path, monkeypatch, error, refused):
    def fails(content):
        raise type(error, (BaseException,), {})("in another language")

    monkeypatch.setattr("minidl.exchange.safetensors_file.deserialize", fails)
    md.save(tmp_path / "a.safetensors", md.Linear(2, 2))
    with pytest.raises(BaseException, match="in another language") as caught:
        read_torch_file(tmp_path / "a.safetensors")
    assert isinstance(caught.value, DataError) == refused
