"""Mamba-2 on a CPU: convolution, recurrence and gated norm in spans of time that fit in the cache.

Nothing of the size (heads x time x chunk) is ever in memory. Kept for the backward pass are the
inputs, and of the recurrence the state before each chunk; the rest is computed once more there.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from tcnzoo.engines import PLAIN, asked_for, fastest

from ..types import watched
from .ssd import Inputs, chunked

# Chunks that are tried where the spec leaves it open, and how many steps of signals they are timed
# on; fewer values than SMALL are not worth it.
CHUNKS, TIMED, SMALL = (16, 32, 64), 256, 2**16
# Values that a thread works on at once, a megabyte in float32: of the norm, and of x and the
# states; so many for each of at most THREADS.
BLOCK, SPAN, THREADS = 2**18, 2**18, 8

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


def _shared(values: int) -> int:
    """So many values for each thread."""
    return values * min(THREADS, torch.get_num_threads())


def _blocks(x: Tensor) -> list[slice]:
    """Where the blocks of (batch, time, channels) are."""
    batch, steps, channels = x.shape
    size = max(1, _shared(BLOCK) // max(1, batch * channels))
    return [slice(begin, min(begin + size, steps)) for begin in range(0, steps, size)]


class _GatedNorm(torch.autograd.Function):
    """See `gated_norm`."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, z: Tensor, weight: Tensor, groups: int, eps: float) -> Tensor:
        """Gate and normalise block by block."""
        out = y.new_empty(y.shape)
        scales = y.new_empty(*y.shape[:2], groups, 1)  # what each group is multiplied by
        by_group = weight.view(groups, -1)
        for here in _blocks(y):
            gated = F.silu(z[:, here]).mul_(y[:, here]).unflatten(2, (groups, -1))
            size = torch.linalg.vector_norm(gated, dim=3, keepdim=True)
            scale = size.square_().div_(gated.shape[3]).add_(eps).rsqrt_()
            scales[:, here] = scale
            torch.mul(gated.mul_(scale), by_group, out=out[:, here].unflatten(2, (groups, -1)))
        ctx.save_for_backward(y, z, weight, scales)
        ctx.options = groups, eps
        return out

    @staticmethod
    def backward(ctx: Any, *outside: Tensor) -> Gradients:
        """Gradients of y, z and weight."""
        (y, z, weight, scales), (groups, eps) = ctx.saved_tensors, ctx.options
        if torch.is_grad_enabled():
            return *again(_plain_norm(groups, eps), (y, z, weight), outside), None, None
        of_y, of_z = y.new_empty(y.shape), z.new_empty(z.shape)
        of_weight = torch.zeros_like(weight)
        for here in _blocks(y):
            gate, scale, out = F.silu(z[:, here]), scales[:, here], outside[0][:, here]
            normed = (gate * y[:, here]).unflatten(2, (groups, -1)).mul_(scale)
            along = normed.flatten(2) * out
            of_weight += along.sum((0, 1))
            along = along.mul_(weight).view(normed.shape).mean(3, keepdim=True)
            inner = (out * weight).view(normed.shape)
            inner = inner.addcmul_(normed, along, value=-1).mul_(scale).flatten(2)
            torch.mul(inner, gate, out=of_y[:, here])
            inner.mul_(y[:, here])
            _silu_backward(inner, z[:, here], of_z[:, here])
        return of_y, of_z, of_weight, None, None


def _silu_backward(outside: Tensor, x: Tensor, out: Tensor) -> None:
    """Write the gradient of x, of which silu was taken."""
    torch.ops.aten.silu_backward.grad_input(outside, x, grad_input=out)


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


def _cut(array: Tensor, stretch: _Stretch) -> Tensor:
    """A part of (batch, time, heads, ...) as a view (batch, count, heads, size, ...)."""
    return _chunks(array[:, stretch.steps], stretch)


def _chunks(part: Tensor, stretch: _Stretch) -> Tensor:
    """The steps of a stretch as a view (batch, count, heads, size, ...)."""
    cut: Tensor = part.unflatten(1, (stretch.chunks, stretch.size))
    return cut.transpose(2, 3)


class Given:
    """x (batch, time, heads, head_dim), b and c (batch, time, groups, d_state) as they are.

    Attributes:
        inputs: what x, b and c are made of, which gets gradients.
        shape: (batch, time, heads, head_dim).
        states: d_state.
        gradients: of the inputs, from `begin` on.
    """

    gradients: list[Tensor]

    def __init__(self, x: Tensor, b: Tensor, c: Tensor) -> None:
        """Note them."""
        self.inputs = x, b, c
        self.shape, self.states = x.shape, b.shape[3]

    def begin(self) -> None:
        """Every value is written once."""
        self.gradients = [torch.empty_like(array) for array in self.inputs]

    def read(self, stretch: _Stretch) -> list[Tensor]:
        """x (batch, count, heads, size, head_dim), b, c (batch, count, groups, size, d_state)."""
        return [_cut(array, stretch).contiguous() for array in self.inputs]

    def write(self, stretch: _Stretch, *gradients: Tensor) -> None:
        """Take the gradients of what was read last."""
        for whole, part in zip(self.gradients, gradients, strict=True):
            _cut(whole, stretch).copy_(part)

    def plain(self, *inputs: Tensor) -> list[Tensor]:
        """x, b and c of such inputs, as `ssd.Inputs` has them."""
        return list(inputs)


class Rates(NamedTuple):
    """Of the recurrence, as in `ssd.Inputs`: dt (batch, time, heads), a (heads,) and d."""

    dt: Tensor
    a: Tensor
    d: Tensor


class Sizes(NamedTuple):
    """How the channels of a convolved signal are read: x, then b, then c."""

    heads: int
    head_dim: int
    groups: int
    d_state: int


class Convolved:
    """x, b and c side by side after a causal depthwise convolution and silu; otherwise as `Given`.

    Attributes:
        inner: the last stretch before silu, (batch, time, channels).
    """

    gradients: list[Tensor]

    def __init__(self, sizes: Sizes, signal: Tensor, weight: Tensor, bias: Tensor) -> None:
        """Note what is convolved.

        Args:
            sizes: of x, b and c.
            signal: (batch, time, channels).
            weight: (channels, 1, taps), the last for the current step.
            bias: (channels,).
        """
        self.sizes, self.inputs = sizes, (signal, weight, bias)
        self.shape = torch.Size((*signal.shape[:2], sizes.heads, sizes.head_dim))
        self.states = sizes.d_state
        self.taps = list(weight[:, 0].t().contiguous().flip(0))  # from the current step back

    def begin(self) -> None:
        """All gradients are sums over steps."""
        self.gradients = [torch.zeros_like(array) for array in self.inputs]

    def read(self, stretch: _Stretch) -> list[Tensor]:
        """Convolve a stretch, by sums of shifted products, and activate it."""
        (signal, _, bias), here = self.inputs, stretch.steps
        inner = torch.addcmul(bias, signal[:, here], self.taps[0])
        for back, tap in enumerate(self.taps[1:], 1):
            begin, end = max(here.start - back, 0), max(here.stop - back, 0)
            inner[:, begin + back - here.start :].addcmul_(signal[:, begin:end], tap)
        self.inner = inner
        read = []
        for part in self._parts(inner, stretch):
            read.append(part.new_empty(part.shape))
            torch.ops.aten.silu.out(part, out=read[-1])
        return read

    def write(self, stretch: _Stretch, *gradients: Tensor) -> None:
        """Go back through silu and the convolution."""
        outer = torch.empty_like(self.inner)
        views = self._parts(outer, stretch), self._parts(self.inner, stretch)
        for gradient, out, inner in zip(gradients, *views, strict=True):
            _silu_backward(gradient, inner, out)
        (of_signal, of_weight, of_bias), signal = self.gradients, self.inputs[0]
        of_bias += outer.sum((0, 1))
        for back, tap in enumerate(self.taps):
            begin, end = (max(edge - back, 0) for edge in (stretch.steps.start, stretch.steps.stop))
            later = outer[:, begin + back - stretch.steps.start :]
            of_signal[:, begin:end].addcmul_(later, tap)
            of_weight[:, 0, -1 - back] += (later * signal[:, begin:end]).sum((0, 1))

    def _parts(self, rows: Tensor, stretch: _Stretch) -> list[Tensor]:
        """Views of x, b and c in the channels of a stretch, as `read` gives them."""
        return [_chunks(part, stretch) for part in _split(rows, self.sizes)]

    def plain(self, signal: Tensor, weight: Tensor, bias: Tensor) -> list[Tensor]:
        """The same by torch's own operations."""
        padded = F.pad(signal.transpose(1, 2), (weight.shape[2] - 1, 0))
        return _split(F.silu(F.conv1d(padded, weight, bias, groups=len(weight))).mT, self.sizes)


Signals = Given | Convolved


def _split(rows: Tensor, sizes: Sizes) -> list[Tensor]:
    """(batch, time, channels) as x (..., heads, head_dim), b and c (..., groups, d_state)."""
    shapes = (sizes[:2], sizes[2:], sizes[2:])
    parts = rows.split([first * second for first, second in shapes], dim=2)
    return [part.unflatten(2, shape) for part, shape in zip(parts, shapes, strict=True)]


def _stretches(signals: Signals, size: int) -> list[_Stretch]:
    """The stretches that all steps fall into; the last may be a shorter chunk."""
    batch, steps, heads, width = signals.shape
    whole, rest = divmod(steps, size)
    most = max(1, _shared(SPAN) // max(1, batch * heads * (width + signals.states) * size))
    stretches = []
    for first in range(0, whole, most):
        chunks = min(most, whole - first)
        stretches.append(_Stretch(slice(first * size, (first + chunks) * size), chunks, size))
    if rest:
        stretches.append(_Stretch(slice(whole * size, steps), 1, rest))
    return stretches


class _Span:
    """The steps of some chunks, heads before time, and what both passes need of them.

    "Each" below stands for batch * count * heads, one after the other.

    Attributes:
        x: (each, size, head_dim).
        dt: (batch, count, heads, size).
        b, c: (batch, count, groups, 1, size, d_state).
        scores: (batch, count, groups, 1, size, size), c_i b_j.
        decay: (batch, count, groups, share, size, size), exp(s_i - s_j) for i >= j and 0 above,
            where s is the cumulative log decay of the chunk.
        steps: dt as (batch, count, groups, share, size, 1).
        since, until: the same shape, decay since the chunk began and to its end.
        read, write: (each, size, d_state), c with the decay, and b with the decay and dt.
        whole: (batch, count, heads, 1, 1), decay over each chunk.
    """

    def __init__(self, signals: Signals, rates: Rates, stretch: _Stretch) -> None:
        """Cut out the steps of a stretch."""
        x, b, c = signals.read(stretch)
        batch, count, heads, size, _ = x.shape
        shape = (batch, count, b.shape[2], heads // b.shape[2], size)
        self.dt = _cut(rates.dt, stretch).contiguous()
        self.steps = self.dt.view(*shape, 1)
        self.x = x.flatten(0, 2)
        self.b, self.c = b.unsqueeze(3), c.unsqueeze(3)
        self.scores = self.c @ self.b.transpose(4, 5)
        sums = (self.dt * rates.a.unsqueeze(1)).cumsum(3)
        # Above the diagonal the exponential may overflow, so zeros are written there, not products.
        self.decay = (sums.unsqueeze(4) - sums.unsqueeze(3)).exp_().tril_().view(*shape, size)
        self.since = sums.exp().view(*shape, 1)
        self.until = (sums[..., -1:] - sums).exp().view(*shape, 1)
        self.read = (self.c * self.since).flatten(0, 3)
        self.write = (self.b * (self.until * self.steps)).flatten(0, 3)
        self.whole = sums[..., -1:].exp().unsqueeze(4)

    def mixed(self, d: Tensor) -> Tensor:
        """What each step takes of x of each step, (each, size, size); with d if one a head."""
        mixed = (self.decay * self.scores).mul_(self.steps.mT)
        if d.shape[1] == 1:
            mixed.flatten(2, 3).diagonal(dim1=3, dim2=4).add_(d)
        return mixed.flatten(0, 3)

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


def usual_chunk(d_state: int) -> int:
    """Time steps of a chunk where nothing was measured.

    The (chunk x chunk) products that are not matrix products grow with it, and soon take most of
    the time; what is done once a chunk grows with the state.
    """
    return 64 if d_state > 64 else 32


def chunk_for(sizes: Sizes, signal: Tensor, asked: int | None) -> int | None:
    """Choose the time steps of a chunk of `mix` by measurement.

    Args:
        sizes: of x, b and c.
        signal: (batch, time, channels), to be convolved.
        asked: chunk of the spec.
    Returns:
        The chunk; None for torch's own operations.
    """
    if asked_for() == PLAIN:
        return None
    (batch, steps, channels), usual = signal.shape, asked or usual_chunk(sizes.d_state)
    timed = min(TIMED, 1 << max(0, steps.bit_length() - 1))  # few lengths, so few measurements
    if asked is not None or batch * timed * channels < SMALL:
        return usual
    training = torch.is_grad_enabled()
    name = fastest(
        f"mamba2 {'training' if training else 'forward'}",
        f"{' x '.join(map(str, sizes))}, {batch} x {timed} steps, {signal.dtype}, "
        f"{torch.get_num_threads()} threads",
        _contenders(sizes, batch, timed, signal.dtype, training),
        package=f"torch {torch.__version__}",
    )
    if name == PLAIN:  # it keeps all of (heads x time x chunk): only where that is little
        return None if steps <= 2 * TIMED else usual
    return int(name.rpartition(" ")[2])


def _contenders(
    sizes: Sizes, batch: int, steps: int, dtype: torch.dtype, training: bool
) -> dict[str, Callable[[], object]]:
    """Calls of `mix` by engine, on zeros."""
    channels = sizes.heads * sizes.head_dim + 2 * sizes.groups * sizes.d_state
    shapes = (batch, steps, channels), (channels, 1, 4), (batch, steps, sizes.heads)
    zeros = partial(torch.zeros, dtype=dtype, requires_grad=training)

    def call(size: int | None) -> None:
        signal, weight, dt = map(zeros, shapes)
        rates = Rates(dt, zeros(sizes.heads), zeros(sizes.heads, 1))
        # Hooks of its own: who counts or moves what a model keeps is not to see this.
        with saved_tensors_hooks(torch.Tensor.detach, torch.Tensor.detach):
            y = mix(sizes, signal, weight, None, rates, size)
            if training and y is not None:
                torch.autograd.grad(y.sum(), (signal, weight, *rates))

    chunks = {f"chunks of {size}": partial(call, size) for size in CHUNKS if size <= steps}
    return {PLAIN: partial(call, None), **chunks}


def mix(
    sizes: Sizes,
    signal: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    rates: Rates,
    size: int | None,
) -> Tensor | None:
    """Causal depthwise convolution, silu, and the recurrence on what they give.

    Args:
        sizes: of x, b and c, which the signal gives side by side.
        signal: (batch, time, channels).
        weight: (channels, 1, taps), the last for the current step.
        bias: (channels,), or None.
        rates: see `Rates`.
        size: steps of a chunk; None to run it by torch's own operations.
    Returns:
        (batch, time, heads, head_dim); None where a value is not finite, which the products over a
        chunk would spread to earlier steps.
    """
    inputs = signal, weight, signal.new_zeros(len(weight)) if bias is None else bias
    state = signal.new_zeros(len(signal), *sizes[:2], sizes.d_state)
    if size is None:
        x, b, c = Convolved(sizes, *inputs).plain(*inputs)
        joined = Inputs(x, rates.dt, rates.a, b, c, rates.d)
        y, _ = chunked(joined, state, min(usual_chunk(sizes.d_state), signal.shape[1]))
    else:
        y, _ = scan(partial(Convolved, sizes), inputs, rates, state, min(size, signal.shape[1]))
    return y if math.isfinite(y.detach().sum().item()) else None


def scan(
    signals: Callable[..., Signals],
    inputs: Sequence[Tensor],
    rates: Rates,
    state: Tensor,
    size: int,
) -> tuple[Tensor, Tensor]:
    """Do what `ssd.chunked` does.

    Args:
        signals: makes x, b and c of the inputs.
        inputs: `Given` or `Convolved` are made of.
        rates: see `Rates`.
        state: (batch, heads, head_dim, d_state) before the first step.
        size: steps of a chunk.
    Returns:
        (y as x, state after the last step).
    """
    if not torch.is_grad_enabled():
        return in_chunks(signals(*inputs), rates, state, size)
    y, last = _Scan.apply(signals, size, state, *rates, *inputs)  # type: ignore[no-untyped-call]
    return y, last


def in_chunks(
    signals: Signals, rates: Rates, state: Tensor, size: int, kept: list[Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Do what `scan` does, without gradients.

    Args:
        signals: x, b and c.
        rates, state, size: see `scan`.
        kept: takes the states before the chunks of each stretch.
    """
    y, state = rates.dt.new_empty(signals.shape), state.transpose(2, 3)
    for stretch in _stretches(signals, size):
        span, out = _Span(signals, rates, stretch), _cut(y, stretch)
        before, state = span.carried(span.write.mT @ span.x, state)
        sums = (span.mixed(rates.d) @ span.x).baddbmm_(span.read, before).view(out.shape)
        if rates.d.shape[1] == 1:
            out.copy_(sums)
        else:
            torch.addcmul(sums, span.x.view(out.shape), rates.d.unsqueeze(1), out=out)
        if kept is not None:
            kept.append(before)
    return y, state.transpose(2, 3)


class _Scan(torch.autograd.Function):
    """`scan` with a backward pass of its own."""

    @staticmethod
    def forward(
        ctx: Any, signals: Callable[..., Signals], size: int, state: Tensor, *rest: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(y as x, state after the last step); state is (batch, heads, head_dim, d_state)."""
        kept: list[Tensor] = []
        y, last = in_chunks(signals(*rest[3:]), Rates(*rest[:3]), state, size, kept)
        ctx.signals, ctx.size, ctx.count = signals, size, len(rest)
        ctx.save_for_backward(state, *rest, *kept)
        return y, last

    @staticmethod
    def backward(ctx: Any, *outside: Tensor) -> Gradients:
        """Gradients of the state and of all inputs."""
        state, *saved = ctx.saved_tensors
        rest, kept = saved[: ctx.count], saved[ctx.count :]
        signals, rates = ctx.signals(*rest[3:]), Rates(*rest[:3])
        if torch.is_grad_enabled():

            def plain(state: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
                (dt, a, d), (x, b, c) = rest[:3], signals.plain(*rest[3:])
                return chunked(Inputs(x, dt, a, b, c, d), state, ctx.size)

            return None, None, *again(plain, (state, *rest), outside)
        backward = _Backward(signals, rates, *outside)
        for stretch in reversed(_stretches(signals, ctx.size)):
            backward.through(_Span(signals, rates, stretch), stretch, kept.pop())
        state = backward.state.transpose(2, 3)
        return None, None, state, *backward.gradients, *signals.gradients


class _Backward:
    """The backward pass, from the last span to the first.

    Attributes:
        gradients: of the rates, as far as they are known.
        state: gradient of the state after the stretch that comes next, (batch, heads, d_state,
            head_dim).
    """

    def __init__(self, signals: Signals, rates: Rates, y: Tensor, last: Tensor) -> None:
        """Begin with the gradients of what `scan` returns."""
        self.signals, self.rates, self.y, self.state = signals, rates, y, last.transpose(2, 3)
        self.gradients = Rates(*map(torch.zeros_like, rates))
        signals.begin()

    def through(self, span: _Span, stretch: _Stretch, before: Tensor) -> None:
        """Go back over one stretch; `before` are the states before its chunks."""
        inside, d = (*span.steps.shape[:5], -1), self.rates.d
        y = _cut(self.y, stretch).contiguous().flatten(0, 2)
        after, self.state = span.carried(span.read.mT @ y, self.state, backward=True)
        x = (span.mixed(d).mT @ y).baddbmm_(span.write, after)
        pairs = (y @ span.x.mT).view(inside)
        self._skipped(span, x, y, pairs)
        pairs.mul_(span.decay)
        read = (y @ before.mT).view(inside).mul_(span.since)
        write = (span.x @ after.mT).view(inside).mul_(span.until)
        scores = (pairs * span.steps.mT).sum(3)
        c = read.sum(3) + scores @ span.b.squeeze(3)
        b = (write * span.steps).sum(3) + scores.mT @ span.c.squeeze(3)
        heads = span.dt.shape[:3]
        self.signals.write(stretch, x.view(*heads, *x.shape[1:]), b, c)
        over = span.whole.flatten() * (before * after).sum((1, 2))
        pairs = pairs.mul_(span.scores).flatten(2, 3)
        read, write = (read * span.c).sum(5).flatten(2, 3), (write * span.b).sum(5).flatten(2, 3)
        self._rates(span, stretch, pairs, read, write, over.view(heads))

    def _skipped(self, span: _Span, x: Tensor, y: Tensor, pairs: Tensor) -> None:
        """Gradient of d, and what d adds to that of x where it has a value for each channel."""
        of_d, d = self.gradients.d, self.rates.d
        if d.shape[1] == 1:
            of_d.add_(pairs.flatten(2, 3).diagonal(dim1=3, dim2=4).sum((0, 1, 3)).unsqueeze(1))
            return
        shape = (*span.dt.shape, -1)
        x.view(shape).addcmul_(y.view(shape), d.unsqueeze(1))
        of_d.add_((y * span.x).view(shape).sum((0, 1, 3)))

    def _rates(
        self,
        span: _Span,
        stretch: _Stretch,
        pairs: Tensor,
        read: Tensor,
        write: Tensor,
        over: Tensor,
    ) -> None:
        """Gradients of dt and a.

        Args:
            span, stretch: where it is.
            pairs: (batch, count, heads, size, size), gradient of the decay times dt between steps,
                times its value without dt.
            read, write: (batch, count, heads, size), the same of the decay since the chunk began,
                and to its end.
            over: (batch, count, heads), of the decay over the chunk.
        """
        direct, ends = pairs.sum(3).add_(write), write * span.dt
        sums = (pairs @ span.dt.unsqueeze(4)).squeeze(4) - direct * span.dt + read
        sums[..., -1] += ends.sum(3) + over
        since = sums.flip(3).cumsum(3).flip(3)
        _cut(self.gradients.dt, stretch).copy_(direct.addcmul_(since, self.rates.a.unsqueeze(1)))
        self.gradients.a.add_((since * span.dt).sum((0, 1, 3)))
