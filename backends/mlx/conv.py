"""Convolutions over time, plain and transposed, offline and in a stream."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import mlx.core as mx
import numpy as np

from tcnzoo.models.streaming import Stream, strided_steps
from tcnzoo.specs import Conv1dSpec, ConvBlockSpec, ConvTranspose1dSpec

from .block import Block, maybe
from .kept import Kept
from .kernels.taps import convolve, form_of, laid_out, scatter
from .norm import BatchNorm
from .types import HALVES, multiplied, on_cpu, wide

_NUMPY_PAD = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def kernel(spec: Conv1dSpec | ConvTranspose1dSpec, weights: Mapping[str, mx.array]) -> mx.array:
    """The effective kernel (out, K, in): `weight`, or g * v / ||v|| for each output channel."""
    if not spec.weight_norm:
        return weights["weight"]
    direction, gain = wide(weights["weight_v"]), wide(weights["weight_g"])
    squares = mx.square(direction).sum(axis=(1, 2), keepdims=True)
    return (direction * (gain * mx.rsqrt(squares))).astype(weights["weight_v"].dtype)


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


class Conv1d(Block[Conv1dSpec], kind="conv1d"):
    """y[t, o] = b[o] + sum over i, j of w[o, j, i] x[t * stride + j * dilation, i]."""

    def __init__(self, spec: Conv1dSpec, path: str = "") -> None:
        """Make room for the parameters."""
        super().__init__(spec, path)
        self._kept = Kept()

    def forward(
        self, x: mx.array, stream: Stream | None = None, norm: BatchNorm | None = None
    ) -> mx.array:
        """(batch, time, in) -> (batch, time', out), normed by `norm` if there is one."""
        spec, length = self.spec, x.shape[1]
        if stream is None:
            x = padded(x, spec.pads(length), spec.padding_mode)
        else:
            x = self._continue(x, stream)
        if x.shape[1] <= spec.reach:
            if stream is None:
                spec.output_shape((x.shape[2], length))  # raises: too short a signal
            return mx.zeros((x.shape[0], 0, spec.out_channels), dtype=x.dtype)
        form, compute = form_of(x, spec), partial(convolve, spec=spec)
        # On a GPU addresses of arrays cost a wait for them, and folding little.
        ready = self._ready(form, norm) if on_cpu() and x.dtype not in HALVES else None
        if ready is not None:
            return compute(x, *ready)
        y = multiplied(compute, x, laid_out(kernel(spec, self), form), self.get("bias"))
        return maybe(norm, y)

    def _ready(self, form: str, norm: BatchNorm | None) -> tuple[mx.array, mx.array | None] | None:
        """Kernel and bias with the norms folded in, of weights that stay as they are."""
        if self.training:
            return None
        sources = {name: self[name] for name in self.spec.own_params()}
        if norm is not None:
            sources |= {f"norm.{name}": norm[name] for name in norm.spec.own_params()}

        def folded(sources: Mapping[str, mx.array]) -> tuple[mx.array, mx.array | None]:
            weight, bias = kernel(self.spec, sources), sources.get("bias")
            if norm is not None:
                weight, bias = _normed(weight, bias, sources, norm.spec.eps)
            return laid_out(weight, form), bias

        ready: tuple[mx.array, mx.array | None] | None = self._kept.value(form, sources, folded)
        return ready

    def _continue(self, x: mx.array, stream: Stream) -> mx.array:
        """Put the context before a chunk of one step or more, and drop what no output sees."""
        spec, table, length = self.spec, self.spec.own_state(), x.shape[1]
        if "context" in table:
            context = stream.read(self.path, "context").swapaxes(1, 2)
            if "started" in table and not stream.read(self.path, "started"):
                context = mx.repeat(x[:, :1], spec.reach, axis=1)
                stream.write(self.path, "started", 1)
            x = mx.concatenate([context, x], axis=1)
            stream.write(self.path, "context", x[:, length:].swapaxes(1, 2))
        if "skip" not in table:
            return x
        skip = stream.read(self.path, "skip")
        steps, after = strided_steps(skip, length, spec.stride)
        stream.write(self.path, "skip", after)
        return x[:, skip : skip + (steps - 1) * spec.stride + spec.reach + 1] if steps else x[:, :0]


def _normed(
    weight: mx.array, bias: mx.array | None, norm: Mapping[str, mx.array], eps: float
) -> tuple[mx.array, mx.array]:
    """Kernel and bias with the statistics of a batch norm, `norm.weight` and so on, folded in."""
    scale = norm["norm.weight"] * mx.rsqrt(norm["norm.running_var"] + eps)
    shift = norm["norm.bias"] - norm["norm.running_mean"] * scale
    return weight * scale[:, None, None], shift if bias is None else bias * scale + shift


def conv_norm(
    conv: Conv1d, norm: Block[Any] | None, x: mx.array, stream: Stream | None
) -> mx.array:
    """A convolution, then its norm; in evaluation a batch norm is folded into the kernel."""
    observed = conv._observer is not None
    if not isinstance(norm, BatchNorm) or observed or conv.training or norm.training:
        return maybe(norm, conv(x, stream))
    y: mx.array = conv(x, stream, norm=norm)
    return y


class ConvTranspose1d(Block[ConvTranspose1dSpec], kind="conv_transpose1d"):
    """Input step i adds w[:, j, :] x[i, :] to output step i * stride + j * dilation."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, in) -> (batch, time * stride, out), or as `padding` says."""
        compute = partial(self._scattered, stream=stream)
        return multiplied(compute, x, kernel(self.spec, self), self.get("bias"))

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
        """Add the tail of earlier chunks, return the finished steps, and keep the rest."""
        overlap = max(0, self.spec.overlap)
        y = mx.pad(full, [(0, 0), (0, steps + overlap - full.shape[1]), (0, 0)])
        if overlap:
            tail = stream.read(self.path, "tail").swapaxes(1, 2)
            y = mx.concatenate([y[:, :overlap] + tail, y[:, overlap:]], axis=1)
            stream.write(self.path, "tail", wide(y[:, steps:].swapaxes(1, 2)))
        return y[:, :steps]


class ConvBlock(Block[ConvBlockSpec], kind="conv_block"):
    """Convolution -> norm -> activation -> dropout."""

    conv: Conv1d
    norm: Block[Any] | None
    activation: Block[Any] | None
    dropout: Block[Any] | None

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, in) -> (batch, time', out)."""
        x = conv_norm(self.conv, self.norm, x, stream)
        if stream is not None and x.shape[1] == 0:
            return x
        return maybe(self.dropout, maybe(self.activation, x))
