"""Dense layers, and features of unit length."""

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ProjectionHeadSpec

from .block import Block
from .dense import Dense, DenseBlock
from .types import wide


class ProjectionHead(Block[ProjectionHeadSpec], kind="projection_head"):
    """Dense blocks, a dense layer, and division by the length of the features."""

    levels: list[DenseBlock] | None
    output: Dense

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, ..., in_features) -> (batch, ..., out_features)."""
        for level in self.levels or ():
            x = level(x, stream)
        x = self.output(x, stream)
        if not self.spec.normalize:
            return x
        values = wide(x)
        size = mx.rsqrt(mx.square(values).sum(axis=-1, keepdims=True) + self.spec.eps)
        return (values * size).astype(x.dtype)
