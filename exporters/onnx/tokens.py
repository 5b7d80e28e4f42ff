"""Learned tokens."""

from dataclasses import replace

from tcnzoo.specs import ClsTokenSpec, MaskTokenSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("cls_token")
def cls_token(block: BlockWriter[ClsTokenSpec], x: Value) -> Value:
    """(batch, channels, N) -> (batch, channels, N + 1)."""
    graph = block.graph
    if block.wide:  # of batch 1
        token = block.weights[block.full("token")].reshape(1, -1, 1, 1)
        first = graph.weight(block.full("token"), token)
    else:
        batch = block.op("Shape", x, start=0, end=1)
        shape = block.op("Concat", batch, graph.integers(x.channels, 1), axis=0)
        first = block.op("Expand", block.over_time(block.vector("token")), shape)
    time = None if x.time is None else x.time + 1
    return replace(x, name=block.join(first, x), shape=(x.channels, time))


@writes("mask_token")
def mask_token(block: BlockWriter[MaskTokenSpec], x: Value) -> Value:
    """(batch, channels, N) and the mask (batch, N) -> (batch, channels, N)."""
    (mask,) = block.embeddings
    chosen = block.op("Greater", mask, block.graph.constant(0.5))
    axes = range(1, block.graph.rank - 1)
    over_channels = block.op("Unsqueeze", chosen, block.graph.integers(*axes))
    token = block.over_time(block.vector("token"))
    return replace(x, name=block.op("Where", over_channels, token, x))
