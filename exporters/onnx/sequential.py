"""Layers in order."""

from tcnzoo.specs import SequentialSpec
from tcnzoo.specs.side_inputs import Routes

from .block import BlockWriter, Written, write, writes
from .builder import Value


@writes("sequential")
def sequential(block: BlockWriter[SequentialSpec], x: Value) -> Written:
    """Every layer on the output of the one before; all outputs of the last."""
    routes = Routes.of(block.spec.layers)
    *before, last = block.spec.layers
    if block.spec.output_names:
        for name in before:
            x = block.apply(name, x, routes.taken(name, block.embeddings))
        return write(block.part(last, routes.taken(last, block.embeddings)), x)
    for name in block.spec.layers:
        x = block.apply(name, x, routes.taken(name, block.embeddings))
    return x
