"""Convolutions over time, offline and streaming."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.models.streaming import Stream, strided_steps
from tcnzoo.specs import ActivationSpec, Conv1dSpec, ConvBlockSpec, ConvTranspose1dSpec

from .activation import Dropout
from .block import Block, maybe
from .kernels import packed
from .kernels.engine import Engine, engine_for
from .types import convolved, reduced, wide

_PAD = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def padded(x: Tensor, pads: tuple[int, int], mode: str) -> Tensor:
    """Add steps before and after a signal (batch, channels, time), in one of the four modes."""
    return F.pad(x, pads, mode=_PAD[mode]) if any(pads) else x


class Conv1d(Block[Conv1dSpec], kind="conv1d"):
    """Dilated, strided, grouped convolution; (batch, in, time) -> (batch, out, time')."""

    weight: Tensor
    weight_g: Tensor
    weight_v: Tensor
    bias: Tensor | None

    def kernel(self) -> Tensor:
        """`weight`, or g * v / ||v|| with the norm over every axis but the output channels'."""
        if not self.spec.weight_norm:
            return self.weight
        return torch._weight_norm(self.weight_v, self.weight_g, 0)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Pad and convolve; with a `stream`, continue what came before."""
        return self.run(engine_for(self, x), x, stream)

    def run(
        self,
        engine: Engine,
        x: Tensor,
        stream: Stream | None = None,
        norm: Block[Any] | None = None,
        activation: Block[Any] | None = None,
    ) -> Tensor:
        """Compute with an engine that serves the call; PACKED may include what follows.

        Args:
            engine: see `engine_for`.
            x: (batch, in, time).
            stream: continue what came before.
            norm: the batch norm that follows.
            activation: the activation that follows, one of `packed.FUSED`.
        """
        spec, pads = self.spec, (0, 0)
        if stream is not None:
            x = self._continue(x, stream)
            if x.shape[2] <= spec.reach:
                return x.new_zeros(x.shape[0], spec.out_channels, 0)
        else:
            pads = spec.pads(x.shape[2])
            if spec.padding_mode != "zeros" and any(pads):
                x, pads = padded(x, pads, spec.padding_mode), (0, 0)
        if engine is Engine.PACKED:
            return packed.convolve(self, x, pads, norm, activation)
        if any(pads) and engine is Engine.CHANNELS_LAST:
            x = F.pad(x.transpose(1, 2), (0, 0, *pads)).transpose(1, 2)
        elif any(pads):
            x = F.pad(x, pads)
        if x.shape[2] == 0:  # an empty chunk
            return x.new_zeros(x.shape[0], spec.out_channels, 0)
        form = self._channels_last if engine is Engine.CHANNELS_LAST else self._plain
        return convolved(form, x, self.kernel(), self.bias)

    def _plain(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve an already padded signal."""
        spec = self.spec
        return F.conv1d(x, weight, bias, spec.stride, 0, spec.dilation, spec.groups)

    def _channels_last(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The same on memory with channels last, as a convolution of images of height 1."""
        spec = self.spec
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
        stride, dilation = (1, spec.stride), (1, spec.dilation)
        weight = weight.unsqueeze(2)
        y = F.conv2d(x.unsqueeze(2), weight, bias, stride, 0, dilation, spec.groups)
        return y.squeeze(2)

    def _continue(self, x: Tensor, stream: Stream) -> Tensor:
        """Put the context before the chunk, and drop what lies before the first due output."""
        length, reach = x.shape[2], self.spec.reach
        if "context" in self.state_items:
            context = stream.read(self.path, "context")
            if "started" in self.state_items:
                started = int(stream.read(self.path, "started"))
                if length and not started:
                    context = x[:, :, :1].expand(-1, -1, reach)
                begun = torch.tensor(max(started, int(length > 0)), dtype=torch.int32)
                stream.write(self.path, "started", begun)
            x = torch.cat([context.transpose(1, 2), x.transpose(1, 2)], dim=1).transpose(1, 2)
            after = x[:, :, x.shape[2] - reach :]
            # A view keeps the whole chunk in memory, so a chunk longer than the context is let go.
            stream.write(self.path, "context", after.clone() if length > reach else after)
        if "skip" not in self.state_items:
            return x
        skip = int(stream.read(self.path, "skip"))
        steps, left = strided_steps(skip, length, self.spec.stride)
        stream.write(self.path, "skip", torch.tensor(left, dtype=torch.int32))
        return x[:, :, skip:] if steps else x[:, :, :0]


class ConvTranspose1d(Block[ConvTranspose1dSpec], kind="conv_transpose1d"):
    """Transposed convolution; (batch, in, time) -> (batch, out, time * stride) when causal."""

    weight: Tensor
    weight_g: Tensor
    weight_v: Tensor
    bias: Tensor | None

    def kernel(self) -> Tensor:
        """`weight`, or g * v / ||v|| with the norm over every axis but the output channels'."""
        if not self.spec.weight_norm:
            return self.weight
        return torch._weight_norm(self.weight_v, self.weight_g, 1)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Scatter the taps and crop; with a `stream`, add to what earlier chunks left."""
        compute = partial(self._scattered, stream=stream)
        return reduced(compute, x, self.kernel(), self.bias)

    def _scattered(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, stream: Stream | None
    ) -> Tensor:
        """Scatter the taps, and crop or continue."""
        spec = self.spec
        if x.shape[2] == 0:
            full = x.new_zeros(x.shape[0], spec.out_channels, 0)
        else:
            full = F.conv_transpose1d(x, weight, stride=spec.stride, dilation=spec.dilation)
        if stream is None:
            left, right = spec.crops
            y = F.pad(full, (-left, -right))
        else:
            y = self._emit(full, x.shape[2] * spec.stride, stream).to(x.dtype)
        return y if bias is None else y + bias[:, None]

    def _emit(self, full: Tensor, steps: int, stream: Stream) -> Tensor:
        """Add the tail of earlier chunks, return the finished steps, and keep the rest."""
        overlap = max(0, self.spec.overlap)
        y = F.pad(full, (0, steps + overlap - full.shape[2]))
        if overlap:
            y = y + F.pad(stream.read(self.path, "tail"), (0, steps))
            stream.write(self.path, "tail", wide(y[:, :, steps:]))
        return y[:, :, :steps]


def fused(
    conv: Conv1d,
    norm: Block[Any] | None,
    activation: Block[Any] | None,
    x: Tensor,
    stream: Stream | None,
) -> Tensor:
    """conv -> norm -> activation, in one kernel where the engine has one."""
    engine = engine_for(conv, x)
    norm_fits = norm is None or (norm.spec.kind == "batch_norm" and not norm.training)
    if engine is not Engine.PACKED or not norm_fits or packed.hooked(conv, norm, activation):
        return maybe(activation, maybe(norm, conv(x, stream)))
    spec = None if activation is None else activation.spec
    if isinstance(spec, ActivationSpec) and spec.name in packed.FUSED:
        return conv.run(engine, x, stream, norm, activation)
    return maybe(activation, conv.run(engine, x, stream, norm))


class ConvBlock(Block[ConvBlockSpec], kind="conv_block"):
    """Convolution -> norm -> activation -> dropout."""

    conv: Conv1d
    norm: Block[Any] | None
    activation: Block[Any] | None
    dropout: Dropout | None

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, in, time) -> (batch, out, time')."""
        return maybe(self.dropout, fused(self.conv, self.norm, self.activation, x, stream))
