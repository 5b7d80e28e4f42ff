"""Layers in order."""

from tcnzoo.specs import SequentialSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("sequential")
def sequential(block: BlockWriter[SequentialSpec], x: Value) -> Value:
    """Every layer on the output of the one before."""
    for name in block.spec.layers:
        x = block.apply(name, x)
    return x
