"""Batch norm with running statistics, and layer norm over channels."""

from dataclasses import replace

from .builder import Value
from .emit import Place, emits


@emits("batch_norm")
def batch_norm(place: Place, x: Value) -> Value:
    """Normalise by the running statistics."""
    vectors = [place.vector(name) for name in ("weight", "bias", "running_mean", "running_var")]
    return replace(x, name=place.op("BatchNormalization", x, *vectors, epsilon=place.spec.eps))


@emits("layer_norm")
def layer_norm(place: Place, x: Value) -> Value:
    """Normalise over the channels of each step, which ONNX wants last."""
    vectors = [place.vector(name) for name in ("weight", "bias")]
    name = x.name
    if x.is_signal:
        name = place.op("Transpose", name, perm=[0, 2, 3, 1] if place.wide else [0, 2, 1])
    name = place.op("LayerNormalization", name, *vectors, axis=-1, epsilon=place.spec.eps)
    if x.is_signal:
        name = place.op("Transpose", name, perm=[0, 3, 1, 2] if place.wide else [0, 2, 1])
    return replace(x, name=name)
