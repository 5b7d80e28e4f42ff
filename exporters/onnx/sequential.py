"""Layers in order."""

from tcnzoo.specs import SequentialSpec
from tcnzoo.specs.side_inputs import Routes

from .block import BlockWriter, writes
from .builder import Value


@writes("sequential")
def sequential(block: BlockWriter[SequentialSpec], x: Value) -> Value:
    """Every layer on the output of the one before."""
    routes = Routes.of(block.spec.layers)
    for name in block.spec.layers:
        x = block.apply(name, x, routes.taken(name, block.embeddings))
    return x
