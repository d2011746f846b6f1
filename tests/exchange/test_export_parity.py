"""Exports as others read them: YAML, torch, ONNX Runtime."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import later

torch = pytest.importorskip("torch", reason=later("parity"))
onnx = pytest.importorskip("onnx", reason=later("parity"))
yaml = pytest.importorskip("yaml", reason=later("parity"))
pytest.importorskip("onnxruntime", reason=later("parity"))

import minidl as md  # noqa: E402
import models  # noqa: E402
import train  # noqa: E402
from benchmarks.torch_refined import refined  # noqa: E402
from minidl.errors import printable  # noqa: E402
from minidl.exchange.export import OnnxOptions, export  # noqa: E402
from minidl.exchange.markup import yaml as to_yaml  # noqa: E402
from minidl.exchange.onnx_file import IR_VERSION, OPSET  # noqa: E402
from tests.exchange.runtimes import onnxruntime_answer, to_first  # noqa: E402
from tests.exchange.trained import HOSTILE, front, program, trained  # noqa: E402
from tests.strategies import cases, randomized  # noqa: E402
from tests.tiny_fixture import write_image  # noqa: E402

pytestmark = pytest.mark.parity


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", HOSTILE)
def test_a_card_is_yaml_whatever_the_names(name, tmp_path):
    data = name.replace("/", "_")
    export(tmp_path / "a.safetensors", "safetensors", *trained(classes=["cat", name], data=f"/home/anna/{data}"))
    lines, _ = front((tmp_path / "a.safetensors.md").read_text("utf-8"))
    found = yaml.safe_load("\n".join(lines))
    assert "datasets" not in found and found["license"] == "unknown"  # a folder's name is no data set of a hub
    (result,) = found["model-index"][0]["results"]
    assert result["dataset"]["name"] == printable(data) and result["dataset"]["type"] == "imagefolder"
    assert result["task"] == {"type": found["pipeline_tag"]}
    assert [m["value"] for m in result["metrics"]] == [0.4, 0.9] and found["metrics"] == ["accuracy"]


@cases(200)
@given(st.text(st.characters(codec=None), max_size=8), st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_is_the_same_in_yaml(text, number):
    table = {"a": text, "b": [text, {"c": text, "d": number}, number]}
    expected = json.loads(json.dumps(table), object_hook=None)
    found = yaml.safe_load("\n".join(to_yaml(table)))
    assert found["a"] == found["b"][0] == found["b"][1]["c"] == printable(expected["a"])
    assert float(found["b"][2]) == float(found["b"][1]["d"]) == number


@pytest.mark.parametrize("flags", [[], ["--fold-bn"], ["--pixels"], ["--pixels", "--fold-bn"]], ids=" ".join)
def test_the_program_in_the_card_of_an_onnx_file_predicts_as_minidl_does(flags, place, capsys):
    write_image(place / "photo.jpg", 1, size=(90, 70))
    assert train.main(["export", "--pretrained", "refined", "--output", "net.onnx", *flags]) == 0
    model = onnx.load("net.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (IR_VERSION, OPSET) == (8, 17)
    capsys.readouterr()
    exec(program((place / "net.onnx.md").read_text("utf-8")), {})
    theirs = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert train.main(["predict", "--pretrained", "refined", "photo.jpg"]) == 0
    ours = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert len(theirs) == 5 and [row[1] for row in theirs] == [row[2] for row in ours]
    for one, two in zip(theirs, ours, strict=True):
        assert float(one[0]) == pytest.approx(float(two[0]) / 100, abs=2e-3)


def test_the_metadata_of_an_onnx_file_survive_hostile_names(tmp_path):
    classes = [*HOSTILE]
    export(tmp_path / "a.onnx", "onnx", *trained(classes=classes), onnx=OnnxOptions(pixels=True))
    found = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert json.loads(found["classes"]) == classes and found["format"] == "onnx"
    assert json.loads(found["preprocessing"]) == {
        "input_size": [3, 16, 16],
        "layout": "NCHW",
        "color": "RGB",
        "crop_mode": "center",
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "range": [0, 255],
    }


@pytest.mark.parametrize("file", ["net.pth", "net.safetensors"])
def test_torch_reads_the_weights_and_gives_the_same_answer(file, place, capsys):
    assert train.main(["export", "--pretrained", "refined", "--to", "torch", "--output", file]) == 0
    capsys.readouterr()
    exec(program((place / f"{file}.md").read_text("utf-8")), found := {})
    assert "stem.conv.weight" in capsys.readouterr().out
    net = refined(200)
    net.load_state_dict(found["state"])
    x = np.random.default_rng(0).standard_normal((2, 64, 64, 3), dtype=np.float32)
    with torch.inference_mode():
        y = net.eval()(torch.from_numpy(to_first(x))).numpy()
    np.testing.assert_allclose(y, models.load_pretrained("refined")(x), atol=1e-4)


def test_a_network_of_ones_own_is_saved_with_its_classes(tmp_path):
    model = randomized(md.Sequential(md.Conv2D(3, 4, 3), md.BatchNorm2D(4), md.SiLU()), np.random.default_rng(0))
    pixels = np.random.default_rng(1).integers(0, 256, (3, 9, 7, 3), np.uint8)
    classes, mean, std = ["a", "b", "c", "d"], [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    md.save_onnx(tmp_path / "a.onnx", model, (9, 7, 3), fold_bn=True, mean=mean, std=std, classes=classes)
    content = (tmp_path / "a.onnx").read_bytes()
    y = onnxruntime_answer(content, to_first(pixels.astype(np.float32)))
    np.testing.assert_allclose(y, to_first(model(md.normalise(pixels, mean, std))), atol=1e-4)
    (entry,) = onnx.load_from_string(content).metadata_props
    assert json.loads(entry.value) == classes
