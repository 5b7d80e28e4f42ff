"""Mamba-2 on a CPU: convolution, gated norm and recurrence in spans of time that fit in the cache.

Nothing of the size (heads x time x chunk) is ever in memory. Kept for the backward pass are the
inputs, and of the recurrence the state before each chunk; the rest is computed once more there.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from ..types import watched
from .ssd import Inputs, chunked

# Values that are worked on at once, a megabyte in float32: of the convolution and the norm, and of
# x and the states.
BLOCK, SPAN = 2**18, 2**18

Gradients = tuple[Tensor | None, ...]


def usable(part: nn.Module, *tensors: Tensor) -> bool:
    """Whether a form written here may stand in for a part: nobody listens to it, or traces.

    The tensors must be of one type of at least 32 bits, on a CPU.
    """
    dtype = tensors[0].dtype
    return (
        dtype in (torch.float32, torch.float64)
        and all(tensor.device.type == "cpu" and tensor.dtype == dtype for tensor in tensors)
        and not (part._forward_hooks or part._forward_pre_hooks)
        and not watched()
    )


def again(
    plain: Callable[..., Any], inputs: Sequence[Tensor], outside: Sequence[Tensor]
) -> Gradients:
    """Gradients that can be differentiated once more: torch derives them from a plain form."""
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    gradients = torch.autograd.grad(plain(*inputs), wanted, outside, create_graph=True)
    table = dict(zip(map(id, wanted), gradients, strict=True))
    return tuple(table.get(id(tensor)) for tensor in inputs)


def _blocks(x: Tensor) -> list[slice]:
    """Where the blocks of (batch, time, channels) are."""
    batch, steps, channels = x.shape
    size = max(1, BLOCK // max(1, batch * channels))
    return [slice(begin, min(begin + size, steps)) for begin in range(0, steps, size)]


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """silu(causal depthwise convolution).

    Args:
        x: (batch, time, channels).
        weight: (channels, 1, taps), the last for the current step.
        bias: (channels,), or None.
    """
    bias = x.new_zeros(x.shape[2]) if bias is None else bias
    y: Tensor = _Convolution.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y


def _plain_convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`convolve` by torch's own operations."""
    signal = F.pad(x.transpose(1, 2), (weight.shape[2] - 1, 0))
    return F.silu(F.conv1d(signal, weight, bias, groups=len(weight))).transpose(1, 2)


def _convolved(x: Tensor, taps: list[Tensor], bias: Tensor, here: slice) -> Tensor:
    """A block of the convolution, by sums of shifted products; taps from the current step back."""
    y = torch.addcmul(bias, x[:, here], taps[0])
    for back, tap in enumerate(taps[1:], 1):
        begin, end = max(here.start - back, 0), max(here.stop - back, 0)
        y[:, begin + back - here.start :].addcmul_(x[:, begin:end], tap)
    return y


class _Convolution(torch.autograd.Function):
    """See `convolve`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Convolve and activate block by block."""
        ctx.save_for_backward(x, weight, bias)
        y, taps = x.new_empty(x.shape), list(weight[:, 0].t().contiguous().flip(0))
        for here in _blocks(x):
            inner = _convolved(x, taps, bias, here)
            torch.mul(inner, inner.sigmoid(), out=y[:, here])
        return y

    @staticmethod
    def backward(ctx: Any, *outside: Tensor) -> Gradients:
        """Gradients of x, weight and bias."""
        x, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            return again(_plain_convolution, (x, weight, bias), outside)
        of_x, of_weight, of_bias = map(torch.zeros_like, (x, weight, bias))
        taps = list(weight[:, 0].t().contiguous().flip(0))
        for here in _blocks(x):
            inner = _convolved(x, taps, bias, here)
            inner = torch.ops.aten.silu_backward(outside[0][:, here], inner)
            of_bias += inner.sum((0, 1))
            for back, tap in enumerate(taps):
                begin, end = max(here.start - back, 0), max(here.stop - back, 0)
                later = inner[:, begin + back - here.start :]
                of_x[:, begin:end].addcmul_(later, tap)
                of_weight[:, 0, -1 - back] += (later * x[:, begin:end]).sum((0, 1))
        return of_x, of_weight, of_bias


def gated_norm(y: Tensor, z: Tensor, weight: Tensor, groups: int, eps: float) -> Tensor:
    """Root-mean-square norm of y * silu(z), the mean over the channels of a group.

    Args:
        y, z: (batch, time, channels).
        weight: (channels,).
        groups: of the channels.
        eps: added to the mean square.
    """
    out: Tensor = _GatedNorm.apply(y, z, weight, groups, eps)  # type: ignore[no-untyped-call]
    return out


def _normed(y: Tensor, gate: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """y * gate before the norm's weight, and what it was multiplied by; by groups."""
    gated = (y * gate).unflatten(2, (groups, -1))
    scale = (gated.square().mean(3, keepdim=True) + eps).rsqrt_()
    return gated.mul_(scale), scale


class _GatedNorm(torch.autograd.Function):
    """See `gated_norm`."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, z: Tensor, weight: Tensor, groups: int, eps: float) -> Tensor:
        """Gate and normalise block by block."""
        ctx.save_for_backward(y, z, weight)
        ctx.options = groups, eps
        out = y.new_empty(y.shape)
        for here in _blocks(y):
            normed, _ = _normed(y[:, here], F.silu(z[:, here]), groups, eps)
            torch.mul(normed.flatten(2), weight, out=out[:, here])
        return out

    @staticmethod
    def backward(ctx: Any, *outside: Tensor) -> Gradients:
        """Gradients of y, z and weight."""
        (y, z, weight), (groups, eps) = ctx.saved_tensors, ctx.options
        if torch.is_grad_enabled():
            return *again(_plain_norm(groups, eps), (y, z, weight), outside), None, None
        of_y, of_z = y.new_empty(y.shape), z.new_empty(z.shape)
        of_weight = torch.zeros_like(weight)
        for here in _blocks(y):
            gate, out = F.silu(z[:, here]), outside[0][:, here]
            normed, scale = _normed(y[:, here], gate, groups, eps)
            of_weight += (out * normed.flatten(2)).sum((0, 1))
            inner = (out * weight).view(normed.shape)
            along = (inner * normed).mean(3, keepdim=True)
            inner = inner.addcmul_(normed, along, value=-1).mul_(scale).flatten(2)
            torch.mul(inner, gate, out=of_y[:, here])
            of_z[:, here] = torch.ops.aten.silu_backward(inner.mul_(y[:, here]), z[:, here])
        return of_y, of_z, of_weight, None, None


def _plain_norm(groups: int, eps: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """`gated_norm` by torch's own operations."""

    def plain(y: Tensor, z: Tensor, weight: Tensor) -> Tensor:
        gated = (y * F.silu(z)).unflatten(2, (groups, -1))
        return F.rms_norm(gated, gated.shape[3:], eps=eps).flatten(2) * weight

    return plain


class _Stretch(NamedTuple):
    """A stretch of time: so many chunks of `size` steps."""

    steps: slice
    chunks: int
    size: int


def _stretches(inputs: Inputs, size: int) -> list[_Stretch]:
    """The stretches that all steps fall into; the last may be a shorter chunk."""
    batch, steps, heads, width = inputs.x.shape
    whole, rest = divmod(steps, size)
    most = max(1, SPAN // max(1, batch * heads * (width + inputs.b.shape[3]) * size))
    stretches = []
    for first in range(0, whole, most):
        chunks = min(most, whole - first)
        stretches.append(_Stretch(slice(first * size, (first + chunks) * size), chunks, size))
    if rest:
        stretches.append(_Stretch(slice(whole * size, steps), 1, rest))
    return stretches


def _cut(array: Tensor, stretch: _Stretch) -> Tensor:
    """A part of (batch, time, heads, ...) as a view (batch, count, heads, size, ...)."""
    part: Tensor = array[:, stretch.steps].unflatten(1, (stretch.chunks, stretch.size))
    return part.transpose(2, 3)


class _Span:
    """The steps of some chunks, heads before time, and what both passes need of them.

    "Each" below stands for batch * count * heads, one after the other.

    Attributes:
        x, scaled: (each, size, head_dim), without and with the factor dt.
        dt: (batch, count, heads, size).
        b, c: (batch, count, groups, 1, size, d_state).
        scores: (batch, count, groups, 1, size, size), c_i b_j.
        decay: (batch, count, groups, share, size, size), exp(s_i - s_j) for i >= j and 0 above,
            where s is the cumulative log decay of the chunk.
        since, until: (batch, count, groups, share, size, 1), decay since the chunk began and to its
            end.
        read, write: (each, size, d_state), c and b with that decay.
        whole: (batch, count, heads, 1, 1), decay over each chunk.
    """

    def __init__(self, inputs: Inputs, stretch: _Stretch) -> None:
        """Cut out the steps of a stretch."""
        arrays = (inputs.x, inputs.dt, inputs.b, inputs.c)
        x, self.dt, b, c = (_cut(array, stretch).contiguous() for array in arrays)
        batch, count, heads, size, _ = x.shape
        self.shape = (batch, count, b.shape[2], heads // b.shape[2], size)
        self.x = x.flatten(0, 2)
        self.scaled = (x * self.dt.unsqueeze(4)).flatten(0, 2)
        self.b, self.c = b.unsqueeze(3), c.unsqueeze(3)
        self.scores = self.c @ self.b.transpose(4, 5)
        sums = (self.dt * inputs.a.unsqueeze(1)).cumsum(3)
        # The mask comes before the exponential, which would overflow above the diagonal.
        future = torch.ones(size, size, dtype=torch.bool).triu_(1)
        apart = (sums.unsqueeze(4) - sums.unsqueeze(3)).masked_fill_(future, -torch.inf)
        self.decay = apart.exp_().view(*self.shape, size)
        self.since = sums.exp().view(*self.shape, 1)
        self.until = (sums[..., -1:] - sums).exp().view(*self.shape, 1)
        self.read = (self.c * self.since).flatten(0, 3)
        self.write = (self.b * self.until).flatten(0, 3)
        self.whole = sums[..., -1:].exp().unsqueeze(4)

    def carried(
        self, added: Tensor, state: Tensor, backward: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Let a state decay over each chunk and add to it, chunk by chunk.

        Args:
            added: (each, d_state, head_dim), what each chunk adds.
            state: (batch, heads, d_state, head_dim), before the first chunk; with `backward` the
                gradient of the state after the last.
        Returns:
            (states before each chunk, state after the last); with `backward` the gradients of the
            states after each, and of the one before the first.
        """
        parts = added.view(*self.dt.shape[:3], *added.shape[1:])
        order = range(self.dt.shape[1])[:: -1 if backward else 1]
        met = torch.empty_like(parts)
        met[:, order[0]] = state
        for here, after in zip(order, order[1:], strict=False):
            torch.addcmul(parts[:, here], self.whole[:, here], met[:, here], out=met[:, after])
        end = order[-1]
        state = torch.addcmul(parts[:, end], self.whole[:, end], met[:, end])
        return met.flatten(0, 2), state


def in_chunks(
    inputs: Inputs, state: Tensor, size: int, kept: list[Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Do what `ssd.chunked` does, without gradients.

    Args:
        inputs, state, size: see `ssd.chunked`.
        kept: takes the states before the chunks of each stretch.
    """
    y, state = inputs.x.new_empty(inputs.x.shape), state.transpose(2, 3)
    for stretch in _stretches(inputs, size):
        span, out = _Span(inputs, stretch), _cut(y, stretch)
        before, state = span.carried(span.write.transpose(1, 2) @ span.scaled, state)
        mixed = span.decay.mul_(span.scores).flatten(0, 3)
        sums = torch.baddbmm(mixed @ span.scaled, span.read, before).view(out.shape)
        torch.addcmul(sums, span.x.view(out.shape), inputs.d.unsqueeze(1), out=out)
        if kept is not None:
            kept.append(before)
    return y, state.transpose(2, 3)


class Scan(torch.autograd.Function):
    """What `ssd.chunked` does, with a backward pass of its own."""

    @staticmethod
    def forward(ctx: Any, size: int, state: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(y as x, state after the last step); state is (batch, heads, head_dim, d_state)."""
        kept: list[Tensor] = []
        y, last = in_chunks(Inputs(*inputs), state, size, kept)
        ctx.size = size
        ctx.save_for_backward(*inputs, state, *kept)
        return y, last

    @staticmethod
    def backward(ctx: Any, *outside: Tensor) -> Gradients:
        """Gradients of the state and of all inputs."""
        saved = ctx.saved_tensors
        inputs, (state, *kept) = Inputs(*saved[:6]), saved[6:]
        if torch.is_grad_enabled():

            def plain(state: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
                return chunked(Inputs(*inputs), state, ctx.size)

            return None, *again(plain, (state, *inputs), outside)
        backward = _Backward(inputs, *outside)
        for stretch in reversed(_stretches(inputs, ctx.size)):
            backward.through(_Span(inputs, stretch), stretch, kept.pop())
        return None, backward.state.transpose(2, 3), *backward.gradients


class _Backward:
    """The backward pass, from the last span to the first.

    Attributes:
        gradients: of Inputs, as far as they are known.
        state: gradient of the state after the stretch that comes next, (batch, heads, d_state,
            head_dim).
    """

    def __init__(self, inputs: Inputs, y: Tensor, last: Tensor) -> None:
        """Begin with the gradients of what `Scan` returns."""
        self.inputs, self.y, self.state = inputs, y, last.transpose(2, 3)
        self.gradients = Inputs(*map(torch.empty_like, inputs))
        self.gradients.a.zero_()
        self.gradients.d.zero_()

    def through(self, span: _Span, stretch: _Stretch, before: Tensor) -> None:
        """Go back over one stretch; `before` are the states before its chunks."""
        inside = (*span.shape, -1)
        y = _cut(self.y, stretch).contiguous().flatten(0, 2)
        after, self.state = span.carried(span.read.transpose(1, 2) @ y, self.state, backward=True)
        mixed = (span.decay * span.scores).flatten(0, 3)
        scaled = torch.baddbmm(mixed.transpose(1, 2) @ y, span.write, after)
        read = (y @ before.transpose(1, 2)).view(inside)
        write = (span.scaled @ after.transpose(1, 2)).view(inside)
        scores = (y @ span.scaled.transpose(1, 2)).view(inside).mul_(span.decay)
        self._shared(span, stretch, scores, read, write)
        over = span.whole.flatten() * (before * after).sum((1, 2))
        sums = self._sums(span, scores.mul_(span.scores), read, write, over)
        self._rates(span, stretch, scaled, sums)
        self._signal(span, stretch, scaled, y)

    def _shared(
        self, span: _Span, stretch: _Stretch, scores: Tensor, read: Tensor, write: Tensor
    ) -> None:
        """Gradients of b and c, which the heads of a group share."""
        scores = scores.sum(3)
        c = (read * span.since).sum(3) + scores @ span.b.squeeze(3)
        b = (write * span.until).sum(3) + scores.transpose(3, 4) @ span.c.squeeze(3)
        _cut(self.gradients.c, stretch).copy_(c)
        _cut(self.gradients.b, stretch).copy_(b)

    def _sums(
        self, span: _Span, apart: Tensor, read: Tensor, write: Tensor, over: Tensor
    ) -> Tensor:
        """Gradient of the cumulative log decay, as dt."""
        shape = span.dt.shape
        began = (read.flatten(0, 3) * span.read).sum(2).view(shape)
        ends = (write.flatten(0, 3) * span.write).sum(2).view(shape)
        apart = apart.flatten(2, 3)
        sums = apart.sum(4) - apart.sum(3) + began - ends
        sums[..., -1] += ends.sum(3) + over.view(shape[:3])
        return sums

    def _rates(self, span: _Span, stretch: _Stretch, scaled: Tensor, sums: Tensor) -> None:
        """Gradients of dt and a."""
        steps = sums.flip(3).cumsum(3).flip(3)
        direct = (scaled * span.x).sum(2).view(steps.shape)
        _cut(self.gradients.dt, stretch).copy_(direct + steps * self.inputs.a.unsqueeze(1))
        self.gradients.a.add_((steps * span.dt).sum((0, 1, 3)))

    def _signal(self, span: _Span, stretch: _Stretch, scaled: Tensor, y: Tensor) -> None:
        """Gradients of x and d."""
        out, d = _cut(self.gradients.x, stretch), self.inputs.d
        parts = scaled.view(out.shape).mul_(span.dt.unsqueeze(4)), y.view(out.shape)
        torch.addcmul(*parts, d.unsqueeze(1), out=out)
        skip = (y * span.x).view(out.shape).sum((0, 1, 3))
        self.gradients.d.add_(skip.sum_to_size(d.shape))
