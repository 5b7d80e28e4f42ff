"""Layers between devices: attention, pooling, and channels dealt out to devices."""

import math
from typing import Any

from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import DeviceAttentionSpec, DevicePoolSpec, DeviceSplitSpec

from .block import Block, Tensor, maybe
from .dense import Dense
from .types import reduced


class DeviceAttention(Block[DeviceAttentionSpec], kind="device_attention"):
    """Every device at a step attends to all devices at that step."""

    projection_in: Dense
    projection_out: Dense
    dropout: Block[Any] | None

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, devices, time, channels) -> the same shape."""
        spec, length = self.spec, ops.shape(x)[2]
        inner = spec.channels // spec.heads
        embedding = ops.transpose(self.arrays["embedding"])[:, None]
        tokens = ops.swapaxes(reduced(ops.add, x, embedding), 1, 2)
        projected = self.projection_in(tokens)
        projected = ops.reshape(projected, (-1, length, spec.devices, 3, spec.heads, inner))
        query, key, value = (projected[:, :, :, index] for index in range(3))
        mixed = reduced(attended, query, key, value)
        mixed = ops.reshape(mixed, (-1, length, spec.devices, spec.channels))
        y = maybe(self.dropout, self.projection_out(ops.swapaxes(mixed, 1, 2)))
        return x + y if spec.residual else y


def attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(query . key / sqrt(width)) value, of (batch, time, devices, heads, width)."""
    scale = 1.0 / math.sqrt(query.shape[-1])
    scores = ops.einsum("btqac,btkac->btaqk", query, key) * scale
    return ops.einsum("btaqk,btkac->btqac", ops.softmax(scores, axis=-1), value)


class DevicePool(Block[DevicePoolSpec], kind="device_pool"):
    """Mean or maximum over devices, or their channels side by side."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, devices, time, channels) -> (batch, time, channels')."""
        if self.spec.mode == "concat":
            return ops.concatenate([x[:, index] for index in range(self.spec.factor)], axis=-1)
        if self.spec.mode == "max":
            return ops.max(x, axis=1)
        return reduced(lambda x: ops.mean(x, axis=1), x)


class DeviceSplit(Block[DeviceSplitSpec], kind="device_split"):
    """Channels dealt out to devices."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, devices * channels) -> (batch, devices, time, channels)."""
        return ops.stack(ops.split(x, self.spec.devices, axis=-1), axis=1)
