"""The command `doctor`: what this machine can run."""

from __future__ import annotations

from argparse import Namespace

from minidl.backend.doctor import cupy_problem, diagnosis
from minidl.cli.parser import Command
from minidl.parallel import doctor as several
from minidl.text.columns import align
from minidl.text.console import print_lines


def doctor(args: Namespace) -> int:
    """Says what this machine can run, and what the GPU backend and several processes lack."""
    print_lines(*align([*diagnosis(), *several.diagnosis()], left=3).splitlines())
    problem = cupy_problem()
    print_lines(f"--backend cupy can't be used: {problem}" if problem else "--backend cupy can be used")
    return 0


DOCTOR = Command(doctor, lambda parser: None)
