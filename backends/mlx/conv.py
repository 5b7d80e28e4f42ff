"""Convolutions over time, plain and transposed, offline and in a stream."""

from functools import partial

import mlx.core as mx
import numpy as np

from tcnzoo.models.streaming import Stream, strided_steps

from .block import Block
from .kernels.taps import convolve, scatter
from .types import multiplied, reduced, wide

_NUMPY_PAD = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def kernel(block: Block) -> mx.array:
    """The effective kernel (out, K, in): `weight`, or g * v / ||v|| for each output channel."""
    if not block.spec.weight_norm:
        return block["weight"]
    return reduced(_normed, block["weight_v"], block["weight_g"])


def _normed(direction: mx.array, gain: mx.array) -> mx.array:
    """g * v / ||v|| for each output channel."""
    squares = mx.square(direction).sum(axis=(1, 2), keepdims=True)
    return direction * (gain * mx.rsqrt(squares))


def padded(x: mx.array, pads: tuple[int, int], mode: str) -> mx.array:
    """Add steps before and after a signal (batch, time, channels), in one of the four modes."""
    (left, right), length = pads, x.shape[1]
    if not left + right:
        return x
    if mode == "zeros":
        return mx.pad(x, [(0, 0), (left, right), (0, 0)])
    steps = np.pad(np.arange(length, dtype=np.int32), (left, right), mode=_NUMPY_PAD[mode])  # type: ignore[call-overload]
    before, after = mx.array(steps[:left]), mx.array(steps[left + length :])
    return mx.concatenate([x[:, before], x, x[:, after]], axis=1)


class Conv1d(Block, kind="conv1d"):
    """y[t, o] = b[o] + sum over i, j of w[o, j, i] x[t * stride + j * dilation, i]."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, in) -> (batch, time', out)."""
        length = x.shape[1]
        x = self._pad(x) if stream is None else self._continue(x, stream)
        if x.shape[1] <= self.spec.reach:
            return self._nothing(x, length, stream)
        compute = partial(convolve, spec=self.spec)
        return multiplied(compute, x, kernel(self), self.get("bias"))

    def _nothing(self, x: mx.array, length: int, stream: Stream | None) -> mx.array:
        """No output step: right for a chunk, InputError for a whole signal."""
        if stream is None:
            self.spec.output_shape((x.shape[2], length))
        return mx.zeros((x.shape[0], 0, self.spec.out_channels), dtype=x.dtype)

    def _pad(self, x: mx.array) -> mx.array:
        """Add the steps that the padding and its mode ask for."""
        return padded(x, self.spec.pads(x.shape[1]), self.spec.padding_mode)

    def _continue(self, x: mx.array, stream: Stream) -> mx.array:
        """Put the context before a chunk of one step or more, and drop what no output sees."""
        spec, table, length = self.spec, self.spec.own_state(), x.shape[1]
        if "context" in table:
            context = stream.read(self._path, "context").swapaxes(1, 2)
            if "started" in table and not stream.read(self._path, "started"):
                context = mx.repeat(x[:, :1], spec.reach, axis=1)
                stream.write(self._path, "started", 1)
            x = mx.concatenate([context, x], axis=1)
            stream.write(self._path, "context", x[:, length:].swapaxes(1, 2))
        if "skip" not in table:
            return x
        skip = stream.read(self._path, "skip")
        steps, after = strided_steps(skip, length, spec.stride)
        stream.write(self._path, "skip", after)
        return x[:, skip : skip + (steps - 1) * spec.stride + spec.reach + 1] if steps else x[:, :0]


class ConvTranspose1d(Block, kind="conv_transpose1d"):
    """Input step i adds w[:, j, :] x[i, :] to output step i * stride + j * dilation."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, in) -> (batch, time * stride, out), or as `padding` says."""
        compute = partial(self._scattered, stream=stream)
        return multiplied(compute, x, kernel(self), self.get("bias"))

    def _scattered(
        self, x: mx.array, weight: mx.array, bias: mx.array | None, stream: Stream | None
    ) -> mx.array:
        """Scatter the taps, and crop or continue."""
        full = scatter(x, weight, self.spec)
        if stream is None:
            y = self._crop(full)
        else:
            y = self._emit(full, x.shape[1] * self.spec.stride, stream).astype(x.dtype)
        return y if bias is None else y + bias

    def _crop(self, full: mx.array) -> mx.array:
        """Drop, or add, the steps that the padding asks for."""
        left, right = self.spec.crops
        if right < 0:
            full = mx.pad(full, [(0, 0), (0, -right), (0, 0)])
        return full[:, left : full.shape[1] - max(0, right)]

    def _emit(self, full: mx.array, steps: int, stream: Stream) -> mx.array:
        """Add the tail of earlier chunks, give out the finished steps, and keep the rest."""
        overlap = max(0, self.spec.overlap)
        y = mx.pad(full, [(0, 0), (0, steps + overlap - full.shape[1]), (0, 0)])
        if overlap:
            tail = stream.read(self._path, "tail").swapaxes(1, 2)
            y = mx.concatenate([y[:, :overlap] + tail, y[:, overlap:]], axis=1)
            stream.write(self._path, "tail", wide(y[:, steps:].swapaxes(1, 2)))
        return y[:, :steps]


class ConvBlock(Block, kind="conv_block"):
    """Convolution -> norm -> activation -> dropout."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, in) -> (batch, time', out)."""
        x = self["conv"](x, stream)
        if stream is not None and x.shape[1] == 0:
            return x
        for name in ("norm", "activation", "dropout"):
            x = self._optional(name, x)
        return x
