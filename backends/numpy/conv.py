"""Convolutions by their definition: one matrix product for each tap."""

from typing import Any

import numpy as np

from tcnzoo.models.streaming import Stream, strided_steps
from tcnzoo.specs import Conv1dSpec, ConvBlockSpec, ConvTranspose1dSpec

from .activation import Dropout
from .block import Array, Block, maybe

_NUMPY_PAD = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def kernel(block: Block[Any], out_axis: int) -> Array:
    """The effective kernel: `weight`, or g * v / ||v|| with the norm over every axis but O."""
    if not block.spec.weight_norm:
        return block.arrays["weight"]
    direction, gain = block.arrays["weight_v"], block.arrays["weight_g"]
    others = tuple(axis for axis in range(direction.ndim) if axis != out_axis)
    return gain * direction / np.sqrt((direction**2).sum(axis=others, keepdims=True))


def padded(x: Array, pads: tuple[int, int], mode: str) -> Array:
    """Add steps before and after a signal (batch, channels, time), in one of the four modes."""
    y: Array = np.pad(x, ((0, 0), (0, 0), pads), mode=_NUMPY_PAD[mode])  # type: ignore[call-overload]
    return y


class Conv1d(Block[Conv1dSpec], kind="conv1d"):
    """y[o, t] = b[o] + sum over i, j of w[o, i, j] x[i, t * stride + j * dilation]."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, in, time) -> (batch, out, time')."""
        spec = self.spec
        if stream is None:
            x = padded(x, spec.pads(x.shape[2]), spec.padding_mode)
            steps = (x.shape[2] - spec.reach - 1) // spec.stride + 1
            start = 0
        else:
            x, start, steps = self._continue(x, stream)
        weight = kernel(self, 0).reshape(
            spec.groups, spec.out_channels // spec.groups, -1, spec.kernel_size
        )
        x = x.reshape(x.shape[0], spec.groups, spec.in_channels // spec.groups, x.shape[2])
        y = np.zeros((*x.shape[:2], weight.shape[1], steps), dtype=x.dtype)
        for tap in range(spec.kernel_size):
            begin = start + tap * spec.dilation
            taken = x[..., begin : begin + max(0, (steps - 1) * spec.stride + 1) : spec.stride]
            y += weight[..., tap] @ taken[..., :steps]
        y = y.reshape(x.shape[0], spec.out_channels, steps)
        return y + self.arrays["bias"][:, None] if spec.bias else y

    def _continue(self, x: Array, stream: Stream) -> tuple[Array, int, int]:
        """Put the context before the chunk; return it, the first output's start, their number."""
        spec, table, length = self.spec, self.spec.own_state(), x.shape[2]
        if "context" in table:
            context = np.asarray(stream.read(self.path, "context"))
            if "started" in table:
                if length and not int(stream.read(self.path, "started")):
                    context = np.repeat(x[:, :, :1], spec.reach, axis=2)
                started = max(int(stream.read(self.path, "started")), int(length > 0))
                stream.write(self.path, "started", np.int32(started))
            x = np.concatenate([context, x], axis=2)
            stream.write(self.path, "context", x[:, :, x.shape[2] - spec.reach :])
        if "skip" not in table:
            return x, 0, length
        skip = int(stream.read(self.path, "skip"))
        steps, after = strided_steps(skip, length, spec.stride)
        stream.write(self.path, "skip", np.int32(after))
        return x, skip, steps


class ConvTranspose1d(Block[ConvTranspose1dSpec], kind="conv_transpose1d"):
    """Input step i adds w[:, :, j] x[:, i] to output step i * stride + j * dilation."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, in, time) -> (batch, out, time * stride), or as `padding` says."""
        spec = self.spec
        full = self._scatter(x)
        if stream is None:
            left, right = spec.crops
            y = np.pad(full, ((0, 0), (0, 0), (0, max(0, -right))))[:, :, left:]
            y = y[:, :, : y.shape[2] - max(0, right)]
        else:
            y = self._emit(full, x.shape[2] * spec.stride, stream)
        return y + self.arrays["bias"][:, None] if spec.bias else y

    def _scatter(self, x: Array) -> Array:
        """All that the input adds to the output, without bias."""
        spec, weight = self.spec, kernel(self, 1)
        steps = x.shape[2]
        length = max(0, (steps - 1) * spec.stride + spec.reach + 1) if steps else 0
        y = np.zeros((x.shape[0], spec.out_channels, length), dtype=x.dtype)
        for tap in range(spec.kernel_size):
            begin = tap * spec.dilation
            y[:, :, begin : begin + max(0, (steps - 1) * spec.stride + 1) : spec.stride] += (
                weight[:, :, tap].T @ x
            )
        return y

    def _emit(self, full: Array, steps: int, stream: Stream) -> Array:
        """Add the tail of earlier chunks, return the finished steps, and keep the rest."""
        overlap = max(0, self.spec.overlap)
        y = np.zeros((full.shape[0], full.shape[1], steps + overlap), dtype=full.dtype)
        y[:, :, : full.shape[2]] += full
        if overlap:
            y[:, :, :overlap] += np.asarray(stream.read(self.path, "tail"))
            stream.write(self.path, "tail", y[:, :, steps:])
        return y[:, :, :steps]


class ConvBlock(Block[ConvBlockSpec], kind="conv_block"):
    """Convolution -> norm -> activation -> dropout."""

    conv: Conv1d
    norm: Block[Any] | None
    activation: Block[Any] | None
    dropout: Dropout | None

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, in, time) -> (batch, out, time')."""
        x = maybe(self.norm, self.conv(x, stream))
        return maybe(self.dropout, maybe(self.activation, x))
