"""Dense layers, and features of unit length."""

from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ProjectionHeadSpec

from .block import Block, Tensor
from .dense import Dense, DenseBlock
from .types import wide


class ProjectionHead(Block[ProjectionHeadSpec], kind="projection_head"):
    """Dense blocks, a dense layer, and division by the length of the features."""

    levels: dict[int, DenseBlock]
    output: Dense

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, ..., in_features) -> (batch, ..., out_features)."""
        for level in self.levels.values():
            x = level(x, stream)
        x = self.output(x, stream)
        if not self.spec.normalize:
            return x
        values = wide(x)
        squares = ops.sum(ops.square(values), axis=-1, keepdims=True)
        return ops.cast(values * ops.rsqrt(squares + self.spec.eps), x.dtype)
