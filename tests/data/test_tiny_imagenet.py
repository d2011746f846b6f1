"""Reading Tiny ImageNet's official layout and its relatives, and folders of images."""

import shutil

import numpy as np
import pytest
from PIL import Image

from minidl.data import PaperAugment, check_data, load_dataset
from minidl.errors import UsageError
from tests.tiny_fixture import WNIDS, make_folders, make_tiny, tar_folder, write_image, zip_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))


def test_classes_stand_in_the_order_of_wnids_txt_with_their_first_word(tmp_path):
    data = load_dataset(make_tiny(tmp_path / "tiny"))
    assert data.classes == list(WNIDS)
    assert data.words == ["word 3", "word 1", "word 2"]
    assert data.image_shape == (64, 64, 3)


def test_every_image_has_the_pixels_of_its_file_and_the_label_of_its_class(tmp_path):
    root = make_tiny(tmp_path / "tiny", val=6)
    data = load_dataset(root)
    annotated = dict(line.split("\t")[:2] for line in (root / "val" / "val_annotations.txt").read_text().splitlines())
    for split in (data.train, data.val, data.test):
        images = split.images(np.arange(len(split)))
        for image, name in zip(images, split.names, strict=True):
            assert np.array_equal(image, np.asarray(Image.open(root / name).convert("RGB")))
    for name, label in zip(data.train.names, data.train.labels, strict=True):
        assert name.split("/")[1] == data.classes[label]
    for name, label in zip(data.val.names, data.val.labels, strict=True):
        assert annotated[name.split("/")[-1]] == data.classes[label]


def test_labels_are_int64_and_the_test_split_has_none(tmp_path):
    data = load_dataset(make_tiny(tmp_path / "tiny"))
    assert data.train.labels.dtype == np.int64
    assert data.test.labels is None


def test_images_with_a_number_stand_in_its_order(tmp_path):
    data = load_dataset(make_tiny(tmp_path / "tiny", test=12))
    assert [name.split("_")[-1] for name in data.test.names] == [f"{i}.JPEG" for i in range(12)]


def test_the_test_images_may_be_left_out(tmp_path):
    assert load_dataset(make_tiny(tmp_path / "tiny", test=0)).test is None


def test_gray_images_are_counted_converted_and_skipped_in_training_only(tmp_path):
    root = make_tiny(tmp_path / "tiny")
    converted, skipped = load_dataset(root), load_dataset(root, gray="skip")
    assert converted.notes["gray train images"] == 3
    assert converted.notes["gray val image"] == 1
    assert len(converted.train) == 12
    assert len(skipped.train) == converted.notes["RGB train images"] == 9
    assert len(skipped.val) == len(converted.val) == 6
    assert not any(name.endswith("_0.JPEG") for name in skipped.train.names)
    assert len(PaperAugment(converted.train, 0)) == converted.notes["train images with --augment paper"] == 12 + 9


@pytest.mark.parametrize("pack", ["flat.zip", "nested.zip", "set.tar", "set.tar.gz"])
def test_an_archive_gives_the_same_bits_as_the_folder(tmp_path, pack):
    root = make_tiny(tmp_path / "tiny")
    if pack.endswith(".zip"):
        archive = zip_folder(root, tmp_path / pack, "" if pack == "flat.zip" else "tiny-imagenet-200")
    else:
        archive = tar_folder(root, tmp_path / pack)
    one, other = load_dataset(root), load_dataset(archive)
    assert one.classes == other.classes and one.words == other.words
    for a, b in ((one.train, other.train), (one.val, other.val), (one.test, other.test)):
        assert a.names == b.names
        assert np.array_equal(a.images(np.arange(len(a))), b.images(np.arange(len(b))))
    assert np.array_equal(one.train.labels, other.train.labels)


def sort_into(root, layout):
    """Moves the validation images into class folders."""
    for line in (root / "val" / "val_annotations.txt").read_text().splitlines():
        file, wnid = line.split("\t")[:2]
        place = root / layout.format(wnid)
        place.mkdir(parents=True, exist_ok=True)
        (root / "val" / "images" / file).rename(place / file)


LAYOUTS = ("val/{}", "val/{}/images", "val/images/{}")


@pytest.mark.parametrize("annotations", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sorted_validation_images_give_the_same_data_set(tmp_path, layout, annotations):
    root = make_tiny(tmp_path / "tiny", val=5)
    before, report = load_dataset(root), check_data(root, progress=False)
    pixels = before.val.images(np.arange(15))
    sort_into(root, layout)
    if not annotations:
        (root / "val" / "val_annotations.txt").unlink()
    if layout != LAYOUTS[2]:
        shutil.rmtree(root / "val" / "images", ignore_errors=True)
    after = load_dataset(root)
    assert np.array_equal(after.val.labels, before.val.labels)
    assert np.array_equal(after.val.images(np.arange(15)), pixels)
    assert str(check_data(root, progress=False)) == str(report)


def test_training_and_test_images_may_lie_without_folders_called_images(tmp_path):
    root = make_tiny(tmp_path / "tiny")
    before = load_dataset(root)
    for folder in [*(root / "train").glob("*/images"), root / "test" / "images", root / "val" / "images"]:
        for file in folder.iterdir():
            file.rename(folder.parent / file.name)
        folder.rmdir()
    after = load_dataset(root)
    for one, two in ((before.train, after.train), (before.val, after.val), (before.test, after.test)):
        assert np.array_equal(one.images(np.arange(len(one))), two.images(np.arange(len(two))))
    assert np.array_equal(before.train.labels, after.train.labels)


def test_a_folder_that_contradicts_the_annotation_is_a_problem(tmp_path):
    root = make_tiny(tmp_path / "tiny")
    sort_into(root, "val/{}")
    (root / "val" / WNIDS[0] / "val_0.JPEG").rename(root / "val" / WNIDS[1] / "val_0.JPEG")
    (problem,) = check_data(root, progress=False).problems
    assert f"line 1: '{WNIDS[0]}', but" in problem and "val_0.JPEG is in another class's folder" in problem


def test_a_val_folder_of_no_class_is_a_problem(tmp_path):
    root = make_tiny(tmp_path / "tiny")
    (root / "val" / "n99").mkdir()
    (root / "val" / "images" / "val_0.JPEG").rename(root / "val" / "n99" / "extra.JPEG")
    problems = check_data(root, progress=False).problems
    assert any("'n99' is not a class of wnids.txt" in problem for problem in problems)


@pytest.mark.parametrize(
    "spelling",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: b"\xef\xbb\xbf" + text.replace("\n", " \r\n\r\n").encode(),
    ],
    ids=["BOM", "CRLF", "CR", "BOM, CRLF, blanks and empty lines"],
)
def test_texts_of_any_editor_are_read(tmp_path, spelling):
    root = make_tiny(tmp_path / "tiny")
    before = load_dataset(root)
    for name in ("wnids.txt", "words.txt", "val/val_annotations.txt"):
        (root / name).write_bytes(spelling((root / name).read_text()))
    after = load_dataset(root)
    assert (after.classes, after.words) == (before.classes, before.words)
    assert np.array_equal(after.val.labels, before.val.labels)


@pytest.mark.parametrize("code", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["wnids.txt", "val/val_annotations.txt"])
def test_texts_in_another_code_are_refused_in_one_line(tmp_path, name, code):
    root = make_tiny(tmp_path / "tiny")
    (root / name).write_text((root / name).read_text(), code)
    (problem,) = check_data(root, progress=False).problems
    assert problem == f"{root / name}: not a text file in UTF-8"


def test_a_jpeg_with_a_second_picture_and_a_turned_one_are_read(tmp_path):
    root = make_tiny(tmp_path / "tiny")
    file = root / "train" / WNIDS[0] / "images" / f"{WNIDS[0]}_1.JPEG"
    with Image.open(file) as image:
        plain = np.asarray(image)
        image.save(file, "MPO", quality=100, subsampling=0, save_all=True, append_images=[Image.new("RGB", (32, 32))])
    turned = root / "train" / WNIDS[0] / "images" / f"{WNIDS[0]}_2.JPEG"
    exif = Image.Exif()
    exif[0x0112] = 3
    with Image.open(turned) as image:
        upright = np.asarray(image)[::-1, ::-1]
        image.save(turned, "JPEG", quality=100, subsampling=0, exif=exif)
    images = load_dataset(root).train.images(np.arange(3))
    assert np.abs(images[1].astype(int) - plain).max() <= 3
    assert np.abs(images[2].astype(int) - upright).max() <= 3


def test_the_folder_may_lie_one_deeper_and_beside_rubbish_of_other_systems(tmp_path):
    root = make_tiny(tmp_path / "deep" / "tiny-imagenet-200")
    (root / "train" / ".DS_Store").write_text("rubbish")
    (root / "train" / WNIDS[0] / "images" / "Thumbs.db").write_text("rubbish")
    (root / "val" / "images" / "._val_0.JPEG").write_text("rubbish")
    assert len(load_dataset(tmp_path / "deep").train) == 12


def test_check_data_prints_the_counts_of_a_good_set(tmp_path):
    report = check_data(make_tiny(tmp_path / "tiny"), progress=False)
    assert report.ok
    assert report.counts == {
        "train images": 12,
        "val images": 6,
        "test images": 2,
        "gray train images": 3,
        "gray val image": 1,
        "RGB train images": 9,
        "train images with --augment paper": 21,
    }
    assert "       12 train images" in str(report) and "no problems" in str(report)


def test_tiny_imagenet_can_be_made_smaller(tmp_path):
    data = load_dataset(make_tiny(tmp_path / "tiny"), image_size=32)
    assert data.train.images(np.arange(2)).shape == (2, 32, 32, 3)


def test_a_folder_of_images_has_its_classes_by_name_and_its_images_resized(tmp_path):
    data = load_dataset(make_folders(tmp_path / "pets", ("dog", "cat", "ant")), image_size=16)
    assert data.classes == data.words == ["ant", "cat", "dog"]
    assert data.image_shape == (16, 16, 3)
    assert data.train.images(np.arange(9)).shape == (9, 16, 16, 3)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert data.val.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_wide_image_is_resized_to_its_shorter_side_and_cut_to_its_centre(tmp_path):
    for name in ("cat", "dog"):
        for split in ("train", "val"):
            path = write_image(tmp_path / "pets" / split / name / "1.png", size=(60, 20))
    image = load_dataset(tmp_path / "pets", image_size=10).train.images(np.arange(1))[0]
    expected = np.asarray(Image.open(path).resize((30, 10), Image.Resampling.BILINEAR))[:, 10:20]
    assert np.abs(image.astype(int) - expected).max() <= 1


FORMATS = ["jpg", "jpeg", "JPG", "jfif", "png", "bmp", "webp", "gif", "tif", "TIFF", "ppm", "pgm", "pbm", "pnm"]


@pytest.mark.parametrize("extension", FORMATS)
def test_a_folder_may_hold_these_formats(tmp_path, extension):
    for name in ("cat", "dog"):
        for i in range(2):
            write_image(tmp_path / "pets" / "train" / name / f"{i}.{extension}", i)
    data = load_dataset(tmp_path / "pets")
    assert len(data.train) + len(data.val) == 4


def test_unusual_pixels_become_rgb(tmp_path):
    folder = tmp_path / "pets" / "train"
    sixteen_bits = (np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        Image.fromarray(sixteen_bits).save(folder / name / "16.png")
        Image.new("RGBA", (64, 64), (10, 20, 30, 0)).save(folder / name / "alpha.png")
        Image.new("CMYK", (64, 64), (0, 255, 255, 0)).save(folder / name / "cmyk.jpg")
        Image.new("P", (64, 64)).save(folder / name / "palette.png", transparency=0)
    for name in ("cat", "dog"):
        write_image(tmp_path / "pets" / "val" / name / "1.png")
    data = load_dataset(tmp_path / "pets")
    sixteen, alpha, cmyk, _ = data.train.images(np.arange(4))
    assert np.array_equal(sixteen[..., 0], sixteen_bits >> 8)
    assert (alpha == (10, 20, 30)).all()
    assert (cmyk[32, 32] == (255, 0, 0)).all()
    assert data.train.gray.tolist() == [True, False, False, True] * 2


def test_without_val_a_tenth_of_every_class_is_held_out(tmp_path):
    root = make_folders(tmp_path / "pets", train=20, val=0)
    data = load_dataset(root, seed=1)
    assert data.val.labels.tolist() == [0, 0, 1, 1]
    assert len(data.train) == 36
    assert not set(data.train.names) & set(data.val.names)
    assert load_dataset(root, seed=1).val.names == data.val.names
    assert data.notes["train images held out for validation, there being no val"] == 4


def test_shapes_needs_no_path():
    assert load_dataset("shapes").name == "shapes"


def test_shapes_has_one_size():
    with pytest.raises(UsageError, match="image size 32: the images of shapes are drawn in 64x64"):
        load_dataset("shapes", image_size=32)
