"""The stand-in refuses what CuPy refuses, counts every wait at its place, and computes what NumPy does."""

from pathlib import Path

import numpy as np
import pytest

from tests.cuda_standin import RECORD, StrictError, device, install


@pytest.fixture
def xp(monkeypatch):
    """The stand-in as CuPy; what it has refused fails the test unless the test has looked."""
    yield install(monkeypatch)
    assert not RECORD.refusals


def on(xp, *shape):
    return xp.asarray(np.arange(np.prod(shape), dtype=np.float64).reshape(shape))


HOST = np.ones((2, 3))
REFUSED = {
    "np.asarray": (TypeError, "Implicit conversion", lambda x, xp: np.asarray(x)),
    "np.array": (TypeError, "Implicit conversion", lambda x, xp: np.array(x)),
    "a host operand": (TypeError, "Unsupported type", lambda x, xp: x + HOST),
    "a host operand first": (TypeError, "Unsupported type", lambda x, xp: HOST + x),
    "a host operand in place": (TypeError, "Unsupported type", lambda x, xp: x.__iadd__(HOST)),
    "a host array into the host": (TypeError, "Unsupported type", lambda x, xp: HOST.__iadd__(x)),
    "a list as operand": (TypeError, "Unsupported type", lambda x, xp: x * [1, 2, 3]),
    "comparing with the host": (TypeError, "Unsupported type", lambda x, xp: x == HOST),
    "a host argument": (TypeError, "Unsupported type", lambda x, xp: xp.maximum(x, HOST)),
    "a host array in a list": (TypeError, "Unsupported type", lambda x, xp: xp.concatenate([x, HOST])),
    "only host arguments": (TypeError, "no device array", lambda x, xp: xp.sum([1, 2])),
    "NumPy's ufunc": (StrictError, "xp.sqrt is meant", lambda x, xp: np.sqrt(x)),
    "NumPy's function": (StrictError, "xp.sum is meant", lambda x, xp: np.sum(x)),
    "a NumPy number first": (StrictError, "xp.multiply is meant", lambda x, xp: np.float64(2) * x),
    "a function CuPy lacks": (AttributeError, "geomspace", lambda x, xp: xp.geomspace(1, 2, 3)),
    "a context CuPy lacks": (AttributeError, "errstate", lambda x, xp: xp.errstate()),
    "an attribute CuPy lacks": (AttributeError, "setflags", lambda x, xp: x.setflags(write=False)),
    "a new attribute": (AttributeError, "note", lambda x, xp: setattr(x, "note", 1)),
    "an argument CuPy lacks": (TypeError, "where", lambda x, xp: x.sum(where=x > 0)),
    "another argument CuPy lacks": (TypeError, "mode", lambda x, xp: xp.take(x, 0, mode="clip")),
    "a ufunc's argument CuPy lacks": (TypeError, "order", lambda x, xp: xp.add(x, x, order="C")),
    "an object array": (ValueError, "object", lambda x, xp: xp.asarray(np.array([None]))),
    "a row too many": (IndexError, "out of bounds", lambda x, xp: x[2]),
    "an index out of range": (StrictError, "wraps", lambda x, xp: x[xp.asarray([0, 2])]),
    "an index out of range in an assignment": (StrictError, "wraps", lambda x, xp: put(x, xp.asarray([2]), 1)),
    "taking out of range": (StrictError, "wraps", lambda x, xp: xp.take(x, xp.asarray([5]), axis=0)),
    "duplicate indices in an assignment": (StrictError, "duplicate", lambda x, xp: put(x, xp.asarray([1, 1]), 1)),
    "a host index": (StrictError, "as an index", lambda x, xp: x[np.array([0, 1])]),
    "assigning a host array": (ValueError, "fill", lambda x, xp: put(x, 0, HOST[0])),
    "an overlap in place": (StrictError, "race", lambda x, xp: x[:, 1:].__iadd__(x[:, :-1])),
    "an overlap in an assignment": (StrictError, "race", lambda x, xp: put(x, np.s_[:, 1:], x[:, :-1])),
    "an overlap with out": (StrictError, "race", lambda x, xp: xp.sqrt(x[0], out=x[0, ::-1])),
    "sums of floats by index": (StrictError, "another order", lambda x, xp: xp.add.at(x, 0, 1.0)),
    "hashing": (TypeError, "unhashable", lambda x, xp: hash(x)),
    "a float as a kernel's int": (StrictError, "no fixed width", lambda x, xp: kernel(xp)((1,), (32,), (x, 1.5))),
    "a host array for a kernel": (TypeError, "Unsupported type", lambda x, xp: kernel(xp)((1,), (32,), (HOST,))),
    "too many threads": (RuntimeError, "configuration", lambda x, xp: kernel(xp)((1,), (2048,), (x,))),
}


def put(x, key, value):
    x[key] = value


def kernel(xp):
    return xp.RawKernel('extern "C" __global__ void k(double *x) {}', "k")


@pytest.mark.parametrize("what", REFUSED)
def test_the_stand_in_refuses(what, xp):
    error, text, act = REFUSED[what]
    with pytest.raises(error, match=text):
        act(on(xp, 2, 3), xp)
    RECORD.clear()


SYNCS = {
    "get": lambda x, xp: x.get(),
    "float": lambda x, xp: float(x.sum()),
    "int": lambda x, xp: int(x.sum()),
    "bool": lambda x, xp: bool((x > 0).all()),
    "item": lambda x, xp: x.sum().item(),
    "index": lambda x, xp: [0, 1][xp.asarray(1)],
    "where": lambda x, xp: xp.where(x > 0),
    "nonzero": lambda x, xp: x.nonzero(),
    "boolean mask": lambda x, xp: x[x > 0],
    "repr": lambda x, xp: f"{x!r}",
    "stream": lambda x, xp: xp.cuda.get_current_stream().synchronize(),
}


@pytest.mark.parametrize("what", SYNCS)
def test_the_stand_in_counts_a_wait_at_its_place(what, xp):
    SYNCS[what](on(xp, 2, 3), xp)
    ((place, times),) = RECORD.syncs.items()
    assert place.startswith(Path(__file__).name) and place.endswith(f" {what}")
    assert times == 1


def test_the_stand_in_computes_as_numpy_does_and_stays_on_the_device(xp):
    x, host = on(xp, 2, 3), np.arange(6.0).reshape(2, 3)
    results = {
        "sum": (x.sum(), host.sum()),
        "maximum": (xp.maximum(x, 2), np.maximum(host, 2)),
        "power": (2**x, 2**host),
        "product": (x @ x.T, host @ host.T),
        "slice": (x[:, ::-2], host[:, ::-2]),
        "rows": (x[xp.asarray([1, 0])], host[[1, 0]]),
        "stack": (xp.stack([x, x], axis=1), np.stack([host, host], axis=1)),
        "float32": (x.astype(xp.float32) * 2, host.astype(np.float32) * 2),
    }
    for name, (got, expected) in results.items():
        assert isinstance(got, xp.ndarray), name
        assert got.dtype == expected.dtype and got.shape == np.shape(expected), name
        np.testing.assert_array_equal(got.get(), expected, name)


def test_memory_that_nobody_has_written_is_not_zero(xp):
    assert np.isnan(xp.empty((2, 2)).get()).all()
    assert (xp.empty(3, dtype=np.uint8).get() != 0).all()


def test_an_array_from_the_host_is_a_copy(xp):
    host = np.zeros(3)
    x = xp.asarray(host)
    host += 1
    assert x.get().tolist() == [0, 0, 0]
    assert xp.asarray(x) is x


def test_a_kernel_gets_the_very_memory_of_its_arrays(xp, monkeypatch):
    def run(code, name, options, grid, block, args, shared):
        assert (name, grid, block, shared) == ("k", (1,), (32,), 0)
        args[0][...] = args[1]

    monkeypatch.setattr(device.LAUNCH, "run", run)
    x = on(xp, 2, 3)
    kernel(xp)((1,), (32,), (x, np.float64(7)))
    assert (x.get() == 7).all()


def test_what_another_stream_has_used_is_used_after_a_wait(xp):
    x, side = on(xp, 2, 3), xp.cuda.Stream(non_blocking=True)
    with side, pytest.raises(StrictError, match="has not waited"):
        x += 1
    side.wait_event(xp.cuda.get_current_stream().record())
    with side:
        x += 1
    looks = x.shape, x.T, x[0], x.reshape(3, 2), xp.empty_like(x)
    assert len(looks) == 5
    for use in (lambda: x + 1, lambda: x.sum(), lambda: put(x, 0, 1), lambda: x.T.reshape(6), x.get, lambda: -x):
        with pytest.raises(StrictError, match="has not waited"):
            use()
    RECORD.clear()
    side.synchronize()
    assert x.sum().get() == 21
    blocking = xp.cuda.Stream()  # one that waits for the null stream, as that does for it
    with blocking:
        x += 1
    assert x.sum().get() == 27


def test_a_device_has_memory_and_streams_of_its_own(monkeypatch):
    xp = install(monkeypatch, devices=2)
    x = on(xp, 2, 3)
    with xp.cuda.Device(1):
        assert xp.cuda.runtime.getDevice() == 1
        with pytest.raises(StrictError, match="memory of device 0, used on device 1"):
            x += 1
        assert on(xp, 2, 3).sum().get() == 15
    assert x.sum().get() == 15 and xp.cuda.Device().id == 0
    with pytest.raises(device.CUDARuntimeError, match="cudaErrorInvalidDevice"):
        xp.cuda.Device(2).use()
    RECORD.clear()
