"""Convolutions of signals of several devices, offline and streaming."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import Conv2dSpec, Tcn2dSpec, TemporalBlock2dSpec

from .activation import Dropout
from .block import Block, maybe
from .types import convolved


class Conv2d(Block[Conv2dSpec], kind="conv2d"):
    """Dilated, grouped convolution; (batch, in, devices, time) -> (batch, out, devices', time')."""

    weight: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Pad and convolve; with a `stream`, continue what came before."""
        spec = self.spec
        if stream is not None:
            x = self._continue(x, stream)
            if x.shape[3] <= spec.reach:
                devices = x.shape[2] - spec.kernel_size[0] + 1
                return x.new_zeros(x.shape[0], spec.out_channels, devices, 0)
        elif any(spec.pads):
            x = F.pad(x, spec.pads)
        return convolved(self._convolved, x, self.weight, self.bias)

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve an already padded signal."""
        spec = self.spec
        return F.conv2d(x, weight, bias, 1, 0, (1, spec.dilation), spec.groups)

    def _continue(self, x: Tensor, stream: Stream) -> Tensor:
        """Put the context before the chunk."""
        if not self.spec.reach:
            return x
        x = torch.cat([stream.read(self.path, "context"), x], dim=3)
        stream.write(self.path, "context", x[..., x.shape[3] - self.spec.reach :].clone())
        return x


class TemporalBlock2d(Block[TemporalBlock2dSpec], kind="temporal_block_2d"):
    """Two dilated 1 x k convolutions with norms and activations, and a residual."""

    conv1: Conv2d
    norm1: Block[Any] | None
    activation1: Block[Any]
    conv2: Conv2d
    norm2: Block[Any] | None
    activation2: Block[Any]
    dropout: Dropout | None
    residual: Conv2d | None
    activation: Block[Any]

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, in, devices, time) -> (batch, channels, devices, time)."""
        out = maybe(self.norm1, self.conv1(x, stream))
        out = maybe(self.dropout, self.activation1(out))
        out = maybe(self.norm2, self.conv2(out, stream))
        out = maybe(self.dropout, self.activation2(out))
        y: Tensor = self.activation(maybe(self.residual, x, stream) + out)
        return y


class Tcn2d(Block[Tcn2dSpec], kind="tcn_2d"):
    """Temporal blocks, one after the other."""

    blocks: nn.ModuleDict

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, in, devices, time) -> (batch, channels[-1], devices, time)."""
        for block in self.blocks.values():
            x = block(x, stream)
        return x
