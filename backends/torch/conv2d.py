"""Convolutions of signals of several devices, offline and streaming."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.models.streaming import Stream

from .block import Block
from .types import convolved


class Conv2d(Block, kind="conv2d"):
    """Dilated, grouped convolution; (batch, in, devices, time) -> (batch, out, devices', time')."""

    weight: Tensor

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Pad and convolve; with a `stream`, continue what came before."""
        spec = self.spec
        bias = self.bias if spec.bias else None
        if stream is not None:
            x = self._continue(x, stream)
            if x.shape[3] <= spec.reach:
                devices = x.shape[2] - spec.kernel_size[0] + 1
                return x.new_zeros(x.shape[0], spec.out_channels, devices, 0)
        elif any(spec.pads):
            x = F.pad(x, spec.pads)
        return convolved(self._convolved, x, self.weight, bias)

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


class TemporalBlock2d(Block, kind="temporal_block_2d"):
    """Two dilated 1 x k convolutions with norms and activations, and a residual."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, in, devices, time) -> (batch, channels, devices, time)."""
        out = self.optional("norm1", self.conv1(x, stream))
        out = self.optional("dropout", self.activation1(out))
        out = self.optional("norm2", self.conv2(out, stream))
        out = self.optional("dropout", self.activation2(out))
        y: Tensor = self.activation(self.optional("residual", x, stream) + out)
        return y


class Tcn2d(Block, kind="tcn_2d"):
    """Temporal blocks, one after the other."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, in, devices, time) -> (batch, channels[-1], devices, time)."""
        for block in self.blocks.values():
            x = block(x, stream)
        return x
