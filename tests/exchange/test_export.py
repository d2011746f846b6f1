"""Exports and their model cards, without any other framework installed."""

import hashlib
import json
import os
import re
import sys

import numpy as np
import pytest
from safetensors import safe_open

import minidl as md
import models
import train
from minidl.errors import DataError, ShapeError, UsageError
from minidl.exchange.card import Exported, card
from minidl.exchange.export import export
from minidl.exchange.facts import Facts
from minidl.exchange.onnx_fold import fold_batch_norms
from minidl.exchange.onnx_walk import onnx_graph
from minidl.storage.files import together
from minidl.storage.weights import load_arrays, save_arrays, to_torch_state_dict
from minidl.training.checkpoints import export_checkpoint, load_checkpoint, portable_checkpoint
from minidl.training.config import Config
from minidl.training.runs import Run
from minidl.training.trainer import TrainState
from tests.exchange.trained import HOSTILE, SIZE, front, outside_code, program, row, trained
from tests.models.narrow import narrow
from tests.tiny_fixture import write_image


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *argv):
    capsys.readouterr()
    code = train.main(["export", *argv])
    return code, *capsys.readouterr()


def text_of(kind="safetensors", pixels=False, license="unknown", **about):
    """The card of a checkpoint."""
    facts = Facts(portable_checkpoint(trained(**about)[0]), license)
    return card(facts, Exported("net." + kind, kind, "A file.", "0" * 64, 1234, pixels))


# --------------------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("flags", "file"),
    [
        ([], "refined.safetensors"),
        (["--to", "safetensors"], "refined.safetensors"),
        (["--to", "torch"], "refined.pth"),
        (["--output", "net.pt"], "net.pt"),
        (["--output", "net.PTH", "--to", "torch"], "net.PTH"),
        (["--output", "weights", "--to", "torch"], "weights"),
        (["--output", "weights"], "weights"),
        (["--output", "t.safetensors", "--to", "torch"], "t.safetensors"),
    ],
)
def test_a_file_and_its_card_are_written(flags, file, place, capsys):
    code, out, err = run(capsys, "--pretrained", "refined", *flags)
    assert (code, err) == (0, "") and f"wrote {file}, 2.3 MB\nwrote {file}.md, " in out
    assert sorted(os.listdir()) == [file, f"{file}.md"]
    text = (place / f"{file}.md").read_text("utf-8")
    assert hashlib.sha256((place / file).read_bytes()).hexdigest() in text
    assert (
        "license: mit" in text and "| `tiny-imagenet-200`: its 10,000 validation images | 56.98 % | 80.80 % |" in text
    )
    torch = "torch" in flags or file.endswith((".pt", ".PTH"))
    assert f"library_name: {'pytorch' if torch else 'minidl'}\n" in text


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--output", "net.onnx", "--to", "torch"], "the ending .onnx is that of onnx, and --to says torch"),
        (["--output", "net.pth", "--to", "safetensors"], "the ending .pth is that of torch"),
        (["--output", "net.safetensors", "--to", "onnx"], "net.safetensors"),
        (["--fold-bn"], "--fold-bn is for ONNX: add --to onnx"),
        (["--to", "torch", "--pixels"], "--pixels is for ONNX"),
    ],
)
def test_flags_that_contradict_each_other_are_named(flags, named, place, capsys):
    code, out, err = run(capsys, "--pretrained", "refined", *flags)
    assert code == 2 and named in err and (out, err.count("\n")) == ("", 1) and os.listdir() == []


def test_without_the_package_onnx_one_line_says_how_to_get_it(place, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, _, err = run(capsys, "--pretrained", "refined", "--to", "onnx")
    assert code == 2 and err == "train.py: ONNX needs the package onnx: pip install 'minidl[onnx]'\n"
    with pytest.raises(UsageError, match="minidl\\[onnx\\]"):
        md.save_onnx("net.onnx", md.ReLU(), (4, 4, 3))
    assert os.listdir() == []


# ------------------------------------------------------------------------------ the files


def test_an_export_is_read_back_and_its_metadata_say_what_is_needed(tmp_path):
    checkpoint, _ = trained(words=["a cat", "a dog", "an emu"])
    export(tmp_path / "a.safetensors", "safetensors", *trained(words=["a cat", "a dog", "an emu"]))
    again = load_checkpoint(tmp_path / "a.safetensors")
    assert again.about == checkpoint.about and again.state == checkpoint.state
    metadata = load_arrays(tmp_path / "a.safetensors")[1]
    assert json.loads(metadata["classes"]) == ["cat", "dog", "emu"] and json.loads(metadata["words"])[2] == "an emu"
    shape = json.loads(metadata["preprocessing"])
    assert shape["input_size"] == [SIZE, SIZE, 3] and shape["mean"] == [0.48, 0.45, 0.4] and shape["range"] == [0, 1]
    assert json.loads(metadata["accuracy"])["top1"] == 0.4
    assert (metadata["format"], metadata["model"], metadata["license"]) == ("np", "convnet", "unknown")


def test_weights_for_torch_in_safetensors_have_torchs_names_and_layout(tmp_path):
    checkpoint, network = trained()
    export(tmp_path / "a.safetensors", "torch", checkpoint, network)
    with safe_open(tmp_path / "a.safetensors", "numpy") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        assert file.metadata()["format"] == "pt" and "minidl" not in file.metadata()
    expected = to_torch_state_dict(network)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(a, expected[name]) for name, a in found.items())


def test_the_same_network_makes_the_same_bytes(tmp_path):
    for kind in ("safetensors", "torch"):
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir(exist_ok=True)
            export(tmp_path / folder / kind, kind, *trained())
        assert (tmp_path / "one" / kind).read_bytes() == (tmp_path / "two" / kind).read_bytes()
        assert (tmp_path / "one" / f"{kind}.md").read_text() == (tmp_path / "two" / f"{kind}.md").read_text()


def test_many_metadata_are_sorted_and_the_arrays_stay_where_they_were(tmp_path):
    metadata = {key: f"{key} \n ü" for key in "zyxabc"}
    arrays = {"w": np.arange(7.0), "b": np.arange(3, dtype=np.uint8)}
    save_arrays(tmp_path / "a", arrays, metadata)
    content = (tmp_path / "a").read_bytes()
    assert (8 + int.from_bytes(content[:8], "little")) % 8 == 0
    found, back = load_arrays(tmp_path / "a")
    assert back == metadata and re.findall(rb'"([a-z])":"', content) == [*map(str.encode, "abcxyz")]
    assert all(np.array_equal(found[name], a) for name, a in arrays.items())


def test_files_that_belong_together_appear_together(tmp_path):
    (tmp_path / "card").write_text("old")
    with pytest.raises(ZeroDivisionError), together(tmp_path / "card", tmp_path / "file") as (page, file):
        page.write_text("new")
        file.write_text("new")
        raise ZeroDivisionError
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="folder: it is a folder"), together(tmp_path / "folder", tmp_path / "file"):
        pytest.fail("nothing can be written")
    with pytest.raises(DataError), together(tmp_path / "card", tmp_path / "file") as (page, _):
        page.write_text("only one")
    assert sorted(os.listdir(tmp_path)) == ["card", "folder"] and (tmp_path / "card").read_text() == "old"
    with together(tmp_path / "card", tmp_path / "file") as both:
        for path in both:
            path.write_text("new")
    assert (tmp_path / "card").read_text() == (tmp_path / "file").read_text() == "new"


# ------------------------------------------------------------------------------ the card


def test_the_program_in_the_card_runs(place, capsys):
    export(place / 'a "net".safetensors', "safetensors", *trained())
    write_image(place / "photo.jpg", 1, size=(30, 20))
    exec(program((place / 'a "net".safetensors.md').read_text("utf-8")), {})
    assert train.main(["predict", 'a "net".safetensors', "photo.jpg"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 and [line.split()[1] for line in lines[:3]] == [line.split()[2] for line in lines[4:]]
    for line, percent in zip(lines[:3], lines[4:], strict=True):
        assert float(line.split()[0]) == pytest.approx(float(percent.split()[0]) / 100, abs=2e-3)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["safetensors", "torch", "onnx"])
def test_no_name_breaks_out_of_the_card(name, kind):
    text = text_of(
        kind,
        classes=["cat", name],
        words=[name, name],
        data=f"/home/anna/{name.replace('/', '_')}",
        init_from="/home/anna/" + name.replace("/", "_"),
        freeze=name,
    )
    yaml, _ = front(text)
    assert all(
        re.fullmatch(r' *(- )?[a-z_-]+:( ("[^\n]*"|[a-z0-9.-]+))?| *- ("[^\n]*"|[a-z0-9-]+)', line) for line in yaml
    )
    assert [line for line in yaml if line.startswith("license")] == ["license: unknown"]
    assert all(c.isprintable() or c == "\n" for c in text) and "anna" not in text
    spans = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
    rest = [spans.sub("", line) for line in outside_code(text)]
    assert not any("evil" in line or "script" in line or "gnp" in line for line in rest)
    assert [line for line in rest if line.startswith("#")] == [
        "# convnet", "## Training", "## Accuracy", "## Input", "## Use", "## Classes", "## Licence", "## Limits"
    ]  # fmt: skip


def test_drawings_are_called_drawings():
    text = text_of()
    assert "| the drawings: its validation images | 40.00 % | 90.00 % |" in text
    assert "the figure says nothing about photographs" in text and "datasets:" not in text
    assert "(Of 3 classes, one is always among the first five.)" in text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"subset": 0.2}, "a part of its validation images (20 % of each class, at least one image) |"),
        ({"subset": 0.2}, "A part of the images was used: 20 % of each class, at least one image.\n"),
        ({"val_split": 0.1}, "images that was held out (10 % of each class, at least one image) |"),
        ({"val_split": 0.1}, "training images was held out: 10 % of each class, at least one image.\n"),
        (
            {"data": "/d/pets"},
            "`pets`: its validation images (without any, training images that were held out: 10 % of each class, at ",
        ),
        ({"ema": 0.99}, "The weights are a moving average over the steps (decay 0.99)."),
        ({"init_from": "/r/old", "freeze": "pool1"}, "weights of `old`; up to the layer `pool1` they stayed"),
        ({"init_from": "/r/old/checkpoints/last.safetensors"}, "It began with the weights of `old`."),
        ({"epochs": 9}, "after 1 epoch of the 9 that were planned (5 steps)"),
        ({"epochs": 9}, "Of the epochs until then it was the best one on these images"),
        ({"lr": 0.25, "clip_norm": 2.0}, "lr 0.25, "),
    ],
)
def test_the_card_says_what_was_measured_and_how_it_was_trained(settings, said):
    text = text_of(**settings)
    assert said in text
    assert ("best one" in text) == ("epochs" in settings)


def test_the_card_says_that_some_classes_were_chosen():
    checkpoint = portable_checkpoint(trained()[0])
    checkpoint.about.config["classes"] = "0-2"
    text = card(Facts(checkpoint), Exported("net.onnx", "onnx", "A file.", "0" * 64, 1234))
    assert "Of its classes only the 3 that are listed below were used.\n" in text


@pytest.mark.parametrize(
    ("state", "data", "said"),
    [
        (TrainState(), "imported", "imported from a file of PyTorch"),
        (TrainState(), "/d/pets", "No training is recorded"),
        (
            TrainState(1, 1, 1),
            "/d/pets",
            "after 1 epoch and 1 batch of the next one of the 9 that were planned (1 step).",
        ),
        (TrainState(0, 3, 3), "/d/pets", "after 0 epochs and 3 batches of the next one of the 9 that were planned"),
        (TrainState(1, 3, 8, history=[row(1)]), "/d/pets", "not measured. After epoch\n1 it was 40.00 % (top-1)"),
    ],
)
def test_an_accuracy_that_nobody_measured_is_not_claimed(state, data, said):
    text = text_of(state=state, data=data, epochs=9)
    assert said in text and "model-index" not in text and "metrics" not in text
    assert "datasets:" not in text  # there a hub's names would stand
    assert state.history or "None is recorded." in text


def test_a_run_knows_how_many_images_there_were(place, capsys):
    folder = run_on_a_part(place, {"train": SPLIT, "val": SPLIT})
    assert train.main(["export", str(folder), "--to", "torch"]) == 0
    text = (place / "convnet.pth.md").read_text("utf-8")
    assert "`pets`: a part of its 31 validation images (without any, " in text


SPLIT = {"images": 31, "order": "x", "pixels": None}


def run_on_a_part(place, data):
    """The folder of a run on a fifth of the data set pets."""
    checkpoint, _ = trained(data="/d/pets", subset=0.2)
    run = Run.create(place, "run", Config(model="convnet"), data)
    export_checkpoint(run.checkpoint("best"), checkpoint)
    return run.path


def test_an_export_of_an_export_says_the_same(tmp_path):
    checkpoint, network = trained(data="imported", state=TrainState())
    export_checkpoint(tmp_path / "a.safetensors", checkpoint)
    export(tmp_path / "b.safetensors", "safetensors", load_checkpoint(tmp_path / "a.safetensors"), network)
    assert "imported from a file of PyTorch" in (tmp_path / "b.safetensors.md").read_text("utf-8")


def test_who_may_do_what_with_it_is_not_made_up():
    assert "license: unknown" in text_of() and "has not said" in text_of()
    text = text_of(license="mit", data="tiny-imagenet-200")
    assert "MIT, as far as" in text and "non-commercial" in text


# -------------------------------------------------------------------- graphs, without onnx


@pytest.mark.parametrize("name", ["refined", "convnet"])
def test_the_arrays_of_a_graph_are_torchs(name):
    model = models.build(name, 7)
    graph, state = onnx_graph(model, (64, 64, 3)), to_torch_state_dict(model)
    assert graph.arrays.keys() - {n for n in graph.arrays if n.endswith("padding")} == state.keys()
    assert all(np.array_equal(graph.arrays[n], a) for n, a in state.items())
    assert (graph.in_shape, graph.out_shape) == ((3, 64, 64), (7,))
    fold_batch_norms(graph)
    assert "BatchNormalization" not in {node.op for node in graph.nodes}
    assert not [n for n in graph.arrays if n.endswith("running_mean")]


def test_no_node_of_a_network_with_side_heads_is_of_a_head():
    graph = onnx_graph(narrow("googlenet"), (64, 64, 3))
    assert not [n for n in graph.arrays if n.startswith("aux")]
    assert all(len(node.inputs) > 1 for node in graph.nodes if node.op == "Concat")


def test_no_pool_has_a_ceil_mode_or_pads_a_mean():
    model = md.Sequential(
        md.GeneralMaxPool2D(3, 2, ceil_mode=True), md.GeneralAvgPool2D(3, 2, 1, ceil_mode=True), md.AvgPool2D(3, 1, 1)
    )
    pools = [node for node in onnx_graph(model, (12, 14, 2)).nodes if "Pool" in node.op]
    assert [node.op for node in pools] == ["MaxPool", "AveragePool", "AveragePool"]
    assert all("ceil_mode" not in node.options for node in pools)
    assert all("pads" not in node.options for node in pools[1:]) and pools[0].options["pads"] == (0, 0, 1, 1)


def test_a_layer_that_cannot_be_exported_is_named():
    class Square(md.Layer):
        def forward(self, x, ctx):
            return x * x, None

    class Louder(md.ReLU):
        def forward(self, x, ctx):
            return super().forward(2 * x, ctx)

    class Gate(md.Layer):
        wiring = "parallel"

        def __init__(self):
            self.a, self.b = md.ReLU(), md.ReLU()

        def out_shape(self, in_shape):
            return in_shape

        def forward(self, x, ctx):
            return self.a(x) * self.b(x), None

    for kind in (Square, Louder, Gate):
        with pytest.raises(UsageError, match=rf"body.1 \({kind.__name__}\): not a layer of minidl's own"):
            onnx_graph(md.Sequential({"body": md.Sequential(md.ReLU(), kind())}), (4, 4, 3))
    fused = md.fuse(models.build("convnet", 3))
    with pytest.raises(UsageError, match="part of the fused engine"):
        onnx_graph(fused, (16, 16, 3))
    with pytest.raises(ShapeError):
        onnx_graph(models.build("convnet", 3), (16, 16, 4))
    with pytest.raises(UsageError, match="mean and std go together"):
        md.save_onnx("net.onnx", md.ReLU(), (4, 4, 3), mean=[0.5] * 3)
