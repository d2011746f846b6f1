"""A state dict with everything that torch.save can put into one, and the files of it in golden/.

    python tests/exchange/zoo.py FOLDER

writes them with the torch that is installed: of torch 2.13.0 those called torch2, of torch 1.13.1 torch1.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np

from minidl.exchange.torch_forms import MAGIC, PROTOCOL
from minidl.exchange.torch_writer import pickle_of

GOLDEN = Path(__file__).parent / "golden"


def expected():
    """The arrays that are read of a file of `tensors`."""
    base = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    return {
        "base": base,
        "shared": base[1],
        "turned": base.transpose(2, 0, 1),
        "steps": base[:, ::2],
        "expanded": np.ones((4, 3), np.float32),
        "double": base[0].astype(np.float64) / 3,
        "half": (base[0] / 4).astype(np.float16),
        "bfloat16": base[0] / 4,
        "int64": base[0].astype(np.int64) - 5,
        "int8": base[0].astype(np.int8) - 5,
        "uint8": base[0].astype(np.uint8),
        "bool": base[0] > 3,
        "number": np.array(3.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "parameter": np.full(3, 0.5, np.float32),
    }


def tensors(torch):
    """The same as tensors: some share a storage, begin within it, or aren't contiguous."""
    base = torch.arange(24.0).reshape(2, 3, 4)
    return {
        "base": base,
        "shared": base[1],
        "turned": base.permute(2, 0, 1),
        "steps": base[:, ::2],
        "expanded": torch.ones(1, 3).expand(4, 3),
        "double": base[0].double() / 3,
        "half": (base[0] / 4).half(),
        "bfloat16": (base[0] / 4).bfloat16(),
        "int64": base[0].long() - 5,
        "int8": base[0].to(torch.int8) - 5,
        "uint8": base[0].byte(),
        "bool": base[0] > 3,
        "number": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.full((3,), 0.5)),
    }


def stream_of(arrays) -> bytes:
    """The arrays as a stream of torch before 1.6."""
    facts = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = b"".join(pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL, facts))
    host = {name: np.ascontiguousarray(a).reshape(a.shape) for name, a in arrays.items()}
    keys = pickle.dumps([str(key) for key in range(len(host))], 2)
    storages = b"".join(a.size.to_bytes(8, "little") + a.tobytes() for a in host.values())
    return head + pickle_of(host) + keys + storages


def write_all(torch, folder: Path) -> None:
    name = f"torch{torch.__version__[0]}"
    for form, zipped in (("zip", True), ("stream", False)):
        torch.save(tensors(torch), folder / f"{name}-{form}.pth", _use_new_zipfile_serialization=zipped)
        net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1))
        with torch.no_grad():
            for p in net.parameters():
                p.fill_(0.25)
        optimizer = torch.optim.SGD(net.parameters(), 0.0, momentum=0.9)
        net(torch.ones(1, 1, 2, 2)).sum().backward()
        optimizer.step()
        checkpoint = {"epoch": 3, "state_dict": net.state_dict(), "optimizer": optimizer.state_dict(), "best": 0.75}
        torch.save(checkpoint, folder / f"{name}-{form}-checkpoint.pth", _use_new_zipfile_serialization=zipped)


if __name__ == "__main__":
    import torch

    write_all(torch, Path(sys.argv[1]))
