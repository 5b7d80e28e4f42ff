"""Squeeze-and-excitation."""

from dataclasses import replace

import numpy as np

from .builder import Value
from .emit import Place, emits

EXACT = np.dtype(np.float64)


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
    """Mean of the steps up to each step, earlier chunks included; summed in float64."""
    if place.wide:
        raise place.refuse(
            "squeeze-and-excitation with pool 'cumulative' sums along time, which rank 4 cannot "
            "hold; use pool 'global'"
        )
    graph = place.graph
    signal = place.cast(x, EXACT, graph.dtype)
    length = place.length(x)
    scalar = place.op("Reshape", length, graph.constant([], np.int64))
    zero, one = (graph.constant(number, np.int64) for number in (0, 1))
    steps = place.op("Add", place.op("Range", zero, scalar, one), graph.integers(1))
    if not place.streaming:
        mean = place.op("Div", _sums(place, signal), place.op("Cast", steps, to=EXACT))
        return place.cast(mean, graph.dtype, EXACT)
    count = place.counter("count")
    steps = place.op("Add", steps, count)
    place.leave_counter("count", place.op("Add", count, length))
    parts = [place.op("Cast", place.read(name), to=EXACT) for name in ("mean", "mean_low")]
    before = place.op("Unsqueeze", place.op("Add", *parts), graph.integers(2))
    total = _sums(place, place.op("Sub", signal, before))
    mean = place.op("Add", before, place.op("Div", total, place.op("Cast", steps, to=EXACT)))
    latest = place.op("Squeeze", place.cut(place.join(before, mean), -1), graph.integers(2))
    high = place.op("Cast", latest, to=np.float32)
    low = place.op("Sub", latest, place.op("Cast", high, to=EXACT))
    place.leave("mean", high)
    place.leave("mean_low", place.op("Cast", low, to=np.float32))
    return place.cast(mean, graph.dtype, EXACT)


def _sums(place: Place, signal: str) -> str:
    """Sums up to each step."""
    return place.op("CumSum", signal, place.graph.constant(2, np.int64))
