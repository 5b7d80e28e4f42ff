"""The temporal block and the stack of them."""

from dataclasses import replace
from typing import Any

from tcnzoo.specs import TcnSpec, TemporalBlockSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("temporal_block")
def temporal_block(block: BlockWriter[TemporalBlockSpec], x: Value) -> tuple[Value, Value]:
    """(batch, in, time) -> (activation(residual + out), out), both (batch, channels, time)."""
    out = block.optional("norm1", block.apply("conv1", x))
    if block.embeddings:
        out = _condition(block, out)
    out = block.optional("dropout", block.apply("activation1", out))
    out = block.optional("norm2", block.apply("conv2", out))
    out = block.optional("dropout", block.apply("activation2", out))
    out = block.optional("se", out)
    total = replace(out, name=block.op("Add", block.optional("residual", x), out))
    return block.apply("activation", total), out


def _condition(block: BlockWriter[TemporalBlockSpec], x: Value) -> Value:
    """Add the projected embeddings, or concatenate and project back."""
    signals = [_as_signal(block, embedding) for embedding in block.embeddings]
    if len({signal.time for signal in signals}) > 1:
        signals = [_over_all_steps(block, signal, x) for signal in signals]
    width = sum(signal.channels for signal in signals)
    joined = signals[0].name if len(signals) == 1 else block.op("Concat", *signals, axis=1)
    together = replace(signals[0], name=joined, shape=(width, signals[0].time))
    projected = block.apply("embedding1", together)
    if block.spec.embedding_mode == "add":
        return replace(x, name=block.op("Add", x, projected))
    projected = _over_all_steps(block, projected, x)
    both = block.op("Concat", x, projected, axis=1)
    return block.apply("embedding2", replace(x, name=both, shape=(2 * x.channels, x.time)))


def _as_signal(block: BlockWriter[Any], embedding: Value) -> Value:
    """An embedding for all steps as a signal of one."""
    if embedding.is_signal:
        return embedding
    name = block.op("Unsqueeze", embedding, block.graph.integers(2))
    return Value(name, (embedding.channels, 1))


def _over_all_steps(block: BlockWriter[Any], embedding: Value, x: Value) -> Value:
    """An embedding of one step, repeated for every step of x."""
    if embedding.time != 1:
        return embedding
    shape = block.op("Concat", block.graph.integers(1, 1), block.length(x), axis=0)
    return replace(x, name=block.op("Expand", embedding, shape), shape=(embedding.channels, x.time))


@writes("tcn")
def tcn(block: BlockWriter[TcnSpec], x: Value) -> Value:
    """(batch, in, time) -> (batch, out_channels, time)."""
    skips: Value | None = None
    last = len(block.spec.channels) - 1
    for level in range(last + 1):
        x, out = temporal_block(block.part(f"blocks.{level}"), x)
        if block.spec.skip_connections and level < last:
            out = block.optional(f"skips.{level}", out)
            skips = out if skips is None else replace(out, name=block.op("Add", skips, out))
    if block.spec.skip_connections:
        total = x if skips is None else replace(x, name=block.op("Add", skips, x))
        x = block.apply("activation", total)
    return block.optional("output_activation", block.optional("output", x))
