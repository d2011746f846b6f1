"""Flags of runs that take a second, for all tests that train by the command line."""

from pathlib import Path

from tests.conftest import ENGINE

ROOT = Path(__file__).parents[1]  # of the repository
NET = ["--model", "convnet", "--threads", "1", *ENGINE]
PART = [*NET, "--subset", "0.02", "--batch-size", "8"]  # of `shapes`
OWN = [*NET, "--image-size", "16", "--batch-size", "4"]  # for a few images in folders
