"""Where figures come from: a user's settings of matplotlib change no picture, and what fails is one error."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest

import train
from minidl.errors import DataError, UsageError
from minidl.training import run_data
from minidl.visual import canvas, figures, lettering
from minidl.visual.limits import limits

ROOT = Path(__file__).parents[2]
HISTORY = [
    {"epoch": e, "train_top1": 0.1 * e, "val_top1": 0.09 * e, "train_loss": 2.0 / e, "val_loss": 2.1 / e}
    for e in (1, 2)
]
DRAW = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from minidl.visual.figures import save_history
save_history(Path(sys.argv[1]), {HISTORY!r}, "a title")
import matplotlib
print(matplotlib.rcParams["backend"], matplotlib.rcParams["font.size"], os.environ.get("MPLBACKEND"), os.getcwd())
"""


@pytest.fixture
def usual(tmp_path):
    figures.save_history(tmp_path / "usual.png", HISTORY, "a title")
    return (tmp_path / "usual.png").read_bytes()


SETTINGS = [
    {"text.usetex": True},
    {"font.size": 30, "font.family": "serif", "font.weight": "bold", "axes.facecolor": "black"},
    {"savefig.dpi": 30, "figure.dpi": 30, "figure.autolayout": True, "path.sketch": (1, 100, 2)},
    {
        "axes.formatter.use_mathtext": True,
        "axes.prop_cycle": "cycler('color', 'r')",
    },
    {"lines.linewidth": 9, "legend.frameon": True, "xtick.bottom": False, "axes.grid": True, "toolbar": "None"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: next(iter(settings)))
def test_a_users_settings_change_no_picture_and_stay_as_they_are(settings, usual, tmp_path):
    with matplotlib.rc_context(settings):
        before = dict(matplotlib.rcParams)
        lettering.fit.cache_clear()
        figures.save_history(tmp_path / "a.png", HISTORY, "a title")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "a.png").read_bytes() == usual


def draw_elsewhere(tmp_path, rc=None, **variables):
    """(the picture of a fresh Python, what it printed) in the folder tmp_path with a matplotlibrc of these bytes."""
    if rc is not None:
        (tmp_path / "matplotlibrc").write_bytes(rc)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MPL", "MATPLOTLIB"))}
    environment.update({name: str(value) for name, value in variables.items()})
    command = [sys.executable, "-c", DRAW, "a.png"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return (tmp_path / "a.png").read_bytes(), done.stdout.split()


@pytest.mark.slow
def test_settings_that_matplotlib_does_not_load_with_stop_no_picture(usual, tmp_path):
    backend = "module://no_such_notebook.backend_inline"
    picture, said = draw_elsewhere(tmp_path, rc=b"\xff\xfe no text", MPLBACKEND=backend, MPLCONFIGDIR="/dev/null/x")
    assert picture == usual
    assert said[2:] == [backend, str(tmp_path.resolve())]


@pytest.mark.slow
def test_the_users_own_figures_follow_the_users_settings(usual, tmp_path):
    rc = b"font.size: 30\ntext.usetex: True\nno.such.setting: 1\n"
    picture, said = draw_elsewhere(tmp_path, rc, MPLBACKEND="svg", MPLCONFIGDIR=tmp_path)
    assert picture == usual
    assert said[:2] == ["svg", "30.0"]


def test_nothing_else_imports_matplotlib():
    sources = [*ROOT.glob("minidl/**/*.py"), *ROOT.glob("models/*.py"), *ROOT.glob("benchmarks/*.py")]
    sources += [ROOT / "train.py", ROOT / "visualize.py"]
    having = {path.name for path in sources if "import matplotlib" in (text := path.read_text("utf-8"))
              or "from matplotlib" in text}  # fmt: skip
    assert having == {"canvas.py", "loading.py"}


# ------------------------------------------------------------------------ errors


@pytest.mark.parametrize("problem", [RuntimeError, ValueError, MemoryError, KeyError])
def test_every_failure_in_drawing_is_one_data_error_with_its_cause(problem, tmp_path):
    def draw(figure):
        raise problem("no latex\nfound")

    with pytest.raises(DataError, match="a.png") as caught:
        canvas.save_figure(tmp_path / "a.png", (3, 3), draw)
    assert "\n" not in str(caught.value)
    assert type(caught.value.__cause__) is problem
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [lambda row: row.pop("val_loss"), lambda row: row.update(val_top1=None)])
def test_a_damaged_history_is_a_data_error(damage, tmp_path):
    row = dict(HISTORY[0])
    damage(row)
    with pytest.raises(DataError, match="can't draw .*history.png"):
        figures.save_history(tmp_path / "history.png", [row], "")


def test_a_history_without_epochs_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no epoch"):
        figures.save_history(tmp_path / "history.png", [], "")


def test_a_place_for_pictures_is_checked_before_it_is_needed(tmp_path):
    canvas.check_place(tmp_path)
    canvas.check_place(tmp_path / "not" / "yet")
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.iterdir())
    for folder in (tmp_path / "file", tmp_path / "file" / "deep" / "in"):
        with pytest.raises(DataError, match="file"):
            canvas.check_place(folder)
    with pytest.raises(DataError, match="no picture can be written there"):
        canvas.check_place(Path("/proc/self") if Path("/proc/self").exists() else Path("/"))
    with pytest.raises(DataError):
        canvas.check_place(tmp_path / ("x" * 300))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("command", [["find-lr"], ["show-batch"]], ids=lambda c: c[0])
@pytest.mark.parametrize(
    "place, named, code",
    [("a.jpg", "a.jpg", 2), ("none/a.png", "none", 3), ("folder.png", "folder.png", 3), ("file/a.png", "file", 3)],
)
def test_a_picture_that_cannot_be_written_is_refused_before_any_image_is_read(
    command, place, named, code, tmp_path, monkeypatch, capsys
):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(run_data, "load_data", lambda config: pytest.fail("data were read"))
    assert train.main([*command, "--picture", str(tmp_path / place)]) == code
    assert named in capsys.readouterr().err


# ------------------------------------------------------------------ limits and words


@pytest.mark.parametrize(
    "values",
    [[0, 1], [5], [5, 5, 5], [0], [-3, -3], [1e16, 1e16 + 2], [1e-300], [-1e299, 1e299], [1, np.nan, np.inf]],
)
def test_limits_are_finite_and_have_the_values_between_them(values):
    low, high = limits(values)
    finite = [v for v in values if np.isfinite(v)]
    assert np.isfinite([low, high]).all()
    assert low < min(finite) <= max(finite) < high


def test_without_values_limits_are_0_and_1():
    assert limits([]) == limits([np.nan, np.inf]) == (0, 1)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines\tand\r\n more ", "two lines and more"),
        ("a\x00b", "a\\x00b"),
        ("caf\udce9", "caf\\udce9"),
        ("猫 $x_1$ \\alpha _", "猫 $x_1$ \\alpha _"),
    ],
)
def test_words_are_one_line_that_can_be_drawn_and_written(text, line):
    assert lettering.one_line(text) == line
    assert lettering.fit(text, 500, 8) == line


def test_lines_are_broken_between_parts_and_too_long_parts_cut():
    assert lettering.wrap("", 100, 8) == []
    assert lettering.wrap("a · b", 100, 8) == ["a · b"]
    lines = lettering.wrap("WWWWWW · iiii · " + "W" * 100 + " · end", 100, 8)
    assert lines[0] == "WWWWWW · iiii ·"
    assert lines[1].endswith("…") and lines[2] == "end"
