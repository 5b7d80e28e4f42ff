"""Layers between devices: attention, pooling, and channels dealt out to devices."""

import math

import mlx.core as mx

from tcnzoo.streaming import Stream

from .block import Block
from .functions import softmax


class DeviceAttention(Block, kind="device_attention"):
    """Every device at a step attends to all devices at that step."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, devices, time, channels) -> the same shape."""
        batch, devices, length, channels = x.shape
        heads = self.spec.heads
        tokens = (x + self["embedding"][:, None]).swapaxes(1, 2)
        parted = self["projection_in"](tokens).reshape(batch, length, devices, 3, heads, -1)
        query, key, value = (parted[:, :, :, one].swapaxes(2, 3) for one in range(3))
        scores = query @ key.swapaxes(3, 4) * (1.0 / math.sqrt(channels // heads))
        seen = softmax(scores) @ value
        seen = seen.swapaxes(2, 3).reshape(batch, length, devices, channels).swapaxes(1, 2)
        y = self._optional("dropout", self["projection_out"](seen))
        return x + y if self.spec.residual else y


class DevicePool(Block, kind="device_pool"):
    """Mean or maximum over devices, or their channels side by side."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, devices, time, channels) -> (batch, time, channels')."""
        if self.spec.mode == "concat":
            return mx.concatenate([x[:, one] for one in range(x.shape[1])], axis=-1)
        return x.mean(axis=1) if self.spec.mode == "average" else x.max(axis=1)


class DeviceSplit(Block, kind="device_split"):
    """Channels dealt out to devices."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, devices * channels) -> (batch, devices, time, channels)."""
        return mx.stack(list(mx.split(x, self.spec.devices, axis=-1)), axis=1)
