"""A data set gives the same report from a folder or archive, with or without junk; a stamp notices every change."""

import os
import shutil
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from minidl.data import check_data, load_dataset
from minidl.data.limits import LIMITS
from minidl.data.opening import open_source, stamp
from minidl.errors import DataError, UsageError
from tests.tiny_fixture import make_folders, make_tiny, write_image

JUNK = (
    ".git/objects/train/1.png",
    "__MACOSX/train/cat/._1.png",
    "train/.ipynb_checkpoints/1.png",
    "train/cat/.DS_Store",
    "train/cat/Thumbs.db",
    "train/desktop.ini",
    "train/cat/._0.png",
    "val/dog/@eaDir/0.png",
)
UNREAD = ("train/cat/notes.txt", "train/cat/deeper/still/1.png", "train/loose.png", "val/cat/photo.heic")
OUTSIDE = ("README.md", "runs/train/cat/1.png")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pets(tmp_path):
    """Two classes called é and 日本 beside cat and dog, with what people and their programs leave in a data set."""
    root = make_folders(tmp_path / "pets", ("cat", "dog", "é", "日本"), size=(20, 20))
    for name in JUNK + UNREAD + OUTSIDE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("rubbish")
    (root / "train/cat/deeper/empty").mkdir()
    (root / ".git" / "link").symlink_to("/etc/passwd")
    return root


def names_of(root):
    return sorted(file.relative_to(root).as_posix() for file in root.rglob("*") if not file.is_symlink())


def zip_like(root, path, spelling):
    """A zip whose entries are spelt by `spelling`(name) -> name or ZipInfo."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names_of(root):
            folder = (root / name).is_dir()
            archive.writestr(spelling(name + "/" * folder), b"" if folder else (root / name).read_bytes())
    return path


def zip_of_macos(root, path):
    """Names in UTF-8 that aren't marked as such."""
    raw = bytearray(zip_like(root, path, "pets/{}".format).read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = -1
        while (at := raw.find(signature, at + 1)) >= 0:
            raw[at + flags + 1] &= ~0x08
    path.write_bytes(raw)
    return path


def tar_like(root, path, inside):
    with tarfile.open(path, f"w:{path.suffix[1:]}" if path.suffix != ".tar" else "w") as archive:
        archive.add(root, inside)
    return path


CONTAINERS = {
    "zip": lambda root, folder: zip_like(root, folder / "a.zip", "pets/{}".format),
    "flat zip": lambda root, folder: zip_like(root, folder / "a.zip", "{}".format),
    "zip of Windows": lambda root, folder: zip_like(root, folder / "a.zip", lambda n: f"pets/{n}".replace("/", "\\")),
    "zip of macOS": lambda root, folder: zip_of_macos(root, folder / "a.zip"),
    "tar": lambda root, folder: tar_like(root, folder / "a.tar", "pets"),
    "tar of .": lambda root, folder: tar_like(root, folder / "a.tar", "."),
    "tar.gz": lambda root, folder: tar_like(root, folder / "a.tar.gz", "./pets"),
    "tar.bz2": lambda root, folder: tar_like(root, folder / "a.tar.bz2", "pets"),
    "tar.xz": lambda root, folder: tar_like(root, folder / "a.tar.xz", "pets"),
    "a folder deeper": lambda root, folder: shutil.copytree(root, folder / "outer" / "pets", symlinks=True).parent,
}


def report_of(path, root=""):
    """What check_data prints, without what names the container."""
    report = check_data(path, progress=False)
    root = f"{root}{os.sep}" if root else f"{path}: entry "
    return str(report).replace(root, "").rpartition(f"{path}: ")[0::2]


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_report_and_the_pixels_of_the_folder(pets, tmp_path, container):
    other = CONTAINERS[container](pets, tmp_path)
    assert report_of(other, other / "pets" if other.is_dir() else "") == report_of(pets, pets)
    one, two = load_dataset(pets, image_size=8), load_dataset(other, image_size=8)
    assert one.notes == two.notes and one.classes == two.classes == ["cat", "dog", "é", "日本"]
    assert one.train.names == two.train.names
    everything = np.arange(len(one.train))
    assert np.array_equal(one.train.images(everything), two.train.images(everything))


def test_files_that_are_not_read_are_counted_and_named(pets):
    report = check_data(pets, progress=False)
    assert report.unread == [str(pets / name) for name in sorted(UNREAD)]
    assert report.ok and str(report).endswith(f"{pets}: no problems, 4 files not read")
    notes = load_dataset(pets).notes
    assert notes["files that are not read (minidl check-data names them)"] == 4


def test_some_of_many_files_that_are_not_read_are_named(tmp_path):
    root = make_folders(tmp_path / "pets")
    for i in range(25):
        (root / "train" / "cat" / f"{i}.heic").write_text("")
    lines = str(check_data(root, progress=False)).splitlines()
    assert sum(line.endswith("heic: not read") for line in lines) == 20
    assert lines[-2:] == ["and 5 more files: not read", f"{root}: no problems, 25 files not read"]


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
def test_two_data_sets_are_refused(tmp_path, kind):
    for name in ("one", "two"):
        make_folders(tmp_path / "both" / name)
    path = tmp_path / "both"
    if kind == "zip":
        path = zip_like(path, tmp_path / "both.zip", "{}".format)
    elif kind == "tar.gz":
        path = tar_like(path, tmp_path / "both.tar.gz", ".")
    with pytest.raises(DataError, match=r"2 data sets in it \('one', 'two'\): give the path of one"):
        load_dataset(path)


def test_a_class_called_train_is_no_second_data_set(tmp_path):
    root = make_folders(tmp_path / "pets", ("train", "val"))
    archive = zip_like(root, tmp_path / "pets.zip", "pets/{}".format)
    assert load_dataset(root).classes == load_dataset(archive).classes == ["train", "val"]


@pytest.mark.parametrize("name", ["valid", "validation", "Val", "VAL", "dev"])
def test_a_val_of_another_name_is_asked_about(tmp_path, name):
    root = make_folders(tmp_path / "pets")
    (root / "val").rename(root / name)
    archive = tar_like(root, tmp_path / "pets.tar", "pets")
    for path in (root, archive):
        with pytest.raises(DataError, match=f"{name}: did you mean val"):
            load_dataset(path)


@pytest.mark.parametrize("name", ["Train", "TRAIN", "training"])
def test_a_train_of_another_name_is_asked_about(tmp_path, name):
    root = make_folders(tmp_path / "pets", val=0)
    (root / "train").rename(root / name)
    with pytest.raises(DataError, match=f"{name}: did you mean train"):
        load_dataset(root)


def test_another_name_beside_the_right_one_is_not_read(tmp_path):
    root = make_folders(tmp_path / "pets")
    (root / "validation" / "cat").mkdir(parents=True)
    assert check_data(root, progress=False).unread == [str(root / "validation")]


def test_a_loop_of_links_a_pipe_and_a_dead_link_are_named_and_nothing_waits(tmp_path):
    root = make_folders(tmp_path / "pets")
    (root / "train" / "loop").symlink_to("..")
    (root / "train" / "cat" / "up").symlink_to(root)
    (root / "train" / "cat" / "itself.png").symlink_to("itself.png")
    (root / "train" / "cat" / "dead.png").symlink_to("nowhere")
    os.mkfifo(root / "train" / "cat" / "pipe.png")
    report = check_data(root, progress=False)
    assert report.unread == [str(root / "train" / "cat" / "up"), str(root / "train" / "loop")]
    assert [line.rpartition("cat/")[2].split(":")[0] for line in report.problems] == [
        "dead.png",
        "itself.png",
        "pipe.png",
    ]
    assert "pipe.png: can't be read (not a regular file)" in report.problems[2]


def move_out(root, name, to):
    """Puts a link in the place of a file or folder, which moves to `to`."""
    to.parent.mkdir(parents=True, exist_ok=True)
    (root / name).rename(to)
    (root / name).symlink_to(to)


@pytest.mark.parametrize("name", ["train/cat", "train/cat/0.png", "val"])
def test_a_link_that_stays_in_the_data_set_is_followed(tmp_path, name):
    root = make_folders(tmp_path / "pets")
    before = load_dataset(root)
    move_out(root, name, root / "store" / "it")
    after = load_dataset(root)
    assert np.array_equal(before.train.images(np.arange(6)), after.train.images(np.arange(6)))
    assert before.val.names == after.val.names


@pytest.mark.parametrize("name", ["train", "train/cat", "train/cat/0.png", "val/dog", "val/dog/1.png", "test"])
def test_a_link_out_of_the_data_set_is_refused_unless_the_user_trusts_where_it_leads(tmp_path, monkeypatch, name):
    root = make_folders(tmp_path / "pets")
    write_image(root / "test" / "1.png")
    move_out(root, name, tmp_path / "elsewhere" / "it")
    with pytest.raises(
        DataError, match=f"{root / name}: can't be (read|listed) .a link out of the data set, to {tmp_path}"
    ):
        load_dataset(root)
    monkeypatch.setenv("MINIDL_TRUST", str(tmp_path / "elsewhere"))
    assert len(load_dataset(root).train) == 6
    monkeypatch.setenv("MINIDL_TRUST", str(root))  # which may not say whom else to trust
    with pytest.raises(DataError, match="a link out of the data set"):
        load_dataset(root)


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
def test_a_text_that_is_a_link_to_a_private_file_is_not_read(tmp_path, name):
    root = make_tiny(tmp_path / "tiny")
    move_out(root, name, tmp_path / "private")
    with pytest.raises(DataError, match=f"{name}: can't be read .a link out of the data set"):
        load_dataset(root)
    assert not any("synonym" in line for line in check_data(root, progress=False).problems)


def test_the_folder_that_the_user_names_may_be_a_link_but_not_the_one_found_in_it(tmp_path):
    make_folders(tmp_path / "disk" / "pets")
    (tmp_path / "mine").symlink_to(tmp_path / "disk" / "pets")
    assert len(load_dataset(tmp_path / "mine").train) == 6
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "pets").symlink_to(tmp_path / "disk" / "pets")
    with pytest.raises(DataError, match="box/pets: a link out of the data set, .*; or give its own path"):
        load_dataset(tmp_path / "box")


def test_a_link_put_in_the_place_of_an_image_after_the_folder_was_looked_at_is_not_followed(tmp_path):
    root = make_folders(tmp_path / "pets")
    source = open_source(root)
    move_out(root, "train/cat/0.png", tmp_path / "elsewhere.png")
    with pytest.raises(DataError, match="0.png: can't be read .a link, which is not followed"):
        source.read("train/cat/0.png")


def test_a_device_in_a_class_is_not_opened(tmp_path, monkeypatch):
    root = make_folders(tmp_path / "pets")
    monkeypatch.setenv("MINIDL_TRUST", "/dev")
    (root / "train" / "cat" / "9.png").symlink_to("/dev/zero")
    source = open_source(root)
    monkeypatch.setattr(os, "open", None)
    with pytest.raises(DataError, match="9.png: can't be read .not a regular file"):
        source.read("train/cat/9.png")


def test_links_in_one_another_dont_show_the_same_files_for_ever(tmp_path, monkeypatch):
    root = make_folders(tmp_path / "pets")
    for level in range(6):
        (root / "train" / f"x{level}").mkdir()
        for k in range(10):  # 10^6 ways down
            (root / "train" / f"x{level}" / f"{k}").symlink_to(f"../x{level + 1}")
    monkeypatch.setattr("minidl.data.limits.LIMITS", replace(LIMITS, entries=1000))
    with pytest.raises(DataError, match="1,[0-9]{3} files by way of links, at most 1,000 are read"):
        load_dataset(root)


@pytest.mark.parametrize("place", ["", "train", "train/cat/x", "extra", ".."])
@pytest.mark.parametrize("container", ["folder", "zip", "tar.gz", "a folder deeper"])
def test_a_preview_beside_the_images_is_no_harm(tmp_path, container, place):
    root = make_folders(tmp_path / "box" / "pets")
    write_image(root / place / "preview.jpg")
    path = root if container == "folder" else CONTAINERS[container](root, tmp_path)
    assert len(load_dataset(path).train) == 6
    assert check_data(path, progress=False).ok


def test_a_pipe_is_no_data_set(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="neither a folder nor an archive"):
        load_dataset(tmp_path / "pipe")


@pytest.mark.parametrize("place", ["train/cat", "train", ""])
def test_a_folder_that_cannot_be_listed_is_one_line(tmp_path, monkeypatch, place):
    root = make_folders(tmp_path / "pets")
    scandir = os.scandir

    def refuse(path):
        if os.path.samestat(os.stat(path), os.stat(root / place)):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may list everything
    with pytest.raises(DataError, match=f"{root / place}: can't be listed .Permission denied."):
        load_dataset(root)
    assert not any("empty" in problem for problem in check_data(root, progress=False).problems)


def overwrite(file):
    content, times = bytearray(file.read_bytes()), os.stat(file)
    content[-20] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # as rsync, cp -p and unzip do


CHANGES = {
    "overwritten": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "overwritten, size and time restored": overwrite,
    "touched": os.utime,
    "renamed": lambda file: file.rename(file.with_name("other.png")),
    "removed": lambda file: file.unlink(),
    "added": lambda file: shutil.copy2(file, file.with_name("more.png")),
    "an empty class": lambda file: (file.parent.parent / "emu").mkdir(),
    "a link to another file": lambda file: (file.unlink(), file.symlink_to(file.with_name("1.png"))),
    "a val of another name": lambda file: (file.parent.parent.parent / "valid").mkdir(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_stamp_notices(tmp_path, change):
    root = make_folders(tmp_path / "pets")
    before = stamp(root)
    assert stamp(root) == before
    CHANGES[change](root / "train" / "cat" / "0.png")
    assert stamp(root) != before


def test_the_stamp_does_not_mind_what_is_no_part_of_the_data_set(tmp_path):
    root = make_folders(tmp_path / "pets")
    before = stamp(root)
    for name in JUNK + OUTSIDE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("rubbish")
    assert stamp(root) == before


def test_the_stamp_of_an_archive_notices_a_change_of_equal_size_and_time(tmp_path):
    archive = tar_like(make_folders(tmp_path / "pets"), tmp_path / "pets.tar", "pets")
    before = stamp(archive)
    overwrite(archive)
    assert stamp(archive) != before


def test_an_image_overwritten_in_place_is_seen(tmp_path):
    root = make_folders(tmp_path / "pets", size=(16, 16))
    load_dataset(root, image_size=16)
    write_image(root / "train" / "cat" / "0.png", seed=99, size=(16, 16))
    changed = load_dataset(root, image_size=16).train.images(np.arange(1))[0]
    expected = write_image(tmp_path / "expected.png", seed=99, size=(16, 16))
    assert np.array_equal(changed, np.asarray(Image.open(expected).convert("RGB")))


def test_a_class_without_validation_images_is_named(tmp_path):
    root = make_folders(tmp_path / "pets", ("cat", "dog", "emu"))
    shutil.rmtree(root / "val" / "dog")
    assert load_dataset(root).notes["class without validation images (dog)"] == 1
    assert "1 class without validation images (dog)" in str(check_data(root, progress=False))


def test_small_images_are_said_to_be_enlarged(tmp_path):
    root = make_folders(tmp_path / "digits", size=(28, 28))
    (what,) = [what for what in load_dataset(root, image_size=64).notes if "enlarged" in what]
    assert what == "images of 28x28, enlarged to 64x64 (--image-size 28 would be quicker)"
    assert load_dataset(root, image_size=64).notes[what] == 10
    assert not [what for what in load_dataset(root, image_size=28).notes if "enlarged" in what]
    write_image(root / "train" / "cat" / "9.png", size=(40, 100))
    (what,) = [what for what in load_dataset(root, image_size=64).notes if "enlarged" in what]
    assert what.startswith("images of 28 to 40 pixels on the shorter side, enlarged")
    for i in range(20, 40):
        write_image(root / "train" / "dog" / f"{i}.png", i, size=(100, 80))
    (what,) = [what for what in load_dataset(root, image_size=64).notes if "enlarged" in what]
    assert "quicker" not in what  # for a few thumbnails among photos, all of them would be made small


def test_one_image_a_class_cannot_be_held_out(tmp_path):
    root = make_folders(tmp_path / "pets", train=1, val=0)
    with pytest.raises(UsageError, match="no training image of class cat: hold out less, or add images to train/"):
        load_dataset(root)


@pytest.mark.parametrize("classes", [True, False])
def test_test_images_have_labels_if_they_are_in_class_folders(tmp_path, classes):
    root = make_folders(tmp_path / "pets")
    for name in ("cat", "dog"):
        write_image(root / "test" / name / "1.png")
    if not classes:
        write_image(root / "test" / "2.png")
    labels = load_dataset(root).test.labels
    assert labels.tolist() == [0, 1] if classes else labels is None


def test_tiny_imagenet_has_no_files_that_are_not_read(tmp_path):
    root = make_tiny(tmp_path / "tiny")
    assert check_data(root, progress=False).unread == []
    (root / "train" / "n00000003" / "notes.txt").write_text("")
    assert check_data(root, progress=False).unread == [str(root / "train" / "n00000003" / "notes.txt")]


def test_links_in_junk_folders_of_an_archive_do_not_matter_others_are_refused(tmp_path):
    root = make_folders(tmp_path / "pets")
    (root / ".git").mkdir()
    (root / ".git" / "link").symlink_to("/etc/passwd")
    assert len(load_dataset(tar_like(root, tmp_path / "good.tar", "pets")).train) == 6
    (root / "train" / "link").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="is a link"):
        load_dataset(tar_like(root, tmp_path / "bad.tar", "pets"))
