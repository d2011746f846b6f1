"""A small file asks for any amount of memory, disk or time, and gets a line that has the number."""

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import tempfile
import tracemalloc
import zipfile
import zlib
from dataclasses import replace

import pytest

from minidl.data import check_data, load_dataset, tiny_imagenet
from minidl.data.limits import LIMITS, UNLIMITED, limits_of, trusted
from minidl.data.opening import open_source
from minidl.errors import DataError
from tests.tiny_fixture import make_folders, make_tiny, tar_folder, zip_folder

MEGABYTE = 1 << 20
HINT = "if the data are your own, see MINIDL_TRUST in docs/data.md"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def limit(monkeypatch):
    """Sets limits lower for this test."""
    return lambda **lower: monkeypatch.setattr("minidl.data.limits.LIMITS", replace(LIMITS, **lower))


def line_of(path):
    """The one line in which opening `path` ends, with or without a word on MINIDL_TRUST."""
    (line,) = check_data(path, progress=False).problems
    assert str(path) in line and line.isprintable()
    return line


def peak(function):
    """The most bytes that were allocated at once while `function` ran, and what it gave or raised."""
    tracemalloc.start()
    try:
        result = function()
    except Exception as error:
        result = error
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most, result


def zip_of(path, names, content=b"x", method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names:
            archive.writestr(name, content)
    return path


def tar_of(path, entries, mode="w"):
    """A tar of (name, size, content); where content is shorter than size, the rest is missing."""
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as archive:
        for name, size, content in entries:
            info = tarfile.TarInfo(name)
            info.size = size
            archive.addfile(info, io.BytesIO(content))
    return path


NAMES = {
    "too deep": ("train/" + "a/" * 40 + "1.jpg", "42 folders deep, at most 32 are read"),
    "too deep in backslashes": ("train\\" + "a\\" * 40 + "1.jpg", "42 folders deep"),
    "too long": ("train/a/" + "n" * 1100 + ".jpg", "1,112 letters of its name, at most 1,024 are read"),
    "too deep in junk": (".git/" + "a/" * 40 + "1.jpg", "42 folders deep"),
}


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("case", NAMES)
def test_a_name_that_is_too_deep_or_too_long_is_refused_without_its_whole_length(tmp_path, case, kind):
    name, text = NAMES[case]
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        zip_of(path, ["train/a/0.jpg", name])
    else:
        tar_of(path, [("train/a/0.jpg", 1, b"x"), (name, 1, b"x")], "w:gz" if kind == "tar.gz" else "w")
    line = line_of(path)
    assert text in line and line.endswith(HINT) and len(line) < 400


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize(
    "lower, text",
    [
        ({"entries": 9}, "10 entries, at most 9 are read"),
        ({"listing": 60}, "60"),
        ({"free": 100, "total": 150}, "bytes unpacked, at most 150 are read"),
        ({"free": 100, "ratio": 0}, "bytes unpacked, at most 100 are read"),
    ],
)
def test_entries_names_and_bytes_of_an_archive_are_counted(tmp_path, limit, kind, lower, text):
    path = tmp_path / f"a.{kind}"
    names = [f"train/a/{i}.jpg" for i in range(20)]
    if kind == "zip":
        zip_of(path, names, bytes(16))
    else:
        tar_of(path, [(name, 16, bytes(16)) for name in names], "w:gz" if kind == "tar.gz" else "w")
    limit(**lower)
    assert text in line_of(path)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("name", ["wnids.txt", "train/a/1.jpg"])
def test_an_entry_of_too_many_bytes_is_not_unpacked(tmp_path, limit, kind, name):
    path, size = tmp_path / f"a.{kind}", 3 * MEGABYTE
    if kind == "zip":
        zip_of(path, [name], bytes(size), zipfile.ZIP_DEFLATED)
    else:
        tar_of(path, [(name, size, bytes(size))], "w:gz" if kind == "tar.gz" else "w")
    limit(text=MEGABYTE, file=MEGABYTE)
    source = open_source(path)
    most = source.limits.text if name == "wnids.txt" else None
    memory, error = peak(lambda: source.read(name, most))
    assert isinstance(error, DataError) and "3,145,728 bytes, at most 1,048,576 are read" in str(error)
    assert memory < MEGABYTE


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_packed_so_that_it_unpacks_to_any_size_at_once_is_refused(tmp_path, monkeypatch, method):
    path = zip_folder(make_folders(tmp_path / "pets"), tmp_path / "a.zip")
    assert len(load_dataset(path).train) == 6
    with zipfile.ZipFile(path, "a", method) as archive:
        archive.writestr("tiny-imagenet-200/train/cat/notes.txt", "hello")
    with pytest.raises(DataError, match=f"{path}: compressed by an unusual method, .* pack it again with deflate"):
        load_dataset(path)
    monkeypatch.setenv("MINIDL_TRUST", str(tmp_path))
    assert len(load_dataset(path).train) == 6


def test_an_entry_that_unpacks_to_more_than_the_list_says_gives_no_more(tmp_path):
    path = zip_of(tmp_path / "a.zip", ["train/a/1.jpg"], bytes(50 * MEGABYTE), zipfile.ZIP_DEFLATED)
    raw = bytearray(path.read_bytes())
    at = raw.rfind(b"PK\1\2") + 24
    raw[at : at + 4] = struct.pack("<I", 1000)
    path.write_bytes(raw)
    source = open_source(path)
    memory, error = peak(lambda: source.read("train/a/1.jpg"))
    assert isinstance(error, DataError) and "1.jpg: can't be read (Bad CRC-32" in str(error)
    assert memory < MEGABYTE


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_nothing_but_what_a_data_set_needs_is_unpacked_to_disk(tmp_path, monkeypatch, pack):
    plain = tar_of(
        tmp_path / "a.tar", [("junk.bin", 30 * MEGABYTE, bytes(30 * MEGABYTE)), ("train/a/1.jpg", 3, b"abc")]
    )
    packed = tmp_path / "a.tar.x"
    packed.write_bytes(pack(plain.read_bytes()))
    files = []
    make = tempfile.TemporaryFile
    monkeypatch.setattr("tempfile.TemporaryFile", lambda *args: files.append(make(*args)) or files[-1])
    source = open_source(packed)
    assert source.read("train/a/1.jpg") == b"abc"
    assert [os.fstat(file.fileno()).st_size for file in files] == [3]


def test_zeros_without_end_are_no_tar(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(bytes(50 * MEGABYTE)))
    memory, line = peak(lambda: line_of(tmp_path / "a.tar.gz"))
    assert "no data set here" in line and memory < 10 * MEGABYTE


def test_a_packed_tar_leaves_room_on_the_disk(tmp_path, monkeypatch):
    path = tar_of(tmp_path / "a.tar.gz", [("train/a/1.jpg", 1000, bytes(1000))], "w:gz")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1998}))
    assert "no room to unpack it in" in line_of(path) and "TMPDIR" in line_of(path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 2000}))
    assert "no room" not in str(check_data(path, progress=False))


def header(name, size, kind=b"0"):
    """A header of a tar; a size below 0 in the binary form that GNU tar knows."""
    info = tarfile.TarInfo(name)
    info.type = kind
    raw = bytearray(info.tobuf())
    raw[124:136] = size.to_bytes(12, "big", signed=True) if size < 0 else b"%011o\0" % size
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


HEADERS = {
    "a PAX header of 30 MB": lambda: header("pax", 30 * MEGABYTE, b"x") + bytes(30 * MEGABYTE),
    "a global PAX header of 30 MB": lambda: header("pax", 30 * MEGABYTE, b"g") + bytes(30 * MEGABYTE),
    "a GNU name of 30 MB": lambda: header("name", 30 * MEGABYTE, b"L") + b"a" * 30 * MEGABYTE,
    "a sparse file with holes without end": lambda: (
        header("train/a/1.jpg", 0, b"S")[:482] + b"\1" + bytes(29) + (b"\1" * 512) * 60_000
    ),
    "a PAX header of -1 bytes": lambda: header("pax", -1, b"x") + bytes(30 * MEGABYTE),
}


@pytest.mark.parametrize("case", HEADERS)
def test_what_a_tar_says_of_one_entry_is_bounded(tmp_path, case):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(header("train/a/0.jpg", 0) + HEADERS[case](), 1))
    memory, line = peak(lambda: line_of(path))
    assert memory < 10 * MEGABYTE, line


def test_an_entry_of_less_than_no_bytes_is_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(header("train/a/0.jpg", -1024) + bytes(1024))
    line = line_of(tmp_path / "a.tar")
    assert "refused" in line or "not a readable" in line  # newer versions of tarfile refuse it themselves


def test_many_global_headers_are_refused(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", pax_headers={f"key{i}": "x" for i in range(100)}) as archive:
        archive.addfile(tarfile.TarInfo("train/a/0.jpg"))
    assert "100 global headers, at most 64 are read" in line_of(path)


@pytest.mark.parametrize("make", [zip_folder, tar_folder])
def test_limits_are_lifted_where_the_user_trusts_the_folder(tmp_path, limit, monkeypatch, make):
    path = make(
        make_folders(tmp_path / "mine" / "pets"), tmp_path / "mine" / ("a.zip" if make is zip_folder else "a.tar")
    )
    limit(entries=3)
    with pytest.raises(DataError, match="4 entries, at most 3 are read"):
        load_dataset(path)
    monkeypatch.setenv("MINIDL_TRUST", str(tmp_path / "mine"))
    assert len(load_dataset(path).train) == 6


def test_only_what_lies_in_a_named_folder_is_trusted(tmp_path, monkeypatch):
    (tmp_path / "mine" / "deep").mkdir(parents=True)
    (tmp_path / "mine" / "link").symlink_to("/etc")
    monkeypatch.delenv("MINIDL_TRUST", raising=False)
    assert not trusted(tmp_path / "mine")
    for value in ("", os.pathsep, str(tmp_path / "other"), str(tmp_path / "min")):
        monkeypatch.setenv("MINIDL_TRUST", value)
        assert not trusted(tmp_path / "mine") and limits_of(tmp_path / "mine") == LIMITS
    monkeypatch.setenv("MINIDL_TRUST", f"/nowhere{os.pathsep}{tmp_path}/mine/")
    assert trusted(tmp_path / "mine") and limits_of(tmp_path / "mine" / "deep" / "a.zip") == UNLIMITED
    assert not trusted(tmp_path / "mine" / "link" / "passwd") and not trusted(tmp_path / "mine" / ".." / "other")


class Compared(str):
    """A text that counts how often it is compared."""

    times = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Compared.times += 1
        return str.__eq__(self, other)


@pytest.mark.parametrize("case", ["classes without folders", "images of one name"])
def test_the_lines_of_a_text_are_not_compared_each_with_each(tmp_path, monkeypatch, case):
    root = make_tiny(tmp_path / "tiny", train=1, val=1)
    n = 500
    lines = [f"n{i % (n - 2)}" for i in range(n)]
    annotations = [f"val_0.JPEG\tn{i}" for i in range(n)]
    if case == "images of one name":
        for i in range(n):
            (root / "val" / f"n{i}").mkdir()
            (root / "val" / f"n{i}" / "val_0.JPEG").touch()
    texts = {"wnids.txt": lines, "val/val_annotations.txt": annotations, "words.txt": []}
    monkeypatch.setattr(tiny_imagenet, "_lines", lambda source, name: [Compared(line) for line in texts[name]])
    Compared.times = 0
    report = check_data(root, progress=False)
    assert sum("is there twice" in line for line in report.problems) == 2
    assert sum("the folder is missing" in line for line in report.problems) == n - 2
    assert Compared.times < 20 * n


@pytest.mark.parametrize(
    "name, lower, text",
    [
        ("wnids.txt", {"text": 20}, "wnids.txt: can't be read .30 bytes, at most 20"),
        ("val/val_annotations.txt", {"text": 100}, "val_annotations.txt: can't be read .186 bytes, at most 100"),
        ("wnids.txt", {"lines": 2}, "wnids.txt: 4 lines, at most 2"),
        ("wnids.txt", {"classes": 2}, "wnids.txt: 3 classes, at most 2"),
        ("wnids.txt", {"name": 8}, "wnids.txt: 9 letters of a class's name, at most 8"),
    ],
)
def test_texts_have_limits(tmp_path, limit, name, lower, text):
    root = make_tiny(tmp_path / "tiny")
    limit(**lower)
    with pytest.raises(DataError, match=text):
        load_dataset(root)


def test_a_word_of_any_length_is_refused_but_not_its_synonyms(tmp_path):
    root = make_tiny(tmp_path / "tiny")
    words = (root / "words.txt").read_text()
    (root / "words.txt").write_text(words.replace("synonym", "s" * 5000))
    assert len(load_dataset(root).train) == 12
    (root / "words.txt").write_text(words.replace("word", "w" * 5000))
    with pytest.raises(DataError, match="words.txt: 5,002 letters of a class's name, at most 1,024"):
        load_dataset(root)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.filterwarnings("ignore:Image size")  # pytest shows what minidl hides
def test_a_bomb_in_a_data_set_is_one_problem_among_the_others(tmp_path):
    root = make_folders(tmp_path / "pets")
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 13_312, 13_312, 1, 0, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1665 * 13_312), 9)) + chunk(b"IEND", b"")
    (root / "train" / "cat" / "9.png").write_bytes(bomb)
    memory, report = peak(lambda: check_data(root, progress=False))
    assert "9.png: 13312x13312, 177,209,344 pixels, at most 64,000,000 are read" in report.problems[0]
    assert len(report.problems) == 1 and report.counts["train images"] == 6 and memory < 50 * MEGABYTE


def test_an_xz_that_asks_for_gigabytes_of_memory_is_refused(tmp_path):
    plain = tar_folder(make_folders(tmp_path / "pets"), tmp_path / "a.tar").read_bytes()
    packed = bytearray(lzma.compress(plain))
    packed[16] = 38  # the size of its dictionary: 2 GB
    packed[20:24] = struct.pack("<I", zlib.crc32(packed[12:20]))
    (tmp_path / "a.tar.xz").write_bytes(packed)
    assert "Memory usage limit exceeded" in line_of(tmp_path / "a.tar.xz")
    (tmp_path / "a.tar.xz").write_bytes(lzma.compress(plain, preset=9))
    assert len(load_dataset(tmp_path / "a.tar.xz").train) == 6
