"""All images as points, by PCA and by t-SNE of their features."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

import numpy as np

from minidl.atlas.records import EmbeddingRecord
from minidl.atlas.work import Arrays, Work
from minidl.errors import UsageError
from minidl.text.progress import Progress
from minidl.visual.embedding import TSNE_IMAGES, pca, tsne

SIDE = 4095  # the largest coordinate


class Beside:
    """Computes something in a thread of its own. The program need not wait for it to end, so Ctrl-C works at once."""

    def __init__(self, compute: Callable[[], Arrays]) -> None:
        self._answer: list[Arrays | BaseException] = []
        self._thread = Thread(target=self._run, args=(compute,), daemon=True)
        self._thread.start()

    def _run(self, compute: Callable[[], Arrays]) -> None:
        try:
            self._answer.append(compute())
        except BaseException as error:
            self._answer.append(error)

    def result(self) -> Arrays:
        """Waits for the result; raises what went wrong."""
        with Progress("placing images with t-SNE", None, "second", leave=False) as bar:
            while self._thread.is_alive():
                self._thread.join(1)
                bar.add(1)
        (answer,) = self._answer
        if isinstance(answer, BaseException):
            raise answer
        return answer


def embedding(work: Work, seed: int = 0) -> Arrays:
    """pca and tsne: float32 (images, 2), without points where it can't be computed; explained (2,)."""

    def make() -> Arrays:
        x = np.load(work.large("features"))
        x = x.reshape(len(x), -1)
        found = {"pca": np.zeros((0, 2)), "explained": np.zeros(2), "tsne": np.zeros((0, 2))}
        try:
            flat = pca(x, 2)
            found |= {"pca": flat.points, "explained": flat.explained}
            if len(x) >= TSNE_IMAGES:
                found["tsne"] = tsne(x, 2, seed).points
        except UsageError:  # too few images, or all alike: there is nothing to place
            pass
        return {name: a.astype(np.float32) for name, a in found.items()}

    return work.stage("embedding", make)


def embedding_record(found: Arrays, predictions: Arrays, features: str) -> EmbeddingRecord:
    return EmbeddingRecord(
        pca=_whole(found["pca"]),
        tsne=_whole(found["tsne"]),
        explained=[round(float(v), 4) for v in found["explained"]],
        labels=predictions["labels"].tolist(),
        predicted=predictions["best"][:, 0].tolist(),
        features=features,
    )


def _whole(points: np.ndarray) -> list[int]:
    """Points in whole numbers 0 to SIDE, both axes on one scale: (n, 2) -> x0, y0, x1, y1, ..."""
    if not len(points):
        return []
    low, span = points.min(axis=0), float(np.ptp(points, axis=0).max()) or 1.0
    return np.rint((points - low) / span * SIDE).astype(int).ravel().tolist()
