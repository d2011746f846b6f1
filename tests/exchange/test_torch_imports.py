"""State dicts of torch become checkpoints that every command takes, or the line says what doesn't fit."""

import json
import re
from functools import partial

import numpy as np
import pytest

import minidl as md
import models
from minidl.cli.programs import TRAIN_PY, VISUALIZE_PY
from minidl.errors import DataError
from minidl.exchange.class_names import read_class_names
from minidl.exchange.fit import compare
from minidl.exchange.imports import Images, MisfitError, Networks, import_weights
from minidl.exchange.sketch import names_of_classes, side_heads, sketch, unfilled
from minidl.exchange.torch_writer import pickle_of, write_state_dict
from minidl.storage.weights import to_torch_state_dict, torch_shapes
from minidl.training.checkpoints import load_checkpoint
from minidl.training.network import initialise_from
from models.googlenet import Convolution, Head, Inception, build_googlenet
from models.resnet import RESNET18, build_resnet
from tests.exchange.test_torch_file import zip_of
from tests.storage.test_weights import contents
from tests.strategies import randomized
from tests.tiny_fixture import make_folders

ROWS = {
    "conv1": Convolution(4, 3, 2),
    "inception3a": Inception(2, 2, 3, 1, 2, 2),
    "aux1": Head(2, 5),
    "inception4b": Inception(2, 2, 3, 1, 2, 2),
}
SMALL = {
    "resnet18": partial(build_resnet, {n: row._replace(filters=row.filters // 16) for n, row in RESNET18.items()}),
    "googlenet": partial(build_googlenet, ROWS),
}


def build_small(name, classes, **options):
    return SMALL[name](classes=classes, dropout=0.0, rng=np.random.default_rng(0), dtype=np.float32, **options)


NETWORKS = Networks(SMALL, build_small, models.registry.options_of, models.OPTIONS)


def saved(path, name, classes=5, prefix="", change=lambda state: state, **options):
    """A file with random weights of a small network, and the network."""
    network = randomized(build_small(name, classes, **options), np.random.default_rng(1))
    state = {prefix + key: a for key, a in change(to_torch_state_dict(network)).items()}
    write_state_dict(path, state)
    return network


def run(*arguments):
    return TRAIN_PY.main([str(argument) for argument in arguments])


@pytest.fixture
def convnet(tmp_path, monkeypatch):
    """A file convnet.pth of two classes in the working folder, and the network."""
    monkeypatch.chdir(tmp_path)
    network = randomized(models.build("convnet", classes=2), np.random.default_rng(1))
    write_state_dict("convnet.pth", to_torch_state_dict(network))
    return network


def test_every_command_takes_the_checkpoint_that_is_made(convnet, tmp_path, capsys, sketches):
    data = make_folders(tmp_path / "data", classes=("cat", "dog"), size=(16, 16))
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    flags = ["--model", "convnet", "--image-size", 16, "--classes", "names.txt", "--output", "own.safetensors"]
    assert run("import-torch", "convnet.pth", *flags) == 0
    out = capsys.readouterr().out
    assert "17 arrays of float32" in out and "convnet, 2 classes" in out and "mean 0.485, 0.456, 0.406" in out
    checkpoint = load_checkpoint("own.safetensors")
    for name, a in contents(checkpoint.build(models.build)).items():
        np.testing.assert_array_equal(a, contents(convnet)[name])
    assert run("eval", "own.safetensors", "--data", data, "--threads", 1) == 0
    assert run("predict", "own.safetensors", data / "val" / "cat" / "0.png", "--threads", 1) == 0
    assert VISUALIZE_PY.main(["layers", "own.safetensors"]) == 0
    assert run("export", "own.safetensors", "--output", "again.safetensors") == 0
    again = ["--model", "convnet", "--image-size", 16, "--data", data, "--batch-size", 2, "--threads", 1]
    assert run("fit", *again, "--epochs", 1, "--init-from", "own.safetensors", "--output", "runs") == 0
    assert "weights of" in capsys.readouterr().out


def test_the_data_set_of_imported_weights_has_to_be_named(convnet, capsys):
    assert run("import-torch", "convnet.pth", "--model", "convnet") == 0
    assert run("eval", "convnet.safetensors") == 3
    assert "give --data" in capsys.readouterr().err


@pytest.mark.parametrize("stem", ["small", "imagenet"])
def test_classes_and_stem_follow_from_the_shapes(tmp_path, stem):
    network = saved(tmp_path / "a.pth", "resnet18", classes=7, stem=stem)
    made = import_weights(tmp_path / "a.pth", "resnet18", NETWORKS)
    about = made.checkpoint.about
    assert about.config["stem"] == stem and len(about.classes) == 7 and about.classes[6] == "class6"
    assert about.image_shape == [224, 224, 3] and about.mean[0] == 0.485 and about.std[2] == 0.225
    for name, a in contents(network).items():
        np.testing.assert_array_equal(made.checkpoint.arrays[name], a)


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.net.backbone.", "_orig_mod."])
def test_a_prefix_that_all_names_have_is_left_out_and_said(tmp_path, prefix):
    network = saved(tmp_path / "a.pth", "resnet18", prefix=prefix)
    made = import_weights(tmp_path / "a.pth", "resnet18", NETWORKS)
    assert f'without the prefix "{prefix}"' in dict(made.notes)["file"]
    md.load_torch_state_dict(other := build_small("resnet18", 5), md.read_torch_file(tmp_path / "a.pth"))
    for name, a in contents(network).items():
        np.testing.assert_array_equal(made.checkpoint.arrays[name], a)
        np.testing.assert_array_equal(contents(other)[name], a)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_precisions_become_float32(tmp_path, dtype):
    network = saved(tmp_path / "a.pth", "resnet18", change=lambda s: {n: a.astype(dtype) for n, a in s.items()})
    made = import_weights(tmp_path / "a.pth", "resnet18", NETWORKS)
    for name, a in contents(network).items():
        assert made.checkpoint.arrays[name].dtype == np.float32
        np.testing.assert_array_equal(made.checkpoint.arrays[name], a.astype(dtype).astype(np.float32))


def test_a_googlenet_has_its_own_normalisation_and_may_come_without_side_heads(tmp_path):
    network = saved(tmp_path / "a.pth", "googlenet")
    whole = import_weights(tmp_path / "a.pth", "googlenet", NETWORKS)
    assert whole.checkpoint.about.mean == whole.checkpoint.about.std == [0.5, 0.5, 0.5]
    assert any("transform_input" in sentence for _, sentence in whole.notes) and "new" not in dict(whole.notes)
    write_state_dict(
        tmp_path / "b.pth", {n: a for n, a in to_torch_state_dict(network).items() if not n.startswith("aux1")}
    )
    part = import_weights(tmp_path / "b.pth", "googlenet", NETWORKS)
    assert dict(part.notes)["new"] == "aux1: not in the file, so they begin anew; only training uses them"
    fresh = contents(build_small("googlenet", 5))
    for name, a in contents(network).items():
        np.testing.assert_array_equal(part.checkpoint.arrays[name], fresh[name] if name.startswith("aux1") else a)
    own = import_weights(tmp_path / "a.pth", "googlenet", NETWORKS, Images(64, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    assert own.checkpoint.about.image_shape == [64, 64, 3] and own.checkpoint.about.mean == [0.1, 0.2, 0.3]


def test_half_a_side_head_is_missing_arrays(tmp_path):
    saved(tmp_path / "a.pth", "googlenet", change=lambda s: {n: a for n, a in s.items() if n != "aux1.fc2.bias"})
    with pytest.raises(MisfitError) as error:
        import_weights(tmp_path / "a.pth", "googlenet", NETWORKS)
    assert error.value.report == ["missing      1: aux1.fc2.bias"]


def test_what_does_not_fit_is_listed_exactly(tmp_path):
    def change(state):
        del state["bn1.bias"]
        state = {n: a for n, a in state.items() if not n.startswith("layer3")}
        return state | {
            "head.weight": np.zeros(3),
            "layer1.7.conv.weight": np.zeros(3),
            "layer1.7.conv.bias": np.zeros(3),
            "layer1.0.conv1.weight": np.zeros((4, 4, 1, 1)),
            "fc.bias": np.ones(5, int),
        }

    saved(tmp_path / "a.pth", "resnet18", change=change)
    with pytest.raises(MisfitError) as error:
        import_weights(tmp_path / "a.pth", "resnet18", NETWORKS)
    assert error.value.report == [
        "missing      26: bn1.bias, layer3 (25)",
        "unexpected   3: head.weight, layer1.7 (2)",
        "other shape  1: layer1.0.conv1.weight float64(4, 4, 1, 1) for (4, 4, 3, 3)",
        "other type   1: int64, not float: fc.bias",
    ]
    assert str(error.value).endswith(
        "a.pth doesn't fit resnet18: it has 74 of its 102 arrays; it fits no network of minidl"
    )


def test_integers_are_of_another_type_and_their_list_is_short(tmp_path):
    saved(tmp_path / "a.pth", "resnet18", change=lambda s: {n: a.astype("i4") for n, a in s.items()})
    with pytest.raises(MisfitError) as error:
        import_weights(tmp_path / "a.pth", "resnet18", NETWORKS)
    (line,) = error.value.report
    assert line.startswith("other type   102: int32, not float: conv1.weight, bn1 (4), layer1 (") and len(line) < 120


def test_weights_for_one_class_are_refused_with_what_to_do(tmp_path):
    saved(tmp_path / "a.pth", "resnet18", 2, change=lambda s: s | {n: s[n][:1] for n in ("fc.weight", "fc.bias")})
    with pytest.raises(DataError, match="weights for 1 class, and minidl's networks have 2 or more"):
        import_weights(tmp_path / "a.pth", "resnet18", NETWORKS)


def test_the_place_of_the_state_dict_and_its_types_are_said(tmp_path):
    network = models.build("convnet", classes=2)
    state = {name: a.astype("f2" if "conv" in name else "f4") for name, a in to_torch_state_dict(network).items()}
    data = b"\x80\x02}X\x03\0\0\0net" + pickle_of(state)[2:-1] + b"s."
    numbers = {f"data/{k}": a.tobytes() for k, a in enumerate(state.values())}
    (tmp_path / "a.pth").write_bytes(zip_of({"data.pkl": data, **numbers}))
    registered = Networks(models.REGISTRY, models.build, models.registry.options_of, models.OPTIONS)
    made = import_weights(tmp_path / "a.pth", "convnet", registered)
    assert made.notes == [
        ("file", '17 arrays of float16 and float32, in "net"'),
        ("model", "convnet, 2 classes"),
        ("classes", "class0, class1, ...: --classes FILE gives them names"),
        ("images", "224x224, mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225"),
    ]
    named = import_weights(tmp_path / "a.pth", "convnet", registered, names=(["a", "b"], ["A", "B"]))
    assert "classes" not in dict(named.notes) and named.checkpoint.about.words == ["A", "B"]


def test_the_network_that_a_file_fits_is_named_and_nothing_is_written(convnet, capsys, tmp_path):
    assert run("import-torch", "convnet.pth", "--model", "resnet18") == 3
    seen = capsys.readouterr()
    assert "convnet.pth doesn't fit resnet18: it has 1 of its 102 arrays; it fits --model convnet" in seen.err
    assert "unexpected   " in seen.out and [path.name for path in tmp_path.iterdir()] == ["convnet.pth"]


def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path):
    saved(tmp_path / "a.pth", "resnet18", change=lambda s: s | {"bn1.bias": np.full(4, 1e300)})
    with pytest.raises(DataError, match="bn1.bias holds a weight that is not a number, or too large"):
        import_weights(tmp_path / "a.pth", "resnet18", NETWORKS)


@pytest.mark.parametrize(
    ("flags", "code", "line"),
    [
        (["--output", "convnet.pth"], 2, "the file itself would be overwritten"),
        (["--output", "net.pth"], 2, "a checkpoint is a .safetensors file"),
        (["--classes", "names.json"], 3, "weights for 2 classes, and there are 3 names of classes"),
        (["--image-size", "4"], 3, "--image-size 4: "),
        (["--mean", "0.5", "0.5", "128"], 2, "'128' is not a number from 0 to 1"),
        (["--classes", "convnet.pth"], 3, "convnet.pth: can't be read"),
    ],
)
def test_wrong_flags_are_one_line_and_nothing_is_written(convnet, tmp_path, capsys, flags, code, line):
    (tmp_path / "names.json").write_text('["a", "b", "c"]')
    assert run("import-torch", "convnet.pth", "--model", "convnet", *flags) == code
    err = capsys.readouterr().err
    assert line in err and err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["convnet.pth", "names.json"]


def test_a_file_of_torch_is_pointed_to_the_command(convnet, capsys):
    assert run("eval", "convnet.pth") == 3
    assert "python train.py import-torch convnet.pth --model NAME" in capsys.readouterr().err
    md.save("bare.safetensors", convnet)
    assert run("eval", "bare.safetensors") == 3
    assert "import-torch bare.safetensors --model NAME" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "ids", "words"),
    [
        ("cat\n\n dog \n", ["cat", "dog"], ["cat", "dog"]),
        ("n01440764 tench, Tinca\nn01443537 fish", ["n01440764", "n01443537"], ["tench, Tinca", "fish"]),
        ("crane\ncrane\ndog", ["crane (0)", "crane (1)", "dog"], ["crane", "crane", "dog"]),
        (["cat", "dog"], ["cat", "dog"], ["cat", "dog"]),
        ({"0": ["n1", "tench"], "1": ["n2", "carp"]}, ["n1", "n2"], ["tench", "carp"]),
        ({"1": "dog", "0": "cat"}, ["cat", "dog"], ["cat", "dog"]),
        ({"dog": 1, "cat": 0}, ["cat", "dog"], ["cat", "dog"]),
    ],
)  # fmt: skip
def test_names_of_classes_are_read_in_the_forms_that_people_have(tmp_path, content, ids, words):
    path = tmp_path / "names"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    assert read_class_names(path) == (ids, words)


@pytest.mark.parametrize(
    "content",
    ["", "cat", "[]", "[1, 2]", "{}", '{"a": {}}', '{"0": "a", "2": "b"}', '{"a": 0, "b": 0}', "[", '["", " "]',
     "[[]]", '["a", "a", "a (0)"]', '{"a": true, "b": false}'],
)  # fmt: skip
def test_other_contents_are_one_line(tmp_path, content):
    path = tmp_path / "names"
    path.write_text(content)
    with pytest.raises(DataError, match="names"):
        read_class_names(path)


@pytest.mark.parametrize("name", ["convnet", "refined", "resnet18"])
def test_a_sketch_has_the_names_and_shapes_of_the_network(name):
    build = models.REGISTRY[name]
    shapes = torch_shapes(models.build(name, classes=6))
    assert torch_shapes(sketch(build, 6)) == torch_shapes(unfilled(build, 6)) == shapes
    assert names_of_classes(build) == ["fc.weight", "fc.bias"] and list(side_heads(sketch(build, 6))) == []


def test_sketches_of_all_networks_take_no_memory():
    for name, build in models.REGISTRY.items():
        values = [p.value for p in sketch(build, 1000).named_parameters().values()]
        assert sum(a.nbytes for a in values if 0 not in a.strides) < 2**20, name


def test_a_run_of_another_network_is_told_which_one_the_file_has(tmp_path):
    saved(tmp_path / "a.pth", "resnet18", stem="imagenet")
    source = import_weights(tmp_path / "a.pth", "resnet18", NETWORKS).checkpoint
    with pytest.raises(DataError, match="conv1.weight.*; the file's network is resnet18, stem imagenet$"):
        initialise_from(build_small("resnet18", 5, stem="small"), source, ["a", "b", "c", "d", "e"])
    assert initialise_from(build_small("resnet18", 2, stem="imagenet"), source, ["a", "b"]) == [
        "fc.weight",
        "fc.bias",
    ]


def test_long_lists_of_names_are_cut():
    arrays = {f"{'long' * 40}.x{k}": np.zeros(1) for k in range(100)} | {
        f"block{k}.a.b": np.zeros(1) for k in range(500)
    }
    (line,) = compare(arrays, {}).lines()
    assert line.startswith(f"unexpected   600: {'long' * 25} (100), block0.a.b, block1.a.b")
    assert len(line) < 2100 and re.search(r"block\d+.a.b \.\.\. \(in all [\d,]+ letters\)$", line)
