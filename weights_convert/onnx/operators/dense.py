"""Dense layers: of vectors, and of the channels of every step."""

from dataclasses import replace

import numpy as np

from tcnzoo.arrays import Array

from ..program.signal import BATCH, CHANNELS, ROWS, TIME, Const, Signal, Unfit
from .reader import NodeReader, handles
from .reshape import flattened


def dense(reader: NodeReader, x: Signal, weight: Const, bias: Const | None) -> Signal:
    """Append a dense layer.

    Args:
        reader: for the layer's node.
        x: its channels are mixed, wherever their axis is.
        weight: (O, I).
        bias: (O,) or None.
    """
    outside, inside = weight.array.shape
    x = reader.with_channels(x, inside)
    arrays = {"weight": weight} | ({"bias": bias} if bias is not None else {})
    layer = reader.add("dense", x, arrays, in_features=inside, out_features=outside)
    return replace(x, layer=layer, channels=outside, open=None)


@handles("Gemm")
def gemm(reader: NodeReader) -> Signal:
    """alpha * x W + beta * c, of a vector or of every step in a row."""
    x, weight, bias = reader.signal(), reader.needed(1), reader.const(2)
    node = reader.node
    if node.get("transA", 0) or weight.array.ndim != 2:
        raise Unfit("it transposes the signal, or its weight is no matrix")
    matrix = weight.array if node.get("transB", 0) else weight.array.T
    x = _channels_last(reader, x, matrix.shape[1])
    weight = _times(weight.now(matrix), node.get("alpha", 1.0))
    if bias is not None:
        bias = _times(bias.now(_row(bias.array, matrix.shape[0])), node.get("beta", 1.0))
    return dense(reader, x, weight, bias)


def _row(bias: Array, width: int) -> Array:
    """A bias that is the same in every row, as a vector."""
    if bias.size not in (1, width) or bias.size != (bias.shape or (1,))[-1]:
        raise Unfit(f"its bias has shape {bias.shape}, where one row of {width} is expected")
    return bias.reshape(-1) if bias.size == width else np.full(width, bias.reshape(-1)[0])


def _times(const: Const, factor: float) -> Const:
    """A constant times a number; the same bits for 1."""
    if factor == 1.0:
        return const
    return const.now(const.array * const.array.dtype.type(factor))


@handles("MatMul")
def matmul(reader: NodeReader) -> Signal:
    """The signal times a matrix from the right, or a matrix times the signal."""
    if isinstance(reader.value(0), Const):
        return _from_the_left(reader)
    x, weight = reader.signal(), reader.needed(1)
    if weight.array.ndim != 2:
        raise Unfit(f"its weight has shape {weight.array.shape}, where a matrix is expected")
    x = _channels_last(reader, x, weight.array.shape[0])
    return dense(reader, x, weight.now(weight.array.T), None)


def _from_the_left(reader: NodeReader) -> Signal:
    """A matrix times the signal (..., channels, time)."""
    weight, x = reader.needed(0), reader.signal(1)
    if weight.array.ndim != 2 or x.roles[-2:] != (CHANNELS, TIME):
        raise Unfit(f"it multiplies axes {x.roles} from the left")
    return dense(reader, x, weight, None)


def _channels_last(reader: NodeReader, x: Signal, inside: int) -> Signal:
    """A signal whose last axis is that of the channels."""
    if x.roles == (BATCH, TIME) and x.channels == 1:
        x = flattened(reader, replace(x, roles=(BATCH, CHANNELS, TIME)), "channels")
    if x.roles[-1] != CHANNELS or x.roles[0] not in (BATCH, ROWS, TIME):
        raise Unfit(f"it mixes the axis {x.roles[-1]!r}, where the channels are expected")
    return reader.with_channels(x, inside)
