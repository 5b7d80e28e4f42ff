"""Hidden semi-Markov models: refused."""

from tcnzoo.specs import HsmmSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("hsmm")
def hsmm(block: BlockWriter[HsmmSpec], x: Value) -> Value:
    """Refuse: the recursion is a loop over time."""
    reason = "which rank 4 cannot hold" if block.wide else "which is not written as a graph"
    raise block.refuse(
        f"hsmm is a recursion over time, {reason}; export what comes before it and run it on the "
        "host (tcnzoo.step of the numpy backend needs no framework)"
    )
