"""The public face: what `import minidl as md` gives, and what it leaves alone."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import minidl as md
from minidl.errors import UsageError
from tests.text.test_html import EVIL, Seen

HEAVY = {"torch", "cupy", "sklearn", "matplotlib", "scipy", "PIL", "tqdm", "safetensors", "optuna"}


def test_the_import_alone_loads_no_heavy_library():
    code = "import sys, minidl; dir(minidl); print(*sorted(name for name in sys.modules if '.' not in name))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "numpy" in loaded and not HEAVY & {*loaded}


def test_neither_torch_nor_cupy_nor_what_draws_is_loaded_for_all_that_is_public():
    code = "import sys, minidl; [getattr(minidl, n) for n in minidl.__all__]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "PIL" in loaded and not {"torch", "cupy", "sklearn", "matplotlib", "optuna"} & {*loaded}


@pytest.mark.parametrize("name", [name for name in md.__all__ if name != "__version__"])
def test_what_is_public_has_a_docstring_and_type_hints(name):
    thing = getattr(md, name)
    assert inspect.getdoc(thing), name
    if inspect.isroutine(thing):
        assert untyped(thing) == []
    elif inspect.isclass(thing):
        own = {n: f for n, f in vars(thing).items() if inspect.isfunction(f) and (n == "__init__" or n[0] != "_")}
        assert {n: missing for n, f in own.items() if (missing := untyped(f))} == {}
    else:
        assert isinstance(thing, ModuleType | md.Context)


def untyped(function):
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    missing = [p.name for p in parameters if p.annotation is p.empty]
    return missing + (["return"] if signature.return_annotation is signature.empty else [])


def test_editors_are_told_the_same_names_as_are_imported_later():
    tree = ast.parse(inspect.getsource(md))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    told = {a.asname or a.name: f"{node.module}.{a.name}" for node in block.body for a in node.names}
    assert told == md._LATER and told.keys() <= {*md.__all__} and {*md.__all__} <= {*dir(md)}


ROOMS = {path.stem for path in Path(md.__file__).parent.glob("[!_]*") if path.suffix in ("", ".py")} - {"version"}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_lists_what_is_public_or_says_that_it_is_internal(room):
    module = importlib.import_module(f"minidl.{room}")
    if "Internal:" in module.__doc__:
        assert not hasattr(module, "__all__")
    else:
        assert all(hasattr(module, name) for name in module.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'adma'$"):
        md.adma  # noqa: B018


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Dense", "Linear"),
        ("Conv2d", "Conv2D"),
        ("BatchNorm2d", "BatchNorm2D"),
        ("sequential", "Sequential"),
        ("CrossEntropyLoss", "softmax_cross_entropy"),
        ("DataLoader", "Loader"),
    ],
)
def test_a_name_of_another_framework_is_told_ours(name, meant):
    with pytest.raises(AttributeError, match=rf"no attribute '{name}': write md\.{meant}") as caught:
        getattr(md, name)
    assert "\n" not in str(caught.value) and hasattr(md, meant)


def test_typed_packages_say_so():
    assert (Path(md.__file__).parent / "py.typed").is_file()


def net():
    rng = np.random.default_rng(0)
    layers = {"conv": md.Conv2D(3, 4, 3, rng=rng, dtype=np.float64), "relu": md.ReLU(), "pool": md.GlobalAvgPool()}
    return md.Sequential({**layers, "fc": md.Linear(4, 2, rng=rng, dtype=np.float64)})


@pytest.mark.parametrize(
    "make",
    [
        lambda x: net(),
        lambda x: md.summary(net(), x.shape),
        lambda x: md.trace(net(), x),
        lambda x: md.gradcheck(net(), x, coordinates=1),
    ],
    ids=["model", "summary", "trace", "gradcheck"],
)
def test_notebooks_show_a_static_table(make):
    seen = Seen(make(np.random.default_rng(1).normal(size=(2, 5, 5, 3)))._repr_html_())
    assert {*seen.tags} <= {"table", "caption", "thead", "tbody", "tr", "th", "td"} and seen.tags.count("tr") > 3
    assert "conv" in " ".join(seen.texts)


def test_the_name_of_a_layer_is_no_markup():
    model = md.Sequential({EVIL: md.ReLU()})
    x = np.ones((1, 2, 2, 3))
    for thing in (model, md.summary(model, x.shape), md.trace(model, x)):
        assert {*Seen(thing._repr_html_()).tags} <= {"table", "caption", "thead", "tbody", "tr", "th", "td"}


def test_weights_are_saved_and_loaded_by_a_short_name(tmp_path):
    one, other = net(), net()
    for p in other.named_parameters().values():
        p.value[...] = 0
    md.save(tmp_path / "net.safetensors", one)
    md.load(tmp_path / "net.safetensors", other)
    x = np.ones((1, 5, 5, 3))
    np.testing.assert_array_equal(one.forward(x, md.INFER)[0], other.forward(x, md.INFER)[0])
    with pytest.raises(UsageError, match="the file comes first"):
        md.save(one, tmp_path / "net.safetensors")


def test_what_people_type_first_works_or_says_what_is_meant():
    model, x = net(), np.ones((2, 5, 5, 3))
    assert md.summary(model, x).parameters == md.summary(model, (5, 5, 3)).parameters
    assert md.gradcheck(model, x, mode=md.PROBE, coordinates=1).title == "Sequential PROBE, step 1e-05"
    for given in (model, list(model.named_parameters().values())):
        with pytest.raises(UsageError, match="model.named_parameters"):
            md.Adam(given, lr=0.1)
    for name, meant in (("parameters", "named_parameters"), ("eval", r"model\(x\)"), ("state_dict", "minidl.save")):
        with pytest.raises(AttributeError, match=meant):
            getattr(model, name)
    with pytest.raises(UsageError, match="md.PROBE or md.INFER"):
        model.forward(x, md.Mode.TRAIN)
    with pytest.raises(AttributeError, match=r"SGD has no attribute 'zero_grad': write model\.zero_grad\(\)"):
        md.SGD(model.named_parameters(), 0.1).zero_grad()
    with pytest.raises(UsageError, match="give a Loader"):
        md.evaluate(model, (x, np.zeros(2)))


def test_a_model_is_called_indexed_counted_and_printed():
    model, x = net(), np.ones((2, 5, 5, 3))
    np.testing.assert_array_equal(model(x), model.forward(x, md.INFER)[0])
    assert model["conv"] is model[0] is next(iter(model)) and len(model) == 4
    lines = str(model).splitlines()
    assert len(lines) == 5 and "weight 3x3x3x4, bias 4" in lines[1] and lines[1].endswith("112")
    with pytest.raises(UsageError, match="did you mean conv"):
        model["conf"]


class Forgetful(md.Layer):
    """A layer without super().__init__()."""

    def __init__(self):
        self.weight = md.Parameter(np.ones(3))

    def forward(self, x, ctx):
        return x * self.weight.value, (x if ctx.keeps_cache else None)

    def backward(self, dy, cache, need_dx=True):
        self.weight.grad += (dy * cache).sum(axis=tuple(range(dy.ndim - 1)))
        return dy * self.weight.value


def test_the_first_lines_of_a_student_work(tmp_path):
    conv = md.Conv2D(3, 8, (3, 3), rng=0, dtype=np.float64)
    model = md.Sequential(conv, md.ReLU())
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 3))
    y, cache = model.forward(x, md.PROBE)
    assert y.shape == (1, 4, 4, 8) and model.project(y, cache, "deconv").shape == x.shape
    assert md.gradcheck(Forgetful(), x).error < 1e-7 and "weight" in Forgetful().named_parameters()
    with pytest.raises(UsageError, match=r"write ReLU\(...\)"):
        md.Sequential(conv, md.ReLU)
