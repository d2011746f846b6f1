"""The examples run from their files, in an empty folder."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def main(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


def test_own_arrays_are_learned(empty):
    assert main("own_data")(epochs=2) > 0.9
    assert (empty / "digits.safetensors").stat().st_size > 0


def test_a_look_inside_shows_more_than_gray(empty):
    projections = main("look_inside")([], images=20)
    assert projections.shape == (8, 64, 64, 3) and projections.any(axis=(1, 2, 3)).all()
    assert (empty / "look_inside.png").stat().st_size > 0
    photo = main("look_inside")([str(empty / "look_inside.png")])  # any picture will do
    assert photo.shape == (1, 64, 64, 3)


def test_a_residual_network_learns():
    assert main("resnet")(epochs=2, images=200, threads=1) > 0.05  # of 20 classes


def test_the_derivatives_of_a_layer_and_a_container_of_ones_own_are_right():
    assert main("custom_layer")() < 1e-7


def test_an_activation_of_ones_own_is_fused_and_computes_the_same(capsys):
    assert main("fused_activation")() < 1e-12
    assert capsys.readouterr().out.count("ConvBlock") == 2
