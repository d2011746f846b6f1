"""How a network is run: on which engine, backend and threads, and what memory that takes."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
from threadpoolctl import threadpool_limits

from minidl.diagnostics.cost import TrainingMemory
from minidl.engine import prepare
from minidl.engine.tiles.grid import SHARDS
from minidl.engine.tiles.runner import TileRunner, available_cores
from minidl.layers import Layer, freeze
from minidl.layers.convert import convert
from minidl.parallel.world import backend_of_rank
from minidl.training.config import Config


@dataclass(frozen=True)
class Execution:
    """How a network is run, where no training says it (a Config has the same fields)."""

    engine: str = "fused"  # or "plain"
    backend: str = "numpy"  # or "cupy"
    tf32: bool = False
    threads: int = 0  # of the fused engine; 0: all cores


def engine_of(settings: Config | Execution) -> str:
    """The engine that the settings lead to: on a GPU it is always plain."""
    return settings.engine if settings.backend == "numpy" else "plain"


def on_engine(
    model: Layer, settings: Config | Execution, frozen: str | None = None, runner: TileRunner | None = None
) -> tuple[Layer, ModuleType]:
    """The plain `model` on the engine and backend of `settings`, its layers up to `frozen` as they are, and the array
    module of the backend. `runner`: for the fused engine, if it isn't one for `settings.threads`.

    Raises BackendError if the backend can't be used, UsageError if it has no TF32 and that was asked for.
    """
    xp = backend_of_rank(settings.backend, settings.tf32)
    if xp is not np:
        model = convert(model, xp=xp)
    if frozen:
        model = freeze(model, frozen)
    return (prepare(model, settings.threads, runner) if engine_of(settings) == "fused" else model), xp


def one_blas_thread() -> threadpool_limits:
    """Holds BLAS at one thread while it is open, with either engine.

    BLAS rounds differently with another number of threads, and so would plain layers. They lose nothing by it: a
    training step makes 37 images/s on one thread, 35 on two. The fused engine has threads of its own.
    """
    return threadpool_limits(1)


def training_bytes(config: Config, memory: TrainingMemory) -> int:
    """The memory that training adds to a process, on the engine of `config`.

    On a GPU this counts the arrays alone. The patches of a convolution come on top (an eighth more for the refined
    net), and what CuPy's pool wastes, which has not been measured.
    """
    if config.backend != "numpy":
        return memory.arrays
    if engine_of(config) == "plain":
        return memory.resident
    return memory.fused(min(config.threads or available_cores(), SHARDS))  # more threads find no work
