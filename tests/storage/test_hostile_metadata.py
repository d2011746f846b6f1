"""Everything in another person's checkpoint, run or search folder that is wrong ends in one line with the field."""

import json
import os
import shutil
import sqlite3
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

import models
import train
import visualize
from minidl.errors import DataError
from minidl.storage.metadata import from_json, to_json
from minidl.storage.weights import model_arrays
from minidl.training.checkpoints import load_checkpoint
from minidl.training.config import Config, config_from_dict
from minidl.training.runs import FILES, FOLDERS, Run
from minidl.training.search import Plan, read_plan
from minidl.training.study import create_search, open_study, read_trials

CLASSES = ["cat", "dog"]
ROW = {
    "epoch": 1,
    "train_loss": 1.0,
    "train_top1": 0.5,
    "val_loss": 1.0,
    "val_top1": 0.5,
    "val_top5": 1.0,
    "lr": 1e-3,
}
ROW |= {"images_per_s": 1.0, "seconds": 1.0}
STATE = {"epoch": 1, "batch": 0, "step": 1, "loss_sum": 0.0, "correct": 0, "best_epoch": 1, "best_top1": 0.5}
STATE |= {"seconds": 1.0, "history": [ROW]}
ABOUT = {"model": "convnet", "classes": CLASSES, "words": CLASSES, "image_shape": [16, 16, 3], "mean": [0.5] * 3}
ABOUT |= {"std": [0.25] * 3, "config": Config(model="convnet").as_dict()}
HEADER = {"format": 1, "about": ABOUT, "state": STATE}
SPLIT = {"images": 3, "order": "abc", "pixels": None}
DATA = {"train": SPLIT, "val": SPLIT}
PLAN_OF_THREE = Plan(Config(model="convnet"), trials=3)
PLAN = PLAN_OF_THREE.as_dict()

NAN, INF, DEEP = float("nan"), float("inf"), [[[[[["\x1b[31m"]]]]]]
NO_TABLE = (None, [], "x", 3)
NO_LIST = (None, {}, "x", 3)
NO_COUNT = (None, True, -1, 1.5, "1", NAN, INF, 2**70, 10**400, DEEP)
NO_NUMBER = (None, True, "0.5", "=1+1", NAN, INF, -INF, -1, 10**400, DEEP)
NO_TEXT = (None, True, 3, ["x"], {"x": 1})
NO_NAME = (*NO_TEXT, "", "../x", "/x", "a b", "a\n", "\x1b[31m", "a" * 5000, "\ud800", "..", "a\0")
NO_PATH = (None, 3, "", "a\0b", "x/" * 5000, "a" * 300, "\ud800", [])
NO_LOSS = tuple(v for v in NO_NUMBER if v is not None and v == v)  # null and NaN are what a loss may have become


def settings(place):
    """Hostile values of all settings of a Config that is stored at `place`."""
    for f in fields(Config):
        default = f.default
        if f.name in ("data", "init_from"):
            values = [v for v in NO_PATH if v is not None or f.name == "data"]
        elif f.name in ("classes", "freeze"):
            values = [*NO_TEXT[1:], "x" * 2_000_000]
        elif f.name == "model":
            values = NO_NAME
        elif f.name in ("stem", "activation"):
            values = [v for v in NO_NAME if v is not None]
        elif isinstance(default, bool):
            values = (None, 0, "true", [])
        elif isinstance(default, str):
            values = (*NO_TEXT, "nonsense", "a" * 5000, "\x1b[31m")
        else:
            values = NO_COUNT if isinstance(default, int) else NO_NUMBER
        yield from ((f"{place}{f.name}", value) for value in values)


CHECKPOINT = [
    *(("format", v) for v in (None, 0, 2, True, "1", 1.0, [])),
    *((key, v) for key in ("about", "state", "about.config", "state.history.0") for v in NO_TABLE),
    *(("about.model", v) for v in NO_NAME),
    *(("about.classes", v) for v in (*NO_LIST, [], ["cat"], ["cat", 3], ["cat", ""], ["a", "c" * 5000], ["a", "a"])),
    *(("about.words", v) for v in (*NO_LIST, [], ["cat"], ["cat", None], ["cat", DEEP], ["a", "b", "c"])),
    *(("about.image_shape", v) for v in (*NO_LIST, [16, 16], [16, 16, 1], [16, 8, 3], [0, 0, 3], [5000, 5000, 3])),
    *(("about.image_shape", [16.0, 16, v]) for v in (3, 2**60, NAN)),
    *(("about.mean", v) for v in (*NO_LIST, [0.5], [0.5] * 4, *([0.5, 0.5, bad] for bad in NO_NUMBER))),
    *(("about.std", v) for v in (*NO_LIST, [0.5], [0.5] * 4, *([0.5, 0.5, bad] for bad in (0, 1e-300, *NO_NUMBER)))),
    *(pair for pair in settings("about.config.")),
    *((f"state.{key}", v) for key in ("epoch", "batch", "step", "correct", "best_epoch") for v in NO_COUNT),
    *((f"state.{key}", v) for key in ("loss_sum", "seconds") for v in NO_NUMBER),
    *(("state.best_top1", v) for v in (2, -3, *(v for v in NO_NUMBER if v != -1))),
    ("state.best_epoch", 2),
    ("state.colour", "red"),
    *(("state.history", v) for v in NO_LIST),
    *(("state.history.0.epoch", v) for v in (0, *NO_COUNT)),
    *((f"state.history.0.{key}", v) for key in ("train_top1", "val_top1", "val_top5") for v in (1.5, *NO_NUMBER)),
    *((f"state.history.0.{key}", v) for key in ("lr", "images_per_s", "seconds") for v in NO_NUMBER),
    *((f"state.history.0.{key}", v) for key in ("train_loss", "val_loss") for v in NO_LOSS),
    ("state.history.0.colour", "red"),
]
RUN = [*settings(""), ("colour", "red"), ("\x1b[31m", 1)]
FINGERPRINT = [
    *((key, v) for key in ("train", "val") for v in NO_TABLE),
    *((f"{split}.images", v) for split in ("train", "val") for v in NO_COUNT),
    *((f"{split}.order", v) for split in ("train", "val") for v in (*NO_TEXT, "x" * 5000)),
    *((f"{split}.pixels", v) for split in ("train", "val") for v in (*NO_TEXT[1:], "x" * 5000)),
    ("train.colour", "red"),
]
SEARCH = [
    *(pair for pair in settings("") if pair[0] not in ("lr", "weight_decay")),
    *((key, v) for key in ("lr", "weight_decay") for v in (*NO_LIST, [1e-3], [1e-3] * 3, [1e-2, 1e-3], [0, 1])),
    *((key, [1e-3, v]) for key in ("lr", "weight_decay") for v in NO_NUMBER),
    *(("trials", v) for v in (0, *NO_COUNT)),
    *(("sampler", v) for v in (*NO_TEXT, "grid", "\x1b[31m")),
    ("\x1b[31m", 1),
]
TEXTS = ["", "{", "[]", "null", "3", '"x"', "[" * 200_000, '{"a":' * 200_000, "\ufeff{}", "1" * 5000, "{}", "\x00"]


def changed(content, place, value):
    """A copy of `content` with another value at `place`, such as state.history.0.lr."""
    content = json.loads(json.dumps(content))
    *keys, last = place.split(".")
    at = content
    for key in keys:
        at = at[int(key) if key.isdigit() else key]
    at[int(last) if last.isdigit() else last] = value
    return json.dumps(content)


def named(what):
    return repr(what)[:60]


def each_place(cases):
    """A test for each place, with all values that it must not have."""
    values = {}
    for place, value in cases:
        values.setdefault(place, []).append(value)
    return pytest.mark.parametrize(("place", "values"), values.items(), ids=lambda v: v if isinstance(v, str) else "")


def line_of(read, value):
    """What is said of `value`; it must be refused."""
    try:
        read()
    except DataError as error:
        line = str(error)
        assert len(line) < 400 and "\x1b" not in line
        return line
    pytest.fail(f"{value!r} is taken")


@pytest.fixture
def refused(capsys):
    """Runs a command that must end in one line and 3; returns the line."""

    def run(main, *argv, code=3):
        capsys.readouterr()
        assert main([str(arg) for arg in argv]) == code
        out, err = capsys.readouterr()
        assert err.count("\n") == 1 and out == "" and "internal error" not in err, (out, err)
        assert len(err) < 1500 and "\x1b" not in err
        return err

    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile")
    Image.new("RGB", (16, 16)).save(root / "photo.png")
    return root


def write(path, header, arrays=None):
    path.write_bytes(save(arrays or {"fc.weight": np.zeros(1, np.float32)}, {"minidl": header}))
    return path


def good(path, **about):
    """A whole checkpoint of the plain net."""
    return write(path, json.dumps({**HEADER, "about": {**ABOUT, **about}}), weights())


def weights():
    return {name: np.array(a) for name, a in model_arrays(models.build("convnet", classes=2)).items()}


# ------------------------------------------------------------------------ one value after another


def test_there_are_hundreds_of_values():
    assert sum(map(len, (CHECKPOINT, RUN, FINGERPRINT, SEARCH, ROWS, SCHEMAS))) > 1000


@each_place(CHECKPOINT)
def test_a_checkpoint_with_a_hostile_value_is_refused_by_its_field(place, values, tmp_path):
    for value in values:
        path = write(tmp_path / "net.safetensors", changed(HEADER, place, value))
        line = line_of(lambda path=path: load_checkpoint(path), value)
        assert line.startswith(f"{path}: ") and place.replace(".0", "[0]") in line or "unknown colour" in line


@each_place(RUN)
def test_a_config_with_a_hostile_value_is_refused_by_its_field(place, values):
    for value in values:
        content = json.loads(changed(Config().as_dict(), place, value))
        line = line_of(lambda content=content: config_from_dict(content, "config.json"), value)
        assert line.startswith("config.json: ") and ascii(place)[1:-1] in line


@each_place(FINGERPRINT)
def test_a_fingerprint_with_a_hostile_value_is_refused_by_its_field(place, values, tmp_path):
    for value in values:
        (tmp_path / "data.json").write_text(changed(DATA, place, value))
        line = line_of(Run(tmp_path).data, value)
        assert "data.json: " in line and (place in line or "unknown colour" in line)


@each_place(SEARCH)
def test_a_plan_with_a_hostile_value_is_refused_by_its_field(place, values, tmp_path):
    for value in values:
        (tmp_path / "search.json").write_text(changed(PLAN, place, value))
        line = line_of(lambda: read_plan(tmp_path), value)
        assert "search.json: " in line and ascii(place)[1:-1].replace("_", "-") in line.replace("_", "-")


@pytest.mark.parametrize("key", [*HEADER, *(f"about.{key}" for key in ABOUT), "state.epoch", "state.step"])
def test_what_is_missing_is_named(key, tmp_path):
    content = json.loads(json.dumps(HEADER))
    *above, last = key.split(".")
    del (content[above[0]] if above else content)[last]
    with pytest.raises(DataError, match=rf"{key} is missing"):
        load_checkpoint(write(tmp_path / "net.safetensors", json.dumps(content)))


@pytest.mark.parametrize("split", DATA)
@pytest.mark.parametrize("key", SPLIT)
def test_what_is_missing_of_a_fingerprint_is_named(split, key, tmp_path):
    content = {**DATA, split: {name: value for name, value in SPLIT.items() if name != key}}
    (tmp_path / "data.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"data.json: {split}.{key} is missing"):
        Run(tmp_path).data()


@pytest.mark.parametrize("text", TEXTS, ids=named)
def test_a_text_that_is_no_metadata_is_refused_everywhere(text, place, tmp_path, refused):
    if text:
        assert "net.saf" in refused(
            train.main, "predict", write(tmp_path / "net.safetensors", text), place / "photo.png"
        )
    (run := tmp_path / "run").mkdir()
    (run / "config.json").write_text(text)
    if text != "{}":  # all settings have a default
        assert "config.json" in refused(train.main, "--resume", run)
    (search := tmp_path / "search").mkdir()
    (search / "search.json").write_text(text)
    (search / "study.db").write_text("")
    assert "search.json" in refused(train.main, "search", "--resume", search)


@pytest.mark.parametrize("command", ["eval", "predict", "export", "history", "gradcam"])
def test_every_command_says_it_in_one_line(command, place, tmp_path, refused):
    path = write(tmp_path / "net.safetensors", changed(HEADER, "about.std", [NAN] * 3))
    main = visualize.main if command in ("history", "gradcam") else train.main
    line = refused(main, command, path, *([place / "photo.png"] if command == "predict" else []))
    assert "net.safetensors: about.std[0] is nan, not a number" in line


def test_values_that_are_whole_but_no_network_are_refused(place, tmp_path, refused):
    photo, path = place / "photo.png", tmp_path / "net.safetensors"
    assert "about.model: unknown model 'resnet'" in refused(train.main, "predict", good(path, model="resnet"), photo)
    assert "about.image_shape" in refused(train.main, "predict", good(path, image_shape=[2, 2, 3]), photo)
    many = [str(i) for i in range(100_000)]
    assert "100,000 about.classes" in refused(train.main, "predict", good(path, classes=many, words=many), photo)
    arrays = {**weights(), "\x1b" * 1_000_000: np.zeros(2, np.float32)}
    assert "unexpected" in refused(train.main, "predict", write(path, json.dumps(HEADER), arrays), photo)
    for name, value in (("fc.weight", NAN), ("bn1.running_var", INF)):
        arrays = weights()
        arrays[name].flat[0] = value
        assert f"{name} holds" in refused(train.main, "predict", write(path, json.dumps(HEADER), arrays), photo)
    arrays = weights()
    arrays["bn1.running_var"][:] = -1
    assert "not a number" in refused(train.main, "predict", write(path, json.dumps(HEADER), arrays), photo)


def test_weights_larger_than_the_memory_are_not_read(tmp_path, refused):
    with open(path := good(tmp_path / "net.safetensors"), "r+b") as file:
        file.truncate(8 * 10**12)  # takes no room on the disk
    assert "8,000.0 GB" in refused(train.main, "predict", path, "photo.png", code=5)


# ----------------------------------------------------------------------- what stays possible


def test_earlier_and_later_checkpoints_are_read(tmp_path):
    header = json.loads(changed(HEADER, "about.config", {"data": "shapes", "dropout": 0.0, "colour": "red"}))
    header["state"] = {"epoch": 0, "step": 0, "history": []}
    found = load_checkpoint(write(tmp_path / "net.safetensors", json.dumps(header)))
    assert found.about.config == {"data": "shapes", "dropout": 0.0} and found.state.best_top1 == -1
    assert all(load_checkpoint(models.weights_file(name)).state.history for name in models.pretrained())


def test_a_loss_that_was_no_number_is_one_again_and_no_other_number_changes(tmp_path):
    row = {**ROW, "val_loss": NAN, "train_loss": INF}
    text = to_json({**HEADER, "state": {**STATE, "history": [row]}})
    assert "NaN" not in text and "Infinity" not in text
    (found,) = load_checkpoint(write(tmp_path / "net.safetensors", text)).state.history
    assert np.isnan([found["val_loss"], found["train_loss"]]).all()
    assert {k: v for k, v in found.items() if "loss" not in k} == {k: v for k, v in ROW.items() if "loss" not in k}


def test_json_is_valid_for_all_numbers():
    content = {"a": [NAN, (INF, 1.5)], "b": {"c": -INF, "d": "NaN", "e": None, "f": True}}
    found = json.loads(to_json(content), parse_constant=pytest.fail)
    assert found == {"a": [None, [None, 1.5]], "b": {"c": None, "d": "NaN", "e": None, "f": True}}
    assert from_json(to_json({"x": 0.1}), "x") == {"x": 0.1}


# -------------------------------------------------------------------------------- exports


def test_an_export_is_named_by_a_registered_network_in_the_working_folder(tmp_path, monkeypatch, refused):
    (work := tmp_path / "work").mkdir()
    (victim := tmp_path / "other.safetensors").write_text("mine")
    monkeypatch.chdir(work)
    for model in ("../other", str(tmp_path / "other"), "other", "..\\other"):
        refused(train.main, "export", good(tmp_path / "net.safetensors", model=model))
    assert victim.read_text() == "mine" and list(work.iterdir()) == []
    assert train.main(["export", str(good(tmp_path / "net.safetensors"))]) == 0
    assert sorted(path.name for path in work.iterdir()) == ["convnet.safetensors", "convnet.safetensors.md"]


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ("/home/anna/secret/pets.zip", "./pets"),
        ("C:\\Users\\anna\\secret\\pets.zip", "./pets"),
        ("\\\\anna\\secret\\pets", "./pets"),
        ("../anna/pets/", "./pets"),
        ("/home/anna/shapes", "./shapes"),
        ("shapes", "shapes"),
    ],
)
def test_an_export_has_no_folder_of_its_maker(stored, name, tmp_path):
    config = {**ABOUT["config"], "data": stored, "init_from": stored, "later": "/home/anna"}
    path = good(tmp_path / "net.safetensors", config=config)
    assert train.main(["export", str(path), "--output", str(tmp_path / "out.safetensors")]) == 0
    for file in ("out.safetensors", "out.safetensors.md"):
        assert b"anna" not in (tmp_path / file).read_bytes()
    assert load_checkpoint(tmp_path / "out.safetensors").about.config["data"] == name


# ------------------------------------------------------------- links, pipes and other files


@pytest.fixture
def run(tmp_path):
    """A run folder that nobody has trained in."""
    return Run.create(tmp_path, "run", Config(model="convnet"), DATA).path


def pipe(path, victim):
    os.mkfifo(path)


def link(path, victim):
    path.symlink_to(victim)


def dangling(path, victim):
    path.symlink_to(victim.with_name("new"))


def hard_link(path, victim):
    os.link(victim, path)


PLANTED = [
    *((name, make) for name in FILES for make in (link, dangling, pipe, hard_link)),
    *((name, make) for name in FOLDERS for make in (link, dangling, pipe)),  # which have no second name
]
PLANTED = [case for case in PLANTED if case not in (("config.json", dangling), ("config.json", pipe))]  # no run then


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
@pytest.mark.parametrize("name, make", PLANTED)
def test_a_run_is_written_to_in_its_own_folder_only(name, make, run, tmp_path, refused):
    (victims := tmp_path / "victims").mkdir()
    if name in FOLDERS:
        (victim := victims / "folder").mkdir()
        (victim / "best.safetensors").write_text("mine")
        (victim / ".tmp-mine").mkdir()
        (run / name).rmdir()
    else:
        shutil.copy(run / "config.json", victim := victims / "file")
        (run / name).unlink(missing_ok=True)
    before = state(victims)
    make(run / name, victim)
    line = refused(train.main, "--resume", run)
    assert str(run / name) in line and ("a link" in line) == (make in (link, dangling))
    assert state(victims) == before


def state(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_a_run_may_be_reached_through_links(run, tmp_path):
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (elsewhere / "link").symlink_to(run)
    with Run.open(elsewhere / "link").owned():
        assert (run / "lock").read_text()
    (tmp_path / "output").symlink_to(elsewhere)
    assert Run.create(tmp_path / "output", "new", Config()).folder("figures").is_dir()


def test_pictures_and_predictions_of_a_run_do_not_leave_it(run, tmp_path, refused):
    (victim := tmp_path / "victim").mkdir()
    checkpoint = good(run / "checkpoints" / "best.safetensors")
    shutil.copy(checkpoint, run / "checkpoints" / "last.safetensors")
    (run / "figures").rmdir()
    for name in ("figures", "predictions"):
        (run / name).symlink_to(victim)
    assert str(run / "figures") in refused(visualize.main, "history", run)
    assert visualize.main(["history", str(run), "--output", str(run / "figures")]) == 0  # asked for by the user
    assert [path.suffix for path in victim.iterdir()] == [".png"]


# -------------------------------------------------------------------------------- searches


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a search with two finished trials, one of them diverged."""
    plan = Plan(Config(model="convnet", data="nowhere"), trials=3)
    folder = create_search(tmp_path_factory.mktemp("search"), "search", plan)
    with open_study(folder, plan) as study:
        for diverged in (False, True):
            study.finish(study.next(), [ROW], diverged)
    return folder


@pytest.fixture
def search(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "search")


def run_sql(folder, sql):
    with sqlite3.connect(folder / "study.db") as connection:
        connection.executescript(sql)
    connection.close()


ROWS = [
    *(("studies.study_name", v) for v in ("'other'", "x'00'", "3")),
    *(("trials.number", v) for v in ("-1", "'x'", "1.5", "NULL", "9e18", "0")),
    *(("trials.state", v) for v in ("'FAIL'", "'DONE'", "char(27)", "CAST(x'ff' AS TEXT)", "3", "x'00'")),
    *(
        ("trials.datetime_start", v)
        for v in ("NULL", "'x'", "3", "'2026-13-01'", "'2026-11-29 21:00:00+00:00'", "x'00'")
    ),
    *(("trials.datetime_complete", v) for v in ("NULL", "'x'", "3", "char(27)", "hex(zeroblob(900000))")),
    *(("trial_params.param_value", v) for v in ("NULL", "'x'", "-1", "0", "9e999", "-9e999", "'nan'", "x'00'")),
    *(("trial_params.distribution_json", v) for v in ("NULL", "'{}'", "'['", "'[]'", "'\"x\"'", "x'00'")),
    ("trial_params.distribution_json", """'{"name":"os.system","attributes":{}}'"""),
    ("trial_params.distribution_json", "replace(hex(zeroblob(100000)), '0', '[')"),
    *(("trial_user_attributes.value_json", v) for v in ("NULL", "'[1]'", "'__import__'", "'3'", "x'00'")),
    *(
        ("trial_user_attributes.value_json", f"""'{{"{key}": {value}}}'""")
        for key in ("train_top1", "val_loss", "val_top1", "epoch")
        for value in ('"=1+1"', "-1", "1e999", "[]", "true", '"\\u001b[31m"')
    ),
    ("trial_user_attributes.value_json", "replace(hex(zeroblob(100000)), '0', '[')"),
    *(("trial_user_attributes.key", v) for v in ("'x'", "NULL", "char(27)")),
    *(("trial_values.value", v) for v in ("NULL", "'x'", "9e999", "-1", "2", "x'00'")),
    *(("trial_values.value_type", v) for v in ("'INF_POS'", "'x'", "3")),
    *(("trial_intermediate_values.intermediate_value", v) for v in ("NULL", "'x'", "9e999", "-1")),
    *(("trial_intermediate_values.step", v) for v in ("-1", "'x'")),
    *(("version_info.schema_version", v) for v in ("'x'", "NULL")),
    *(("alembic_version.version_num", v) for v in ("char(27) || '[31m'",)),
    *(("study_directions.direction", v) for v in ("'MINIMIZE'", "'x'", "char(27)")),
]


@each_place(ROWS)
def test_a_study_with_a_hostile_value_is_refused_by_its_column(place, values, finished, search):
    table, column = place.split(".")
    for value in values:
        shutil.copy(finished / "study.db", search)
        run_sql(search, f"UPDATE {table} SET {column} = {value}")
        before = (search / "study.db").read_bytes()
        line = line_of(lambda: read_trials(search), value)
        assert "study.db: " in line
        with pytest.raises(DataError, match=r"study\.db: "), open_study(search, PLAN_OF_THREE):
            pass
        assert (search / "study.db").read_bytes() == before


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
SCHEMAS = [
    f"ALTER TABLE trials RENAME TO t; CREATE VIEW trials AS {ENDLESS} SELECT t.* FROM t, n WHERE i < 0",
    "ALTER TABLE trial_params RENAME TO p; CREATE VIEW trial_params AS SELECT *, hex(zeroblob(900000000)) FROM p",
    f"CREATE TRIGGER x AFTER INSERT ON trials BEGIN INSERT INTO studies(study_name) {ENDLESS} SELECT i FROM n; END",
    "CREATE TRIGGER x AFTER UPDATE ON trials BEGIN SELECT load_extension('/tmp/x.so'); END",
    "CREATE VIEW x AS SELECT 1",
    "CREATE VIRTUAL TABLE x USING fts5(a)",
    "ALTER TABLE trials ADD COLUMN x TEXT AS (hex(zeroblob(900000000)))",
    "CREATE INDEX x ON trials (state GLOB '*a*a*a*a*a*a*a*a*a*a*a*a*a*b')",
    "CREATE INDEX x ON trials (state) WHERE number GLOB '*a*a*a*a*a*a*b'",
    "CREATE TABLE x (a CHECK (a GLOB '*a*a*a*a*a*a*b'))",
    "DROP TABLE trial_params",
    "DELETE FROM studies",
    "DELETE FROM trial_params",
    "DELETE FROM trial_user_attributes",
    "DELETE FROM trial_values",
    "INSERT INTO study_user_attributes VALUES (1, 1, 'x', '1')",
    "INSERT INTO study_system_attributes VALUES (1, 1, 'qmc:x', '1000000000000')",
    "INSERT INTO trial_system_attributes VALUES (1, 1, 'fixed_params', '{}')",
    "UPDATE trials SET number = 1",
    "BEGIN; " + "; ".join(f"CREATE TABLE x{i} (a)" for i in range(101)) + "; COMMIT",
    "PRAGMA journal_mode = wal",
]


@pytest.mark.parametrize("sql", SCHEMAS, ids=named)
def test_a_study_that_would_run_something_is_refused_and_left_as_it_is(sql, search, refused):
    run_sql(search, sql)
    names, before = sorted(search.iterdir()), (search / "study.db").read_bytes()
    assert "study.db" in refused(visualize.main, "search", search)
    assert sorted(search.iterdir()) == names and (search / "study.db").read_bytes() == before
    if "wal" not in sql:  # to write to it, SQLite may have one
        with pytest.raises(DataError, match=r"study\.db"), open_study(search, PLAN_OF_THREE):
            pass


@pytest.mark.parametrize("damage", [b"CREATE TABLE \xa7\xa7\xa7 \xa7\xa7\xa7", b"CREATE TABLE studies)"], ids=named)
def test_a_study_whose_tables_are_damaged_is_refused(damage, search, refused):
    """SQLite quotes what it can't read, and that is no text."""
    content = (search / "study.db").read_bytes()
    (search / "study.db").write_bytes(content.replace(b"CREATE TABLE studies ("[: len(damage)], damage))
    assert "study.db: can't be read" in refused(visualize.main, "search", search)
    with pytest.raises(DataError, match=r"study\.db: can't be read"), open_study(search, PLAN_OF_THREE):
        pass


def test_looking_at_a_search_changes_nothing_but_the_picture(search, tmp_path):
    before = state(search)
    assert visualize.main(["search", str(search), "--output", str(tmp_path / "out")]) == 0
    assert state(search) == before


def test_looking_at_a_search_needs_no_optuna(search, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    assert [row["state"] for row in read_trials(search)] == ["complete", "diverged"]


NAMES = ["study.db", "search.json", "env.json", "log.txt", "trials.csv", "figures", "study.lock", "study.db-journal"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
@pytest.mark.parametrize("make", [link, dangling, pipe, hard_link])
@pytest.mark.parametrize("name", [*NAMES, "study.lock-journal", "trial-2.lock"])
def test_a_search_is_written_to_in_its_own_folder_only(name, make, search, tmp_path):
    (victims := tmp_path / "victims").mkdir()
    (victim := victims / "file").write_text("mine")
    if name == "figures":
        (search / name).rmdir()
    else:
        (search / name).unlink(missing_ok=True)
    make(search / name, victim)
    if name.startswith("study.db") and make is not hard_link:
        with pytest.raises(DataError, match=name):
            read_trials(search)
    with pytest.raises(DataError, match=name), open_study(search, PLAN_OF_THREE) as study:
        study.next()
    assert state(victims) == {victim: b"mine"}


@pytest.mark.parametrize("name", ["study.db", "study.lock"])
def test_a_journal_that_names_a_file_to_delete_is_refused(name, search, tmp_path):
    """SQLite finishes what a killed process has begun, and deletes the file that such a journal names."""
    (victim := tmp_path / "thesis.tex").write_text("mine")
    path, pages = os.fsencode(victim), (search / "study.db").stat().st_size // 4096
    numbers = (0, 0, pages, 512, 4096)  # records, nonce, pages of the file, sizes of a sector and a page
    start = bytes.fromhex("d9d505f920a163d7") + b"".join(n.to_bytes(4, "big") for n in numbers)
    end = b"".join(n.to_bytes(4, "big") for n in (len(path), sum(path))) + bytes.fromhex("d9d505f920a163d7")
    journal = start.ljust(512, b"\0") + (1 + (1 << 30) // 4096).to_bytes(4, "big") + path + end
    (search / f"{name}-journal").write_bytes(journal)
    if name == "study.db":
        with pytest.raises(DataError, match="minidl search --resume"):
            read_trials(search)
    with pytest.raises(DataError, match="several files"), open_study(search, PLAN_OF_THREE) as study:
        study.next()
    assert victim.read_text() == "mine"


def test_a_lock_that_is_somebodys_file_is_not_opened(search):
    (search / "study.lock").write_text("mine")
    with pytest.raises(DataError, match=r"study\.lock"), open_study(search, PLAN_OF_THREE) as study:
        study.next()
    assert (search / "study.lock").read_text() == "mine"
