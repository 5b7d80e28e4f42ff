"""Norms that are one operator."""

import numpy as np

from ..program.signal import Signal, Unfit
from .reader import NodeReader, handles


@handles("BatchNormalization")
def batch_norm(reader: NodeReader) -> Signal:
    """With statistics that are kept."""
    x, node = reader.signal(), reader.node
    training = node.get("training_mode", 0) or len(node.outputs) > 1
    if training or not node.get("spatial", 1) or not x.is_channels(1):
        raise Unfit(f"it is in training mode, or its axis 1 is {x.roles[1]!r}")
    names = ("weight", "bias", "running_mean", "running_var")
    arrays = {name: reader.needed(1 + number) for number, name in enumerate(names)}
    x = reader.with_channels(x, arrays["weight"].array.size)
    return reader.then("batch_norm", x, arrays, channels=x.channels, eps=node.get("epsilon", 1e-5))


@handles("LayerNormalization")
def layer_norm(reader: NodeReader) -> Signal:
    """Over the channels."""
    x, node = reader.signal(), reader.node
    weight, bias = reader.needed(1), reader.const(2)
    axis = x.axis(node.get("axis", -1))
    if axis != len(x.roles) - 1 or not x.is_channels(axis):
        raise Unfit(f"it acts over axes {x.roles[axis:]}; over the channels it is read")
    x = reader.with_channels(x, weight.array.size)
    bias = bias or weight.now(np.zeros_like(weight.array))
    arrays = {"weight": weight, "bias": bias}
    return reader.then("layer_norm", x, arrays, channels=x.channels, eps=node.get("epsilon", 1e-5))
