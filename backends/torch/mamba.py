"""Mamba-2 and its bidirectional layers."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import BiMamba2LayerSpec, BiMamba2Spec, Mamba2Spec

from .activation import Dropout
from .block import Block, maybe
from .conv import Conv1d
from .dense import Dense
from .kernels import blockwise, mamba_cuda, packed
from .kernels.scan import scan
from .kernels.screening import screened, unscreened
from .kernels.ssd import Inputs
from .norm import LayerNorm, RmsNorm
from .types import wide


class Mamba2(Block[Mamba2Spec], kind="mamba2"):
    """A selective state space between two linear maps."""

    in_proj: Dense
    conv1d: Conv1d
    norm: RmsNorm | None
    out_proj: Dense
    dt_bias: Tensor
    A_log: Tensor
    D: Tensor

    def __init__(self, spec: Mamba2Spec, path: str = "") -> None:
        """Note what is looked up at every step of a stream."""
        super().__init__(spec, path)
        self.sections = list(self.spec.sections)
        self.implementation = mamba_cuda.settled(self.spec.implementation)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> the same shape."""
        spec = self.spec
        through, beside, z, xbc, dt = self.in_proj(x).transpose(1, 2).split(self.sections, dim=2)
        xbc = self._convolve(xbc, stream)
        dt = F.softplus(wide(dt) + wide(self.dt_bias)).clamp(*spec.dt_limit)
        y = self._gate(self._scan(xbc, dt, stream), z, stream)
        if through.shape[2]:
            y = torch.cat([F.silu(through) * beside, y], dim=2)
        out: Tensor = self.out_proj(y.transpose(1, 2))
        return out

    def _convolve(self, x: Tensor, stream: Stream | None) -> Tensor:
        """The causal depthwise convolution of (batch, time, convolved), and SiLU."""
        conv = self.conv1d
        if stream is not None or not blockwise.usable(x, conv.weight):
            y: Tensor = conv(x.transpose(1, 2), stream).transpose(1, 2)
            return F.silu(y)
        return blockwise.convolve(
            x, conv.weight, x.new_zeros(x.shape[2]) if conv.bias is None else conv.bias
        )

    def _gate(self, y: Tensor, z: Tensor, stream: Stream | None) -> Tensor:
        """Gate (batch, time, width) by z, and normalise."""
        norm = self.norm
        if norm is None:
            return y * F.silu(z)
        if self.spec.norm_before_gate:
            y = y.to(norm.weight.dtype)
            return maybe(norm, y.transpose(1, 2)).transpose(1, 2) * F.silu(z)
        if stream is None and blockwise.usable(y, z, norm.weight) and not packed.hooked(norm):
            return blockwise.gated_norm(y, z, norm.weight, norm.spec.groups, norm.spec.eps)
        y = (y * F.silu(z)).to(norm.weight.dtype)
        return maybe(norm, y.transpose(1, 2)).transpose(1, 2)

    def _scan(self, xbc: Tensor, dt: Tensor, stream: Stream | None) -> Tensor:
        """Run the recurrence on x, B, C (batch, time, convolved) and dt (batch, time, heads)."""
        spec = self.spec
        inside = spec.groups * spec.d_state
        x, b, c = xbc.split([spec.width, inside, inside], dim=2)
        x = x.unflatten(2, (spec.heads, spec.head_dim))
        b, c = (one.unflatten(2, (spec.groups, spec.d_state)) for one in (b, c))
        inputs = Inputs(x, dt, -wide(self.A_log).exp(), b, c, self.D.view(spec.heads, -1))
        inputs, later = screened(inputs) if x.shape[1] > 1 else (inputs, None)
        if stream is None and mamba_cuda.chosen(self.implementation, inputs):
            return unscreened(mamba_cuda.scan(inputs, spec.chunk_size), later).flatten(2)
        state = None if stream is None else stream.read(self.path, "ssm")
        y, last = scan(inputs, state, spec.chunk_size)
        if stream is not None:
            ends = None if later is None else later[:, -1:]
            stream.write(self.path, "ssm", unscreened(last.unsqueeze(1), ends).squeeze(1))
        return unscreened(y, later).flatten(2)


class BiMamba2Layer(Block[BiMamba2LayerSpec], kind="bi_mamba2_layer"):
    """norm(x + dropout(projection([forward, backward])))."""

    forward_mamba: Mamba2
    backward_mamba: Mamba2 | None
    projection: Dense
    dropout: Dropout | None
    norm: LayerNorm

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> the same shape."""
        backward = self.backward_mamba or self.forward_mamba
        both = torch.cat([self.forward_mamba(x), backward(x.flip(2)).flip(2)], dim=1)
        y: Tensor = self.norm(x + maybe(self.dropout, self.projection(both)))
        return y


class BiMamba2(Block[BiMamba2Spec], kind="bi_mamba2"):
    """Layers, one after the other."""

    layers: nn.ModuleDict

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> the same shape."""
        for layer in self.layers.values():
            x = layer(x)
        return x
