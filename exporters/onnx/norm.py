"""Batch norm with running statistics, and layer and root-mean-square norm over channels."""

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
    """Normalise each group over all positions, in two passes and in float32."""
    if block.wide:
        raise block.refuse(
            "group_norm takes a mean over groups of channels, which rank 4 cannot hold; use rank 3"
        )
    graph, spec = block.graph, block.spec
    wide = block.cast(x, np.float32, graph.dtype)
    groups = block.op("Reshape", wide, graph.integers(0, spec.groups, -1))
    centred = block.op("Sub", groups, block.op("ReduceMean", groups, axes=[2], keepdims=1))
    squares = block.op("Mul", centred, centred)
    variance = block.op("ReduceMean", squares, axes=[2], keepdims=1)
    raised = block.op("Add", variance, graph.constant(spec.eps, np.float32))
    normed = block.op("Div", centred, block.op("Sqrt", raised))
    back = block.op("Reshape", normed, block.op("Shape", x))
    axes = range(1, len(x.shape))
    for operator, name in (("Mul", "weight"), ("Add", "bias")):
        vector = block.cast(block.vector(name), np.float32, graph.dtype)
        if x.is_signal:
            vector = block.op("Unsqueeze", vector, graph.integers(*axes))
        back = block.op(operator, back, vector)
    return replace(x, name=block.cast(back, graph.dtype, np.float32))


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
