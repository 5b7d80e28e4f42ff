"""Codes, clusters and segments in one model: refused."""

from tcnzoo.specs import VqHdpHsmmSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("vq_hdp_hsmm")
def vq_hdp_hsmm(block: BlockWriter[VqHdpHsmmSpec], x: Value) -> Value:
    """Refuse: segments are found by loops that look at the whole signal."""
    raise block.refuse(
        "a vq_hdp_hsmm finds segments in the whole signal, which is not written as a graph; export "
        "the part that scores codes (tcnzoo.runtimes.code_scores) and run the rest on the host"
    )
