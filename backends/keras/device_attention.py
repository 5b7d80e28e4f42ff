"""Layers between devices: attention, pooling, and channels dealt out to devices."""

import math

from keras import ops

from tcnzoo.models.streaming import Stream

from .block import Block, Tensor
from .types import reduced


class DeviceAttention(Block, kind="device_attention"):
    """Every device at a step attends to all devices at that step."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, devices, time, channels) -> the same shape."""
        spec, length = self.spec, ops.shape(x)[2]
        inner = spec.channels // spec.heads
        embedding = ops.transpose(self.arrays["embedding"])[:, None]
        tokens = ops.swapaxes(reduced(ops.add, x, embedding), 1, 2)
        parted = self.parts["projection_in"](tokens)
        parted = ops.reshape(parted, (-1, length, spec.devices, 3, spec.heads, inner))
        query, key, value = (parted[:, :, :, one] for one in range(3))
        seen = reduced(attended, query, key, value)
        seen = ops.reshape(seen, (-1, length, spec.devices, spec.channels))
        y = self.optional("dropout", self.parts["projection_out"](ops.swapaxes(seen, 1, 2)))
        return x + y if spec.residual else y


def attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(query . key / sqrt(width)) value, of (batch, time, devices, heads, width)."""
    scale = 1.0 / math.sqrt(query.shape[-1])
    scores = ops.einsum("btqac,btkac->btaqk", query, key) * scale
    return ops.einsum("btaqk,btkac->btqac", ops.softmax(scores, axis=-1), value)


class DevicePool(Block, kind="device_pool"):
    """Mean or maximum over devices, or their channels side by side."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, devices, time, channels) -> (batch, time, channels')."""
        if self.spec.mode == "concat":
            return ops.concatenate([x[:, one] for one in range(self.spec.devices)], axis=-1)
        if self.spec.mode == "max":
            return ops.max(x, axis=1)
        return reduced(lambda x: ops.mean(x, axis=1), x)


class DeviceSplit(Block, kind="device_split"):
    """Channels dealt out to devices."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, devices * channels) -> (batch, devices, time, channels)."""
        return ops.stack(ops.split(x, self.spec.devices, axis=-1), axis=1)
