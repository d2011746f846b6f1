"""Settings of all tests: random cases are the same on every machine and in every run."""

import os
import sys
from pathlib import Path

from hypothesis import Phase, settings

import minidl

ENGINE: list[str] = []  # train.py's flags for the engine of this test run

settings.register_profile("minidl", derandomize=True, deadline=None)
# Under tests.mutation a test fails on purpose: that some case fails is enough, the smallest one is not looked for.
settings.register_profile("mutation", settings.get_profile("minidl"), phases=(Phase.explicit, Phase.generate))
settings.load_profile("minidl")
if mutant := os.environ.get("MINIDL_MUTANT"):
    settings.load_profile("mutation")
    assert Path(minidl.__file__).is_relative_to(mutant), f"{minidl.__file__} is not the mutant in {mutant}"


def pytest_addoption(parser):
    parser.addoption("--engine", choices=("fused", "plain"), default="fused", help="engine that trains and evaluates")


def pytest_configure(config):
    ENGINE[:] = ["--engine", config.getoption("engine")]


def pytest_terminal_summary(terminalreporter):
    """Says how many gradient checks this run made, and their largest errors."""
    gradients = sys.modules.get("tests.test_gradients")
    if gradients and gradients.checked:
        errors = ", ".join(f"{error:.0e} (bound {tol:.0e})" for tol, error in gradients.worst.items())
        terminalreporter.write_line(
            f"gradient checks: {gradients.checked['cases']} cases, {gradients.checked['derivatives']} derivatives, "
            f"worst relative errors {errors}"
        )
