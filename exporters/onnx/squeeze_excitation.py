"""Squeeze-and-excitation."""

from dataclasses import replace
from typing import Any

import numpy as np

from tcnzoo.specs import SqueezeExcitationSpec

from .block import BlockWriter, writes
from .builder import Value

EXACT = np.dtype(np.float64)


@writes("squeeze_excitation")
def squeeze_excitation(block: BlockWriter[SqueezeExcitationSpec], x: Value) -> Value:
    """x * sigmoid(expand(relu(reduce(mean over time)))), plus x if residual."""
    if block.spec.pool == "global":
        squeezed = Value(block.op("GlobalAveragePool", x), (x.channels, 1))
    else:
        squeezed = replace(x, name=_mean_so_far(block, x))
    if "reduce" in block.spec.children():
        squeezed = block.apply("reduce", squeezed)
        squeezed = replace(squeezed, name=block.op("Relu", squeezed))
    y = block.op("Mul", x, block.op("Sigmoid", block.apply("expand", squeezed)))
    return replace(x, name=block.op("Add", y, x) if block.spec.residual else y)


def _mean_so_far(block: BlockWriter[SqueezeExcitationSpec], x: Value) -> str:
    """Mean of the steps up to each step, earlier chunks included; summed in float64."""
    if block.wide:
        raise block.refuse(
            "squeeze-and-excitation with pool 'cumulative' sums along time, which rank 4 cannot "
            "hold; use pool 'global'"
        )
    graph = block.graph
    signal = block.cast(x, EXACT, graph.dtype)
    length = block.length(x)
    scalar = block.op("Reshape", length, graph.constant([], np.int64))
    first, step = (graph.constant(number, np.int64) for number in (0, 1))
    steps = block.op("Add", block.op("Range", first, scalar, step), graph.integers(1))
    if not block.streaming:
        mean = block.op("Div", _sums(block, signal), block.op("Cast", steps, to=EXACT))
        return block.cast(mean, graph.dtype, EXACT)
    count = block.counter("count")
    steps = block.op("Add", steps, count)
    block.leave_counter("count", block.op("Add", count, length))
    parts = [block.op("Cast", block.read(name), to=EXACT) for name in ("mean", "mean_low")]
    before = block.op("Unsqueeze", block.op("Add", *parts), graph.integers(2))
    total = _sums(block, block.op("Sub", signal, before))
    mean = block.op("Add", before, block.op("Div", total, block.op("Cast", steps, to=EXACT)))
    latest = block.op("Squeeze", block.cut(block.join(before, mean), -1), graph.integers(2))
    high = block.op("Cast", latest, to=np.float32)
    low = block.op("Sub", latest, block.op("Cast", high, to=EXACT))
    block.leave("mean", high)
    block.leave("mean_low", block.op("Cast", low, to=np.float32))
    return block.cast(mean, graph.dtype, EXACT)


def _sums(block: BlockWriter[Any], signal: str) -> str:
    """Sums up to each step."""
    return block.op("CumSum", signal, block.graph.constant(2, np.int64))
