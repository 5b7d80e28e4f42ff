"""Quantisers: the nearest code by one product with all codes, its argmax and a lookup, in float32.

Only the output is written, not the losses. With rank 4 the argmax and the lookup are not for the
chip, so quantisers are refused there.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.inference.codebook import unit

from .builder import Value
from .emit import Place, emits


@emits("vector_quantizer")
def vector_quantizer(place: Place, x: Value) -> Value:
    """The nearest code at each step."""
    _check(place)
    return _given(place, x, _nearest(place, _taken(place, x), x))


@emits("residual_vq")
def residual_vq(place: Place, x: Value) -> Value:
    """The sum of the codes of all levels."""
    _check(place)
    residual, total = _taken(place, x), ""
    for level in range(place.spec.levels):
        part = place.part(f"levels.{0 if place.spec.shared else level}", place.spec.quantizer)
        code = _nearest(part, residual, x)
        residual = place.op("Sub", residual, code)
        total = place.op("Add", total, code) if total else code
    return _given(place, x, total)


@emits("fsq")
def fsq(place: Place, x: Value) -> Value:
    """Bounded and rounded channels."""
    _check(place)
    half, offset, shift, width, _ = (
        _constant(place, x, np.array(row)) for row in zip(*place.spec.bounds, strict=True)
    )
    name = place.op("Tanh", place.op("Add", _taken(place, x), shift))
    name = place.op("Round", place.op("Sub", place.op("Mul", name, half), offset))
    return _given(place, x, place.op("Div", name, width))


def _check(place: Place) -> None:
    """Refuse rank 4."""
    if place.wide:
        raise place.refuse(
            f"{place.spec.kind} looks codes up, which rank 4 leaves to the host; export what comes "
            "before it, or use rank 3"
        )


def _taken(place: Place, x: Value) -> str:
    """The input in float32."""
    return place.cast(x, np.float32, place.graph.dtype)


def _given(place: Place, x: Value, name: str) -> Value:
    """An output in the graph's type."""
    return replace(x, name=place.cast(name, place.graph.dtype, np.float32))


def _constant(place: Place, x: Value, row: Array) -> str:
    """A number for each channel, which broadcasts against x."""
    return place.graph.constant(row[:, None] if x.is_signal else row, np.float32)


def _nearest(place: Place, values: str, x: Value) -> str:
    """The code nearest to each value of the shape of x, argmax of x.c - |c|^2 / 2 once centred."""
    codes = place.weights[place.full("codebook")].astype(np.float64)
    if place.spec.cosine:
        codes, values = unit(codes), _unit(place, values)
    centre = codes.mean(axis=0)
    centred = codes - centre
    half = -0.5 * np.square(centred).sum(axis=1)
    moved = place.op("Sub", values, _constant(place, x, centre))
    scores = place.op("Add", _products(place, x, moved, centred), _constant(place, x, half))
    chosen = place.op("ArgMax", scores, axis=1, keepdims=0)
    found = place.op("Gather", place.graph.constant(codes, np.float32), chosen, axis=0)
    return place.op("Transpose", found, perm=[0, 2, 1]) if x.is_signal else found


def _products(place: Place, x: Value, values: str, codes: Array) -> Any:
    """Scalar product of each value with each code."""
    if x.is_signal:
        return place.op("MatMul", place.graph.constant(codes, np.float32), values)
    return place.op("MatMul", values, place.graph.constant(codes.T, np.float32))


def _unit(place: Place, values: str) -> str:
    """Values scaled to length 1."""
    size = place.op("ReduceL2", values, axes=[1], keepdims=1)
    least = place.graph.constant(1e-12, np.float32)
    return place.op("Div", values, place.op("Max", size, least))
