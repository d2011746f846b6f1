"""What the ranks of a run tell each other before it starts: settings, checkpoints, whether they see the same data.

Rank 0 alone reads and writes files; the others need nothing but the data set. In one process nothing is exchanged.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minidl.data.fingerprint import fingerprint
from minidl.errors import DataError, MinidlError
from minidl.parallel.communicator import Communicator
from minidl.storage.metadata import from_json, to_json
from minidl.training.checkpoints import Checkpoint, load_checkpoint, pack_checkpoint, unpack_checkpoint
from minidl.training.config import Config, config_from_dict
from minidl.training.run_data import Data
from minidl.training.runs import Run, RunElsewhere, find_checkpoint

_SOURCE = "rank 0"  # in the messages about what doesn't arrive as it was sent


def same_json(comm: Communicator, value: Any) -> Any:
    """The value of rank 0, as JSON gives it back."""
    return from_json(comm.broadcast_bytes(to_json(value).encode()).decode(), _SOURCE)


def same_config(comm: Communicator, config: Config | None) -> Config:
    """The settings of rank 0; the other ranks give None."""
    if comm.size == 1:
        return config
    return config_from_dict(same_json(comm, config and config.as_dict()), _SOURCE)


def same_run(comm: Communicator, run: Run | None) -> Run | None:
    """The run folder of rank 0, if it has one; the other ranks get one that they don't write to."""
    path = os.fsdecode(comm.broadcast_bytes(os.fsencode(run.path) if run else b""))
    return RunElsewhere(Path(path)) if comm.rank and path else run


def same_checkpoint(comm: Communicator, checkpoint: Checkpoint | None) -> Checkpoint | None:
    """The checkpoint of rank 0, if it has one; the other ranks give None."""
    if comm.size == 1:
        return checkpoint
    path = os.fsdecode(comm.broadcast_bytes(os.fsencode(checkpoint.path) if checkpoint else b""))
    content = comm.broadcast_bytes(pack_checkpoint(checkpoint) if checkpoint else b"")
    if comm.rank == 0 or not path:
        return checkpoint
    return unpack_checkpoint(content, Path(path))


def same_start(comm: Communicator, config: Config) -> Checkpoint | None:
    """The weights with which training begins, of config.init_from, which rank 0 reads; None for new ones."""
    read = config.init_from and comm.rank == 0
    return same_checkpoint(comm, load_checkpoint(find_checkpoint(Path(config.init_from))) if read else None)


def same_data(comm: Communicator, load: Callable[[], Data]) -> Data:
    """The data set, which every rank loads for itself. Raises DataError on all ranks if one can't, or if the images
    of one are others than those of rank 0.
    """
    if comm.size == 1:
        return load()
    report, data = {"host": socket.gethostname()}, None
    try:
        data = load()
        report["sees"] = fingerprint(data.dataset)
    except MinidlError as error:
        report |= {"error": str(error), "code": error.exit_code}
    reports = [json.loads(text) for text in comm.allgather_bytes(json.dumps(report).encode())]
    for rank, other in enumerate(reports):
        if "error" in other:
            everywhere = all(r.get("error") == other["error"] for r in reports)
            problem = DataError(other["error"] if everywhere else f"{_of(rank, other)}: {other['error']}")
            problem.exit_code = other["code"]
            raise problem
    for rank, other in enumerate(reports):
        if odd := [split for split in ("train", "val") if other["sees"][split] != reports[0]["sees"][split]]:
            seen, expected = (r["sees"][odd[0]]["images"] for r in (other, reports[0]))
            what = f"{seen:,} images, not {expected:,}" if seen != expected else "other images, names or labels"
            raise DataError(f"{_of(rank, other)} sees other data than {_of(0, reports[0])}: {odd[0]} has {what}")
    return data


def _of(rank: int, report: dict[str, str]) -> str:
    return f"rank {rank} on {report['host']}"
