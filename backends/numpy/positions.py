"""Rows of electrodes and of places in time, added to tokens."""

import numpy as np

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ElectrodeEmbeddingSpec, TimeEmbeddingSpec

from .block import Array, Block


class ElectrodeEmbedding(Block[ElectrodeEmbeddingSpec], kind="electrode_embedding"):
    """Adds to each token the row of its electrode."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, N) -> the same shape."""
        rows, leading = self.spec.rows(), int(self.spec.leads)
        patches = (x.shape[2] - leading) // (len(rows) - leading)
        of_token = rows[:leading] + [row for row in rows[leading:] for _ in range(patches)]
        return x + self.arrays["weight"][of_token].T


class TimeEmbedding(Block[TimeEmbeddingSpec], kind="time_embedding"):
    """Adds to each token the row of its place in time."""

    def __init__(self, spec: TimeEmbeddingSpec, path: str, dtype: str) -> None:
        """Make the table of sines, where the rows are not learned."""
        super().__init__(spec, path, dtype)
        self.sines = None if spec.form == "learned" else spec.sines().astype(dtype)

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, N) -> the same shape."""
        leading = int(self.spec.cls)
        patches = (x.shape[2] - leading) // self.spec.electrodes
        weight = self.arrays["weight"] if self.sines is None else self.sines
        added = np.tile(weight[:patches].T, self.spec.electrodes)
        return np.concatenate([x[:, :, :leading], x[:, :, leading:] + added], axis=2)
