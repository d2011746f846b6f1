"""Reading Tiny ImageNet's official layout, and folders of images."""

import numpy as np
import pytest
from PIL import Image

from minidl.data import PaperAugment, check_data, load_dataset
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
    assert converted.notes["gray val images"] == 1
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
        "gray val images": 1,
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


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "JPG", "png", "bmp", "webp"])
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
