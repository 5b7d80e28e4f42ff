"""Learned tokens."""

from dataclasses import replace

from tcnzoo.specs import ClsTokenSpec, MaskTokenSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("cls_token")
def cls_token(block: BlockWriter[ClsTokenSpec], x: Value) -> Value:
    """(batch, channels, N) -> (batch, channels, N + 1)."""
    graph = block.graph
    token = block.over_time(block.vector("token"))
    batch = block.op("Shape", x, start=0, end=1)
    rest = graph.integers(x.channels, *[1] * (graph.rank - 2))
    first = block.op("Expand", token, block.op("Concat", batch, rest, axis=0))
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
