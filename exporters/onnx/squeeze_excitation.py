"""Squeeze-and-excitation."""

from dataclasses import replace

import numpy as np

from .builder import Value
from .emit import Place, emits


@emits("squeeze_excitation")
def squeeze_excitation(place: Place, x: Value) -> Value:
    """x * sigmoid(expand(relu(reduce(mean over time)))), plus x if residual."""
    if place.spec.pool == "global":
        squeezed = Value(place.op("GlobalAveragePool", x), (x.channels, 1))
    else:
        squeezed = replace(x, name=_mean_so_far(place, x))
    if "reduce" in place.spec.children():
        squeezed = place.apply("reduce", squeezed)
        squeezed = replace(squeezed, name=place.op("Relu", squeezed))
    y = place.op("Mul", x, place.op("Sigmoid", place.apply("expand", squeezed)))
    return replace(x, name=place.op("Add", y, x) if place.spec.residual else y)


def _mean_so_far(place: Place, x: Value) -> str:
    """Mean of the steps up to each step, earlier chunks included; summed in float32."""
    if place.wide:
        raise place.refuse(
            "squeeze-and-excitation with pool 'cumulative' sums along time, which rank 4 cannot "
            "hold; use pool 'global'"
        )
    graph = place.graph
    exact = place.cast(x, np.float32, graph.dtype)
    total = place.op("CumSum", exact, graph.constant(2, np.int64))
    length = place.length(x)
    scalar = place.op("Reshape", length, graph.constant([], np.int64))
    zero, one = (graph.constant(number, np.int64) for number in (0, 1))
    steps = place.op("Add", place.op("Range", zero, scalar, one), graph.integers(1))
    if place.streaming:
        count = place.counter("count")
        before = place.op("Unsqueeze", place.read("mean"), graph.integers(2))
        earlier = place.op("Mul", before, place.op("Cast", count, to=np.float32))
        total = place.op("Add", total, earlier)
        steps = place.op("Add", steps, count)
        place.leave_counter("count", place.op("Add", count, length))
    mean = place.op("Div", total, place.op("Cast", steps, to=np.float32))
    if place.streaming:
        latest = place.cut(place.join(before, mean), -1)
        place.leave("mean", place.op("Squeeze", latest, graph.integers(2)))
    return place.cast(mean, graph.dtype, np.float32)
