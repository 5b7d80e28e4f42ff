"""Mamba-2 and its bidirectional layers."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.specs import Spec
from tcnzoo.streaming import Stream

from .block import Block
from .ssd import Inputs, scan


class Mamba2(Block, kind="mamba2"):
    """A selective state space between two linear maps."""

    dt_bias: Tensor
    A_log: Tensor
    D: Tensor

    def __init__(self, spec: Spec) -> None:
        """Note what is looked up at every step of a stream."""
        super().__init__(spec)
        self.sections = list(self.spec.sections)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> the same shape."""
        spec = self.spec
        through, beside, z, xbc, dt = self.in_proj(x).transpose(1, 2).split(self.sections, dim=2)
        xbc = F.silu(self._convolve(xbc, stream))
        dt = F.softplus(dt + self.dt_bias).clamp(*spec.dt_limit)
        y = self._scan(xbc, dt, stream)
        gate = F.silu(z)
        norm = self.part("norm")
        if norm is None:
            y = y * gate
        elif spec.norm_before_gate:
            y = norm(y.transpose(1, 2)).transpose(1, 2) * gate
        else:
            y = norm((y * gate).transpose(1, 2)).transpose(1, 2)
        if through.shape[2]:
            y = torch.cat([F.silu(through) * beside, y], dim=2)
        out: Tensor = self.out_proj(y.transpose(1, 2))
        return out

    def _convolve(self, x: Tensor, stream: Stream | None) -> Tensor:
        """The causal depthwise convolution, channels last: a sum of shifted products."""
        conv = self.conv1d
        if stream is not None or x.device.type != "cpu":
            y: Tensor = conv(x.transpose(1, 2), stream).transpose(1, 2)
            return y
        steps, taps = x.shape[1], conv.weight[:, 0].unbind(dim=1)
        padded = F.pad(x, (0, 0, len(taps) - 1, 0))
        first = padded[:, :steps] * taps[0]
        y = first if conv.bias_or_none() is None else first + conv.bias
        for place, tap in enumerate(taps[1:], 1):
            y = torch.addcmul(y, padded[:, place : place + steps], tap)
        return y

    def _scan(self, xbc: Tensor, dt: Tensor, stream: Stream | None) -> Tensor:
        """Run the recurrence on x, B, C (batch, time, convolved) and dt (batch, time, heads)."""
        spec = self.spec
        inside = spec.groups * spec.d_state
        x, b, c = xbc.split([spec.width, inside, inside], dim=2)
        x = x.unflatten(2, (spec.heads, spec.head_dim))
        b, c = (one.unflatten(2, (spec.groups, spec.d_state)) for one in (b, c))
        state = None if stream is None else stream.read(self.path, "ssm")
        y, last = scan(Inputs(x, dt, -self.A_log.exp(), b, c), state, spec.chunk_size)
        if stream is not None:
            stream.write(self.path, "ssm", last)
        return torch.addcmul(y, x, self.D.view(spec.heads, -1)).flatten(2)


class BiMamba2Layer(Block, kind="bi_mamba2_layer"):
    """norm(x + dropout(projection([forward, backward])))."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> the same shape."""
        backward = self.part("backward_mamba") or self.forward_mamba
        both = torch.cat([self.forward_mamba(x), backward(x.flip(2)).flip(2)], dim=1)
        y: Tensor = self.norm(x + self.optional("dropout", self.projection(both)))
        return y


class BiMamba2(Block, kind="bi_mamba2"):
    """Layers, one after the other."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> the same shape."""
        for layer in self.layers.values():
            x = layer(x)
        return x
