"""Names of pictures: safe, short, the same for the same settings and another for others."""

import string

import pytest

from minidl.visual.file_names import file_name, safe, with_digest

SAFE = set(string.ascii_letters + string.digits + "._,=+~-")
ODD = ["a/b", "a\\b", "../up", ".hidden", "a:b", "a b", "a\nb", "a\x00b", "猫", "犬", "é", "e", "\udce9", "",
       "x" * 300, "x" * 299 + "y", "NUL|*?<>\"'", "$HOME", "-flag"]  # fmt: skip


def test_a_name_says_what_is_shown_and_the_settings_that_are_given():
    assert file_name(["deconv", "inception2.b3", 17, "l2"], {}) == "deconv-inception2.b3-17-l2"
    settings = {"checkpoint": None, "classes": "3,17", "seed_map": "max", "seed": 0}
    assert file_name([None, "pca", "2d"], settings) == "pca-2d-classes=3,17-seed-map=max-seed=0"


@pytest.mark.parametrize("text", ODD)
def test_every_text_makes_a_safe_name(text):
    for name in (safe(text), file_name(["gradcam", text], {"class": text, "split": text})):
        assert set(name) <= SAFE
        assert 0 < len(name) < 200
        assert not name.startswith(".")


def test_different_things_have_different_names():
    assert len({safe(text) for text in ODD}) == len(ODD)
    assert len({file_name(["a"], {name: text}) for text in ODD for name in ("class", "split")}) == 2 * len(ODD)
    assert file_name(["x" * 50] * 9, {}) != file_name([*["x" * 50] * 8, "y"], {})


def test_a_safe_name_stays_as_it_is():
    for text in ("inception2.b3", "top~1", with_digest("my photo", b"1"), safe("猫")):
        assert safe(text) == text


def test_one_name_for_two_contents_is_told_apart():
    assert with_digest("cat", b"1") != with_digest("cat", b"2")
    assert with_digest("cat", b"1") == with_digest("cat", b"1")
