"""What the stand-in says of CuPy is true of the installed one. No device is needed, but CuPy is.

A real cupy.ndarray may lie over host memory. Whatever launches no kernel then runs for real: views, indexing, checks
of arguments, refusals. What does launch one stops at the missing driver and isn't compared.
"""

import inspect
import subprocess
import sys

import numpy as np
import pytest

from tests.cuda_standin import device, install, nccl
from tests.cuda_standin.api import API, signature
from tests.cuda_standin.array import ndarray
from tests.cuda_standin.dump_api import dump
from tests.cuda_standin.module import make_cupy, make_cupyx

try:
    import cupy
    import cupyx
    from cupy._core import _routines_linalg
    from cupy.cuda import nccl as installed_nccl
except ImportError:
    cupy = None

pytestmark = pytest.mark.nvidia

HOST = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.fixture(autouse=True)
def installed():
    if cupy is None:
        pytest.skip("CuPy is not installed")


def put(x, key, value):
    x[key] = value


# Each runs on the real array and on the stand-in's: f(x, xp), x float32 (2, 3, 4).
SAME = {
    "np.asarray(x)": lambda x, xp: np.asarray(x),
    "host[0] = x": lambda x, xp: HOST[0, 0].__setitem__(0, x),
    "bool(x)": lambda x, xp: bool(x),
    "x.item()": lambda x, xp: x.item(),
    "hash(x)": lambda x, xp: hash(x),
    "len(x)": lambda x, xp: len(x),
    "next(iter(x))": lambda x, xp: next(iter(x)),
    "x.shape": lambda x, xp: x.shape,
    "x.size, x.ndim": lambda x, xp: (x.size, x.ndim, x.itemsize, x.nbytes),
    "x.dtype": lambda x, xp: x.dtype,
    "x.T": lambda x, xp: x.T,
    "x.transpose(2, 0, 1)": lambda x, xp: x.transpose(2, 0, 1),
    "x.transpose((1, 0, 2))": lambda x, xp: x.transpose((1, 0, 2)),
    "x.swapaxes(0, 1)": lambda x, xp: x.swapaxes(0, 1),
    "x[:, ::2]": lambda x, xp: x[:, ::2],
    "x[..., ::-1]": lambda x, xp: x[..., ::-1],
    "x[..., None]": lambda x, xp: x[..., None],
    "x[1]": lambda x, xp: x[1],
    "x[1, 2, 3]": lambda x, xp: x[1, 2, 3],
    "x[-1, 1:]": lambda x, xp: x[-1, 1:],
    "x[5]": lambda x, xp: x[5],
    "x[0, 0, 0, 0]": lambda x, xp: x[0, 0, 0, 0],
    "x.reshape(6, 4)": lambda x, xp: x.reshape(6, 4),
    "x.reshape(-1, 4)": lambda x, xp: x.reshape(-1, 4),
    "x.reshape(5)": lambda x, xp: x.reshape(5),
    "x[:, :2].reshape(2, 2, 4)": lambda x, xp: x[:, :2].reshape(2, 2, 4),
    "x.ravel()": lambda x, xp: x.ravel(),
    "x.squeeze()": lambda x, xp: x[:1].squeeze(),
    "x.squeeze(1)": lambda x, xp: x.squeeze(1),
    "x.view(int32)": lambda x, xp: x.view(np.int32),
    "x.flags": lambda x, xp: (x.T.flags.c_contiguous, x.T.flags.f_contiguous, x[0].flags.owndata),
    "x.flags.writeable": lambda x, xp: x.flags.writeable,
    "x.diagonal()": lambda x, xp: x.diagonal(0, 0, 1),
    "x[0] = host array": lambda x, xp: put(x, 0, HOST[0]),
    "x[0] = list": lambda x, xp: put(x, 0, [1, 2, 3, 4]),
    "x.note = 1": lambda x, xp: setattr(x, "note", 1),
    "x.setflags()": lambda x, xp: x.setflags(write=False),
    "x.nope": lambda x, xp: x.nope,
    "x.astype(object)": lambda x, xp: x.astype(object),
    "x.astype(same, copy=False)": lambda x, xp: x.astype(np.float32, copy=False) is x,
    "x.sum(where=)": lambda x, xp: x.sum(where=True),
    "x.sum(initial=)": lambda x, xp: x.sum(initial=0),
    "x.max(initial=)": lambda x, xp: x.max(initial=0),
    "x.mean(where=)": lambda x, xp: x.mean(where=True),
    "x.sum(0, None, None, False, 1)": lambda x, xp: x.sum(0, None, None, False, 1),
    "x.clip(lower=)": lambda x, xp: x.clip(lower=0),
    "x.dot(host)": lambda x, xp: x.dot(HOST),
    "x.set(list)": lambda x, xp: x.set([1]),
    "x.set(another dtype)": lambda x, xp: x.set(HOST.astype(np.float64)),
    "x.set(another shape)": lambda x, xp: x.set(HOST[0]),
    "x[:, ::2].set(another shape)": lambda x, xp: x[:, ::2].set(HOST),
    "xp.add(order=)": lambda x, xp: xp.add(x, x, order="C"),
    "xp.add(one)": lambda x, xp: xp.add(x),
    "xp.sum(where=)": lambda x, xp: xp.sum(x, where=True),
    "xp.var(correction=)": lambda x, xp: xp.var(x, correction=1),
    "xp.take(mode=)": lambda x, xp: xp.take(x, 0, mode="clip"),
    "xp.geomspace": lambda x, xp: xp.geomspace(1, 2, 3),
    "xp.block": lambda x, xp: xp.block([x]),
    "xp.errstate": lambda x, xp: xp.errstate(),
    "xp.nditer": lambda x, xp: xp.nditer(x),
    "xp.stack([x, host])": lambda x, xp: xp.stack([x, HOST]),
    "xp.moveaxis": lambda x, xp: xp.moveaxis(x, 0, -1),
    "xp.swapaxes": lambda x, xp: xp.swapaxes(x, 0, 1),
    "xp.rollaxis": lambda x, xp: xp.rollaxis(x, 2),
    "xp.transpose": lambda x, xp: xp.transpose(x, (2, 1, 0)),
    "xp.expand_dims": lambda x, xp: xp.expand_dims(x, 0),
    "xp.squeeze": lambda x, xp: xp.squeeze(x[:1]),
    "xp.reshape": lambda x, xp: xp.reshape(x, (4, 6)),
    "xp.broadcast_to": lambda x, xp: xp.broadcast_to(x[0], (5, 3, 4)),
    "xp.broadcast_to(wrong)": lambda x, xp: xp.broadcast_to(x, (5, 3, 4)),
    "xp.split": lambda x, xp: xp.split(x, 2)[1],
    "xp.flip": lambda x, xp: xp.flip(x, 1),
    "xp.float32": lambda x, xp: xp.float32 is np.float32,
    "xp.inf, xp.pi": lambda x, xp: (xp.inf, xp.pi, xp.newaxis),
    "as_strided": lambda x, xp: xp.lib.stride_tricks.as_strided(x, (2, 2), (4, 4)),
    "get_array_module": lambda x, xp: (xp.get_array_module(x) is xp, xp.get_array_module(HOST) is np),
}


def real(host):
    """A cupy.ndarray over the memory of `host`."""
    memory = cupy.cuda.UnownedMemory(host.ctypes.data, host.nbytes, host, device_id=0)
    return cupy.ndarray(host.shape, host.dtype, cupy.cuda.MemoryPointer(memory, 0), strides=host.strides)


def outcome(act, x, xp):
    """What a call comes to: the error's class, the layout of an array, or a value; None if it needs a device."""
    try:
        result = act(x, xp)
    except cupy.cuda.runtime.CUDARuntimeError:
        return None
    except Exception as error:
        return next(k for k in (TypeError, ValueError, IndexError, AttributeError, Exception) if isinstance(error, k))
    if hasattr(result, "strides") and not isinstance(result, type):
        return result.shape, result.strides, str(result.dtype), result.flags.c_contiguous
    return repr(result)


@pytest.fixture(scope="module")
def standin():
    return make_cupy()


@pytest.mark.parametrize("what", SAME)
def test_the_stand_in_does_what_cupy_does(what, standin):
    expected = outcome(SAME[what], real(HOST.copy()), cupy)
    if expected is None:
        pytest.skip("this CuPy needs a device for it")
    assert outcome(SAME[what], ndarray(HOST.copy()), standin) == expected


def test_at_least_thirty_behaviours_are_compared_without_a_device():
    compared = [what for what, act in SAME.items() if outcome(act, real(HOST.copy()), cupy) is not None]
    assert len(compared) >= 30


def test_where_the_stand_in_is_stricter_cupy_is_silent(standin):
    assert isinstance(cupy.sum(HOST), np.generic)  # computed on the host, without a word
    with pytest.raises(TypeError, match="no device array|Unsupported"):
        standin.sum(HOST)
    assert cupy.broadcast_to(real(HOST), (5, 2, 3, 4)).data.ptr == HOST.ctypes.data  # writable, and five in one
    with pytest.raises(ValueError, match="read-only"):
        standin.broadcast_to(ndarray(HOST), (5, 2, 3, 4))[0] = 1


def test_a_refused_conversion_says_what_cupy_says(standin):
    texts = []
    for x in (real(HOST.copy()), ndarray(HOST.copy())):
        with pytest.raises(TypeError) as error:
            np.asarray(x)
        texts.append(str(error.value))
    assert texts[0] == texts[1]


def test_the_dump_is_that_of_the_installed_cupy():
    now = dump(cupy)
    if now["version"] == API["version"]:
        assert now == API, "write it anew: python -m tests.cuda_standin.dump_api"
    for owner in API.keys() - {"version"}:  # a newer CuPy may have more, but nothing else and nothing less
        changed = {n: (kind, now[owner].get(n)) for n, kind in API[owner].items() if now[owner].get(n) != kind}
        assert not changed, f"{owner} of CuPy {now['version']}: (here, there) {changed}"


def public(owner):
    return {name for name in vars(owner) if not name.startswith("_")}


def test_the_stand_in_makes_nothing_up(standin):
    assert public(standin) <= API["cupy"].keys()
    assert public(make_cupyx()) <= API["cupyx"].keys()
    assert public(ndarray) <= API["cupy.ndarray"].keys()
    assert public(standin.cuda) - {"cublas"} <= API["cupy.cuda"].keys()  # CuPy loads cuBLAS when it is named
    for part in ("runtime", "compiler", "memory", "nvrtc", "device"):
        there = getattr(cupy.cuda, part)
        assert all(hasattr(there, name) for name in public(getattr(standin.cuda, part))), part
    for name in ("Stream", "Event", "MemoryPool", "Device"):
        assert all(hasattr(getattr(cupy.cuda, name), n) for n in public(getattr(device, name))), name
    assert all(hasattr(cupy.RawModule, n) for n in public(device.RawModule))


def test_methods_of_the_stand_in_have_cupys_parameters():
    for name in public(ndarray):
        if inspect.isfunction(method := vars(ndarray)[name]):
            assert list(inspect.signature(method).parameters) == list(
                signature(API["cupy.ndarray"][name]).parameters
            ), name


def test_streams_events_and_pinned_memory_have_cupys_parameters():
    for name in ("Stream", "Event"):
        here, there = getattr(device, name), getattr(cupy.cuda, name)
        for method in ("__init__", *public(here)):
            if inspect.isfunction(function := vars(here).get(method)):
                parameters = inspect.signature(getattr(there, method)).parameters
                assert list(inspect.signature(function).parameters) == list(parameters), (name, method)
    expected = inspect.signature(cupyx.empty_pinned).parameters
    assert list(inspect.signature(make_cupyx().empty_pinned).parameters) == list(expected)


def test_cupy_reads_cupy_tf32_at_the_first_float32_product_and_keeps_it(monkeypatch):
    undecided = _routines_linalg.COMPUTE_TYPE_TBD

    def choice(flag, dtype=np.float32):
        monkeypatch.setenv("CUPY_TF32", flag)
        try:
            return _routines_linalg.compute_type_to_str(_routines_linalg.get_compute_type(np.dtype(dtype)))
        except cupy.cuda.runtime.CUDARuntimeError:  # it asks the device whether it has TF32
            return "COMPUTE_TYPE_TF32"

    try:
        _routines_linalg.set_compute_type(np.float32, undecided)
        assert choice("1") == "COMPUTE_TYPE_TF32"
        _routines_linalg.set_compute_type(np.float32, undecided)
        assert choice("0") == choice("1") == "COMPUTE_TYPE_DEFAULT"
        assert choice("1", np.float64) == "COMPUTE_TYPE_DEFAULT"
    finally:
        _routines_linalg.set_compute_type(np.float32, undecided)


def test_errors_are_of_cupys_kinds():
    pairs = [
        (cupy.cuda.runtime.CUDARuntimeError, device.CUDARuntimeError, RuntimeError),
        (cupy.cuda.memory.OutOfMemoryError, device.OutOfMemoryError, MemoryError),
        (cupy.cuda.compiler.CompileException, device.CompileException, Exception),
    ]
    for there, here, base in pairs:
        assert issubclass(there, base) and issubclass(here, base)
        assert there.__name__ == here.__name__
        assert issubclass(there, RuntimeError) == issubclass(here, RuntimeError)
    for args in ((512, -1), (1 << 30, 4096)):
        assert str(device.OutOfMemoryError(*args)) == str(cupy.cuda.memory.OutOfMemoryError(*args))


def test_nccl_has_cupys_names_parameters_and_numbers():
    """The library is loaded without a driver, up to the first thing that it asks of one."""
    module, communicator = nccl.make_nccl(), "cupy.cuda.nccl.NcclCommunicator"
    assert public(module) <= API["cupy.cuda.nccl"].keys()
    assert public(nccl.NcclCommunicator) <= API[communicator].keys()
    for name in public(nccl.NcclCommunicator):
        parameters = list(inspect.signature(getattr(nccl.NcclCommunicator, name)).parameters)
        assert parameters == list(signature(API[communicator][name]).parameters), name
    for name in ("groupStart", "groupEnd", "get_unique_id"):
        assert not inspect.signature(getattr(nccl, name)).parameters
        assert API["cupy.cuda.nccl"][name] in ("()", "(*args, **kwargs)"), name
    numbers = {name: value for name, value in vars(module).items() if name.startswith("NCCL_")}
    assert numbers == {name: getattr(installed_nccl, name) for name in numbers}


def test_nccl_behaves_as_far_as_it_goes_without_a_device():
    assert installed_nccl.available
    ids = installed_nccl.get_unique_id(), nccl.get_unique_id()
    assert [(type(unique), len(unique)) for unique in ids] == [(bytes, 128)] * 2
    first = inspect.signature(nccl.NcclCommunicator).parameters
    assert installed_nccl.NcclCommunicator.__doc__.startswith("NcclCommunicator(int ndev, bytes commId, int rank, ")
    assert list(first) == ["ndev", "commId", "rank", "config"]
    for make in (installed_nccl.NcclCommunicator, nccl.NcclCommunicator):
        with pytest.raises(TypeError, match="'commId' has incorrect type .expected bytes, got "):
            make(1, tuple(ids[0]), 0)
        with pytest.raises(ValueError, match="commId length 5 != 128"):
            make(1, ids[0][:5], 0)
    assert issubclass(installed_nccl.NcclError, RuntimeError) and issubclass(nccl.NcclError, RuntimeError)
    for status in nccl.STATUS:
        assert str(installed_nccl.NcclError(status)).startswith(str(nccl.NcclError(status)))


def test_nccl_is_no_attribute_before_it_is_imported_by_its_name(monkeypatch):
    asks = "import cupy; cupy.cuda.nccl"
    process = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, timeout=600)
    assert "module 'cupy.cuda' has no attribute 'nccl'" in process.stderr
    standin = install(monkeypatch)
    with pytest.raises(AttributeError):
        standin.cuda.nccl  # noqa: B018
    from cupy.cuda import nccl as imported

    assert imported.NcclCommunicator is nccl.NcclCommunicator


def test_the_stream_of_a_call_is_an_address_and_0_is_the_null_stream():
    assert cupy.cuda.Stream.null.ptr == 0
    assert device.Stream(null=True).ptr == 0
