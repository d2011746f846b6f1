"""`train.py doctor` and `--backend cupy` tell five causes apart, each by a line of its own.

The causes are played on the stand-in, with the exceptions and texts of the real CuPy 14; where CuPy is installed but
no driver is, the real one is asked as well.
"""

import sys

import pytest

import train
from minidl.backend.arrays import get_backend
from minidl.backend.doctor import cupy_problem, diagnosis
from minidl.errors import BackendError
from tests.cuda_standin import device, install

PIECES = ["Python", "NumPy", "BLAS", "minidl", "CuPy", "driver", "devices", "NVRTC", "cuBLAS"]
NO_DRIVER = "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"


def failing(error, *args):
    """A function that raises what CuPy raises."""

    def function(*_, **__):
        raise error(*args)

    return function


class DynamicLibNotFoundError(RuntimeError):
    """As cuda.pathfinder's, which CuPy lets through when NVRTC is not there."""


class Named:
    """cupy.cuda without cuBLAS: CuPy loads the library when it is named."""

    def __init__(self, cuda, error):
        self._cuda, self._error = cuda, error

    def __getattr__(self, name):
        if name == "cublas":
            raise self._error
        return getattr(self._cuda, name)


def no_cupy(cupy, patch):
    patch.setitem(sys.modules, "cupy", None)  # import raises ModuleNotFoundError


def no_driver(cupy, patch):
    patch.setattr(cupy.cuda.runtime, "driverGetVersion", lambda: 0)
    fails = failing(device.CUDARuntimeError, NO_DRIVER)
    patch.setattr(cupy.cuda.runtime, "getDeviceCount", fails)
    patch.setattr(cupy, "arange", fails)
    patch.setattr(cupy, "ones", fails)


def old_driver(cupy, patch):
    no_driver(cupy, patch)
    patch.setattr(cupy.cuda.runtime, "driverGetVersion", lambda: 11040)


def no_device(cupy, patch):
    text = "cudaErrorNoDevice: no CUDA-capable device is detected"
    patch.setattr(cupy.cuda.runtime, "getDeviceCount", failing(device.CUDARuntimeError, text))
    patch.setattr(cupy, "arange", failing(device.CUDARuntimeError, text))
    patch.setattr(cupy, "ones", failing(device.CUDARuntimeError, text))


def no_nvrtc(cupy, patch):
    fails = failing(DynamicLibNotFoundError, 'Failure finding "libnvrtc.so.12": No such file: libnvrtc.so.12\n')
    patch.setattr(cupy.cuda.nvrtc, "getVersion", fails)
    patch.setattr(cupy, "arange", fails)


def no_headers(cupy, patch):
    text = "nvrtc: error: cannot open source file cuda_fp16.h\n1 error detected"
    patch.setattr(cupy, "arange", failing(device.CompileException, text))


def no_cublas(cupy, patch):
    error = ImportError("libcublas.so.12: cannot open shared object file: No such file or directory")
    patch.setattr(cupy, "cuda", Named(cupy.cuda, error))
    patch.setattr(type(cupy.ones(1)), "__matmul__", failing(ImportError, *error.args))


def no_memory(cupy, patch):
    patch.setattr(cupy, "ones", failing(device.OutOfMemoryError, 512, -1))


def busy(cupy, patch):
    text = "cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable"
    patch.setattr(cupy, "arange", failing(device.CUDARuntimeError, text))


def broken_device(cupy, patch):
    text = "cudaErrorECCUncorrectable: uncorrectable ECC error encountered"
    patch.setattr(cupy.cuda.runtime, "getDeviceProperties", failing(device.CUDARuntimeError, text))


# cause: (the piece that its line stands at, what the line says, what it advises)
CAUSES = {
    no_cupy: ("CuPy", "cupy is not installed", "minidl[cuda12]"),
    no_driver: ("driver", "there is no NVIDIA driver", "install one"),
    old_driver: ("driver", "supports CUDA 11.4 and this CuPy needs 12", "newer driver"),
    no_device: ("devices", "no NVIDIA GPU was found", "CUDA_VISIBLE_DEVICES"),
    no_nvrtc: ("NVRTC", "libnvrtc.so.12", "cupy-cuda12x[ctk]"),
    no_headers: ("NVRTC", "cuda_fp16.h", "cupy-cuda12x[ctk]"),
    no_cublas: ("cuBLAS", "libcublas.so.12", "cupy-cuda12x[ctk]"),
    no_memory: ("cuBLAS", "no memory left (Out of memory allocating 512 bytes)", "what else runs on it"),
    busy: ("NVRTC", "the GPU can't be used (cudaErrorDevicesUnavailable", "nvidia-smi"),
    broken_device: ("devices", "the GPU can't be used (cudaErrorECCUncorrectable", "nvidia-smi"),
}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """tests/parallel/test_doctor.py has the lines about several processes."""
    monkeypatch.setattr("minidl.parallel.doctor.diagnosis", list)


@pytest.fixture
def cupy(monkeypatch):
    return install(monkeypatch)


@pytest.fixture(params=CAUSES, ids=lambda cause: cause.__name__)
def cause(request, cupy, monkeypatch):
    """One piece is broken; its row of CAUSES."""
    request.param(cupy, monkeypatch)
    return CAUSES[request.param]


def test_where_all_is_there_every_piece_is_ok_with_its_version(cupy, capsys):
    assert train.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == PIECES
    assert all(line.split()[1] == "ok" for line in lines[:-1])
    text = dict(zip(PIECES, lines, strict=False))
    assert "14.2.0" in text["CuPy"] and "CUDA 12.9" in text["CuPy"]
    assert "CUDA 13.0" in text["driver"]
    assert "0: stand-in, 86 GB (85.9 free), sm_90" in text["devices"]
    assert text["NVRTC"].endswith("12.9") and text["cuBLAS"].endswith("12.9")
    assert "threads" in text["BLAS"]
    assert lines[-1] == "--backend cupy can be used"
    assert get_backend("cupy") is cupy


def test_each_cause_has_a_line_of_its_own(cause):
    piece, reason, remedy = cause
    missing = [finding for finding in diagnosis() if finding.state == "missing"]
    assert [finding.piece for finding in missing] == [piece]
    assert reason in missing[0].text and remedy in missing[0].text
    assert "\n" not in missing[0].text


def test_the_doctor_shows_it_on_one_screen(cause, capsys):
    assert train.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == PIECES
    assert lines[-1] == f"--backend cupy can't be used: {cupy_problem()}"


@pytest.mark.parametrize("command", [["fit"], ["find-lr"], ["search"]], ids=lambda c: c[0])
def test_backend_cupy_stops_with_the_same_line_and_exit_code_2(command, cause, capsys, tmp_path):
    problem = cupy_problem()
    settings = ["--backend", "cupy", "--model", "convnet", "--subset", "0.02", "--batch-size", "8"]
    output = ["--picture", tmp_path / "p.png"] if command == ["find-lr"] else ["--output", tmp_path]
    assert train.main([str(a) for a in [*command, *settings, *output]]) == 2
    error = capsys.readouterr().err
    assert error == f"train.py: backend cupy can't be used: {problem}; --backend numpy runs on the CPU\n"
    assert not list(tmp_path.iterdir())


def test_the_lines_of_the_causes_differ(monkeypatch):
    lines = set()
    for play in CAUSES:
        with monkeypatch.context() as patch:
            play(install(patch), patch)
            lines.add(cupy_problem())
    assert len(lines) == len(CAUSES)


def test_without_a_driver_the_libraries_are_still_looked_for(cupy, monkeypatch):
    no_cublas(cupy, monkeypatch)
    no_nvrtc(cupy, monkeypatch)
    no_driver(cupy, monkeypatch)
    state = {finding.piece: finding.state for finding in diagnosis()}
    assert [state[piece] for piece in PIECES[4:]] == ["ok", "missing", "unknown", "missing", "missing"]
    assert cupy_problem().startswith("there is no NVIDIA driver")


def test_without_a_driver_libraries_that_are_there_were_not_tried(cupy, monkeypatch):
    no_driver(cupy, monkeypatch)
    texts = {finding.piece: (finding.state, finding.text) for finding in diagnosis()}
    assert texts["NVRTC"] == ("ok", "12.9, not tried")
    assert texts["cuBLAS"] == ("ok", "there, not tried")


def test_a_cupy_that_is_there_but_broken_is_not_called_missing(monkeypatch):
    monkeypatch.setattr("builtins.__import__", broken_import(__import__))
    problem = cupy_problem()
    assert "libcudart" in problem and "not installed" not in problem


def broken_import(real):
    def function(name, *args, **kwargs):
        if name == "cupy":
            raise ImportError("libcudart.so.12: cannot open shared object file", name="cupy_backends.cuda")
        return real(name, *args, **kwargs)

    return function


def test_nothing_of_a_gpu_is_touched_for_numpy(monkeypatch):
    monkeypatch.setattr("minidl.backend.arrays.cupy_problem", failing(AssertionError))
    assert get_backend("numpy").__name__ == "numpy"


def test_an_unknown_backend_names_the_choices():
    with pytest.raises(BackendError, match="numpy or cupy"):
        get_backend("torch")


@pytest.mark.nvidia
def test_the_installed_cupy_says_that_there_is_no_driver():
    pytest.importorskip("cupy")
    found = {finding.piece: finding for finding in diagnosis()}
    if found["driver"].state == "ok":
        pytest.skip("there is an NVIDIA driver here: asked of the stand-in only")
    assert found["CuPy"].state == "ok"
    assert found["driver"].text.startswith("there is no NVIDIA driver")
    assert found["devices"].state == "unknown"
    assert found["NVRTC"].text and found["cuBLAS"].text
    with pytest.raises(BackendError, match="no NVIDIA driver"):
        get_backend("cupy")
