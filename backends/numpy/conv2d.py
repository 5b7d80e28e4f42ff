"""Convolutions of signals of several devices by their definition: one product for each tap."""

from typing import Any

import numpy as np

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import Conv2dSpec, Tcn2dSpec, TemporalBlock2dSpec

from .activation import Dropout
from .block import Array, Block, maybe


class Conv2d(Block[Conv2dSpec], kind="conv2d"):
    """y[o, h, t] = b[o] + sum over i, g, j of w[o, i, g, j] x[i, h + g, t + j * dilation]."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, in, devices, time) -> (batch, out, devices', time')."""
        spec, (rows, taps) = self.spec, self.spec.kernel_size
        if stream is None:
            x = np.pad(x, ((0, 0), (0, 0), (0, 0), spec.pads))
        elif spec.reach:
            x = np.concatenate([np.asarray(stream.read(self.path, "context")), x], axis=3)
            stream.write(self.path, "context", x[..., x.shape[3] - spec.reach :])
        batch, _, devices, length = x.shape
        devices, steps = devices - rows + 1, length - spec.reach
        weight = self.arrays["weight"]
        weight = weight.reshape(spec.groups, -1, *weight.shape[1:])
        x = x.reshape(batch, spec.groups, spec.in_channels // spec.groups, *x.shape[2:])
        y = np.zeros((batch, spec.groups, weight.shape[1], devices, steps), dtype=x.dtype)
        for row, tap in np.ndindex(rows, taps):
            begin = tap * spec.dilation
            taken = x[..., row : row + devices, begin : begin + steps]
            y += np.einsum("goi,ngiht->ngoht", weight[..., row, tap], taken, optimize=True)
        y = y.reshape(batch, spec.out_channels, devices, steps)
        return y + self.arrays["bias"][:, None, None] if spec.bias else y


class TemporalBlock2d(Block[TemporalBlock2dSpec], kind="temporal_block_2d"):
    """Two dilated 1 x k convolutions with norms and activations, and a residual."""

    conv1: Conv2d
    norm1: Block[Any] | None
    activation1: Block[Any]
    dropout: Dropout | None
    conv2: Conv2d
    norm2: Block[Any] | None
    activation2: Block[Any]
    residual: Conv2d | None
    activation: Block[Any]

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, in, devices, time) -> (batch, channels, devices, time)."""
        out = maybe(self.norm1, self.conv1(x, stream))
        out = maybe(self.dropout, self.activation1(out))
        out = maybe(self.norm2, self.conv2(out, stream))
        out = maybe(self.dropout, self.activation2(out))
        y: Array = self.activation(maybe(self.residual, x, stream) + out)
        return y


class Tcn2d(Block[Tcn2dSpec], kind="tcn_2d"):
    """Temporal blocks, one after the other."""

    blocks: dict[int, TemporalBlock2d]

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, in, devices, time) -> (batch, channels[-1], devices, time)."""
        for block in self.blocks.values():
            x = block(x, stream)
        return x
