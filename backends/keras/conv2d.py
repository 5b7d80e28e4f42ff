"""Convolutions of signals of several devices: one matrix product of all taps."""

from keras import ops

from tcnzoo.models.streaming import Stream

from .block import Block, Tensor
from .types import multiplied


class Conv2d(Block, kind="conv2d"):
    """Dilated, grouped convolution over devices and time.

    Keras's own cannot train groups on a CPU under TensorFlow, and rounds the steps of a dilated
    convolution up to a multiple of the dilation; it is used where neither matters.
    """

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, devices, time, in) -> (batch, devices', time', out)."""
        spec = self.spec
        if stream is not None and spec.reach:
            context = ops.moveaxis(stream.read(self.place, "context"), 1, -1)
            x = ops.concatenate([context, x], axis=2)
            left = x[:, :, x.shape[2] - spec.reach :]
            stream.write(self.place, "context", ops.moveaxis(left, -1, 1))
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


class TemporalBlock2d(Block, kind="temporal_block_2d"):
    """Two dilated 1 x k convolutions with norms and activations, and a residual."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, devices, time, in) -> (batch, devices, time, channels)."""
        out = x
        for place in (1, 2):
            out = self.parts[f"conv{place}"](out, stream=stream)
            out = self.optional(f"norm{place}", out)
            out = self.optional("dropout", self.parts[f"activation{place}"](out))
        return self.parts["activation"](self.optional("residual", x, stream) + out)


class Tcn2d(Block, kind="tcn_2d"):
    """Temporal blocks, one after the other."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, devices, time, in) -> (batch, devices, time, channels[-1])."""
        for block in self.parts.values():
            x = block(x, stream=stream)
        return x
