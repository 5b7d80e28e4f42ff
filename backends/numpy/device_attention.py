"""Layers between devices: attention, pooling, and channels dealt out to devices."""

import numpy as np

from tcnzoo.models.streaming import Stream

from .block import Array, Block


class DeviceAttention(Block, kind="device_attention"):
    """Every device at a step attends to all devices at that step."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, devices, time) -> the same shape."""
        spec = self.spec
        tokens = x + self.arrays["embedding"].T[:, :, None]
        batch, channels, devices, length = x.shape
        parted = self.parts["projection_in"](tokens).reshape(
            batch, 3, spec.heads, channels // spec.heads, devices, length
        )
        query, key, value = parted[:, 0], parted[:, 1], parted[:, 2]
        scores = np.einsum("nacqt,nackt->naqkt", query, key) / np.sqrt(query.shape[2])
        shares = np.exp(scores - scores.max(axis=3, keepdims=True))
        shares /= shares.sum(axis=3, keepdims=True)
        seen = np.einsum("naqkt,nackt->nacqt", shares, value).reshape(x.shape)
        y = self.optional("dropout", self.parts["projection_out"](seen.astype(x.dtype)))
        return x + y if spec.residual else y


class DevicePool(Block, kind="device_pool"):
    """Mean or maximum over devices, or their channels side by side."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, devices, time) -> (batch, channels', time)."""
        if self.spec.mode == "concat":
            return np.concatenate(list(np.moveaxis(x, 2, 0)), axis=1)
        found: Array = x.mean(axis=2) if self.spec.mode == "average" else x.max(axis=2)
        return found


class DeviceSplit(Block, kind="device_split"):
    """Channels dealt out to devices."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, devices * channels, time) -> (batch, channels, devices, time)."""
        devices = self.spec.devices
        return np.stack(np.split(x, devices, axis=1), axis=2)
