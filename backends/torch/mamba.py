"""Mamba-2 and its bidirectional layers."""

import contextlib
import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from tcnzoo.engines import PLAIN, asked_for
from tcnzoo.errors import BackendMissing
from tcnzoo.extras import missing_package
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import BiMamba2LayerSpec, BiMamba2Spec, Mamba2Spec
from tcnzoo.specs.implementations import KERNELS

from .activation import Dropout
from .block import Block, maybe
from .conv import Conv1d
from .dense import Dense
from .kernels import mamba_cpu, mamba_cuda
from .kernels.mamba_cpu import Rates
from .kernels.ssd import Inputs, chunked, one_step
from .norm import LayerNorm, RmsNorm
from .types import watched, wide

# Time steps of a chunk on other devices than a CPU.
CHUNK = 128


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
        """Choose whose kernels may run it: `auto` is `native` where the library is missing.

        Raises:
            BackendMissing: kernels are asked for by name, and their library is not installed.
        """
        super().__init__(spec, path)
        self.sizes = spec.sizes
        self.sections = list(self.sizes.sections)
        self.implementation = spec.implementation
        if missing_package(KERNELS) is not None:
            self.implementation = "native"
            if spec.implementation == KERNELS:
                raise BackendMissing(
                    f"implementation {KERNELS!r} needs mamba_ssm, which is not installed; "
                    f"run: pip install {KERNELS}"
                )

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> the same shape."""
        through, beside, z, xbc, dt = self.in_proj(x).transpose(1, 2).split(self.sections, dim=2)
        rates = Rates(
            F.softplus(wide(dt) + wide(self.dt_bias)).clamp(*self.spec.dt_limit),
            -wide(self.A_log).exp(),
            self.D.view(self.sizes.heads, -1),
        )
        y = self._in_spans(xbc, rates) if stream is None else None
        if y is None:
            y = self._apart(xbc, rates, stream)
        y = self._gated(y.flatten(2), z, stream)
        if through.shape[2]:
            y = torch.cat([F.silu(through) * beside, y], dim=2)
        out: Tensor = self.out_proj(y.transpose(1, 2))
        return out

    def _in_spans(self, xbc: Tensor, rates: Rates) -> Tensor | None:
        """Convolution and recurrence at once, of (batch, time, convolved), where that is faster.

        None where the parts have to be called, or a value is not finite.
        """
        spec, conv = self.spec, self.conv1d
        if mamba_cuda.wanted(self.implementation, xbc.device):
            return None
        if not mamba_cpu.usable(conv, xbc, conv.weight, *rates):
            return None
        sizes = mamba_cpu.Sizes(self.sizes.heads, spec.head_dim, spec.groups, spec.d_state)
        size = mamba_cpu.chunk_for(sizes, xbc, spec.chunk_size)
        return mamba_cpu.mix(sizes, xbc, conv.weight, conv.bias, rates, size)

    def _apart(self, xbc: Tensor, rates: Rates, stream: Stream | None) -> Tensor:
        """Convolution, then recurrence: (batch, time, heads, head_dim)."""
        spec = self.spec
        xbc = F.silu(self.conv1d(xbc.transpose(1, 2), stream).transpose(1, 2))
        inside = spec.groups * spec.d_state
        x, b, c = xbc.split([self.sizes.width, inside, inside], dim=2)
        inputs = Inputs(
            x.unflatten(2, (self.sizes.heads, spec.head_dim)),
            rates.dt,
            rates.a,
            b.unflatten(2, (spec.groups, spec.d_state)),
            c.unflatten(2, (spec.groups, spec.d_state)),
            rates.d,
        )
        state = None if stream is None else stream.read(self.path, "ssm")
        y, state = scan(inputs, state, spec.chunk_size, self.implementation)
        if stream is not None:
            stream.write(self.path, "ssm", state)
        return y

    def _gated(self, y: Tensor, z: Tensor, stream: Stream | None) -> Tensor:
        """Gate (batch, time, width) by z, and normalise."""
        norm = self.norm
        if norm is None:
            return y * F.silu(z)
        if self.spec.norm_before_gate:
            y = y.to(norm.weight.dtype)
            return maybe(norm, y.transpose(1, 2)).transpose(1, 2) * F.silu(z)
        plain = stream is not None or asked_for() == PLAIN
        if not plain and mamba_cpu.usable(norm, y, z, norm.weight):
            return mamba_cpu.gated_norm(y, z, norm.weight, norm.spec.groups, norm.spec.eps)
        y = (y * F.silu(z)).to(norm.weight.dtype)
        return maybe(norm, y.transpose(1, 2)).transpose(1, 2)


def scan(
    inputs: Inputs, state: Tensor | None, chunk: int | None, implementation: str = "native"
) -> tuple[Tensor, Tensor | None]:
    """Run S_t = exp(dt_t a) S_{t-1} + dt_t x_t b_t^T, y_t = S_t c_t + d x_t in the form that fits.

    It is computed in float32 at least, also where autocast is on.

    Args:
        inputs: see Inputs.
        state: (batch, heads, head_dim, d_state) before the first step; None offline.
        chunk: time steps at once; None for a choice by device.
        implementation: of a Mamba2Spec, `auto` only where the library is installed.
    Returns:
        (y as x, in float32 under autocast; with a state that after the last step, in float32 at
        least).
    """
    x, steps = inputs.x, inputs.x.shape[1]
    inputs, spoilt = screened(inputs) if steps > 1 else (inputs, None)
    last: Tensor | None = None
    native = implementation == "native" or state is not None
    if not native and mamba_cuda.chosen(implementation, inputs):
        y = mamba_cuda.scan(inputs, chunk)
    else:
        mixed = torch.is_autocast_enabled(x.device.type)
        if mixed or x.dtype.itemsize < 4:
            inputs = Inputs(*(array.float() for array in inputs))
            state = None if state is None else state.float()
        with torch.autocast(x.device.type, enabled=False) if mixed else contextlib.nullcontext():
            y, last = _scan(inputs, state, chunk)
        y = y if mixed else y.to(x.dtype)
    if spoilt is not None:
        y = y.masked_fill(spoilt[:, :, None, None], math.nan)
        if state is not None and last is not None:
            last = last.masked_fill(spoilt[:, -1, None, None, None], math.nan)
    return y, last


def _scan(inputs: Inputs, state: Tensor | None, chunk: int | None) -> tuple[Tensor, Tensor]:
    """See `scan`; everything is of one type."""
    x, steps, streams = inputs.x, inputs.x.shape[1], state is not None
    if state is None:
        state = x.new_zeros(x.shape[0], *x.shape[2:], inputs.b.shape[3])
    if streams and steps <= 1:
        return one_step(inputs, state) if steps else (x, state)
    on_cpu = x.device.type == "cpu"
    if chunk is None:
        chunk = mamba_cpu.usual_chunk(inputs.b.shape[3]) if on_cpu else CHUNK
    size = min(chunk, steps)
    if not on_cpu or watched() or asked_for() == PLAIN:
        return chunked(inputs, state, size)
    signals, rates = (inputs.x, inputs.b, inputs.c), Rates(inputs.dt, inputs.a, inputs.d)
    return mamba_cpu.scan(mamba_cpu.Given, signals, rates, state, size)


def screened(inputs: Inputs) -> tuple[Inputs, Tensor | None]:
    """Replace all steps from the first value, or product x dt, that is not finite on by zeros.

    The chunked forms multiply later steps by 0, and 0 * NaN is NaN: so none reaches the outputs
    before it.

    Args:
        inputs: see Inputs.
    Returns:
        (the same with zeros, which steps of which signals these are, (batch, time); None where
        there are none).
    """
    x, dt, b, c = inputs.x, inputs.dt, inputs.b, inputs.c
    # On a CPU one pass shows them; elsewhere to look at a value would wait for the device.
    if x.device.type == "cpu" and not watched():
        largest = 1.0
        for low, high in (torch.aminmax(x.detach()), torch.aminmax(dt.detach())):
            largest *= max(-low.item(), high.item())  # NaN where there is one
        bounded = largest <= torch.finfo(torch.promote_types(x.dtype, dt.dtype)).max
        if bounded and all(math.isfinite(array.detach().sum().item()) for array in (dt, b, c)):
            return inputs, None
    scaled = x * dt.unsqueeze(3)  # may be infinite where both are not
    finite = [(array.detach().abs() < math.inf).flatten(2).all(2) for array in (scaled, dt, b, c)]
    bad = ~(finite[0] & finite[1] & finite[2] & finite[3])
    spoilt = bad.to(torch.float32).cumsum(1) > 0
    x, b, c = (array.masked_fill(spoilt[:, :, None, None], 0.0) for array in (x, b, c))
    dt = dt.masked_fill(spoilt[:, :, None], 0.0)
    return Inputs(x, dt, inputs.a, b, c, inputs.d), spoilt


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
