"""Layers that only move values: signals made vectors, and steps added or dropped at the ends."""

from dataclasses import replace

from .builder import Value
from .conv import padded
from .emit import Place, emits


@emits("flatten")
def flatten(place: Place, x: Value) -> Value:
    """(batch, channels, length) -> (batch, channels * length)."""
    name = x.name
    if place.spec.order == "time":
        name = place.op("Transpose", name, perm=[0, 3, 2, 1] if place.wide else [0, 2, 1])
    return Value(place.op("Flatten", name, axis=1), (x.channels * place.spec.length,))


@emits("pad")
def pad(place: Place, x: Value) -> Value:
    """(batch, channels, time) -> (batch, channels, time + left + right)."""
    left, right, kept = place.spec.left, place.spec.right, x
    if left < 0 or right < 0:
        end = right if right < 0 else None
        time = None if x.time is None else x.time + min(0, left) + min(0, right)
        kept = Value(place.cut(x, max(0, -left), end), (x.channels, time))
    name = padded(place, kept, max(0, left), max(0, right), place.spec.mode)
    time = None if x.time is None else x.time + left + right
    return replace(x, name=name, shape=(x.channels, time))
