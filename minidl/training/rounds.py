"""The trials of a search, dealt to ranks in rounds: each rank trains one alone, and rank 0 keeps the study.

Rank 0 draws a trial for each rank, and records the results in the order of the draws when all ranks are done; who is
done earlier waits. So the others need the data set, and no file of the search. Random and evenly spread settings
depend on the seed and the number of a trial only: the table is that of one process, row for row. The settings that
`tpe` draws depend on the trials finished before, so they differ with the number of ranks; with the same number they
are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from minidl.parallel.communicator import Communicator
from minidl.storage.metadata import from_json, to_json
from minidl.training.callbacks import StopRequested
from minidl.training.config import Config
from minidl.training.search import RANGES
from minidl.training.study import Draw, Study
from minidl.training.together import same_json

Result = tuple[list[dict[str, Any]], bool]  # of `train_trial`: rows of epochs, and whether the trial diverged


def run_trials(
    study: Study | None, config: Config, train: Callable[[Config], Result], comm: Communicator
) -> Iterator[dict[str, Any]]:
    """Runs trials until as many as planned are finished or running. Yields their rows of trials.csv on rank 0.

    study    the search on rank 0, None on the others
    config   what all trials have in common
    train    trains one trial on this rank alone

    If `train` raises StopRequested on some rank, it is raised on all, after the other trials of the round.
    """
    while True:
        draws = [] if study is None else _draw(study, comm.size)
        drawn = [{name: getattr(draw.config, name) for name in RANGES} for draw in draws]
        settings = same_json(comm, drawn)
        if not settings:
            return
        own = _train(train, replace(config, **settings[comm.rank])) if comm.rank < len(settings) else None
        results = [from_json(data.decode(), "a trial") for data in comm.allgather_bytes(to_json(own).encode())]
        for draw, result in zip(draws, results, strict=False):
            if result is not None:
                yield study.finish(draw, *result)
        if None in results[: len(settings)]:
            raise StopRequested


def _draw(study: Study, most: int) -> list[Draw]:
    """The next trials, at most so many."""
    draws: list[Draw] = []
    while len(draws) < most and (draw := study.next()) is not None:
        draws.append(draw)
    return draws


def _train(train: Callable[[Config], Result], config: Config) -> Result | None:
    """The result of a trial; None if it was stopped."""
    try:
        return train(config)
    except StopRequested:
        return None
