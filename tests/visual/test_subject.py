"""The names of classes on pictures."""

from types import SimpleNamespace

from minidl.visual.subject import Subject


def test_classes_with_the_same_first_name_are_told_apart_by_their_ids():
    words = ["crane", "lemon, fruit", "crane, machine"]
    checkpoint = SimpleNamespace(
        about=SimpleNamespace(classes=["n1", "n2", "n3"], words=words), build=lambda build: None
    )
    subject = Subject(checkpoint, build=None)
    assert subject.words([0, 2, 1, -1]) == ["crane (n1)", "crane (n3)", "lemon", ""]
