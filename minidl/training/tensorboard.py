"""Event files for TensorBoard: `train --log tensorboard`, then `tensorboard --logdir runs`."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from minidl.backend.arrays import to_host
from minidl.data import denormalise
from minidl.errors import UsageError
from minidl.layers.parameter import FROZEN
from minidl.storage.files import open_own
from minidl.training.loggers import epoch_values
from minidl.training.trainer import Callback, Trainer

BUCKETS = 40  # of a histogram
MOST = 1_000_000  # numbers of a histogram: of a larger array it takes every second, third ... one
SHOWN = 30  # images of the batch
_NAME = re.compile(r"events\.out\.tfevents\.(\d+)\.minidl")


def import_tensorboard() -> tuple[Any, Any, Any]:
    """TensorBoard's Event, Summary and RecordWriter; raises UsageError if it isn't installed."""
    try:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError:
        raise UsageError(
            "--log tensorboard needs TensorBoard: pip install 'minidl[tensorboard]', or train with --log none"
        ) from None
    return event_pb2, summary_pb2, RecordWriter


class EventFile:
    """A new event file in `folder`, a logger (`Logging`) that also takes pictures, histograms and texts.

    TensorBoard reads all event files of a folder in the order of their names as one run. If the run was resumed after
    `steps` steps, what earlier files have from a later step is hidden: those steps are made again. Every call
    hands what it got to the operating system before it returns, so a process that is killed loses nothing of it.
    """

    def __init__(self, folder: Path, steps: int = 0) -> None:
        self._event, self._summary, self._record_writer = import_tensorboard()
        numbers = [int(found[1]) for path in folder.iterdir() if (found := _NAME.fullmatch(path.name))]
        self.is_first = not numbers
        number = max(int(time.time()), *(n + 1 for n in numbers)) if numbers else int(time.time())
        self.path = folder / f"events.out.tfevents.{number}.minidl"
        self._write(file_version="brain.Event:2")
        start = self._event.SessionLog(status=self._event.SessionLog.START)
        self._write(step=steps + 1, session_log=start)

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        self._add(step, *({"tag": name, "simple_value": float(value)} for name, value in values.items()))

    def picture(self, name: str, picture: Image, step: int) -> None:
        buffer = BytesIO()
        picture.save(buffer, "PNG")
        size = {"width": picture.width, "height": picture.height, "colorspace": 3}
        image = self._summary.Summary.Image(encoded_image_string=buffer.getvalue(), **size)
        self._add(step, {"tag": name, "image": image})

    def histograms(self, arrays: Mapping[str, np.ndarray], step: int) -> None:
        """Histograms of arrays of any shape, without what isn't finite."""
        self._add(step, *({"tag": name, "histo": histo} for name, a in arrays.items() if (histo := self._histo(a))))

    def text(self, name: str, markdown: str, step: int) -> None:
        tensor = {"dtype": 7, "string_val": [markdown.encode()]}  # DT_STRING
        plugin = {"plugin_data": {"plugin_name": "text"}}
        self._add(step, {"tag": name, "tensor": tensor, "metadata": plugin})

    def _histo(self, a: np.ndarray) -> Any:
        numbers = a.reshape(-1)[:: -(-a.size // MOST) or 1].astype(np.float64)
        numbers = numbers[np.isfinite(numbers)]
        if not numbers.size:
            return None
        counts, edges = np.histogram(numbers, BUCKETS)
        return self._summary.HistogramProto(
            min=numbers.min(),
            max=numbers.max(),
            num=numbers.size,
            sum=numbers.sum(),
            sum_squares=np.square(numbers).sum(),
            bucket_limit=edges[1:],
            bucket=counts,
        )

    def _add(self, step: int, *values: dict[str, Any]) -> None:
        summary = self._summary.Summary(value=[self._summary.Summary.Value(**value) for value in values])
        self._write(step=step, summary=summary)

    def _write(self, **content: Any) -> None:
        event = self._event.Event(wall_time=time.time(), **content)
        with os.fdopen(open_own(self.path, os.O_WRONLY | os.O_APPEND), "ab") as file:
            self._record_writer(file).write(event.SerializeToString())


class Pictures(Callback):
    """Beside the curves: the settings, a batch of training images and the first filters at the beginning, and after
    each epoch the filters, and histograms of all learning parameters and of their last gradients.

    draw    images (N, H, W, 3), uint8 or floats around zero -> a picture of them
    """

    def __init__(self, events: EventFile, config: Mapping[str, Any], draw: Callable[[np.ndarray], Image]) -> None:
        self.events, self.config, self.draw = events, config, draw
        self._begun = False

    def on_step(self, trainer: Trainer) -> None:
        if self._begun:
            return
        self._begun, step = True, trainer.state.step
        if self.events.is_first:
            rows = "".join(f"| {name} | {value} |\n" for name, value in self.config.items())
            self.events.text("settings", f"| setting | value |\n|---|---|\n{rows}", step - 1)  # never hidden later
            for row in trainer.state.history:  # of a run that was begun without
                self.events.log(epoch_values(row), step=row["epoch"] * len(trainer.train))
        for x, _ in islice(trainer.train.epoch(trainer.state.epoch), 1):
            pixels = denormalise(x[:SHOWN], trainer.train.mean, trainer.train.std)
            self.events.picture("batch", self.draw(pixels), step)
        self._draw_filters(trainer)

    def on_epoch(self, trainer: Trainer) -> None:
        self._draw_filters(trainer)
        learning = {n: p for n, p in trainer.model.named_parameters().items() if FROZEN not in p.tags}
        weights = {f"weights/{name}": to_host(p.value) for name, p in learning.items()}
        gradients = {f"gradients/{name}": to_host(p.grad) for name, p in learning.items()}
        self.events.histograms(weights | gradients, trainer.state.step)

    def _draw_filters(self, trainer: Trainer) -> None:
        """The filters of the first convolution, if they see colours: (KH, KW, 3, F) -> (F, KH, KW, 3)."""
        for name, p in trainer.model.named_parameters().items():
            if len(p.shape) == 4:
                if p.shape[2] == 3:
                    filters = to_host(p.value).transpose(3, 0, 1, 2)
                    self.events.picture(f"filters/{name}", self.draw(filters), trainer.state.step)
                return
