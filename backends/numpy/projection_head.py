"""Dense layers, and features of unit length."""

import numpy as np

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ProjectionHeadSpec

from .block import Array, Block
from .dense import Dense, DenseBlock


class ProjectionHead(Block[ProjectionHeadSpec], kind="projection_head"):
    """Dense blocks, a dense layer, and division by the length of the features."""

    levels: dict[int, DenseBlock]
    output: Dense

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, in_features, ...) -> (batch, out_features, ...)."""
        for level in self.levels.values():
            x = level(x, stream)
        x = self.output(x, stream)
        if not self.spec.normalize:
            return x
        return x / np.sqrt((x**2).sum(axis=1, keepdims=True) + self.spec.eps)
