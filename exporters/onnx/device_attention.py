"""Layers between devices: attention, pooling, and channels dealt out to devices."""

import math
from dataclasses import replace
from typing import Any

from tcnzoo.specs import DeviceAttentionSpec, DevicePoolSpec, DeviceSplitSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("device_attention")
def device_attention(block: BlockWriter[DeviceAttentionSpec], x: Value) -> Value:
    """Every device at a step attends to all devices at that step."""
    if block.wide:
        raise block.refuse(
            "device_attention works along five axes, which rank 4 cannot hold; use a conv2d that "
            "spans the devices"
        )
    spec, graph = block.spec, block.graph
    inner = spec.channels // spec.heads
    embedding = block.weights[block.full("embedding")].T[None, :, :, None]
    tokens = block.op("Add", x, graph.weight(block.full("embedding"), embedding))
    sizes = graph.integers(*[spec.channels] * 3)
    projected = _mapped(block, "projection_in", tokens)
    parts = graph.add("Split", [projected, sizes], block.path, outputs=3, axis=1)
    apart = graph.integers(0, spec.heads, inner, spec.devices, -1)
    query, key, value = (block.op("Reshape", part, apart) for part in parts)
    # (batch, heads, inner, devices, time) to products of (devices, inner) at each step.
    scores = block.op(
        "MatMul",
        block.op("Transpose", query, perm=[0, 1, 4, 3, 2]),
        block.op("Transpose", key, perm=[0, 1, 4, 2, 3]),
    )
    scores = block.op("Mul", scores, graph.constant(1.0 / math.sqrt(inner)))
    shares = block.op("Softmax", scores, axis=-1)
    seen = block.op("MatMul", shares, block.op("Transpose", value, perm=[0, 1, 4, 3, 2]))
    seen = block.op("Transpose", seen, perm=[0, 1, 4, 3, 2])
    joined = block.op("Reshape", seen, graph.integers(0, spec.channels, spec.devices, -1))
    name = _mapped(block, "projection_out", joined)
    return replace(x, name=block.op("Add", x, name) if spec.residual else name)


def _mapped(block: BlockWriter[Any], name: str, x: str) -> str:
    """A dense layer on the channels of a signal of devices, as a 1 x 1 convolution."""
    part = block.part(name)
    return part.op("Conv", x, part.pointwise_kernel(), part.vector("bias"))


@writes("device_pool")
def device_pool(block: BlockWriter[DevicePoolSpec], x: Value) -> Value:
    """Mean or maximum over devices, or their channels side by side."""
    spec, shape = block.spec, (x.channels * block.spec.factor, x.time)
    if spec.mode == "concat" and x.devices > 1:
        ones = block.graph.integers(*[1] * x.devices)
        devices = block.graph.add("Split", [x.name, ones], block.path, outputs=x.devices, axis=2)
        name = block.op("Concat", *devices, axis=1)
    elif x.devices > 1:
        kind = "AveragePool" if spec.mode == "average" else "MaxPool"
        name = block.op(kind, x, kernel_shape=[x.devices, 1], strides=[1, 1])
    else:
        name = x.name
    if not block.wide:
        name = block.op("Squeeze", name, block.graph.integers(2))
    return Value(name, shape)


@writes("device_split")
def device_split(block: BlockWriter[DeviceSplitSpec], x: Value) -> Value:
    """Channels dealt out to devices."""
    devices = block.spec.devices
    channels = x.channels // devices
    apart = block.op("Reshape", x, block.graph.integers(0, devices, channels, -1))
    name = block.op("Transpose", apart, perm=[0, 2, 1, 3])
    return Value(name, (channels, devices, x.time), x.may_be_empty)
