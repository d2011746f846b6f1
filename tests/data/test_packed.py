"""The packed cache: opened when it is whole and its source unchanged, made anew otherwise."""

import io
import json
import os
import pickle
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minidl.data.packing as packing
from minidl.data import channel_statistics, default_cache, open_packed
from minidl.data.loader import image_sums
from minidl.errors import DataError
from tests.conftest import HANGS
from tests.tiny_fixture import WNIDS, make_folders, make_tiny, write_image, zip_folder

PACK = """
import sys; import minidl.text.progress; from minidl.data import open_packed
minidl.text.progress.SHORT = 0  # however short it is, packing is announced
print(len(open_packed(sys.argv[1], cache=sys.argv[2]).train))
"""


@pytest.fixture
def tiny(tmp_path):
    return make_tiny(tmp_path / "tiny")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def packed_again(monkeypatch):
    """The list of packings that have been made."""
    made = []
    pack = packing.pack
    monkeypatch.setattr("minidl.data.packed.pack", lambda *args: made.append(args[2]) or pack(*args))
    return made


def folders(cache):
    return [path for path in cache.iterdir() if path.is_dir()]


def start_packing(source, cache, **options):
    command = [sys.executable, "-c", PACK, str(source), str(cache)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def everything(data):
    return data.train.images(np.arange(len(data.train)))


def test_a_second_start_reads_no_image_and_gives_the_same_bits(tiny, cache, packed_again, monkeypatch):
    first = open_packed(tiny, cache=cache)
    monkeypatch.setattr(packing, "decode_sized", None)
    monkeypatch.setattr("minidl.data.packed.open_source", None)
    second = open_packed(tiny, cache=cache)
    assert len(packed_again) == 1
    assert np.array_equal(everything(first), everything(second))
    assert first.notes == second.notes and first.classes == second.classes and first.train.names == second.train.names


def test_images_lie_in_a_memory_mapped_uint8_array(tiny, cache):
    open_packed(tiny, cache=cache)
    (folder,) = folders(cache)
    images = np.load(folder / "train_images.npy", mmap_mode="r", allow_pickle=False)
    assert images.shape == (12, 64, 64, 3) and images.dtype == np.uint8


def test_images_handed_out_are_new_arrays(tiny, cache):
    data = open_packed(tiny, cache=cache)
    data.train.images(np.arange(3))[:] = 0
    assert everything(data).any(axis=(1, 2, 3)).all()


def test_stored_sums_give_the_statistics_of_the_pixels(tiny, cache):
    data = open_packed(tiny, cache=cache)
    assert np.array_equal(data.train.sums, image_sums(everything(data)))
    pixels = everything(data).reshape(-1, 3) / 255
    mean, std = channel_statistics(data.train)
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, pixels.std(axis=0), rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: write_image(root / "train" / WNIDS[0] / "images" / "new_9.JPEG", 9, format="JPEG"),
        lambda root: (root / "test" / "images" / "test_1.JPEG").unlink(),
        lambda root: (root / "wnids.txt").write_text("\n".join(sorted(WNIDS))),
        lambda root: (root / "words.txt").write_text("\n"),
        lambda root: write_image(root / "val" / "images" / "val_1.JPEG", 9, format="JPEG"),
    ],
    ids=["an image more", "an image less", "another order of classes", "no words", "another image in its place"],
)
def test_a_changed_folder_is_packed_anew_in_place_of_the_old(tiny, cache, packed_again, change):
    open_packed(tiny, cache=cache)
    change(tiny)
    open_packed(tiny, cache=cache)
    open_packed(tiny, cache=cache)
    assert len(packed_again) == 2
    assert len(folders(cache)) == 1


def test_a_changed_archive_is_packed_anew(tiny, cache, tmp_path):
    archive = zip_folder(tiny, tmp_path / "tiny.zip")
    assert len(open_packed(archive, cache=cache).train) == 12
    zip_folder(make_tiny(tmp_path / "other", train=5), archive)
    assert len(open_packed(archive, cache=cache).train) == 15


def test_sources_and_image_sizes_have_their_own_folders(tmp_path, cache, packed_again):
    one, two = make_folders(tmp_path / "a" / "pets"), make_folders(tmp_path / "b" / "pets", train=5)
    for size in (16, 24):
        assert len(open_packed(one, cache=cache, image_size=size).train) == 6
        assert len(open_packed(two, cache=cache, image_size=size).train) == 10
    open_packed(one, cache=cache, image_size=16)
    assert len(packed_again) == len(folders(cache)) == 4


def test_data_open_elsewhere_outlives_a_new_packing(tiny, cache):
    data = open_packed(tiny, cache=cache)
    before = everything(data)
    write_image(tiny / "train" / WNIDS[0] / "images" / "new_9.JPEG", 9, format="JPEG")
    assert len(open_packed(tiny, cache=cache).train) == 13
    assert np.array_equal(everything(data), before)


@pytest.mark.parametrize(
    "file", ["meta.json", "train_images.npy", "val_labels.npy", "test_names.json", "train_sums.npy"]
)
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_cache_is_packed_anew(tiny, cache, packed_again, file, damage):
    before = everything(open_packed(tiny, cache=cache))
    victim = folders(cache)[0] / file
    content = victim.read_bytes()
    victim.unlink()
    if damage == "cut":
        victim.write_bytes(content[: len(content) // 2])
    assert np.array_equal(everything(open_packed(tiny, cache=cache)), before)
    assert len(packed_again) == 2


def test_a_cache_of_another_format_is_packed_anew_in_its_place(tiny, cache, packed_again, monkeypatch):
    open_packed(tiny, cache=cache)
    monkeypatch.setattr("minidl.data.packed.FORMAT", 999)
    open_packed(tiny, cache=cache)
    assert len(packed_again) == 2
    assert len(folders(cache)) == 1


def test_no_file_of_the_cache_holds_a_pickle(tiny, cache):
    open_packed(tiny, cache=cache)
    for file in folders(cache)[0].iterdir():
        if file.suffix == ".json":
            json.loads(file.read_text())
        else:
            np.load(file, allow_pickle=False)


def test_processes_that_start_at_once_share_one_packing(tmp_path, cache):
    root = make_tiny(tmp_path / "tiny", train=40)
    processes = [start_packing(root, cache) for _ in range(3)]
    results = [process.communicate(timeout=HANGS) for process in processes]
    assert [out.strip() for out, _ in results] == ["120"] * 3, results
    assert sum("packing images" in err for _, err in results) == 1
    assert len(folders(cache)) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_a_packing_killed_at_any_moment_is_never_read_and_its_leftovers_go(tmp_path, cache):
    root = make_tiny(tmp_path / "tiny", train=2)
    fatal = (
        "import sys, time, os, signal, minidl.data.packing as p; from minidl.data import open_packed\n"
        "count, at = 0, int(sys.argv[3])\n"
        "def die(event, args):\n"
        "    global count\n"
        "    if event in ('open', 'os.rename', 'os.mkdir') and sys.argv[2] in str(args[0]):\n"
        "        count += 1\n"
        "        if count == at: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(die)\n"
        "open_packed(sys.argv[1], cache=sys.argv[2])\n"
    )
    expected = everything(open_packed(root, cache=tmp_path / "reference"))
    killed = 0
    for moment in range(3, 60, 5):
        code = subprocess.run([sys.executable, "-c", fatal, str(root), str(cache), str(moment)], capture_output=True)
        killed += code.returncode == -signal.SIGKILL
        if code.returncode != -signal.SIGKILL:
            break
        whole = [folder for folder in folders(cache) if not folder.name.startswith(packing.TEMPORARY)]
        assert not whole or (whole[0] / "meta.json").exists()
    assert killed >= 5
    assert np.array_equal(everything(open_packed(root, cache=cache)), expected)
    assert [path.name for path in cache.iterdir() if path.name.startswith(packing.TEMPORARY)] == []


def test_a_bad_image_leaves_nothing_behind(tiny, cache):
    (tiny / "val" / "images" / "val_3.JPEG").write_bytes(b"no image")
    with pytest.raises(DataError, match="val_3.JPEG"):
        open_packed(tiny, cache=cache)
    assert folders(cache) == []


@pytest.mark.skipif(os.name != "posix", reason="resource limits")
def test_a_disk_that_fills_while_packing_ends_in_one_line(tmp_path, cache):
    import resource

    def allow_100_kilobytes():  # a write beyond fails like one on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    process = start_packing(make_tiny(tmp_path / "tiny"), cache, preexec_fn=allow_100_kilobytes)
    _, err = process.communicate(timeout=HANGS)
    last = err.strip().splitlines()[-1]
    assert last.startswith("minidl.errors.DataError:") and str(cache) in last and "can't be written" in last
    assert folders(cache) == []


def test_a_disk_without_room_is_seen_before_packing(tiny, cache, monkeypatch):
    usage = packing.shutil.disk_usage
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda path: usage(path)._replace(free=1000))
    with pytest.raises(DataError, match="make room, or name another folder in MINIDL_CACHE"):
        open_packed(tiny, cache=cache)


def test_a_cache_that_cannot_be_a_folder_ends_in_one_line_that_says_what_to_do(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file: the packed cache can't be written .* MINIDL_CACHE"):
        open_packed(tiny, cache=tmp_path / "file")


def test_without_a_home_folder_the_cache_needs_a_name(tiny, monkeypatch):
    for name in ("MINIDL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(DataError, match="no home folder for the packed cache: name a folder .* MINIDL_CACHE"):
        open_packed(tiny)


def test_a_cache_of_the_first_format_is_replaced(tiny, cache):
    open_packed(tiny, cache=cache)
    (folder,) = folders(cache)
    meta = json.loads((folder / "meta.json").read_text())
    del meta["format"], meta["stamp"]
    (folder / "meta.json").write_text(json.dumps(meta | {"watched": {}}))
    (folder / "train_sizes.npy").unlink()
    assert len(open_packed(tiny, cache=cache).train) == 12
    assert folders(cache) == [folder]


def test_a_data_set_of_a_long_name_has_a_cache(tmp_path, cache):
    root = make_folders(tmp_path / ("long" * 60), size=(9, 9))
    assert open_packed(root, cache=cache, image_size=8).name == root.name
    assert len(folders(cache)) == 1


def test_a_source_that_changes_while_it_is_packed_is_not_taken(tiny, cache, monkeypatch):
    def change_and_pack(*args):
        pack(*args)
        (tiny / "test" / "images" / "test_1.JPEG").unlink()

    pack = packing.pack
    monkeypatch.setattr("minidl.data.packed.pack", change_and_pack)
    with pytest.raises(DataError, match="changed while it was being packed, start again"):
        open_packed(tiny, cache=cache)
    monkeypatch.undo()
    assert len(open_packed(tiny, cache=cache).test) == 1


def test_the_cache_folder_is_taken_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIDL_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_cache() == Path.home() / ".cache" / "minidl"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "minidl"
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "own"))
    assert default_cache() == tmp_path / "own"


def test_a_long_packing_prints_plain_lines_in_a_log(tiny, cache, capsys, monkeypatch):
    monkeypatch.setattr("minidl.text.progress.LINE_EVERY", 0)
    monkeypatch.setattr("minidl.text.progress.SHORT", 0)
    open_packed(tiny, cache=cache)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("packing images: 12 of 20 images, ")
    assert lines[-1].startswith("packing images: 20 of 20 images, ")


def test_the_cache_is_for_its_user_alone(tiny, cache):
    open_packed(tiny, cache=cache)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders(cache)] == [0o700]


def test_packing_removes_nothing_but_its_own_leftovers(tiny, cache):
    for name in (".tmp-mine", ".tmp-1-pets", packing.TEMPORARY + "x"):
        (cache / name).mkdir(parents=True)
        (cache / name / "thesis.txt").write_text("")
    (cache / (packing.TEMPORARY + "link")).symlink_to(cache / ".tmp-mine")
    open_packed(tiny, cache=cache)
    assert (cache / ".tmp-mine" / "thesis.txt").exists() and (cache / ".tmp-1-pets" / "thesis.txt").exists()
    assert not (cache / (packing.TEMPORARY + "x")).exists()


def test_names_of_what_is_being_packed_cannot_be_known_beforehand(tiny, cache, monkeypatch):
    seen = []
    monkeypatch.setattr(packing, "_commit", lambda temporary, folder: seen.append(temporary.name))
    for _ in range(2):
        with pytest.raises(DataError):
            open_packed(tiny, cache=cache)
    assert len(set(seen)) == 2


def test_a_link_in_the_place_of_the_lock_is_not_written_through(tiny, cache, tmp_path):
    cache.mkdir()
    (cache / "packing.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(DataError, match="packing.lock: a link"):
        open_packed(tiny, cache=cache)
    assert not (tmp_path / "victim").exists()


def test_a_pipe_in_the_place_of_the_lock_is_not_waited_for(tiny, cache):
    cache.mkdir()
    os.mkfifo(cache / "packing.lock")
    with pytest.raises(DataError, match="packing.lock: not a regular file"):
        open_packed(tiny, cache=cache)


@pytest.mark.parametrize("plant", ["link", "file"])
def test_what_is_planted_in_the_place_of_the_folder_is_refused(tiny, cache, tmp_path, plant):
    open_packed(tiny, cache=cache)
    (folder,) = folders(cache)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere") if plant == "link" else folder.write_text("")
    with pytest.raises(DataError, match="a link or a file, where the packed cache belongs: remove it, name a folder"):
        open_packed(tiny, cache=cache)


def test_the_folder_of_another_user_is_not_read_unless_trusted(tiny, cache, monkeypatch):
    open_packed(tiny, cache=cache)
    uid = os.geteuid() + 1
    lstat = os.lstat
    foreign = lambda path: os.stat_result([*lstat(path)[:4], uid, *lstat(path)[5:10]])  # noqa: E731
    monkeypatch.setattr("minidl.data.packed.os.lstat", foreign)
    with pytest.raises(DataError, match=f"the packed cache of another user .number {uid}.: .* MINIDL_CACHE"):
        open_packed(tiny, cache=cache)
    monkeypatch.setenv("MINIDL_TRUST", str(cache))
    assert len(open_packed(tiny, cache=cache).train) == 12


@pytest.mark.parametrize("mode, times", [(0o755, 1), (0o750, 1), (0o770, 2), (0o777, 2)])
def test_a_folder_that_others_could_write_into_is_packed_anew(tiny, cache, packed_again, mode, times):
    open_packed(tiny, cache=cache)
    (folder,) = folders(cache)
    folder.chmod(mode)
    open_packed(tiny, cache=cache)
    assert len(packed_again) == times


def array(values, dtype, order="C"):
    stream = io.BytesIO()
    np.save(stream, np.array(values, dtype, order=order))
    return stream.getvalue()


def claims(shape, descr="|u1"):
    """A .npy file of 128 bytes that claims to hold any shape."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


PLANTED = {
    "labels beyond the classes": ("train_labels.npy", array([3] * 12, np.int64)),
    "labels below -1": ("train_labels.npy", array([-2] * 12, np.int64)),
    "labels that are floats": ("train_labels.npy", array([0] * 12, float)),
    "too few labels": ("train_labels.npy", array([0] * 11, np.int64)),
    "bytes behind the labels": ("train_labels.npy", array([0] * 12, np.int64) + b"x"),
    "images of another size": ("train_images.npy", array(np.zeros((12, 32, 32, 3)), np.uint8)),
    "images that are floats": ("train_images.npy", array(np.zeros((12, 64, 64, 3)), np.float32)),
    "images in Fortran's order": ("train_images.npy", array(np.zeros((12, 64, 64, 3)), np.uint8, "F")),
    "images of petabytes": ("train_images.npy", claims((1 << 50, 64, 64, 3))),
    "images that are not there": ("train_images.npy", claims((12, 64, 64, 3))),
    "fewer than no images": ("train_images.npy", claims((-12, 64, 64, 3))),
    "objects": ("train_gray.npy", claims((12,), "|O")),
    "a zip": ("train_gray.npy", b"PK\3\4" + bytes(100)),
    "a pickle": ("train_gray.npy", pickle.dumps([True] * 12)),
    "a header of rubbish": ("train_gray.npy", b"\x93NUMPY\1\0\x40\0" + b"(" * 64),
    "a header that is no dict": ("train_gray.npy", b"\x93NUMPY\1\0\x40\0" + b"__import__('os')".ljust(64)),
    "names that are numbers": ("train_names.json", json.dumps([1] * 12).encode()),
    "names that are no list": ("train_names.json", b'{"a": 1}'),
    "names in brackets without end": ("train_names.json", b"[" * 100_000),
    "names that aren't UTF-8": ("train_names.json", b'["\xff"]'),
    "a meta.json that is a list": ("meta.json", b"[]"),
    "a meta.json that is a number": ("meta.json", b"1e999"),
}
FIELDS = {
    "classes": ["ab", [1, 2, 3], None, []],
    "words": ["abc", ["one"], [None] * 3],
    "unread": ["many", 1.5, None, [1], True],
    "splits": [None, [], ["val"], 7],
    "image_size": [32, "64", None, [64]],
    "name": ["other", None, 3],
    "format": [None, "2", [2]],
    "stamp": [None, [], {}],
}


@pytest.mark.parametrize("case", PLANTED)
def test_a_planted_file_is_not_believed(tiny, cache, packed_again, case):
    before = everything(open_packed(tiny, cache=cache))
    name, content = PLANTED[case]
    (folders(cache)[0] / name).write_bytes(content)
    assert np.array_equal(everything(open_packed(tiny, cache=cache)), before)
    assert len(packed_again) == 2


@pytest.mark.parametrize("field, value", [(field, value) for field in FIELDS for value in FIELDS[field]])
def test_a_field_of_another_kind_is_not_believed(tiny, cache, packed_again, field, value):
    open_packed(tiny, cache=cache)
    path = folders(cache)[0] / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    assert len(open_packed(tiny, cache=cache).classes) == 3
    assert len(packed_again) == 2


@pytest.mark.parametrize("name", ["meta.json", "train_images.npy", "val_labels.npy", "test_names.json"])
@pytest.mark.parametrize("plant", ["link", "pipe", "folder"])
def test_a_link_or_a_pipe_in_the_cache_is_not_read(tiny, cache, tmp_path, packed_again, name, plant):
    open_packed(tiny, cache=cache)
    victim = folders(cache)[0] / name
    victim.rename(tmp_path / "elsewhere")
    {"link": lambda: victim.symlink_to(tmp_path / "elsewhere"), "pipe": lambda: os.mkfifo(victim)}.get(
        plant, victim.mkdir
    )()
    assert len(open_packed(tiny, cache=cache).train) == 12
    assert len(packed_again) == 2
