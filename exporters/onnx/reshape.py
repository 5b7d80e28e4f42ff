"""Layers that only move values: signals made vectors, and steps added or dropped at the ends."""

from dataclasses import replace

from tcnzoo.specs import FlattenSpec, PadSpec

from .block import BlockWriter, writes
from .builder import Value
from .conv import padded


@writes("flatten")
def flatten(block: BlockWriter[FlattenSpec], x: Value) -> Value:
    """(batch, channels, length) -> (batch, channels * length)."""
    name = x.name
    if block.spec.order == "time":
        name = block.op("Transpose", name, perm=[0, 3, 2, 1] if block.wide else [0, 2, 1])
    return Value(block.op("Flatten", name, axis=1), (x.channels * block.spec.length,))


@writes("pad")
def pad(block: BlockWriter[PadSpec], x: Value) -> Value:
    """(batch, channels, time) -> (batch, channels, time + left + right)."""
    left, right, kept = block.spec.left, block.spec.right, x
    if left < 0 or right < 0:
        end = right if right < 0 else None
        time = None if x.time is None else x.time + min(0, left) + min(0, right)
        kept = Value(block.cut(x, max(0, -left), end), (x.channels, time))
    name = padded(block, kept, max(0, left), max(0, right), block.spec.mode)
    time = None if x.time is None else x.time + left + right
    return replace(x, name=name, shape=(x.channels, time))
