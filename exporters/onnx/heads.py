"""Several layers that read the same input."""

from tcnzoo.specs import HeadsSpec
from tcnzoo.specs.side_inputs import Routes

from .block import BlockWriter, writes
from .builder import Value


@writes("heads")
def heads(block: BlockWriter[HeadsSpec], x: Value) -> dict[str, Value]:
    """The output of each head, by task."""
    routes = Routes.of(block.spec.heads)
    return {
        name: block.apply(name, x, routes.taken(name, block.embeddings))
        for name in block.spec.heads
    }
