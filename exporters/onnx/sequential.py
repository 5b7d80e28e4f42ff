"""Layers in order."""

from .builder import Value
from .emit import Place, emits


@emits("sequential")
def sequential(place: Place, x: Value) -> Value:
    """Every layer on the output of the one before."""
    for name in place.spec.layers:
        x = place.apply(name, x)
    return x
