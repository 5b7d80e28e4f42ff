"""Quantisers: the nearest code by one product with all codes, its argmax and a lookup, in float32.

Only the output is written, not the losses. With rank 4 the argmax and the lookup are not for the
chip, so quantisers are refused there.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.inference.codebook import unit
from tcnzoo.specs import ResidualVqSpec, VectorQuantizerSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("vector_quantizer")
def vector_quantizer(block: BlockWriter[VectorQuantizerSpec], x: Value) -> Value:
    """The nearest code at each step."""
    check_rank(block)
    return in_graph_type(block, x, _nearest(block, in_float32(block, x), x))


@writes("residual_vq")
def residual_vq(block: BlockWriter[ResidualVqSpec], x: Value) -> Value:
    """The sum of the codes of all levels."""
    check_rank(block)
    residual, total = in_float32(block, x), ""
    for level in range(block.spec.levels):
        part = block.inside(f"levels.{0 if block.spec.shared else level}", block.spec.quantizer)
        code = _nearest(part, residual, x)
        residual = block.op("Sub", residual, code)
        total = block.op("Add", total, code) if total else code
    return in_graph_type(block, x, total)


def check_rank(block: BlockWriter[Any]) -> None:
    """Refuse rank 4."""
    if block.wide:
        raise block.refuse(
            f"{block.spec.kind} looks codes up, which rank 4 leaves to the host; export what comes "
            "before it, or use rank 3"
        )


def in_float32(block: BlockWriter[Any], x: Value) -> str:
    """The input in float32."""
    return block.cast(x, np.float32, block.graph.dtype)


def in_graph_type(block: BlockWriter[Any], x: Value, name: str) -> Value:
    """An output in the graph's type."""
    return replace(x, name=block.cast(name, block.graph.dtype, np.float32))


def per_channel(block: BlockWriter[Any], x: Value, vector: Array) -> str:
    """A number for each channel, which broadcasts against x."""
    return block.graph.constant(vector[:, None] if x.is_signal else vector, np.float32)


def _nearest(block: BlockWriter[VectorQuantizerSpec], values: str, x: Value) -> str:
    """The code nearest to each value of the shape of x, argmax of x.c - |c|^2 / 2 once centred."""
    codes = block.weights[block.full("codebook")].astype(np.float64)
    if block.spec.cosine:
        codes, values = unit(codes), _unit(block, values)
    centre = codes.mean(axis=0)
    centred = codes - centre
    half = -0.5 * np.square(centred).sum(axis=1)
    moved = block.op("Sub", values, per_channel(block, x, centre))
    scores = block.op("Add", _products(block, x, moved, centred), per_channel(block, x, half))
    chosen = block.op("ArgMax", scores, axis=1, keepdims=0)
    nearest = block.op("Gather", block.graph.constant(codes, np.float32), chosen, axis=0)
    return block.op("Transpose", nearest, perm=[0, 2, 1]) if x.is_signal else nearest


def _products(block: BlockWriter[Any], x: Value, values: str, codes: Array) -> Any:
    """Scalar product of each value with each code."""
    if x.is_signal:
        return block.op("MatMul", block.graph.constant(codes, np.float32), values)
    return block.op("MatMul", values, block.graph.constant(codes.T, np.float32))


def _unit(block: BlockWriter[Any], values: str) -> str:
    """Values scaled to length 1."""
    size = block.op("ReduceL2", values, axes=[1], keepdims=1)
    least = block.graph.constant(1e-12, np.float32)
    return block.op("Div", values, block.op("Max", size, least))
