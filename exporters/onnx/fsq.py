"""Finite scalar quantisation, in float32."""

import numpy as np

from tcnzoo.specs import FsqSpec

from .block import BlockWriter, writes
from .builder import Value
from .vector_quantizer import check_rank, in_float32, in_graph_type, per_channel


@writes("fsq")
def fsq(block: BlockWriter[FsqSpec], x: Value) -> Value:
    """Bounded and rounded channels."""
    check_rank(block)
    half, offset, shift, width, _ = (
        per_channel(block, x, np.array(numbers)) for numbers in zip(*block.spec.bounds, strict=True)
    )
    name = block.op("Tanh", block.op("Add", in_float32(block, x), shift))
    name = block.op("Round", block.op("Sub", block.op("Mul", name, half), offset))
    return in_graph_type(block, x, block.op("Div", name, width))
