"""Layers between devices: attention, pooling, and channels dealt out to devices."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import DeviceAttentionSpec, DevicePoolSpec, DeviceSplitSpec

from .activation import Dropout
from .block import Block, maybe
from .dense import Dense


class DeviceAttention(Block[DeviceAttentionSpec], kind="device_attention"):
    """Every device at a step attends to all devices at that step."""

    embedding: Tensor
    projection_in: Dense
    projection_out: Dense
    dropout: Dropout | None

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, devices, time) -> the same shape."""
        tokens = x.permute(0, 3, 2, 1)
        parted = F.linear(
            tokens + self.embedding, self.projection_in.weight, self.projection_in.bias
        ).unflatten(3, (3, self.spec.heads, x.shape[1] // self.spec.heads))
        query, key, value = parted.permute(3, 0, 1, 4, 2, 5).unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value).transpose(2, 3).flatten(3)
        projection = self.projection_out
        y = F.linear(seen, projection.weight, projection.bias).permute(0, 3, 2, 1)
        y = maybe(self.dropout, y)
        return x + y if self.spec.residual else y


class DevicePool(Block[DevicePoolSpec], kind="device_pool"):
    """Mean or maximum over devices, or their channels side by side."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, devices, time) -> (batch, channels', time)."""
        if self.spec.mode == "concat":
            return x.transpose(1, 2).flatten(1, 2)
        return x.mean(dim=2) if self.spec.mode == "average" else x.amax(dim=2)


class DeviceSplit(Block[DeviceSplitSpec], kind="device_split"):
    """Channels dealt out to devices."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, devices * channels, time) -> (batch, channels, devices, time)."""
        return torch.stack(x.chunk(self.spec.devices, dim=1), dim=2)
