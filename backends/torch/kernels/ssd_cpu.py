"""The Mamba-2 recurrence on a CPU, a few chunks at once, so that their products stay in the cache.

Nothing of the size (heads x time x chunk) is ever held. Kept for the backward pass are the inputs
and the state before each chunk; the products within a chunk are computed once more there.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .blockwise import again
from .ssd import Inputs, chunked

# Values of x and of the states that are worked on at once: a megabyte in float32.
SPAN = 2**18


class _Place(NamedTuple):
    """A span of time: so many chunks of `size` steps from `begin` on."""

    begin: int
    chunks: int
    size: int

    @property
    def steps(self) -> slice:
        """Where its steps are."""
        return slice(self.begin, self.begin + self.chunks * self.size)


def _places(inputs: Inputs, size: int) -> list[_Place]:
    """The spans that all steps fall into; the last may be a shorter chunk."""
    batch, steps, heads, width = inputs.x.shape
    whole, rest = divmod(steps, size)
    step = max(1, SPAN // max(1, batch * heads * (width + inputs.b.shape[3]) * size))
    places = [_Place(at * size, min(step, whole - at), size) for at in range(0, whole, step)]
    return places + ([_Place(whole * size, 1, rest)] if rest else [])


def _cut(array: Tensor, place: _Place) -> Tensor:
    """(batch, time, heads, ...) -> (batch, count, heads, size, ...) in memory of its own."""
    part = array[:, place.steps].unflatten(1, (place.chunks, place.size))
    return part.transpose(2, 3).contiguous()


def _room(array: Tensor, place: _Place) -> Tensor:
    """The part of (batch, time, heads, ...) that `_cut` copies, with its axes, to be written."""
    return array[:, place.steps].unflatten(1, (place.chunks, place.size)).transpose(2, 3)


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

    def __init__(self, inputs: Inputs, place: _Place) -> None:
        """Cut out the steps of a span."""
        x, self.dt, b, c = (_cut(one, place) for one in (inputs.x, inputs.dt, inputs.b, inputs.c))
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

    def states(self, added: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """Carry a state over the chunks: (states before each chunk, state after the last).

        Args:
            added: (each, d_state, head_dim), what each chunk adds.
            first: (batch, heads, d_state, head_dim), the state before the span.
        """
        return self._carried(added, first, range(self.dt.shape[1]))

    def adjoints(self, added: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Carry the gradient of a state back: (those after each chunk, that before the first)."""
        return self._carried(added, last, range(self.dt.shape[1])[::-1])

    def _carried(self, added: Tensor, state: Tensor, order: range) -> tuple[Tensor, Tensor]:
        """Let a state decay over each chunk and add to it, in an order of the chunks."""
        parts = added.view(*self.dt.shape[:3], *added.shape[1:])
        met = torch.empty_like(parts)
        met[:, order[0]] = state
        for here, after in zip(order, order[1:], strict=False):
            torch.addcmul(parts[:, here], self.whole[:, here], met[:, here], out=met[:, after])
        end = order[-1]
        state = torch.addcmul(parts[:, end], self.whole[:, end], met[:, end])
        return met.flatten(0, 2), state


def in_chunks(inputs: Inputs, state: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Do what `ssd.chunked` does, without gradients."""
    y, _, last = _run(inputs, state, size, keep=False)
    return y, last


def _run(
    inputs: Inputs, state: Tensor, size: int, keep: bool
) -> tuple[Tensor, list[Tensor], Tensor]:
    """All steps: (y as x, states before the chunks of each span if kept, state after the last)."""
    y, kept, state = inputs.x.new_empty(inputs.x.shape), [], state.transpose(2, 3)
    for place in _places(inputs, size):
        span, room = _Span(inputs, place), _room(y, place)
        before, state = span.states(span.write.transpose(1, 2) @ span.scaled, state)
        mixed = span.decay.mul_(span.scores).flatten(0, 3)
        found = torch.baddbmm(mixed @ span.scaled, span.read, before).view(room.shape)
        torch.addcmul(found, span.x.view(room.shape), inputs.d.unsqueeze(1), out=room)
        if keep:
            kept.append(before)
    return y, kept, state.transpose(2, 3)


class Scan(torch.autograd.Function):
    """What `ssd.chunked` does, with a backward pass of its own."""

    @staticmethod
    def forward(ctx: Any, size: int, state: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(y as x, state after the last step); state is (batch, heads, head_dim, d_state)."""
        y, kept, last = _run(Inputs(*inputs), state, size, keep=True)
        ctx.size = size
        ctx.save_for_backward(*inputs, state, *kept)
        return y, last

    @staticmethod
    def backward(ctx: Any, *outside: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the state and of all inputs."""
        saved = ctx.saved_tensors
        inputs, (state, *kept) = Inputs(*saved[:6]), saved[6:]
        if torch.is_grad_enabled():

            def plain(state: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
                return chunked(Inputs(*inputs), state, ctx.size)

            return None, *again(plain, (state, *inputs), outside)
        found = _Backward(inputs, *outside)
        for place in reversed(_places(inputs, ctx.size)):
            found.through(_Span(inputs, place), place, kept.pop())
        return None, found.state.transpose(2, 3), *found.gradients


class _Backward:
    """The backward pass, from the last span to the first.

    Attributes:
        gradients: of Inputs, as far as they are known.
        state: gradient of the state after the span that comes next, (batch, heads, d_state,
            head_dim).
    """

    def __init__(self, inputs: Inputs, y: Tensor, last: Tensor) -> None:
        """Begin with the gradients of what `Scan` returns."""
        self.inputs, self.y, self.state = inputs, y, last.transpose(2, 3)
        self.gradients = Inputs(*(torch.empty_like(one) for one in inputs))
        self.gradients.a.zero_()
        self.gradients.d.zero_()

    def through(self, span: _Span, place: _Place, before: Tensor) -> None:
        """Go back over one span; `before` are the states before its chunks."""
        inside = (*span.shape, -1)
        y = _cut(self.y, place).flatten(0, 2)
        after, self.state = span.adjoints(span.read.transpose(1, 2) @ y, self.state)
        mixed = (span.decay * span.scores).flatten(0, 3)
        scaled = torch.baddbmm(mixed.transpose(1, 2) @ y, span.write, after)
        read = (y @ before.transpose(1, 2)).view(inside)
        write = (span.scaled @ after.transpose(1, 2)).view(inside)
        scores = (y @ span.scaled.transpose(1, 2)).view(inside).mul_(span.decay)
        self._shared(span, place, scores, read, write)
        over = span.whole.flatten() * (before * after).sum((1, 2))
        sums = self._sums(span, scores.mul_(span.scores), read, write, over)
        self._rates(span, place, scaled, sums)
        self._signal(span, place, scaled, y)

    def _shared(
        self, span: _Span, place: _Place, scores: Tensor, read: Tensor, write: Tensor
    ) -> None:
        """Gradients of b and c, which the heads of a group share."""
        scores = scores.sum(3)
        c = (read * span.since).sum(3) + scores @ span.b.squeeze(3)
        b = (write * span.until).sum(3) + scores.transpose(3, 4) @ span.c.squeeze(3)
        _room(self.gradients.c, place).copy_(c)
        _room(self.gradients.b, place).copy_(b)

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

    def _rates(self, span: _Span, place: _Place, scaled: Tensor, sums: Tensor) -> None:
        """Gradients of dt and a."""
        steps = sums.flip(3).cumsum(3).flip(3)
        direct = (scaled * span.x).sum(2).view(steps.shape)
        _room(self.gradients.dt, place).copy_(direct + steps * self.inputs.a.unsqueeze(1))
        self.gradients.a.add_((steps * span.dt).sum((0, 1, 3)))

    def _signal(self, span: _Span, place: _Place, scaled: Tensor, y: Tensor) -> None:
        """Gradients of x and d."""
        room, d = _room(self.gradients.x, place), self.inputs.d
        parts = scaled.view(room.shape).mul_(span.dt.unsqueeze(4)), y.view(room.shape)
        torch.addcmul(*parts, d.unsqueeze(1), out=room)
        skip = (y * span.x).view(room.shape).sum((0, 1, 3))
        self.gradients.d.add_(skip.sum_to_size(d.shape))
