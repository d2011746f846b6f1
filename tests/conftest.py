"""Settings of all tests: random cases are the same on every machine; tests with a marker run only if it is named."""

import os
import re
import shutil
import signal
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from threadpoolctl import ThreadpoolController

import minidl
from minidl.data import shapes
from tests.mpiexec import MPIEXEC
from tests.windows import chromium, windows  # noqa: F401 - fixtures: one browser, whichever room's page it opens

shapes.draw = cache(shapes.draw)  # a function of its arguments alone, and dozens of tests ask for the same images
ENGINE: list[str] = []  # train.py's flags for the engine of this test run
HANGS = 600  # seconds after which a thread or process is taken to hang, on however busy a machine

settings.register_profile("minidl", derandomize=True, deadline=None)
# Under tests.mutation a test fails on purpose: that some case fails is enough, the smallest one is not looked for.
settings.register_profile("mutation", settings.get_profile("minidl"), phases=(Phase.explicit, Phase.generate))
settings.load_profile("minidl")
if mutant := os.environ.get("MINIDL_MUTANT"):
    settings.load_profile("mutation")
    assert Path(minidl.__file__).is_relative_to(mutant), f"{minidl.__file__} is not the mutant in {mutant}"


def release_blas(number=None):
    """Makes threadpoolctl forget which thread may set limits; then sets this number of threads."""
    for pool in ThreadpoolController().select(user_api="blas").lib_controllers:
        if hasattr(pool, "clear_controlling_thread"):
            pool.clear_controlling_thread(force=True)
        if number:
            pool.set_num_threads(number)
        if hasattr(pool, "clear_controlling_thread"):
            pool.clear_controlling_thread(force=True)


release_blas(1)  # on matrices as small as these several threads take five times as long

# Tests that need more than `.[test]`, or a long time, run when `pytest -m` names their marker; .ci/run names all but
# gpu. So `pytest` alone runs the same tests on every machine.
MARKERS = {
    "compiler": "runs the CUDA sources on the CPU; needs g++ with its sanitizers",
    "browser": "opens the pages of atlas and explain in a browser; needs .[browser] and chromium",
    "parity": "compares with PyTorch, Captum, JAX, ONNX or TensorBoard; needs .[parity]",
    "nvidia": "asks NVIDIA's compiler and CuPy, without a GPU; needs .[cuda-check]",
    "gpu": "computes on a GPU; needs one that CuPy can use",
    "mpi": "starts ranks with mpiexec; needs .[mpi] and an MPI, such as `pip install mpich`",
    "slow": "takes long",
}
PROGRAMS = {
    "compiler": "g++",
    "browser": os.environ.get("CHROMIUM", "chromium"),
    "mpi": MPIEXEC,
}  # that a marker's tests need


def later(marker):
    """The reason of a skip where `-m` does not name `marker`."""
    return f"{MARKERS[marker]}; run it with pytest -m {marker}"


def named(config):
    """The markers that `-m` names."""
    return {*re.findall(r"\w+", config.option.markexpr)} & {*MARKERS}


@pytest.fixture
def sketches(monkeypatch):
    """Nothing is drawn: half the time of a small run is its picture."""
    monkeypatch.setattr("minidl.visual.canvas._write", lambda path, *_: path.write_bytes(b"a sketch"))


@pytest.fixture
def hears_ctrl_c():
    """Ctrl-C is heard: not so in a process that a shell has started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pytest_addoption(parser):
    parser.addoption("--engine", choices=("fused", "plain"), default="fused", help="engine that trains and evaluates")
    parser.addoption("--no-skips", action="store_true", help="fail if tests are skipped, other than for -m")


def pytest_configure(config):
    ENGINE[:] = ["--engine", config.getoption("engine")]
    for name, about in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {about}")


def pytest_collection_modifyitems(config, items):
    for item in items:
        behind = [name for name in MARKERS if item.get_closest_marker(name)]
        if behind and not named(config) & {*behind}:
            item.add_marker(pytest.mark.skip(later(behind[0])))
        elif missing := [PROGRAMS[name] for name in behind if name in PROGRAMS and not shutil.which(PROGRAMS[name])]:
            item.add_marker(pytest.mark.skip(f"{missing[0]} is not installed"))


def skips(config):
    """How many tests were skipped, by reason."""
    reports = config.pluginmanager.get_plugin("terminalreporter").stats.get("skipped", [])
    return Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)


def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        return  # a worker of pytest-xdist; the process that began it has all reports
    left_to_others = {later(name) for name in {*MARKERS} - named(session.config)}
    if session.config.getoption("no_skips") and {*skips(session.config)} - left_to_others:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    """Says why tests were skipped."""
    for reason, count in skips(terminalreporter.config).items():
        terminalreporter.write_line(f"{count} skipped: {reason}")
