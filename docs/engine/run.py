"""Runs all kernels of this folder and prints the table of docs/fast-engine.md.

    python docs/engine/run.py

Each file also runs by itself: `python docs/engine/kernel05_winograd.py`.
"""

import importlib
from pathlib import Path

from compare import Case, show


def all_cases() -> list[Case]:
    names = sorted(path.stem for path in Path(__file__).parent.glob("kernel[01][0-9]_*.py"))
    return [case for name in names for case in importlib.import_module(name).CASES]


if __name__ == "__main__":
    show(*all_cases())
