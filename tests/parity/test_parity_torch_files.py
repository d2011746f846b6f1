"""Files that torch writes, in every form and protocol, are read as torch reads them; and torch reads ours."""

import io

import numpy as np
import pytest

from tests.conftest import later

torch = pytest.importorskip("torch", reason=later("parity"))

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from minidl.errors import DataError  # noqa: E402
from minidl.exchange.torch_file import read_torch_file, read_weights  # noqa: E402
from minidl.exchange.torch_writer import write_state_dict  # noqa: E402
from tests.exchange.test_torch_file import assert_arrays  # noqa: E402
from tests.exchange.zoo import expected, tensors  # noqa: E402

pytestmark = pytest.mark.parity
FORMS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
PROTOCOLS = pytest.mark.parametrize("protocol", [2, 3, 4, 5])
DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def save(content, path, zipped, protocol=2):
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    return path


def as_arrays(state):
    """What torch itself reads, as arrays; bfloat16 as float32."""
    wide = {name: t.float() if t.dtype == torch.bfloat16 else t for name, t in state.items()}
    return {name: t.detach().numpy() for name, t in wide.items()}


@FORMS
@PROTOCOLS
def test_every_kind_of_tensor(tmp_path, zipped, protocol):
    path = save(tensors(torch), tmp_path / "a.pth", zipped, protocol)
    assert_arrays(read_torch_file(path), expected())
    assert_arrays(read_torch_file(path), as_arrays(torch.load(path, weights_only=False)))


@FORMS
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type(tmp_path, zipped, dtype):
    state = {"a": (8 * torch.randn(5, 3, generator=torch.Generator().manual_seed(0))).to(getattr(torch, dtype))}
    path = save(state, tmp_path / "a.pth", zipped)
    assert_arrays(read_torch_file(path), as_arrays(state))


@st.composite
def views(draw):
    """A view of 60 numbers: transposed, cut, with steps, expanded, or of one of its dimensions alone."""
    t = torch.arange(60.0).reshape(draw(st.sampled_from([(60,), (6, 10), (3, 4, 5), (2, 3, 1, 10)])))
    for _ in range(draw(st.integers(0, 4))):
        match draw(st.integers(0, 3)):
            case 0:
                t = t.permute(draw(st.permutations(range(t.ndim))))
            case 1 if t.ndim:
                axis = draw(st.integers(0, t.ndim - 1))
                start = draw(st.integers(0, t.shape[axis]))
                t = t[(slice(None),) * axis + (slice(start, None, draw(st.integers(1, 3))),)]
            case 2 if t.ndim and t.shape[0]:
                t = t[draw(st.integers(0, t.shape[0] - 1))]
            case 3:
                t = t.unsqueeze(0).expand(draw(st.integers(0, 3)), *t.shape)
    return t


@settings(max_examples=200)
@given(st.lists(views(), min_size=1, max_size=4), st.booleans(), st.integers(2, 5))
def test_random_views_of_storages(tmp_path_factory, ts, zipped, protocol):
    state = {f"layer.{k}": t for k, t in enumerate(ts)}
    path = tmp_path_factory.mktemp("views") / "a.pth"
    assert_arrays(read_torch_file(save(state, path, zipped, protocol)), as_arrays(state))


@FORMS
def test_a_module_with_an_optimizer_and_parallel_wrappers(tmp_path, zipped):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.randn(2, 3, 3, 3)).sum().backward()
    optimizer.step()
    wrapped = nn.DataParallel(net)
    content = {"epoch": 1, "model": wrapped.state_dict(), "optimizer": optimizer.state_dict(), "lr": [0.1, 1e-3]}
    found = read_weights(save(content, tmp_path / "a.pth", zipped))
    assert found.inside == "model" and "module.1.num_batches_tracked" in found.arrays
    assert_arrays(found.arrays, as_arrays(wrapped.state_dict()))


@FORMS
def test_whole_modules_and_programs_are_refused_with_what_to_save(tmp_path, zipped):
    net = nn.Linear(2, 2)
    with pytest.raises(DataError, match=r"torch.nn.modules.linear.Linear.*torch.save\(model.state_dict\(\), FILE\)"):
        read_torch_file(save(net, tmp_path / "a.pth", zipped))
    torch.jit.script(net).save(tmp_path / "b.pth")
    with pytest.raises(DataError, match="TorchScript"):
        read_torch_file(tmp_path / "b.pth")


@FORMS
def test_a_tensor_whose_sign_is_only_marked_is_refused(tmp_path, zipped):
    marked = torch.view_as_complex(torch.ones(3, 2)).conj().imag
    assert marked.is_neg()
    with pytest.raises(DataError, match="resolve_neg"):
        read_torch_file(save({"a": marked}, tmp_path / "a.pth", zipped))
    assert_arrays(
        read_torch_file(save({"a": marked.resolve_neg()}, tmp_path / "a.pth", zipped)), {"a": -np.ones(3, "f")}
    )


@FORMS
@pytest.mark.parametrize(
    ("tensor", "name"),
    [
        (torch.zeros(2, dtype=torch.complex64), "a complex tensor"),
        (torch.eye(2).to_sparse(), "a sparse tensor"),
        (torch.zeros(2).to(torch.float8_e5m2), "a tensor of a newer type, such as float8 or uint16"),
        (torch.zeros(2, dtype=torch.uint16), "a tensor of a newer type, such as float8 or uint16"),
    ],
    ids=["complex", "sparse", "float8", "uint16"],
)
def test_tensors_of_other_kinds_are_refused_by_name(tmp_path, zipped, tensor, name):
    with pytest.raises(DataError, match=f"it holds {name}, which isn't read"):
        read_torch_file(save({"a": tensor}, tmp_path / "a.pth", zipped))


def test_checksums_may_be_left_out(tmp_path):
    before = torch.serialization.get_crc32_options()
    try:
        torch.serialization.set_crc32_options(False)
        path = save(tensors(torch), tmp_path / "a.pth", True)
    finally:
        torch.serialization.set_crc32_options(before)
    assert_arrays(read_torch_file(path), expected())


@pytest.mark.parametrize(
    "options", [{"weights_only": True}, {"weights_only": True, "mmap": True}, {"weights_only": False}]
)
def test_torch_reads_what_we_write(tmp_path, options):
    arrays = {name: a for name, a in expected().items() if name != "empty" or "mmap" not in options}
    write_state_dict(tmp_path / "a.pth", arrays)
    state = torch.load(tmp_path / "a.pth", **options)
    assert type(state).__name__ == "OrderedDict" and all(t.is_contiguous() for t in state.values())
    assert_arrays(as_arrays(state), arrays)
    again = io.BytesIO()
    torch.save(state, again)
    (tmp_path / "b.pth").write_bytes(again.getvalue())
    assert_arrays(read_torch_file(tmp_path / "b.pth"), arrays)


def test_a_module_takes_a_file_of_ours(tmp_path):
    net = nn.Linear(3, 2)
    write_state_dict(tmp_path / "a.pth", {"weight": np.ones((2, 3), "f"), "bias": np.zeros(2, "f")})
    net.load_state_dict(torch.load(tmp_path / "a.pth"), strict=True)
    assert net(torch.ones(1, 3)).tolist() == [[3, 3]]
