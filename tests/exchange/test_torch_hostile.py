"""Files that a stranger made up: no opcode is executed but a few, nothing takes more than it has."""

import io
import os
import pickle
import pickletools
import struct
import zipfile

import numpy as np
import pytest

from minidl.errors import DataError
from minidl.exchange import pickle_reader
from minidl.exchange.pickle_machine import Meaning, Name, UnreadableError
from minidl.exchange.pickle_reader import OPCODES, read_pickle
from minidl.exchange.torch_file import read_torch_file
from minidl.exchange.torch_tensors import Tensors
from minidl.exchange.torch_writer import pickle_of
from tests.exchange.test_torch_file import refused, zip_of
from tests.exchange.zoo import GOLDEN, stream_of

ALLOWED = {  # every one is in a file that torch.save writes with some protocol, or that Python 2 wrote
    *("PROTO", "FRAME", "STOP", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "SHORT_BINSTRING", "BINSTRING", "MARK", "EMPTY_TUPLE"),
    *("TUPLE1", "TUPLE2", "TUPLE3", "TUPLE", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"),
    *("BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    "BINPERSID",
}
STATE = {"a": np.arange(6, dtype="f").reshape(2, 3)}
PICKLE = pickle_of(STATE)


def with_pickle(content, more=()):
    """A zip of torch with this pickle and the storage 0 of six numbers."""
    return zip_of([("data.pkl", content), ("data/0", STATE["a"].tobytes()), *more])


def changed(old, new):
    assert PICKLE.count(old) == 1
    return with_pickle(PICKLE.replace(old, new))


def test_the_opcodes_are_those_of_the_list_and_no_others():
    names = {code.name: ord(code.code) for code in pickletools.opcodes}
    assert {name for name, code in names.items() if code in OPCODES} == ALLOWED
    assert OPCODES.keys() <= {*names.values()}


def test_every_other_byte_is_refused_before_anything_is_done_with_it(tmp_path):
    place = PICKLE.index(b"u.")
    for code in {*range(256)} - {*OPCODES}:
        line = f"its pickle has the opcode {code:#04x}, which isn't read"
        with pytest.raises(UnreadableError, match=line):
            read_pickle(PICKLE[:place] + bytes([code]) + PICKLE[place:], 0, Tensors().meaning)
    assert refused(tmp_path, with_pickle(b"\x80\x02(\x8f.")) == "its pickle has the opcode 0x8f, which isn't read"


def test_a_pickle_that_runs_a_command_runs_nothing(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/owned",)

    for protocol in range(2, 6):
        for content in (Attack(), {"state_dict": Attack()}, [{"a": (1, Attack())}]):
            attack = pickle.dumps(content, protocol)
            assert "a Python object, posix.system" in refused(tmp_path, with_pickle(attack))
            stream = stream_of(STATE).replace(PICKLE, attack)
            assert "a Python object, posix.system" in refused(tmp_path, stream)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pth"]


class Net:
    """Somebody's module."""


HOSTILE = [
    (with_pickle(pickle.dumps(Net(), 2)), "test_torch_hostile.Net. Only tensors, numbers and texts are read"),
    (with_pickle(b"\x80\x02cbuiltins\neval\nX\x01\0\0\x001\x85R."), "a Python object, builtins.eval"),
    (with_pickle(b"\x80\x02ctorch\nFloatStorage\n)R."), "calls something that is no function of torch.save"),
    (with_pickle(b"\x80\x02ccollections\nOrderedDict\n]R."), "calls something that is no function of torch.save"),
    (with_pickle(b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R."), "a dict that isn't made of names and values"),
    (with_pickle(b"\x80\x02ccollections\nOrderedDict\n)R}X\1\0\0\0aK\1sb."), "attributes that torch.save doesn't"),
    (with_pickle(b"\x80\x02}}X\x09\0\0\0_metadataNsb."), "puts something into a value that is no container"),
    (with_pickle(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b."), "no container for it"),
    (with_pickle(b"\x80\x02}K\x01K\x01\x85K\x02s."), "no container for it"),
    (with_pickle(b"\x80\x02}K\x01\x85K\x02s."), "a dict whose keys aren't texts or numbers"),
    (with_pickle(b"\x80\x02}\x8a\x09" + b"\xff" * 8 + b"\x01Ns."), "a dict whose keys aren't texts or numbers"),
    (with_pickle(b"\x80\x02}\x8a\x09" + b"\xff" * 8 + b"\x00Ns."), "a dict without tensors"),
    (with_pickle(b"\x80\x02}(K\x01u."), "a dict whose keys aren't texts or numbers"),
    (with_pickle(b"\x80\x02c" + b"a" * 300 + b"\nb\n."), "a name of more than 200 letters"),
    (with_pickle(b"\x80\x02c" + b"a" * 201 + b"\nb\n."), "a name of more than 200 letters"),
    (with_pickle(b"\x80\x02c" + b"a" * 200 + b"\nb\n."), "a Python object, aaa"),
    (with_pickle(b"\x80\x02X\xff\xff\xff\xffa."), "its pickle is cut short"),
    (with_pickle(b"\x80\x02T\xff\xff\xff\xffa."), "its pickle is cut short"),
    (with_pickle(b"\x80\x02X\1\0\0\0\xff."), "a text that isn't UTF-8"),
    (with_pickle(b"\x80\x02."), "it takes a value that isn't there"),
    (with_pickle(b"\x80\x02K\x01(."), "it takes a value that isn't there"),
    (with_pickle(b"\x80\x02K\x01t."), "it takes values since a mark that isn't there"),
    (with_pickle(b"\x80\x02h\x07."), "it repeats a value that it never kept"),
    (with_pickle(b"\x80\x02q\x07."), "it keeps a value that isn't there"),
    (with_pickle(b"\x80\x04K\x01K\x02\x93."), "imports something that is no name"),
    (with_pickle(b"\x80\x02K\x01Q."), "names something outside of it that is no storage"),
    (with_pickle(b"\x80\x02(X\x06\0\0\0moduletQ."), "it holds a whole module, not a state dict"),
    (changed(b"X\1\0\0\x000", b"X\1\0\0\x009"), "it has no entry 'archive/data/9'"),
    (changed(b"X\1\0\0\x000", b"X\4\0\0\0../x"), "it has no entry 'archive/data/../x'"),
    (changed(b"J\6\0\0\0tQ", b"J\7\0\0\0tQ"), "its storage 0 has 24 bytes, not 28"),
    (changed(b"J\6\0\0\0tQ", b"J\5\0\0\0tQ"), "needs 6 numbers, and its storage 0 has 5"),
    (changed(b"J\6\0\0\0tQ", b"J\xff\xff\xff\xfftQ"), "a storage's count is no number from 0 to 2^48"),
    (changed(b"J\6\0\0\0tQ", b"\x8a\x09\0\0\0\0\0\0\0\0\x01tQ"), "a storage's count is no number from 0 to 2^48"),
    (changed(b"tQJ\0\0\0\0", b"tQJ\1\0\0\0"), "needs 7 numbers, and its storage 0 has 6"),
    (changed(b"tQJ\0\0\0\0", b"tQJ\xff\xff\xff\xff"), "a tensor's offset is no number"),
    (changed(b"(J\2\0\0\0J\3\0\0\0t", b"(J\3\0\0\0J\3\0\0\0t"), "of the shape (3, 3) that needs 9 numbers"),
    (changed(b"(J\2\0\0\0J\3\0\0\0t", b"(J\2\0\0\0J\x7f\0\0\x7ft"), "its storage 0 has 6"),
    (
        with_pickle(
            PICKLE.replace(b"(J\2\0\0\0J\3\0\0\0t", b"(J\0\0\0\1J\0\0\0\1t").replace(
                b"(J\3\0\0\0J\1\0\0\0t", b"(K\0K\0t"
            )
        ),
        "a tensor of more than 2^48 numbers",
    ),
    (changed(b"(J\2\0\0\0J\3\0\0\0t", b"(J\2\0\0\0t"), "isn't made of a storage, a shape and strides"),
    (changed(b"(J\2\0\0\0J\3\0\0\0t", b"(\x88J\3\0\0\0t"), "a tensor's size is no number"),
    (changed(b"(J\3\0\0\0J\1\0\0\0t", b"(J\xfd\xff\xff\xffJ\1\0\0\0t"), "a tensor's stride is no number"),
    (changed(b"ctorch\nFloatStorage", b"ctorch\nComplexFloatStorage"), "a complex tensor"),
    (changed(b"ctorch\nFloatStorage", b"ctorch._utils\n_rebuild_parameter"), "that is no storage"),
    (with_pickle(PICKLE, [("data/0", bytes(24))]), "its entry 'archive/data/0' is there twice"),
    (with_pickle(PICKLE, [("data.pkl", PICKLE)]), "its entry 'archive/data.pkl' is there twice"),
    (with_pickle(PICKLE, [("more/data.pkl", PICKLE)]), "without the one data.pkl"),
    (zip_of({"data.pkl": PICKLE, "data/0": bytes(24)}, zipfile.ZIP_DEFLATED), "is compressed"),
    (zip_of({"data.pkl": bytes(16_000_001)}), "has 16,000,001 bytes, not 16,000,000"),
]


@pytest.mark.parametrize(("content", "line"), HOSTILE, ids=[line for _, line in HOSTILE])
def test_what_torch_save_never_writes_is_refused_in_one_line(tmp_path, content, line):
    assert line in refused(tmp_path, content)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b"_rebuild_tensor_v2", b"_rebuild_tensor_v3", "a tensor of a newer type, such as float8 or uint16"),
        (b"_rebuild_tensor_v2", b"_rebuild_sparse_tensor", "a sparse tensor"),
        (b"_rebuild_tensor_v2", b"_rebuild_qtensor", "a quantized tensor"),
        (b"_rebuild_tensor_v2", b"_rebuild_meta_tensor_no_storage", "a meta tensor"),
        (b"FloatStorage", b"ComplexFloatStorage", "a complex tensor"),
        (b"FloatStorage", b"QInt8Storage", "a quantized tensor"),
        (b"_rebuild_tensor_v2", b"_rebuild_parameter_with_state", "a Parameter with attributes of its own"),
    ],
)
def test_a_tensor_that_is_not_read_is_called_what_it_is(tmp_path, old, new, what):
    line = refused(tmp_path, changed(old, new))
    assert f"it holds {what}" in line and "which isn't read" in line and "state_dict()" not in line


def test_a_tensor_whose_sign_is_only_marked_is_not_read_with_the_wrong_one(tmp_path):
    assert "resolve_neg()" in refused(tmp_path, changed(b")RtR", b")R}X\x03\0\0\0neg\x88stR"))


def test_values_may_refer_to_themselves_and_be_nested_without_end(tmp_path):
    cycles = b"]q\0h\0a}q\1X\1\0\0\0xh\1sq\2"  # a list in itself, a dict in itself
    deep = b"(" * 100_000 + b"t" * 100_000
    for content in (cycles, deep, b"]" * 100_000 + b"a" * 99_999):
        assert "no state dict" in refused(tmp_path, with_pickle(b"\x80\x02" + content + b"."))


def test_a_pickle_of_too_many_opcodes_is_refused_soon(tmp_path, monkeypatch):
    assert pickle_reader.MOST_STEPS * 72 < 2**28  # the largest value of one opcode is an empty dict, of 64 bytes
    monkeypatch.setattr(pickle_reader, "MOST_STEPS", 1000)
    assert "more than 1,000 opcodes" in refused(tmp_path, with_pickle(b"\x80\x02" + b"}" * 2000 + b"."))


def test_the_same_dict_in_a_thousand_places_is_seen_once(tmp_path):
    level = b"}q\0" + b"".join(b"X\4\0\0\0%04dNs" % i for i in range(300))
    content = b"\x80\x02" + level
    for k in range(1, 6):
        rows = b"".join(b"X\4\0\0\0%04dh" % i + bytes([k - 1]) + b"s" for i in range(300))
        content += b"}q" + bytes([k]) + rows
    assert "no state dict" in refused(tmp_path, with_pickle(content + b"."))  # seen 300^6 times, it would never end


def entry_numbers(content, change):
    """The zip with numbers of its directory changed: (place of the directory, place of its end) -> changes."""
    data = bytearray(content)
    change(data, data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06"))
    return bytes(data)


def put(form, offset, number, of_end=False):
    return lambda data, first, end: struct.pack_into(form, data, (end if of_end else first) + offset, number)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (put("<I", 24, 2**31), "is compressed"),  # stored in fewer bytes than it has
        (put("<H", 8, 1), "is encrypted"),
        (put("<I", 42, 10**6), "overlaps another"),
        (put("<I", 16, 12345), "the checksum of its entry"),
        (put("<H", 8, 10**4, True), "cut short or damaged"),
        (put("<I", 12, 10**6, True), "cut short or damaged"),
        (put("<I", 16, 10**6, True), "cut short or damaged"),
        (put("<H", 20, 3, True), "cut short or damaged"),
    ],
)
def test_a_zip_whose_directory_lies_is_refused(tmp_path, change, line):
    assert line in refused(tmp_path, entry_numbers(with_pickle(PICKLE), change))


def test_entries_that_share_their_bytes_are_refused(tmp_path):
    def share(data, first, end):
        second = data.index(b"PK\x01\x02", first + 1)
        data[second + 42 : second + 46] = data[first + 42 : first + 46]

    assert "overlaps another" in refused(tmp_path, entry_numbers(with_pickle(PICKLE), share))


@pytest.mark.parametrize("at", range(3))
def test_a_stream_whose_numbers_contradict_each_other_is_refused(tmp_path, at):
    good = stream_of(STATE)
    keys = pickle.dumps(["0"], 2)
    bad = (
        good.replace(keys, pickle.dumps(["1"], 2)),
        good.replace(keys, pickle.dumps(["0", "0"], 2)),
        good.replace(keys + (6).to_bytes(8, "little"), keys + (2**40).to_bytes(8, "little")),
    )[at]
    assert bad != good
    lines = ("its list of storages", "its list of storages", "its storage 0 has 1,099,511,627,776 numbers, not 6")
    assert lines[at] in refused(tmp_path, bad)


def test_opcodes_of_good_files_are_the_ones_that_are_read():
    for path in GOLDEN.glob("*-zip*.pth"):
        with zipfile.ZipFile(path) as file:
            name = next(name for name in file.namelist() if name.endswith("data.pkl"))
            assert {code.name for code, _, _ in pickletools.genops(io.BytesIO(file.read(name)))} <= ALLOWED


def test_a_name_has_nothing_behind_it():
    value, _ = read_pickle(b"\x80\x02cos\nsystem\n.", 0, Meaning({}, {"os.system"}, None))
    assert type(value) is Name and not callable(value)


def test_places_beyond_32_bits_stand_in_the_extra_field(tmp_path):
    """As in the directory of a zip of more than 4 GB: here they are small, and written in that way."""
    content = with_pickle(PICKLE)
    first, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    row = content[first : content.index(b"PK\x01\x02", first + 1)]
    size, header = struct.unpack_from("<I", row, 24)[0], struct.unpack_from("<I", row, 42)[0]
    extra = struct.pack("<2H2H3Q", 7, 0, 1, 24, size, size, header)
    wide = (
        row[:20]
        + b"\xff" * 8
        + row[28:30]
        + struct.pack("<H", len(extra))
        + row[32:42]
        + b"\xff" * 4
        + row[46:]
        + extra
    )
    rest = content[first + len(row) : end]
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 2, 2, len(wide + rest), first, 0)
    path = tmp_path / "large.pth"
    path.write_bytes(content[:first] + wide + rest + tail)
    np.testing.assert_array_equal(read_torch_file(path)["a"], STATE["a"])
    path.write_bytes(content[:first] + wide[: -len(extra)] + extra[:4] + b"\x02" + extra[5:] + rest + tail)
    with pytest.raises(DataError, match="cut short or damaged|overlaps another"):
        read_torch_file(path)


@pytest.mark.parametrize("place", [3, 24, 32, 40, 48])
def test_the_end_of_a_large_zip_is_not_believed_either(tmp_path, place):
    content = bytearray((GOLDEN / "torch2-zip.pth").read_bytes())
    end = content.rindex(b"PK\x06\x06")  # its mark, then how many entries are here and in all, their length and place
    content[end + place] += 1
    refused(tmp_path, bytes(content))
