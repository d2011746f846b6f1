"""Pictures: the pixels and words that are on them, the same bytes each time, and nothing left in memory."""

import gc
import warnings
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from minidl.data import load_shapes
from minidl.errors import DataError, UsageError
from minidl.visual import figures, lettering, maps, scatter, sheets
from minidl.visual.page import Page
from minidl.visual.screen import to_screen

DATA = load_shapes(20, 20)
IMAGES = DATA.val.images(np.arange(9))
WORDS = [DATA.words[label] for label in DATA.val.labels[:9]]
SHADES, _ = to_screen(np.random.default_rng(0).standard_normal((9, 64, 64, 3)))
POINTS = np.random.default_rng(1).standard_normal((30, 3))
LABELS = np.arange(30) % 3
AWKWARD = ["a $dollar$ and_under", "_private", "猫", "German shepherd, German shepherd dog, alsatian"]


def history(epochs):
    return [
        {"epoch": e, "train_top1": e / 200, "val_top1": 0.3 - (e - 7) ** 2 / 5e4, "train_loss": 3 / e, "val_loss": 2}
        for e in range(1, epochs + 1)
    ]


PICTURES = {
    "history": lambda path, words: figures.save_history(path, history(12), words[0]),
    "batch": lambda path, words: figures.save_batch(path, IMAGES[:4], words, words[0]),
    "sheet": lambda path, words: sheets.save_sheet(
        path, IMAGES[:4], SHADES[:4], words, words[::-1], words[0], "a footer", np.arange(4) == 2, words
    ),
    "top": lambda path, words: sheets.save_sheet(path, IMAGES[:4], None, words, words, words[0], "a footer"),
    "photo": lambda path, words: sheets.save_photo_sheet(path, IMAGES[0], SHADES[:4], words, words[0], "a footer"),
    "poster": lambda path, words: sheets.save_poster(path, SHADES[:4], words, words[0], "a footer"),
    "scatter_3d": lambda path, words: scatter.save_scatter_3d(path, POINTS, LABELS, words, words[0]),
    "scatter_2d": lambda path, words: scatter.save_scatter_2d(
        path, POINTS[:, :2], IMAGES[LABELS, ::8, ::8], LABELS, words, words[0]
    ),
    "occlusion": lambda path, words: maps.save_occlusion(
        path, IMAGES[0], POINTS[:16, 0].reshape(4, 4) % 1, LABELS[:16].reshape(4, 4), words, 0.7, words[0], "a footer"
    ),
    "gradcam": lambda path, words: maps.save_gradcam(
        path, IMAGES[:4], np.abs(SHADES[:4, ..., 0] - 128.0), words, words, words, words[0], "a footer"
    ),
}


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def words(path):
    """The texts of an SVG file, in the order in which they are drawn, and those that are in italics."""
    texts = [e for e in ET.parse(path).iter() if e.tag.endswith("text")]
    return [e.text for e in texts], [e.text for e in texts if "italic" in e.get("style")]


def place(page, image, factor):
    """(y, x) of the one place on the page where `image` is, each of its pixels `factor` x `factor` large."""
    image = np.kron(image, np.ones((factor, factor, 1), np.uint8))
    height, width = image.shape[:2]
    first = page[: 1 - height, : 1 - width, 0] == image[0, 0, 0]
    last = page[height - 1 :, width - 1 :, 1] == image[-1, -1, 1]
    corners = np.argwhere(first & last).tolist()
    found = [(y, x) for y, x in corners if np.array_equal(page[y : y + height, x : x + width], image)]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("picture", PICTURES)
def test_pictures_are_the_same_each_time_and_keep_odd_words_as_they_are(picture, tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Glyph|Parse")
        for name in ("a.png", "a.svg", "b.svg"):
            PICTURES[picture](tmp_path / name, AWKWARD)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert min(pixels(tmp_path / "a.png").shape[:2]) > 300
    texts, _ = words(tmp_path / "a.svg")
    assert AWKWARD[0] in texts
    if picture in ("batch", "sheet", "top", "photo", "poster", "scatter_2d", "scatter_3d", "gradcam"):
        assert {"_private", "猫"} <= set(texts)
    assert b"<dc:date>" not in (tmp_path / "a.svg").read_bytes()
    assert gc.isenabled()


@pytest.mark.parametrize("picture", ["sheet", "scatter_2d", "occlusion"])
def test_a_drawn_picture_leaves_nothing_in_memory(picture, tmp_path):
    gc.collect()
    gc.disable()  # whatever survives here would pile up between two collections
    try:
        PICTURES[picture](tmp_path / "a.png", WORDS)
        assert not [o for o in gc.get_objects() if isinstance(o, Figure)]
    finally:
        gc.enable()


def test_another_format_or_no_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"'a.pdf': its name must end in .png or .svg"):
        PICTURES["top"](tmp_path / "a.pdf", WORDS)
    with pytest.raises(DataError, match="nowhere"):
        PICTURES["top"](tmp_path / "nowhere" / "a.png", WORDS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [1, 4, 9])
def test_a_sheet_has_the_originals_and_the_projections_in_the_same_order(count, tmp_path):
    path = tmp_path / "sheet.png"
    sheets.save_sheet(path, IMAGES[:count], SHADES[:count], WORDS[:count], WORDS[:count], "a title", "a footer")
    page = pixels(path)
    left, right = ([place(page, image, 3) for image in block[:count]] for block in (IMAGES, SHADES))
    assert left == sorted(left) and len({y for y, _ in left}) == -(-count // 3)
    apart = {(b[0] - a[0], b[1] - a[1]) for a, b in zip(left, right, strict=True)}
    assert len(apart) == 1
    assert apart.pop() > (0, 64 * 3)


def test_the_page_has_the_size_of_its_pixels_at_any_width(tmp_path):
    for width in (607, 630, 653):
        paper = Page(width, 5, "", "")
        paper.pixels[:, -1] = paper.pixels[-1] = 7
        paper.save(tmp_path / "page.png")
        np.testing.assert_array_equal(pixels(tmp_path / "page.png"), paper.pixels)


def test_a_sheet_names_the_classes_and_marks_what_is_wrong(tmp_path):
    path = tmp_path / "sheet.svg"
    true, said, title, footer = ["cat", "dog"], ["cat", "cow"], "a[1] · deconv", "a footer · its second part"
    sheets.save_sheet(path, IMAGES[:2], SHADES[:2], true, said, title, footer, captions=["3.14", "2.72"])
    texts, italics = words(path)
    assert texts.count("cat") == 2 and texts.count("dog") == 1 and "cow" not in texts
    assert italics == ["✗ cow"]
    assert {"3.14", "2.72", title} <= set(texts)
    assert texts[1] == footer
    sheets.save_sheet(path, IMAGES[:1], None, ["cat"], ["cat"], title, " · ".join([footer] * 5))
    first, second = words(path)[0][1:3]
    assert first.endswith("·") and f"{first} {second}" == " · ".join([footer] * 5)


def test_a_prediction_is_not_wrong_where_the_true_class_is_unknown(tmp_path):
    sheets.save_sheet(tmp_path / "a.svg", IMAGES[:2], None, ["", "dog"], ["cat", "cow"], "", "")
    texts, italics = words(tmp_path / "a.svg")
    assert texts.count("cat") == 1 and italics == ["✗ cow"]


def test_grad_cam_says_for_which_class_a_map_is_evidence(tmp_path):
    m = np.ones((2, 64, 64))
    maps.save_gradcam(tmp_path / "a.svg", IMAGES[:2], m, ["dog", ""], ["dog", "cow"], ["owl", "cow"], "", "")
    texts, italics = words(tmp_path / "a.svg")
    assert texts.count("dog") == 2 and not italics and {"for owl", "for cow"} <= set(texts)


def test_without_projections_both_classes_stand_at_the_originals(tmp_path):
    sheets.save_sheet(tmp_path / "a.png", IMAGES[:4], None, WORDS[:4], WORDS[:4], "", "", captions=list("wxyz"))
    found = [place(pixels(tmp_path / "a.png"), image, 3) for image in IMAGES[:4]]
    assert found == sorted(found)
    sheets.save_sheet(tmp_path / "a.svg", IMAGES[:4], None, ["cat"] * 4, ["cow"] * 4, "", "", captions=list("wxyz"))
    assert [t for t in words(tmp_path / "a.svg")[0] if t[-1] in "twxyz"].count("cat") == 4
    assert set("wxyz") <= set(words(tmp_path / "a.svg")[0])


def test_a_projection_of_zeros_is_mid_gray_and_says_so(tmp_path):
    shades, blank = to_screen(np.zeros((1, 64, 64, 3)))
    sheets.save_sheet(tmp_path / "a.png", IMAGES[:1], shades, ["a"], ["a"], "", "", blank)
    gray = (pixels(tmp_path / "a.png") == 128).all(axis=2)
    rows, columns = (np.flatnonzero(gray.sum(axis=i) > 96) for i in (1, 0))
    assert len(rows) == len(columns) == 192
    assert 0.95 < gray[np.ix_(rows, columns)].mean() < 1  # but for the words
    sheets.save_sheet(
        tmp_path / "a.svg", IMAGES[:2], SHADES[:2], ["a"] * 2, ["a"] * 2, "", "", np.array([True, False])
    )
    assert words(tmp_path / "a.svg")[0].count("no signal") == 1


def test_a_sheet_without_images_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no images"):
        sheets.save_sheet(tmp_path / "a.png", IMAGES[:0], None, [], [], "", "")
    with pytest.raises(UsageError, match="no images"):
        sheets.save_photo_sheet(tmp_path / "a.png", IMAGES[0], SHADES[:0], [], "", "")
    with pytest.raises(UsageError, match="no images"):
        sheets.save_poster(tmp_path / "a.png", SHADES[:0], None, "", "")


def test_a_poster_has_every_unit_with_its_number_and_a_dash_for_the_dead(tmp_path):
    tiles = np.concatenate([SHADES, SHADES[:, ::-1]])[:15, ::2, ::2]
    dead = np.arange(15) == 11
    for suffix in ("png", "svg"):
        sheets.save_poster(tmp_path / f"a.{suffix}", tiles, None, "a layer", "a footer", dead)
    page = pixels(tmp_path / "a.png")
    found = [place(page, tile, 6) for tile, gone in zip(tiles, dead, strict=True) if not gone]
    assert found == sorted(found)
    assert page.shape[1] > page.shape[0]
    gray = (page == 128).all(axis=2)
    assert gray.sum(axis=0).max() >= 192 and gray.sum(axis=1).max() >= 192
    texts, _ = words(tmp_path / "a.svg")
    assert {str(i) for i in range(15)} <= set(texts) and texts.count("—") == 1


def test_a_large_poster_keeps_its_tiles_small(tmp_path):
    tiles = np.zeros((512, 32, 32, 3), np.uint8)
    sheets.save_poster(tmp_path / "a.png", tiles, [""] * 512, "", "")
    height, width = pixels(tmp_path / "a.png").shape[:2]
    assert 32 * 64 < width < 2400 and height < width < 2 * height


def test_the_photo_is_larger_than_what_its_units_project(tmp_path):
    path = tmp_path / "a.png"
    sheets.save_photo_sheet(path, IMAGES[0], SHADES[:5], list("abcde"), "", "")
    page = pixels(path)
    photo, first = place(page, IMAGES[0], 8), place(page, SHADES[0], 4)
    assert photo[0] == first[0] and photo[1] + 8 * 64 < first[1]
    large = np.full((900, 1800, 3), (250, 10, 20), np.uint8)
    sheets.save_photo_sheet(path, large, SHADES[:5], list("abcde"), "", "")
    red = (pixels(path) == (250, 10, 20)).all(axis=2)
    assert (red.sum(axis=1).max(), red.sum(axis=0).max()) == (512, 256)


def test_long_words_are_shortened_to_their_room():
    assert lettering.fit("tabby", 100, 8) == "tabby"
    assert lettering.fit("German shepherd, German shepherd dog, alsatian", 100, 8) == "German shepherd…"
    assert lettering.fit("W" * 50, 100, 8) == "W" * 11 + "…"
    assert lettering.fit("i" * 40, 100, 8) == "i" * 40
    assert lettering.fit("i" * 100, 100, 8).endswith("i…")


def test_thumbnails_neither_overlap_nor_leave_the_box_nor_hide_a_crowd():
    rng = np.random.default_rng(2)
    places = np.concatenate([rng.uniform(20, 980, (100, 2)), rng.normal(500, 15, (80, 2)), [[995, 995]]])
    box = np.array([[0.0, 0.0], [1000, 1000]])
    shown, middles = scatter.find_room(places, 50, box)
    assert len(shown) == len(set(shown.tolist())) == len(middles) > 50
    gaps = np.abs(middles[:, None] - middles).max(axis=2) + 1000 * np.eye(len(middles))
    assert gaps.min() >= 50
    assert (middles >= 25).all() and (middles <= 975).all()
    assert np.abs(middles - places[shown]).max() <= 65
    hidden = (np.abs(middles[:, None] - places).max(axis=2) < 25).sum(axis=1)
    assert hidden.max() <= 4
    assert (np.linalg.norm(middles[shown >= 100] - 500, axis=1) < 150).any()  # the crowd has some, beside it


def test_a_lonely_point_has_its_thumbnail_on_it():
    shown, middles = scatter.find_room(np.array([[100.0, 100], [300, 300]]), 50, np.array([[0, 0], [400, 400]]))
    assert shown.tolist() in ([0, 1], [1, 0])
    np.testing.assert_array_equal(middles, np.array([[100, 100], [300, 300]])[shown])


def test_points_in_3d_are_seen_from_four_sides_with_a_legend_of_the_classes_there(tmp_path):
    scatter.save_scatter_3d(tmp_path / "a.svg", POINTS, 2 * LABELS, list("abcdefg"), "explained 16 %", axis="t-SNE")
    texts, _ = words(tmp_path / "a.svg")
    assert [texts.count(f"t-SNE {i}") for i in (1, 2, 3)] == [4, 4, 4]
    assert [t for t in texts if len(t) == 1] == ["a", "c", "e"]
    assert "explained 16 %" in texts


def test_twenty_classes_have_a_look_each():
    looks = scatter._looks(np.arange(40))
    assert len({tuple(look.values()) for look in looks.values()}) == 40


def test_occlusion_names_the_labels_by_how_often_they_come(tmp_path):
    predicted = np.array(50 * [3] + 30 * [1] + 10 * [7] + [0, 2, 4, 5, 6, 8, 9, 9, 9, 9]).reshape(10, 10)
    maps.save_occlusion(tmp_path / "a.svg", IMAGES[0], predicted / 10, predicted, list("abcdefghij"), 0.5, "t", "f")
    texts, _ = words(tmp_path / "a.svg")
    legend = [t for t in texts if t.endswith("%")]
    assert legend[:4] == ["d · 50 %", "b · 30 %", "h · 10 %", "j · 4 %"]
    assert legend[4:] == ["a · 1 %", "c · 1 %", "4 others · 4 %"]
    assert "line: nothing hidden, 0.50" in texts


def test_every_place_of_the_map_of_labels_is_in_the_region_of_its_label():
    predicted = np.array([[0, 1, 0], [1, 1, 0]])
    regions = [maps._squares(predicted == label, (0, 30, 40, 0)) for label in (0, 1)]
    for row, y in enumerate((10, 30)):
        for column, x in enumerate((5, 15, 25)):
            inside = [region.contains_point((x, y)) for region in regions]
            assert inside == [label == predicted[row, column] for label in (0, 1)]


def test_an_overlay_is_brighter_where_the_evidence_is_with_a_line_at_half():
    image = np.full((20, 20, 3), 100, np.uint8)
    shares = np.zeros((20, 20))
    shares[5:15, 5:15] = 1
    over = maps.overlay(image, shares).astype(int)
    assert over[10, 10].sum() > over[1, 1].sum() + 100
    white = (over == 255).all(axis=2)
    assert white.sum() == 36 and white[5, 5:15].all() and not white[6:14, 6:14].any()
    shares[:10] = 1
    assert not (maps.overlay(image, shares)[0] == 255).all(axis=1).any()  # the border of the image is none of it


def test_maps_are_scaled_each_by_itself_and_one_of_zeros_says_so(tmp_path):
    m = np.zeros((3, 64, 64))
    m[0, :, :32], m[1, :, :32] = 0.01, 500
    same = np.repeat(IMAGES[:1], 3, axis=0)
    maps.save_gradcam(tmp_path / "a.svg", same, m, *[WORDS[:3]] * 3, "t", "f")
    assert words(tmp_path / "a.svg")[0].count("no signal") == 1
    maps.save_gradcam(tmp_path / "a.png", same[:2], m[:2], *[WORDS[:2]] * 3, "t", "f")
    page = pixels(tmp_path / "a.png")
    overlay = np.kron(maps.overlay(IMAGES[0], m[1] / 500), np.ones((3, 3, 1), np.uint8))
    starts = [(y, x) for y, x in np.argwhere((page[:-191, :-191] == overlay[0, 0]).all(axis=2)).tolist()]
    assert sum((page[y : y + 192, x : x + 192] == overlay).all() for y, x in starts) == 2


@pytest.mark.parametrize("epochs", [1, 12, 300])
def test_history_names_the_best_epoch_and_counts_epochs_in_whole_numbers(epochs, tmp_path):
    figures.save_history(tmp_path / "a.svg", history(epochs), "a title")
    texts, _ = words(tmp_path / "a.svg")
    best = min(epochs, 7)
    assert f"best validation: {30 - (best - 7) ** 2 / 500:.1f} % in epoch {best}" in texts
    ticks = [float(t) for t in texts[: texts.index("epoch")]]
    assert all(t == int(t) for t in ticks) and max(ticks) >= min(epochs, 12)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000,
        "x " * 50_000,
        "a, " * 30_000,
        "\n" * 50_000 + "y",
        "\x1b" * 100_000,
        "e\u0301" * 50_000,
        " · " * 30_000,
    ],
)
def test_of_a_long_name_no_more_letters_are_measured_than_can_stand_there(text, monkeypatch):
    measured = []
    width = lettering.text_width
    monkeypatch.setattr(lettering, "text_width", lambda line, size: measured.append(line) or width(line, size))
    shown = lettering.fit(text + str(len(measured)), 90, 8)
    assert shown.endswith("…") and max(map(len, measured), default=0) <= 47 and len(measured) <= 8
    measured.clear()
    assert len(lettering.wrap(text, 90, 8)) <= lettering.LETTERS
    assert max(map(len, measured)) <= lettering.LETTERS + 1 and len(measured) <= lettering.LETTERS
