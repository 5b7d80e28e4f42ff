"""Rows of electrodes and of places in time, added to tokens."""

from typing import Any

import numpy as np
from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ElectrodeEmbeddingSpec, TimeEmbeddingSpec

from .block import Block, Tensor
from .types import reduced


class ElectrodeEmbedding(Block[ElectrodeEmbeddingSpec], kind="electrode_embedding"):
    """Adds to each token the row of its electrode."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, N, channels) -> the same shape."""
        return reduced(self._added, x, self.arrays["weight"])

    def _added(self, x: Tensor, weight: Any) -> Tensor:
        """Tokens and their rows; the gradient of a row is a sum over batch and time."""
        places, leading = self.spec.rows(), int(self.spec.leads)
        rows = ops.take(ops.transpose(weight), np.asarray(places, dtype="int32"), axis=0)
        electrodes = len(places) - leading
        tokens = ops.shape(x)[1]
        patches = (tokens - leading) // electrodes
        wide = ops.broadcast_to(rows[leading:, None], (electrodes, patches, x.shape[2]))
        added = ops.reshape(wide, (-1, x.shape[2]))
        return x + (ops.concatenate([rows[:1], added], axis=0) if leading else added)


class TimeEmbedding(Block[TimeEmbeddingSpec], kind="time_embedding"):
    """Adds to each token the row of its place in time."""

    def __init__(
        self, spec: TimeEmbeddingSpec, path: str = "", owned: bool = False, **options: Any
    ) -> None:
        """Make the table of sines, where the rows are not learned."""
        super().__init__(spec, path, owned, **options)
        self.sines = None if spec.form == "learned" else spec.sines()

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, N, channels) -> the same shape."""
        if self.sines is None:
            return reduced(self._added, x, self.arrays["weight"])
        sines = ops.convert_to_tensor(self.sines.T, dtype=x.dtype)
        return reduced(self._added, x, sines)

    def _added(self, x: Tensor, weight: Any) -> Tensor:
        """Tokens and their rows; the gradient of a row is a sum over batch and electrodes."""
        leading, electrodes = int(self.spec.cls), self.spec.electrodes
        patches = (ops.shape(x)[1] - leading) // electrodes
        rows = ops.transpose(weight)[:patches]
        y = x[:, leading:] + ops.tile(rows, (electrodes, 1))
        return ops.concatenate([x[:, :leading], y], axis=1) if leading else y
