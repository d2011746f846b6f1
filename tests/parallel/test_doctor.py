"""What the doctor says of MPI and NCCL, whatever they answer. A process of its own asks MPI, played by scripts."""

import os
import sys
from types import ModuleType

import pytest

import train
from minidl.parallel import doctor

MPI4PY = 'print(\'{"mpi4py": "4.1.2"}\', flush=True)\n'
MPICH = MPI4PY + 'print(\'{"library": "MPICH Version:      5.0.2\\\\nMPICH Device: ch4"}\', flush=True)\n'
NAMES = {
    "MPICH Version:      5.0.2\nMPICH Release date: Fri Sep 25 20:45:26 UTC 2026\n": "MPICH 5.0.2",
    "Open MPI v5.0.11, package: Open MPI user@localhost Distribution, ident: 5.0.11\0": "Open MPI 5.0.11",
    "Intel(R) MPI Library 2021.13 for Linux* OS\n": "Intel(R) MPI Library 2021.13 for Linux* OS",
    "MVAPICH Version:\t4.0\n": "MVAPICH 4.0",
    "": "an MPI library without a name",
}
# what MPI does: the states of MPI and of MPI on GPU, and what the first that isn't ok says
ANSWERS = {
    MPICH + "print('{\"cuda\": true}')": ("ok", "ok", ""),
    MPICH + 'print(\'{"cuda": null}\\n{"cuda": false}\')': ("ok", "missing", "MPICH 5.0.2 is not CUDA-aware"),
    MPICH + "print('{\"cuda\": null}')": ("ok", "unknown", "MPICH 5.0.2 doesn't say"),
    MPICH + "import sys; sys.exit('no network')": ("missing", "unknown", "MPICH 5.0.2 can't be started"),
    MPICH + "import os; os.abort()": ("missing", "unknown", "can't be started in one process (exit code -6)"),
    MPI4PY + "raise RuntimeError('no libmpi.so')": ("missing", "unknown", "4.1.2 can't load an MPI library (Runtime"),
    "raise ImportError('broken')": ("missing", "unknown", "mpi4py can't load an MPI library (ImportError: broken)"),
}


@pytest.fixture
def mpi4py(monkeypatch):
    """mpi4py is there."""
    monkeypatch.setattr(doctor, "find_spec", lambda name: name)


@pytest.mark.parametrize("text", NAMES)
def test_a_library_has_a_name_and_a_version(text):
    assert doctor.library_name(text) == NAMES[text]


@pytest.mark.parametrize("script", ANSWERS)
def test_each_answer_of_mpi_has_lines_of_its_own(script, mpi4py, monkeypatch):
    monkeypatch.setattr(doctor, "ASK", script)
    *states, says = ANSWERS[script]
    found = doctor.diagnosis()
    assert [(f.piece, f.state) for f in found[:2]] == list(zip(["MPI", "MPI on GPU"], states, strict=True))
    assert says in next((f.text for f in found if f.state != "ok"), "")
    assert not any("\n" in f.text for f in found)


def test_an_mpi_that_hangs_is_left_alone(mpi4py, monkeypatch):
    monkeypatch.setattr(doctor, "ASK", "import time; time.sleep(1e6)")
    monkeypatch.setattr(doctor, "SECONDS", 0.1)
    assert "no answer within 0.1 s" in doctor.diagnosis()[0].text


def test_the_process_that_asks_is_not_one_of_a_launchers(mpi4py, monkeypatch):
    """With their variables it would take itself for a rank, and wait for the others."""
    for name in ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE", "SLURM_PROCID", "HYDI_CONTROL_FD"):
        monkeypatch.setenv(name, "1")
    names = "' '.join(n for n in os.environ if n[:4] in ('PMI_', 'PMIX', 'OMPI', 'SLUR', 'HYDI', 'HOME'))"
    monkeypatch.setattr(doctor, "ASK", f"import json, os; print(json.dumps({{'mpi4py': {names}}}))")
    monkeypatch.setenv("HOME", os.sep)
    assert "mpi4py HOME can't load" in doctor.diagnosis()[0].text


def test_without_mpi4py_one_line_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert train.main(["doctor"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "mpi4py" in line]
    assert len(lines) == 1 and lines[0].startswith("MPI ") and "pip install 'minidl[mpi]'" in lines[0]


@pytest.fixture
def nccl(monkeypatch):
    """CuPy's module for NCCL, as of version 2.32.3."""
    cupy, cuda, nccl = (ModuleType(name) for name in ("cupy", "cupy.cuda", "cupy.cuda.nccl"))
    cuda.nccl, nccl.available, nccl.get_version = nccl, True, lambda: 23203
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupy.cuda", cuda)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    return nccl


def test_nccl_is_there_with_its_version_or_missing(nccl, monkeypatch):
    assert doctor.diagnosis()[-1] == ("NCCL", "ok", "2.32.3")
    nccl.available = False
    assert doctor.diagnosis()[-1].state == "missing"
    assert "pip install nvidia-nccl" in doctor.diagnosis()[-1].text
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert doctor.diagnosis()[-1] == ("NCCL", "unknown", "CuPy comes first")
