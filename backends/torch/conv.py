"""Convolutions over time, offline and streaming."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.models.streaming import Stream, strided_steps
from tcnzoo.specs import Spec

from .activation import Activation
from .block import Block
from .kernels import packed
from .types import convolved, reduced, wide

# Up to this width, training on a CPU is 1.2 to 1.3 times as fast with channels last.
NARROW = 128
_PAD = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def padded(x: Tensor, pads: tuple[int, int], mode: str) -> Tensor:
    """Add steps before and after a signal (batch, channels, time), in one of the four modes."""
    return F.pad(x, pads, mode=_PAD[mode]) if any(pads) else x


class _Kernel(Block):
    """What plain and transposed convolutions share: the effective kernel."""

    out_axis = 0

    def kernel(self) -> Tensor:
        """`weight`, or g * v / ||v|| with the norm over every axis but the output channels'."""
        if not self.spec.weight_norm:
            weight: Tensor = self.weight
            return weight
        return torch._weight_norm(self.weight_v, self.weight_g, self.out_axis)

    def bias_or_none(self) -> Tensor | None:
        """The bias, where the spec has one."""
        return self.bias if self.spec.bias else None


class Conv1d(_Kernel, kind="conv1d"):
    """Dilated, strided, grouped convolution; (batch, in, time) -> (batch, out, time')."""

    def __init__(self, spec: Spec) -> None:
        """Note what is looked up at every step of a stream."""
        super().__init__(spec)
        self.reach, self.keeps = self.spec.reach, spec.own_state()

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Pad and convolve; with a `stream`, continue what came before."""
        if packed.usable(x):
            return self.run_packed(x, stream)
        if stream is not None:
            x = self._continue(x, stream)
            if x.shape[2] <= self.reach:
                return x.new_zeros(x.shape[0], self.spec.out_channels, 0)
        else:
            x = self._pad(x)
        return self._plain(x)

    def _pad(self, x: Tensor) -> Tensor:
        """Add the steps that the padding and its mode ask for."""
        pads, mode = self.spec.pads(x.shape[2]), self.spec.padding_mode
        if mode == "zeros" and self._channels_last(x):
            return F.pad(x.transpose(1, 2), (0, 0, *pads)).transpose(1, 2)
        return padded(x, pads, mode)

    def run_packed(
        self, x: Tensor, stream: Stream | None = None, norm: Any = None, activation: Any = None
    ) -> Tensor:
        """Pad and convolve with the kernels of `packed`, which must be usable.

        Args:
            x: (batch, in, time).
            stream: continue what came before.
            norm: the batch norm that follows, to be folded in.
            activation: spec of the activation that follows, one that `packed` fuses.
        """
        if stream is not None:
            x = self._continue(x, stream)
            if x.shape[2] <= self.reach:
                return x.new_zeros(x.shape[0], self.spec.out_channels, 0)
        else:
            pads = self.spec.pads(x.shape[2])
            zeros = self.spec.padding_mode == "zeros" and any(pads)
            x = packed.lead(x, *pads) if zeros else padded(x, pads, self.spec.padding_mode)
        return packed.convolve(self, x, norm, activation)

    def _channels_last(self, x: Tensor) -> bool:
        """Whether the plain convolution runs channels last: where that is faster in training."""
        narrow = max(self.spec.in_channels, self.spec.out_channels) <= NARROW
        return narrow and x.device.type == "cpu" and not torch.compiler.is_compiling()

    def _plain(self, x: Tensor) -> Tensor:
        """Convolve an already padded signal."""
        if x.shape[2] == 0:  # an empty chunk
            return x.new_zeros(x.shape[0], self.spec.out_channels, 0)
        return convolved(self._convolved, x, self.kernel(), self.bias_or_none())

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve, channels last where that is faster."""
        spec = self.spec
        if not self._channels_last(x):
            return F.conv1d(x, weight, bias, spec.stride, 0, spec.dilation, spec.groups)
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
        stride, dilation = (1, spec.stride), (1, spec.dilation)
        weight = weight.unsqueeze(2)
        y = F.conv2d(x.unsqueeze(2), weight, bias, stride, 0, dilation, spec.groups)
        return y.squeeze(2)

    def _continue(self, x: Tensor, stream: Stream) -> Tensor:
        """Put the context before the chunk, and drop what lies before the first due output."""
        length, reach = x.shape[2], self.reach
        if "context" in self.keeps:
            context = stream.read(self.path, "context")
            if "started" in self.keeps:
                started = int(stream.read(self.path, "started"))
                if length and not started:
                    context = x[:, :, :1].expand(-1, -1, reach)
                begun = torch.tensor(max(started, int(length > 0)), dtype=torch.int32)
                stream.write(self.path, "started", begun)
            x = torch.cat([context.transpose(1, 2), x.transpose(1, 2)], dim=1).transpose(1, 2)
            after = x[:, :, x.shape[2] - reach :]
            # A view keeps the whole chunk in memory, so a chunk longer than the context is let go.
            stream.write(self.path, "context", after.clone() if length > reach else after)
        if "skip" not in self.keeps:
            return x
        skip = int(stream.read(self.path, "skip"))
        steps, left = strided_steps(skip, length, self.spec.stride)
        stream.write(self.path, "skip", torch.tensor(left, dtype=torch.int32))
        return x[:, :, skip:] if steps else x[:, :, :0]


class ConvTranspose1d(_Kernel, kind="conv_transpose1d"):
    """Transposed convolution; (batch, in, time) -> (batch, out, time * stride) when causal."""

    out_axis = 1

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Scatter the taps and crop; with a `stream`, add to what earlier chunks left."""
        compute = partial(self._scattered, stream=stream)
        return reduced(compute, x, self.kernel(), self.bias_or_none())

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
        """Add the tail of earlier chunks, give out the finished steps, and keep the rest."""
        overlap = max(0, self.spec.overlap)
        y = F.pad(full, (0, steps + overlap - full.shape[2]))
        if overlap:
            y = y + F.pad(stream.read(self.path, "tail"), (0, steps))
            stream.write(self.path, "tail", wide(y[:, :, steps:]))
        return y[:, :, :steps]


def fused(
    conv: Conv1d, norm: Block | None, activation: Block | None, x: Tensor, stream: Stream | None
) -> Tensor:
    """Apply convolution, norm and activation, in one kernel where that is possible."""
    batch_norm = norm is not None and norm.spec.kind == "batch_norm" and not norm.training
    one_kernel = (
        packed.usable(x)
        and (norm is None or batch_norm)
        and not packed.hooked(conv, norm, activation)
    )
    if not one_kernel:
        x = conv(x, stream)
        x = x if norm is None else norm(x)
        return x if activation is None else activation(x)
    if isinstance(activation, Activation) and activation.spec.name in packed.FUSED:
        return conv.run_packed(x, stream, norm, activation.spec)
    x = conv.run_packed(x, stream, norm)
    return x if activation is None else activation(x)


class ConvBlock(Block, kind="conv_block"):
    """Convolution -> norm -> activation -> dropout."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, in, time) -> (batch, out, time')."""
        x = fused(self.conv, self.part("norm"), self.part("activation"), x, stream)
        return self.optional("dropout", x)
