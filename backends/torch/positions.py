"""Rows of electrodes and of places in time, added to tokens."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ElectrodeEmbeddingSpec, TimeEmbeddingSpec

from .block import Block


class ElectrodeEmbedding(Block[ElectrodeEmbeddingSpec], kind="electrode_embedding"):
    """Adds to each token the row of its electrode."""

    weight: Tensor

    def __init__(self, spec: ElectrodeEmbeddingSpec, path: str = "") -> None:
        """Find the row of each electrode."""
        super().__init__(spec, path)
        self.rows = spec.rows()

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, N) -> the same shape, tokens contiguous in memory."""
        leading = int(self.spec.leads)
        electrodes = len(self.rows) - leading
        places = torch.tensor(self.rows, device=x.device)
        rows = F.embedding(places, self.weight)
        patches = (x.shape[2] - leading) // electrodes
        added = rows[leading:].unsqueeze(1).expand(-1, patches, -1).flatten(0, 1)
        if leading:
            added = torch.cat([rows[:1], added])
        return (x.transpose(1, 2) + added.to(x.dtype)).transpose(1, 2)


class TimeEmbedding(Block[TimeEmbeddingSpec], kind="time_embedding"):
    """Adds to each token the row of its place in time."""

    weight: Tensor | None

    def __init__(self, spec: TimeEmbeddingSpec, path: str = "") -> None:
        """Make the table of sines, where the rows are not learned."""
        super().__init__(spec, path)
        self.sines = None if spec.form == "learned" else torch.from_numpy(spec.sines())

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, N) -> the same shape, tokens contiguous in memory."""
        leading = int(self.spec.cls)
        patches = (x.shape[2] - leading) // self.spec.electrodes
        weight: Any = self.weight if self.sines is None else self.sines
        rows: Tensor = weight[:patches].to(device=x.device, dtype=x.dtype)
        added = rows.repeat(self.spec.electrodes, 1)
        if leading:
            added = F.pad(added, (0, 0, 1, 0))
        return (x.transpose(1, 2) + added).transpose(1, 2)
