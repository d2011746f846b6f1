"""Everything that is wrong with a data set ends in one line that names the file; check_data lists all of it."""

import errno
import gzip
import io
import itertools
import shutil
import stat
import tarfile
import zipfile

import pytest
from PIL import Image

from minidl.data import check_data, load_dataset
from minidl.errors import DataError, UsageError
from tests.tiny_fixture import WNIDS, make_folders, make_tiny, tar_folder, write_image, zip_folder

FIRST = f"train/{WNIDS[0]}/images/{WNIDS[0]}_1.JPEG"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tiny(tmp_path):
    return make_tiny(tmp_path / "tiny")


def line_of(path, **options):
    """The one line that loading `path` ends in, which check_data prints too."""
    with pytest.raises(DataError) as caught:
        load_dataset(path, progress=False, **options)
    line = str(caught.value)
    assert "\n" not in line and line.isprintable()
    assert line.split(" (and ")[0] in check_data(path, progress=False).problems
    return line


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def append(path, text):
    path.write_text(path.read_text() + text)


def drop_lines(path, count):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[count:]))


IMAGES = {
    "cut short": (lambda file: cut(file, 0.6), "damaged image (image file is truncated"),
    "cut in the header": (lambda file: cut(file, 0.05), FIRST),
    "empty": (lambda file: cut(file, 0), "not an image file"),
    "a text": (lambda file: file.write_text("hello"), "not an image file"),
    "a web page": (lambda file: file.write_text("<html><script>alert(1)</script>"), "not an image file"),
    "a PNG": (lambda file: write_image(file, format="PNG"), "a PNG file, JPEG expected"),
    "too large": (lambda file: write_image(file, size=(65, 64), format="JPEG"), "65x64 pixels, 64x64 expected"),
    "too small": (lambda file: write_image(file, size=(32, 32), format="JPEG"), "32x32 pixels, 64x64 expected"),
    "a bomb": (lambda file: Image.new("1", (20000, 20000)).save(file, format="PNG"), FIRST),
}


@pytest.mark.parametrize("case", IMAGES)
def test_a_bad_image_is_named(tiny, case):
    change, text = IMAGES[case]
    change(tiny / FIRST)
    line = line_of(tiny)
    assert str(tiny / FIRST) in line and text in line


LAYOUTS = {
    "no wnids.txt": (lambda t: (t / "wnids.txt").unlink(), "wnids.txt: the file is missing"),
    "an empty wnids.txt": (lambda t: (t / "wnids.txt").write_text(""), "wnids.txt: 0 classes, at least two"),
    "a binary wnids.txt": (lambda t: (t / "wnids.txt").write_bytes(b"\xff\xfe\x00"), "wnids.txt: not a text file"),
    "a class twice": (lambda t: append(t / "wnids.txt", WNIDS[1]), f"wnids.txt: class '{WNIDS[1]}' is there twice"),
    "a class too many": (lambda t: append(t / "wnids.txt", "n09"), "train/n09: the folder is missing"),
    "a class too few": (lambda t: drop_lines(t / "wnids.txt", 1), f"train/{WNIDS[0]}: '{WNIDS[0]}' is not a class"),
    "no train": (lambda t: shutil.rmtree(t / "train"), "train: the folder is missing"),
    "a class without folder": (
        lambda t: shutil.rmtree(t / "train" / WNIDS[1]),
        f"train/{WNIDS[1]}: the folder is missing, though wnids.txt has the class",
    ),
    "an unknown class": (
        lambda t: (t / "train" / "n0<b>").mkdir(),
        "train/n0<b>: 'n0<b>' is not a class of wnids.txt",
    ),
    "an empty class": (
        lambda t: [file.unlink() for file in (t / "train" / WNIDS[1] / "images").iterdir()],
        f"train/{WNIDS[1]}/images: the class is empty",
    ),
    "another file among images": (
        lambda t: (t / "train" / WNIDS[1] / "images" / "notes.doc").write_text(""),
        "notes.doc: not a .JPEG file",
    ),
    "no val": (lambda t: shutil.rmtree(t / "val"), "val: the folder is missing"),
    "no val/images": (lambda t: shutil.rmtree(t / "val" / "images"), "val/images: the folder is missing"),
    "no annotations": (lambda t: (t / "val" / "val_annotations.txt").unlink(), "val_annotations.txt: the file is"),
    "empty annotations": (lambda t: (t / "val" / "val_annotations.txt").write_text(""), "val_0.JPEG: no annotation"),
    "a missing annotation": (lambda t: drop_lines(t / "val" / "val_annotations.txt", 1), "val_0.JPEG: no annotation"),
    "an annotation without image": (
        lambda t: (t / "val" / "images" / "val_2.JPEG").unlink(),
        "val_2.JPEG is missing",
    ),
    "an annotation twice": (
        lambda t: append(t / "val" / "val_annotations.txt", f"val_1.JPEG\t{WNIDS[0]}\n"),
        "line 7: ",
    ),
    "an annotation of an unknown class": (
        lambda t: append(t / "val" / "val_annotations.txt", "val_1.JPEG\tn99\n"),
        "val_annotations.txt line 7: 'n99' is not a class",
    ),
    "an annotation without class": (
        lambda t: append(t / "val" / "val_annotations.txt", "nonsense\n"),
        "val_annotations.txt line 7: '' is not a class",
    ),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_bad_layout_is_named(tiny, case):
    change, text = LAYOUTS[case]
    change(tiny)
    line = line_of(tiny)
    assert str(tiny) in line and text in line


def test_the_100_class_set_of_the_same_name_is_recognised(tmp_path):
    root = make_tiny(tmp_path / "tiny", tuple(f"n{i:08d}" for i in range(100)), train=1, val=1)
    assert "wnids.txt: 100 classes: this is the 100-class set of the same name" in line_of(root)


def test_check_data_lists_every_problem_at_once_and_counts_what_can_be_read(tiny):
    cut(tiny / FIRST, 0.5)
    write_image(tiny / "val" / "images" / "val_4.JPEG", size=(9, 9), format="JPEG")
    (tiny / "test" / "images" / "test_0.JPEG").write_text("no image")
    shutil.rmtree(tiny / "train" / WNIDS[2])
    drop_lines(tiny / "val" / "val_annotations.txt", 1)
    report = check_data(tiny, progress=False)
    named = ("_1.JPEG", "val_4.JPEG", "test_0.JPEG", WNIDS[2], "val_0.JPEG")
    assert len(report.problems) == 5 and not report.ok
    for name in named:
        assert sum(name in problem for problem in report.problems) == 1
    assert report.counts["train images"] == 7 and report.counts["gray train images"] == 2
    assert report.counts["val images"] == 4 and report.counts["test image"] == 1
    assert str(report).splitlines()[-1] == f"{tiny}: 5 problems"


def test_loading_says_how_many_more_problems_there_are(tiny):
    shutil.rmtree(tiny / "train" / WNIDS[2])
    (tiny / "val" / "val_annotations.txt").unlink()
    assert "(and 1 more: see minidl check-data)" in line_of(tiny)


FOLDERS = {
    "one class": (lambda t: shutil.rmtree(t / "train" / "dog"), "train: 1 class folders, at least two"),
    "an empty class": (lambda t: (t / "train" / "emu").mkdir(), "train/emu: the class is empty"),
    "a class without images": (
        lambda t: ((t / "train" / "emu").mkdir(), (t / "train" / "emu" / "1.txt").write_text("")),
        "train/emu: the class is empty, no .jpg .jpeg .jfif .png",
    ),
    "a class of val only": (lambda t: (t / "val" / "emu").mkdir(), "val/emu: train has no class 'emu'"),
    "an empty val": (
        lambda t: [file.unlink() for file in (t / "val").rglob("*.png")],
        "val: no images in its class folders",
    ),
    "a bad image": (lambda t: cut(t / "train" / "cat" / "1.png", 0.5), "1.png: damaged image"),
    "no train": (lambda t: shutil.rmtree(t / "train"), "train: 0 class folders"),
    "nothing": (lambda t: [shutil.rmtree(t / split) for split in ("train", "val")], "no data set here"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_bad_folder_of_images_is_named(tmp_path, case):
    root = make_folders(tmp_path / "pets")
    change, text = FOLDERS[case]
    change(root)
    line = line_of(root)
    assert str(root) in line and text in line


@pytest.mark.parametrize("name", ["new\nline", "tab\t", "\udcff", "\x1b[31m"])
def test_a_strange_file_name_still_makes_one_printable_line(tmp_path, name):
    root = make_folders(tmp_path / "pets")
    try:
        (root / "train" / "cat" / f"{name}.png").write_text("no image")
    except (OSError, UnicodeError):
        pytest.skip("this file system refuses the name")
    line_of(root).encode()


def test_a_missing_path_says_how_to_get_the_data(tmp_path):
    assert "no such data set; `minidl download`" in line_of(tmp_path / "nowhere")


def test_a_file_that_is_no_archive_is_named(tmp_path):
    page = tmp_path / "tiny-imagenet-200.zip"
    page.write_text("<html>404</html>")
    assert str(page) in line_of(page) and "not a readable .zip" in line_of(page)


ARCHIVES, SHARES = ("tiny.zip", "tiny.tar", "tiny.tar.gz"), (0.0, 0.3, 0.9, 0.999)
CUTS = sorted({*itertools.product(ARCHIVES, SHARES)} - {("tiny.tar", 0.999)})  # which is its padding of zeros


@pytest.mark.parametrize(("name", "share"), CUTS)
def test_a_truncated_archive_is_named(tiny, tmp_path, name, share):
    archive = tmp_path / name
    shutil.make_archive(str(tmp_path / "tiny"), {"p": "zip", "r": "tar", "z": "gztar"}[name[-1]], tiny)
    cut(archive, share)
    assert str(archive) in line_of(archive)


HEADERS = {  # of the last entry, an image: where it begins -> what is left of the tar
    "cut before it": lambda raw, at: raw[:at],
    "cut within it": lambda raw, at: raw[: at + 100],
    "a letter changed in it": lambda raw, at: raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :],
}


@pytest.mark.parametrize("case", HEADERS)
@pytest.mark.parametrize("name", ["pets.tar", "pets.tar.gz"])
def test_a_tar_that_is_cut_or_damaged_between_two_entries_is_not_taken_for_a_shorter_one(tmp_path, case, name):
    plain, path = tar_folder(make_folders(tmp_path / "pets"), tmp_path / "whole.tar"), tmp_path / name
    with tarfile.open(plain) as opened:
        place = opened.getmembers()[-1].offset
    raw = HEADERS[case](plain.read_bytes(), place)
    path.write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    assert f"{path}: not a readable" in line_of(path) and "cut short or damaged" in line_of(path)


def test_a_damaged_entry_of_an_archive_is_named(tiny, tmp_path):
    archive = zip_folder(tiny, tmp_path / "tiny.zip")
    with zipfile.ZipFile(archive) as opened:
        place = opened.getinfo(f"tiny-imagenet-200/{FIRST}").header_offset
    content = bytearray(archive.read_bytes())
    content[place + 300] ^= 0xFF
    archive.write_bytes(content)
    assert f"{archive}: entry {FIRST}: can't be read (Bad CRC-32" in line_of(archive)


def test_an_archive_without_a_data_set_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "no data set here" in line_of(tmp_path / "other.zip")


ESCAPES = [
    "../evil.JPEG",
    "tiny/../../evil",
    "/etc/evil",
    "C:evil",
    "C:\\evil",
    "..\\evil",
    "\\\\host\\evil",
    "train/..",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_zip_entry_that_leaves_the_folder_is_refused(tiny, tmp_path, name):
    archive = zip_folder(tiny, tmp_path / "tiny.zip")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(name, "evil")
    line = line_of(archive)
    assert f"refused, because entry {ascii(name)} " in line


def test_a_zip_entry_that_is_a_link_is_refused(tiny, tmp_path):
    archive = zip_folder(tiny, tmp_path / "tiny.zip")
    link = zipfile.ZipInfo("tiny-imagenet-200/train/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(link, "/etc/passwd")
    assert "refused, because entry 'tiny-imagenet-200/train/link' is a link" in line_of(archive)


def tar_with(path, name, kind=tarfile.REGTYPE):
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, "/etc/passwd", 4 * (kind == tarfile.REGTYPE)
        archive.addfile(entry, io.BytesIO(b"evil"))
    return path


@pytest.mark.parametrize("name", ESCAPES)
def test_a_tar_entry_that_leaves_the_folder_is_refused(tmp_path, name):
    assert "refused, because entry" in line_of(tar_with(tmp_path / "evil.tar", name))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_tar_entry_that_is_no_file_is_refused(tmp_path, kind):
    assert "'train/link' is a link" in line_of(tar_with(tmp_path / "evil.tar", "train/link", kind))


def test_a_full_disk_while_unpacking_is_one_line(tiny, tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("minidl.data.archives._copy", fail)
    archive = tmp_path / "tiny.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        opened.addfile(tarfile.TarInfo("wnids.txt"))
    assert "No space left on device" in line_of(archive)


@pytest.mark.parametrize(
    "options, line", [({"gray": "colour"}, "gray is 'colour': choose"), ({"image_size": 0}, "image_size is 0")]
)
def test_impossible_options_are_refused(tiny, options, line):
    with pytest.raises(UsageError, match=line):
        load_dataset(tiny, **options)


def test_a_set_of_gray_images_leaves_nothing_to_skip_to(tmp_path):
    root = make_tiny(tmp_path / "tiny", train=1)
    with pytest.raises(UsageError, match="all training images are gray"):
        load_dataset(root, gray="skip", progress=False)
