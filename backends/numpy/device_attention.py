"""Layers between devices: attention, pooling, and channels dealt out to devices."""

import numpy as np

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import DeviceAttentionSpec, DevicePoolSpec, DeviceSplitSpec

from .activation import Dropout
from .block import Array, Block, maybe
from .dense import Dense


class DeviceAttention(Block[DeviceAttentionSpec], kind="device_attention"):
    """Every device at a step attends to all devices at that step."""

    projection_in: Dense
    projection_out: Dense
    dropout: Dropout | None

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, devices, time) -> the same shape."""
        spec = self.spec
        tokens = x + self.arrays["embedding"].T[:, :, None]
        batch, channels, devices, length = x.shape
        projected = self.projection_in(tokens).reshape(
            batch, 3, spec.heads, channels // spec.heads, devices, length
        )
        query, key, value = projected[:, 0], projected[:, 1], projected[:, 2]
        scores = np.einsum("nacqt,nackt->naqkt", query, key) / np.sqrt(query.shape[2])
        shares = np.exp(scores - scores.max(axis=3, keepdims=True))
        shares /= shares.sum(axis=3, keepdims=True)
        mixed = np.einsum("naqkt,nackt->nacqt", shares, value).reshape(x.shape)
        y = maybe(self.dropout, self.projection_out(mixed.astype(x.dtype)))
        return x + y if spec.residual else y


class DevicePool(Block[DevicePoolSpec], kind="device_pool"):
    """Mean or maximum over devices, or their channels side by side."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, devices, time) -> (batch, channels', time)."""
        if self.spec.mode == "concat":
            return np.concatenate(list(np.moveaxis(x, 2, 0)), axis=1)
        return np.asarray(x.mean(axis=2) if self.spec.mode == "average" else x.max(axis=2))


class DeviceSplit(Block[DeviceSplitSpec], kind="device_split"):
    """Channels dealt out to devices."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, devices * channels, time) -> (batch, channels, devices, time)."""
        devices = self.spec.devices
        return np.stack(np.split(x, devices, axis=1), axis=2)
