"""Rows of electrodes and of places in time, added to tokens."""

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ElectrodeEmbeddingSpec, TimeEmbeddingSpec

from .block import Block
from .types import beside, reduced


class ElectrodeEmbedding(Block[ElectrodeEmbeddingSpec], kind="electrode_embedding"):
    """Adds to each token the row of its electrode."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, N, channels) -> the same shape."""
        rows, leading = self.spec.rows(), int(self.spec.leads)
        patches = (x.shape[1] - leading) // (len(rows) - leading)
        of_token = rows[:leading] + [row for row in rows[leading:] for _ in range(patches)]
        places = mx.array(of_token)
        return reduced(lambda x, weight: x + weight[places], x, self["weight"])


class TimeEmbedding(Block[TimeEmbeddingSpec], kind="time_embedding"):
    """Adds to each token the row of its place in time."""

    def __init__(self, spec: TimeEmbeddingSpec, path: str = "") -> None:
        """Make the table of sines, where the rows are not learned."""
        super().__init__(spec, path)
        self._sines = None if spec.form == "learned" else spec.sines()

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, N, channels) -> the same shape."""
        leading, electrodes = int(self.spec.cls), self.spec.electrodes
        patches = (x.shape[1] - leading) // electrodes
        weight = self["weight"] if self._sines is None else beside(x, self._sines)

        def added(x: mx.array, weight: mx.array) -> mx.array:
            y = x[:, leading:] + mx.tile(weight[:patches], (electrodes, 1))
            return mx.concatenate([x[:, :leading], y], axis=1) if leading else y

        return reduced(added, x, weight)
