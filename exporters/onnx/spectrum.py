"""Amplitude or phase of the Fourier transform of patches."""

import math

import numpy as np

from tcnzoo.specs import SpectrumSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("spectrum")
def spectrum(block: BlockWriter[SpectrumSpec], x: Value) -> Value:
    """(batch, E, A * patch) -> (batch, bins, E * A), in float32."""
    if block.wide:
        raise block.refuse("spectrum makes tokens of patches, which rank 4 cannot hold")
    graph, spec = block.graph, block.spec
    count = None if x.time is None else x.channels * (x.time // spec.patch)
    wide = block.cast(x, np.float32, graph.dtype)
    tokens = block.op("Reshape", wide, graph.integers(0, -1, spec.patch))
    cosines, sines = (graph.constant(table, np.float32) for table in spec.waves())
    real, imaginary = block.op("MatMul", tokens, cosines), block.op("MatMul", tokens, sines)
    edges = (0, 1, 1 + spec.between, spec.patch // 2 + 1)
    first, inner, outer = (
        block.op("Slice", real, *(graph.integers(n) for n in (start, stop, 2)))
        for start, stop in zip(edges, edges[1:], strict=False)
    )
    if spec.value == "phase":
        inside = _angles(block, inner, imaginary)
        pi = graph.constant(math.pi, np.float32)
        zero = graph.constant(0.0, np.float32)
        first, outer = (
            block.op("Where", block.op("Less", part, zero), pi, zero) for part in (first, outer)
        )
    else:
        squares = [block.op("Mul", part, part) for part in (inner, imaginary)]
        inside = block.op("Sqrt", block.op("Add", *squares))
        first, outer = (block.op("Abs", part) for part in (first, outer))
    parts = [first, inside, outer]
    if spec.bins == "full":
        backwards = np.arange(spec.between)[::-1]
        mirrored = block.op("Gather", inside, graph.constant(backwards, np.int64), axis=2)
        parts.append(block.op("Neg", mirrored) if spec.value == "phase" else mirrored)
    y = block.op("Concat", *parts, axis=2)
    y = _normalised(block, y) if spec.normalized else y
    name = block.op("Transpose", block.cast(y, graph.dtype, np.float32), perm=[0, 2, 1])
    return Value(name, (spec.width, count))


def _angles(block: BlockWriter[SpectrumSpec], real: str, imaginary: str) -> str:
    """The angle of numbers, by the arc tangent of the smaller part over the larger one."""
    graph = block.graph
    zero, unit = graph.constant(0.0, np.float32), graph.constant(1.0, np.float32)
    sizes = [block.op("Abs", part) for part in (real, imaginary)]
    larger, smaller = block.op("Max", *sizes), block.op("Min", *sizes)
    divisor = block.op("Where", block.op("Equal", larger, zero), unit, larger)
    angle = block.op("Atan", block.op("Div", smaller, divisor))
    steep = block.op("Greater", sizes[1], sizes[0])
    quarter = graph.constant(math.pi / 2.0, np.float32)
    angle = block.op("Where", steep, block.op("Sub", quarter, angle), angle)
    behind = block.op("Sub", graph.constant(math.pi, np.float32), angle)
    angle = block.op("Where", block.op("Less", real, zero), behind, angle)
    return block.op("Where", block.op("Less", imaginary, zero), block.op("Neg", angle), angle)


def _normalised(block: BlockWriter[SpectrumSpec], y: str) -> str:
    """All values of a signal less their mean, over their unbiased deviation; zeros without one."""
    graph = block.graph
    flat = block.op("Flatten", y, axis=1)
    centred = block.op("Sub", flat, block.op("ReduceMean", flat, axes=[1], keepdims=1))
    size = block.op("Cast", block.op("Shape", flat, start=1, end=2), to=np.float32)
    unit = graph.constant(1.0, np.float32)
    count = block.op("Max", unit, block.op("Sub", size, unit))
    squares = block.op("Mul", centred, centred)
    sums = block.op("ReduceSum", squares, graph.integers(1), keepdims=1)
    variance = block.op("Div", sums, count)
    spread = block.op("Greater", variance, graph.constant(0.0, np.float32))
    deviation = block.op("Sqrt", block.op("Where", spread, variance, unit))
    return block.op("Reshape", block.op("Div", centred, deviation), block.op("Shape", y))
