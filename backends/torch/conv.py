"""Convolutions over time, offline and streaming."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.streaming import Stream, strided_steps

from .block import Block

_PAD = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


class _Kernel(Block):
    """What plain and transposed convolutions share: the effective kernel."""

    out_axis = 0

    def kernel(self) -> Tensor:
        """`weight`, or g * v / ||v|| with the norm over every axis but that of the output channels."""
        if not self.spec.weight_norm:
            weight: Tensor = self.weight
            return weight
        return torch._weight_norm(self.weight_v, self.weight_g, self.out_axis)

    def bias_or_none(self) -> Tensor | None:
        """The bias, where the spec has one."""
        return self.bias if self.spec.bias else None


class Conv1d(_Kernel, kind="conv1d"):
    """Dilated, strided, grouped convolution; (batch, in, time) -> (batch, out, time')."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Pad and convolve; with a `stream`, continue what came before."""
        spec = self.spec
        if stream is not None:
            x = self._continue(x, stream)
            if x.shape[2] <= spec.reach:
                return x.new_zeros(x.shape[0], spec.out_channels, 0)
        elif any(spec.pads):
            x = F.pad(x, spec.pads, mode=_PAD[spec.padding_mode])
        return F.conv1d(
            x,
            self.kernel(),
            self.bias_or_none(),
            stride=spec.stride,
            dilation=spec.dilation,
            groups=spec.groups,
        )

    def _continue(self, x: Tensor, stream: Stream) -> Tensor:
        """Put the context before the chunk, and drop what lies before the first output that is due."""
        spec, table, length = self.spec, self.spec.own_state(), x.shape[2]
        if "context" in table:
            context = stream.read(self.path, "context")
            if "started" in table:
                started = int(stream.read(self.path, "started"))
                if length and not started:
                    context = x[:, :, :1].expand(-1, -1, spec.reach)
                after = torch.tensor(max(started, int(length > 0)), dtype=torch.int32)
                stream.write(self.path, "started", after)
            x = torch.cat([context, x], dim=2)
            stream.write(self.path, "context", x[:, :, x.shape[2] - spec.reach :])
        if "skip" not in table:
            return x
        skip = int(stream.read(self.path, "skip"))
        steps, left = strided_steps(skip, length, spec.stride)
        stream.write(self.path, "skip", torch.tensor(left, dtype=torch.int32))
        return x[:, :, skip:] if steps else x[:, :, :0]


class ConvTranspose1d(_Kernel, kind="conv_transpose1d"):
    """Transposed convolution; (batch, in, time) -> (batch, out, time * stride), or as `padding` says."""

    out_axis = 1

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Scatter the taps and crop; with a `stream`, add to what earlier chunks left."""
        spec, bias = self.spec, self.bias_or_none()
        if x.shape[2] == 0:
            full = x.new_zeros(x.shape[0], spec.out_channels, 0)
        else:
            full = F.conv_transpose1d(
                x, self.kernel(), stride=spec.stride, dilation=spec.dilation
            )
        if stream is None:
            left, right = spec.crops
            y = F.pad(full, (-left, -right))
        else:
            y = self._emit(full, x.shape[2] * spec.stride, stream)
        return y if bias is None else y + bias[:, None]

    def _emit(self, full: Tensor, steps: int, stream: Stream) -> Tensor:
        """Add the tail of earlier chunks, give out the finished steps, and keep the rest."""
        overlap = max(0, self.spec.overlap)
        y = F.pad(full, (0, steps + overlap - full.shape[2]))
        if overlap:
            y = y + F.pad(stream.read(self.path, "tail"), (0, steps))
            stream.write(self.path, "tail", y[:, :, steps:])
        return y[:, :, :steps]


class ConvBlock(Block, kind="conv_block"):
    """Convolution -> norm -> activation -> dropout."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, in, time) -> (batch, out, time')."""
        x = self.conv(x, stream)
        for name in ("norm", "activation", "dropout"):
            x = self.optional(name, x)
        return x
