"""Dense layers, and features of unit length."""

from dataclasses import replace

import numpy as np

from tcnzoo.specs import ProjectionHeadSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("projection_head")
def projection_head(block: BlockWriter[ProjectionHeadSpec], x: Value) -> Value:
    """(batch, in_features, ...) -> (batch, out_features, ...), lengths in float32."""
    for name in block.spec.children():
        x = block.apply(name, x)
    if not block.spec.normalize:
        return x
    graph = block.graph
    wide = block.cast(x, np.float32, graph.dtype)
    axes = graph.integers(1)
    squares = block.op("ReduceSum", block.op("Mul", wide, wide), axes, keepdims=1)
    length = block.op("Sqrt", block.op("Add", squares, graph.constant(block.spec.eps, np.float32)))
    return replace(x, name=block.cast(block.op("Div", wide, length), graph.dtype, np.float32))
