"""Batch norm with running statistics, and layer and root-mean-square norm over channels."""

from dataclasses import replace

import numpy as np

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
    name, four = x.name, place.wide or x.has_devices
    if x.is_signal:
        name = place.op("Transpose", name, perm=[0, 2, 3, 1] if four else [0, 2, 1])
    name = place.op("LayerNormalization", name, *vectors, axis=-1, epsilon=place.spec.eps)
    if x.is_signal:
        name = place.op("Transpose", name, perm=[0, 3, 1, 2] if four else [0, 2, 1])
    return replace(x, name=name)


@emits("rms_norm")
def rms_norm(place: Place, x: Value) -> Value:
    """x / sqrt(mean(x^2) + eps) * weight, the mean over a group's channels, in float32."""
    if place.wide:
        raise place.refuse(
            "rms_norm takes a mean over some of the channels, which rank 4 cannot hold; use rank 3"
        )
    graph, spec, leading = place.graph, place.spec, [0] * len(x.shape)
    name = place.cast(x, np.float32, graph.dtype)
    if x.is_signal:
        name = place.op("Transpose", name, perm=[0, 2, 1])
    apart = graph.integers(*leading, spec.groups, x.channels // spec.groups)
    groups = place.op("Reshape", name, apart)
    mean = place.op("ReduceMean", place.op("Mul", groups, groups), axes=[-1], keepdims=1)
    size = place.op("Sqrt", place.op("Add", mean, graph.constant(spec.eps, np.float32)))
    name = place.op("Reshape", place.op("Div", groups, size), graph.integers(*leading, x.channels))
    name = place.op("Mul", name, place.cast(place.vector("weight"), np.float32, graph.dtype))
    if x.is_signal:
        name = place.op("Transpose", name, perm=[0, 2, 1])
    return replace(x, name=place.cast(name, graph.dtype, np.float32))
