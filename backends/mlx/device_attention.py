"""Layers between devices: attention, pooling, and channels dealt out to devices."""

import math
from typing import Any

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import DeviceAttentionSpec, DevicePoolSpec, DeviceSplitSpec

from .block import Block, maybe
from .dense import Dense
from .kernels.functions import softmax
from .types import multiplied, reduced


class DeviceAttention(Block[DeviceAttentionSpec], kind="device_attention"):
    """Every device at a step attends to all devices at that step."""

    projection_in: Dense
    projection_out: Dense
    dropout: Block[Any] | None

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, devices, time, channels) -> the same shape."""
        batch, devices, length, channels = x.shape
        heads = self.spec.heads
        tokens = reduced(mx.add, x, self["embedding"][:, None]).swapaxes(1, 2)
        parted = self.projection_in(tokens).reshape(batch, length, devices, 3, heads, -1)
        query, key, value = (parted[:, :, :, index].swapaxes(2, 3) for index in range(3))
        seen = multiplied(attended, query, key, value)
        seen = seen.swapaxes(2, 3).reshape(batch, length, devices, channels).swapaxes(1, 2)
        y = maybe(self.dropout, self.projection_out(seen))
        return x + y if self.spec.residual else y


def attended(query: mx.array, key: mx.array, value: mx.array) -> mx.array:
    """softmax(query key^T / sqrt(width)) value, of (..., devices, width)."""
    scores = query @ key.swapaxes(-2, -1) * (1.0 / math.sqrt(query.shape[-1]))
    return softmax(scores) @ value


class DevicePool(Block[DevicePoolSpec], kind="device_pool"):
    """Mean or maximum over devices, or their channels side by side."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, devices, time, channels) -> (batch, time, channels')."""
        if self.spec.mode == "concat":
            return mx.concatenate([x[:, device] for device in range(x.shape[1])], axis=-1)
        if self.spec.mode == "max":
            return x.max(axis=1)
        return reduced(lambda x: x.mean(axis=1), x)


class DeviceSplit(Block[DeviceSplitSpec], kind="device_split"):
    """Channels dealt out to devices."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, devices * channels) -> (batch, devices, time, channels)."""
        return mx.stack(list(mx.split(x, self.spec.devices, axis=-1)), axis=1)
