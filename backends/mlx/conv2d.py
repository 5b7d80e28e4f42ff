"""Convolutions of signals of several devices, offline and in a stream."""

from functools import partial
from typing import Any

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import Conv2dSpec, Tcn2dSpec, TemporalBlock2dSpec

from .block import Block, maybe
from .kernels.taps import affine, grouped
from .types import multiplied, on_cpu


def convolve(x: mx.array, weight: mx.array, bias: mx.array | None, spec: Conv2dSpec) -> mx.array:
    """Convolve a signal that is padded already.

    On the CPU `mx.conv2d` with dilation takes a naive path, so there all taps go into one matrix
    product.

    Args:
        x: (batch, devices, time, in), of at least `spec.reach + 1` steps.
        weight: (out, rows, taps, in / groups).
        bias: (out,) or None.
        spec: its padding is not looked at.
    Returns:
        (batch, devices - rows + 1, time - reach, out).
    """
    rows, taps = weight.shape[1:3]
    dilation, groups = spec.dilation, spec.groups
    if not on_cpu() or (groups > 1 and x.dtype != mx.float64):
        y = mx.conv2d(x, weight, dilation=(1, dilation), groups=groups)
        return y if bias is None else y + bias
    devices, steps = x.shape[1] - rows + 1, x.shape[2] - (taps - 1) * dilation
    seen = [
        x[:, row : row + devices, tap * dilation : tap * dilation + steps]
        for row in range(rows)
        for tap in range(taps)
    ]
    side_by_side = mx.concatenate(seen, axis=-1)
    if groups > 1:
        y = grouped(side_by_side, weight)
        return y if bias is None else y + bias
    return affine(side_by_side, weight.reshape(weight.shape[0], -1), bias)


class Conv2d(Block[Conv2dSpec], kind="conv2d"):
    """Dilated, grouped convolution over devices and time."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, devices, time, in) -> (batch, devices', time', out)."""
        spec = self.spec
        if stream is None:
            x = mx.pad(x, [(0, 0), (0, 0), spec.pads, (0, 0)])
        elif spec.reach:
            context = mx.moveaxis(stream.read(self.path, "context"), 1, -1)
            x = mx.concatenate([context, x], axis=2)
            left = x[:, :, x.shape[2] - spec.reach :]
            stream.write(self.path, "context", mx.moveaxis(left, -1, 1))
        bias = self["bias"] if spec.bias else None
        return multiplied(partial(convolve, spec=spec), x, self["weight"], bias)


class TemporalBlock2d(Block[TemporalBlock2dSpec], kind="temporal_block_2d"):
    """Two dilated 1 x k convolutions with norms and activations, and a residual."""

    conv1: Conv2d
    norm1: Block[Any] | None
    activation1: Block[Any]
    dropout: Block[Any] | None  # used twice
    conv2: Conv2d
    norm2: Block[Any] | None
    activation2: Block[Any]
    residual: Conv2d | None
    activation: Block[Any]

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, devices, time, in) -> (batch, devices, time, channels)."""
        out = maybe(self.norm1, self.conv1(x, stream))
        out = maybe(self.dropout, self.activation1(out))
        out = maybe(self.norm2, self.conv2(out, stream))
        out = maybe(self.dropout, self.activation2(out))
        return self.activation(maybe(self.residual, x, stream) + out)


class Tcn2d(Block[Tcn2dSpec], kind="tcn_2d"):
    """Temporal blocks, one after the other."""

    blocks: list[TemporalBlock2d]

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, devices, time, in) -> (batch, devices, time, channels[-1])."""
        for block in self.blocks:
            x = block(x, stream)
        return x
