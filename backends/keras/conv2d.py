"""Convolutions of signals of several devices: one matrix product of all taps."""

from typing import Any

from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import Conv2dSpec, Tcn2dSpec, TemporalBlock2dSpec

from .block import Block, Tensor, maybe
from .types import multiplied


class Conv2d(Block[Conv2dSpec], kind="conv2d"):
    """Dilated, grouped convolution over devices and time.

    Keras's own cannot train groups on a CPU under TensorFlow, and rounds the steps of a dilated
    convolution up to a multiple of the dilation; it is used where neither matters.
    """

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, devices, time, in) -> (batch, devices', time', out)."""
        spec = self.spec
        if stream is not None and spec.reach:
            context = ops.moveaxis(stream.read(self.path, "context"), 1, -1)
            x = ops.concatenate([context, x], axis=2)
            left = x[:, :, x.shape[2] - spec.reach :]
            stream.write(self.path, "context", ops.moveaxis(left, -1, 1))
        elif any(spec.pads):
            x = ops.pad(x, ((0, 0), (0, 0), spec.pads, (0, 0)))
        return multiplied(self._convolved, x, self.arrays["weight"], self.arrays.get("bias"))

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve an already padded signal, by Keras's own convolution where that serves."""
        if self.spec.dilation == self.spec.groups == 1:
            y = ops.conv(x, weight, padding="valid", data_format="channels_last")
        else:
            y = self._unfolded(x, ops.convert_to_tensor(weight))
        return y if bias is None else y + bias

    def _unfolded(self, x: Tensor, weight: Tensor) -> Tensor:
        """The taps side by side, times the kernel as one matrix (a group)."""
        spec = self.spec
        rows, taps = spec.kernel_size
        shape = ops.shape(x)
        devices, steps = shape[1] - rows + 1, shape[2] - spec.reach
        seen = [
            x[:, row : row + devices, tap * spec.dilation : tap * spec.dilation + steps]
            for row in range(rows)
            for tap in range(taps)
        ]
        groups = spec.groups
        if groups == 1:
            flat = ops.reshape(weight, (-1, spec.out_channels))
            return ops.matmul(ops.concatenate(seen, axis=-1), flat)
        inside = spec.in_channels // groups
        patches = ops.reshape(
            ops.stack(seen, axis=3), (-1, devices, steps, rows * taps, groups, inside)
        )
        kernel = ops.reshape(weight, (rows * taps, inside, groups, spec.out_channels // groups))
        y = ops.einsum("bhtkgi,kigo->bhtgo", patches, kernel)
        return ops.reshape(y, (-1, devices, steps, spec.out_channels))


class TemporalBlock2d(Block[TemporalBlock2dSpec], kind="temporal_block_2d"):
    """Two dilated 1 x k convolutions with norms and activations, and a residual."""

    conv1: Conv2d
    norm1: Block[Any] | None
    activation1: Block[Any]
    dropout: Block[Any] | None
    conv2: Conv2d
    norm2: Block[Any] | None
    activation2: Block[Any]
    residual: Conv2d | None
    activation: Block[Any]

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, devices, time, in) -> (batch, devices, time, channels)."""
        out = maybe(self.norm1, self.conv1(x, stream))
        out = maybe(self.dropout, self.activation1(out))
        out = maybe(self.norm2, self.conv2(out, stream))
        out = maybe(self.dropout, self.activation2(out))
        return self.activation(maybe(self.residual, x, stream) + out)


class Tcn2d(Block[Tcn2dSpec], kind="tcn_2d"):
    """Temporal blocks, one after the other."""

    blocks: dict[int, TemporalBlock2d]

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, devices, time, in) -> (batch, devices, time, channels[-1])."""
        for block in self.blocks.values():
            x = block(x, stream)
        return x
