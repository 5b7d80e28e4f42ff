"""Batch norm with running statistics; layer, group and root-mean-square norm."""

from dataclasses import replace

import numpy as np

from tcnzoo.specs import BatchNormSpec, GroupNormSpec, LayerNormSpec, RmsNormSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("batch_norm")
def batch_norm(block: BlockWriter[BatchNormSpec], x: Value) -> Value:
    """Normalise by the running statistics."""
    vectors = [block.vector(name) for name in ("weight", "bias", "running_mean", "running_var")]
    return replace(x, name=block.op("BatchNormalization", x, *vectors, epsilon=block.spec.eps))


@writes("layer_norm")
def layer_norm(block: BlockWriter[LayerNormSpec], x: Value) -> Value:
    """Normalise over the channels of each step, which ONNX wants last."""
    vectors = [block.vector(name) for name in ("weight", "bias")]
    name, four = x.name, block.wide or x.has_devices
    if x.is_signal:
        name = block.op("Transpose", name, perm=[0, 2, 3, 1] if four else [0, 2, 1])
    name = block.op("LayerNormalization", name, *vectors, axis=-1, epsilon=block.spec.eps)
    if x.is_signal:
        name = block.op("Transpose", name, perm=[0, 3, 1, 2] if four else [0, 2, 1])
    return replace(x, name=name)


@writes("group_norm")
def group_norm(block: BlockWriter[GroupNormSpec], x: Value) -> Value:
    """Normalise each group as one channel of a flat signal, in float32; then scale and shift."""
    graph, groups = block.graph, block.spec.groups
    plain = (graph.constant(values, np.float32) for values in (np.ones(groups), np.zeros(groups)))
    name = block.cast(x, np.float32, graph.dtype)
    name = block.op("Reshape", name, graph.integers(0, groups, -1))
    normed = block.op("InstanceNormalization", name, *plain, epsilon=block.spec.eps)
    name = block.cast(block.op("Reshape", normed, block.op("Shape", x)), graph.dtype, np.float32)
    scale, shift = (block.vector(vector) for vector in ("weight", "bias"))
    if x.is_signal:
        scale, shift = block.over_time(scale), block.over_time(shift)
    return replace(x, name=block.op("Add", block.op("Mul", name, scale), shift))


@writes("rms_norm")
def rms_norm(block: BlockWriter[RmsNormSpec], x: Value) -> Value:
    """x / sqrt(mean(x^2) + eps) * weight, the mean over a group's channels, in float32."""
    if block.wide:
        raise block.refuse(
            "rms_norm takes a mean over some of the channels, which rank 4 cannot hold; use rank 3"
        )
    graph, spec, leading = block.graph, block.spec, [0] * len(x.shape)
    name = block.cast(x, np.float32, graph.dtype)
    if x.is_signal:
        name = block.op("Transpose", name, perm=[0, 2, 1])
    apart = graph.integers(*leading, spec.groups, x.channels // spec.groups)
    groups = block.op("Reshape", name, apart)
    mean = block.op("ReduceMean", block.op("Mul", groups, groups), axes=[-1], keepdims=1)
    size = block.op("Sqrt", block.op("Add", mean, graph.constant(spec.eps, np.float32)))
    name = block.op("Reshape", block.op("Div", groups, size), graph.integers(*leading, x.channels))
    name = block.op("Mul", name, block.cast(block.vector("weight"), np.float32, graph.dtype))
    if x.is_signal:
        name = block.op("Transpose", name, perm=[0, 2, 1])
    return replace(x, name=block.cast(name, graph.dtype, np.float32))
