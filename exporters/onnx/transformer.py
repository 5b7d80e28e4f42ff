"""Transformers: the block of attention and dense layers, and a stack of it."""

from dataclasses import replace

from tcnzoo.specs import DropPathSpec, TransformerBlockSpec, TransformerSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("drop_path")
def drop_path(block: BlockWriter[DropPathSpec], x: Value) -> Value:
    """The identity: paths are dropped in training."""
    return x


@writes("transformer_block")
def transformer_block(block: BlockWriter[TransformerBlockSpec], x: Value) -> Value:
    """Attention and dense layers, each beside a residual path."""
    if block.spec.norm_first:
        x = _sum(block, x, "layer_scale1", block.apply("attention", block.apply("norm1", x, ())))
        return _sum(block, x, "layer_scale2", _mlp(block, block.apply("norm2", x, ())))
    x = block.apply("norm1", _sum(block, x, "layer_scale1", block.apply("attention", x)), ())
    return block.apply("norm2", _sum(block, x, "layer_scale2", _mlp(block, x)), ())


def _mlp(block: BlockWriter[TransformerBlockSpec], x: Value) -> Value:
    """The dense layers."""
    hidden = block.apply("fc1", x, ())
    if not block.spec.mlp.gated:
        return block.apply("fc2", block.apply("activation", hidden, ()), ())
    gate = block.apply("activation", block.apply("gate", x, ()), ())
    return block.apply("fc2", replace(hidden, name=block.op("Mul", gate, hidden)), ())


def _sum(block: BlockWriter[TransformerBlockSpec], x: Value, scale: str, y: Value) -> Value:
    """X and what a residual path adds."""
    added = y.name
    if block.spec.layer_scale is not None:
        added = block.op("Mul", added, block.over_time(block.vector(scale)))
    return replace(x, name=block.op("Add", x, added))


@writes("transformer")
def transformer(block: BlockWriter[TransformerSpec], x: Value) -> Value:
    """Blocks, one after the other, and a last norm."""
    for index in range(block.spec.depth):
        x = block.apply(f"blocks.{index}", x)
    return block.apply("norm", x, ()) if block.spec.norm is not None else x
