"""Channel adapters: mixtures of electrodes as convolutions of one step, and attention to tokens."""

import math
from dataclasses import replace

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.specs import ChannelAdapterSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("channel_adapter")
def channel_adapter(block: BlockWriter[ChannelAdapterSpec], x: Value) -> Value:
    """(batch, sources, ...) -> (batch, targets, ...)."""
    spec = block.spec
    if spec.method == "perceiver":
        return _attended(block, x)
    parts = () if spec.mixes else ("query", "key")
    names = [f"{part}.{tensor}" for part in parts for tensor in ("weight", "bias")]
    weights = spec.mixture({name: block.weights[block.full(name)] for name in names})
    if not x.is_signal:
        name = block.op("MatMul", x, block.graph.constant(weights.T))
    else:
        ones = [1] * (2 if block.wide or x.has_devices else 1)
        kernel = block.graph.constant(weights.reshape(*weights.shape, *ones))
        name = block.op("Conv", x, kernel)
    return replace(x, name=name, shape=(len(spec.targets), *x.shape[1:]))


def _dense(block: BlockWriter[ChannelAdapterSpec], name: str, x: Array) -> Array:
    """A dense part, of what is known beforehand."""
    weight, bias = (
        block.weights[block.full(f"{name}.{tensor}")].astype(np.float64)
        for tensor in ("weight", "bias")
    )
    y: Array = x @ weight.T + bias
    return y


def _attended(block: BlockWriter[ChannelAdapterSpec], x: Value) -> Value:
    """Queries of the targets attend to the tokens of each patch."""
    if block.wide:
        raise block.refuse("a perceiver makes tokens of patches, which rank 4 cannot hold")
    graph, spec = block.graph, block.spec
    sources, targets, width, heads = len(spec.sources), len(spec.targets), spec.inner, spec.heads
    each, patch = width // heads, spec.patch

    def reshaped(name: str | Value, *shape: int) -> str:
        return block.op("Reshape", name, graph.integers(*shape))

    def turned(name: str, *axes: int) -> str:
        return block.op("Transpose", name, perm=list(axes))

    def mapped(part: str, name: str) -> str:
        weight, bias = (
            graph.weight(block.full(f"{part}.{tensor}"), array)
            for tensor in ("weight", "bias")
            for array in [block.weights[block.full(f"{part}.{tensor}")]]
        )
        return block.op("Add", block.op("MatMul", name, turned(weight, 1, 0)), bias)

    # (batch, patches, sources, patch), and tokens for its last axis.
    patches = turned(reshaped(x, 0, sources, -1, patch), 0, 2, 1, 3)
    directions = graph.constant(_dense(block, "direction", spec.source_directions()))
    tokens = block.op("Add", mapped("value", patches), directions)
    keys = turned(reshaped(mapped("key", tokens), 0, 0, sources, heads, each), 0, 1, 3, 4, 2)
    contents = turned(
        reshaped(mapped("content", tokens), 0, 0, sources, heads, each), 0, 1, 3, 2, 4
    )
    learned = graph.weight(block.full("queries"), block.weights[block.full("queries")])
    queries = turned(reshaped(learned, targets, heads, each), 1, 0, 2)
    scores = block.op("MatMul", queries, keys)
    scores = block.op("Div", scores, graph.constant(math.sqrt(each)))
    taken = block.op("MatMul", block.op("Softmax", scores, axis=-1), contents)
    rows = reshaped(turned(taken, 0, 1, 3, 2, 4), 0, 0, targets, width)
    norm = block.part("norm")
    normed = block.op(
        "LayerNormalization", block.op("Add", rows, learned),
        norm.vector("weight"), norm.vector("bias"), axis=-1, epsilon=norm.spec.eps,
    )  # fmt: skip
    made = turned(mapped("output", normed), 0, 2, 1, 3)
    return replace(x, name=reshaped(made, 0, targets, -1), shape=(targets, *x.shape[1:]))
