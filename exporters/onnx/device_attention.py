"""Layers between devices: attention, pooling, and channels dealt out to devices."""

import math
from dataclasses import replace

from .builder import Value
from .emit import Place, emits


@emits("device_attention")
def device_attention(place: Place, x: Value) -> Value:
    """Every device at a step attends to all devices at that step."""
    if place.wide:
        raise place.refuse(
            "device_attention works along five axes, which rank 4 cannot hold; use a conv2d that "
            "spans the devices"
        )
    spec, graph = place.spec, place.graph
    inner = spec.channels // spec.heads
    embedding = place.weights[place.full("embedding")].T[None, :, :, None]
    tokens = place.op("Add", x, graph.weight(place.full("embedding"), embedding))
    sizes = graph.integers(*[spec.channels] * 3)
    projected = _mapped(place, "projection_in", tokens)
    parts = graph.add("Split", [projected, sizes], place.path, outputs=3, axis=1)
    apart = graph.integers(0, spec.heads, inner, spec.devices, -1)
    query, key, value = (place.op("Reshape", part, apart) for part in parts)
    # (batch, heads, inner, devices, time) to products of (devices, inner) at each step.
    scores = place.op(
        "MatMul",
        place.op("Transpose", query, perm=[0, 1, 4, 3, 2]),
        place.op("Transpose", key, perm=[0, 1, 4, 2, 3]),
    )
    scores = place.op("Mul", scores, graph.constant(1.0 / math.sqrt(inner)))
    shares = place.op("Softmax", scores, axis=-1)
    seen = place.op("MatMul", shares, place.op("Transpose", value, perm=[0, 1, 4, 3, 2]))
    seen = place.op("Transpose", seen, perm=[0, 1, 4, 3, 2])
    joined = place.op("Reshape", seen, graph.integers(0, spec.channels, spec.devices, -1))
    name = _mapped(place, "projection_out", joined)
    return replace(x, name=place.op("Add", x, name) if spec.residual else name)


def _mapped(place: Place, name: str, x: str) -> str:
    """A dense layer on the channels of a signal of devices, as a 1 x 1 convolution."""
    part = place.part(name)
    return part.op("Conv", x, part.pointwise_kernel(), part.vector("bias"))


@emits("device_pool")
def device_pool(place: Place, x: Value) -> Value:
    """Mean or maximum over devices, or their channels side by side."""
    spec, shape = place.spec, (x.channels * place.spec.factor, x.time)
    if spec.mode == "concat" and x.devices > 1:
        ones = place.graph.integers(*[1] * x.devices)
        rows = place.graph.add("Split", [x.name, ones], place.path, outputs=x.devices, axis=2)
        name = place.op("Concat", *rows, axis=1)
    elif x.devices > 1:
        kind = "AveragePool" if spec.mode == "average" else "MaxPool"
        name = place.op(kind, x, kernel_shape=[x.devices, 1], strides=[1, 1])
    else:
        name = x.name
    if not place.wide:
        name = place.op("Squeeze", name, place.graph.integers(2))
    return Value(name, shape)


@emits("device_split")
def device_split(place: Place, x: Value) -> Value:
    """Channels dealt out to devices."""
    devices = place.spec.devices
    channels = x.channels // devices
    apart = place.op("Reshape", x, place.graph.integers(0, devices, channels, -1))
    name = place.op("Transpose", apart, perm=[0, 2, 1, 3])
    return Value(name, (channels, devices, x.time), x.may_be_empty)
