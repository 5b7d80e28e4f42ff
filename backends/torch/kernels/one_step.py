"""One sample through a stack of plain temporal blocks on a CPU: few torch calls, exact numbers.

What every convolution has seen is kept in one log with a row for each sample, and the contexts are
windows of it. A step gathers the past taps of all convolutions with one call, which leaves a free
slot in each for the present sample; each convolution is then one product whose result is written
into the next one's slot; and the slots together are the log's next row. Rows are only ever added,
so a state that was handed out stays what it was; continuing an old one again copies it first, as
does a thread that finds the next row taken by another.
"""

import threading
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tcnzoo.models.streaming import LazyState, Stream

from . import packed

# Rows that a log has room for beyond the longest context; then it is copied to a new one.
ROOM = 256
AVAILABLE = packed.AVAILABLE and hasattr(torch, "_addmm_activation")


def _product(bias: Tensor, rows: Tensor, weight: Tensor, out: Tensor | None = None) -> Tensor:
    """relu(bias + rows @ weight), into `out` where it is given."""
    return torch._addmm_activation(bias, rows, weight, out=out)


@dataclass(frozen=True)
class Context:
    """Where the log holds a convolution's input: `steps` rows back, `channels` columns."""

    channels: int
    steps: int
    column: int


class Log:
    """Rows of a stream, (batch, rows, columns); those up to `filled` are final or being written."""

    def __init__(self, rows: Tensor, filled: int) -> None:
        """Take over a tensor whose first `filled` rows are written."""
        self.rows = rows
        self.filled = filled
        self._lock = threading.Lock()

    def claim(self, row: int) -> bool:
        """Reserve a row for the caller to write; False if it is taken, or there is no room."""
        with self._lock:
            if self.filled != row or row == self.rows.shape[1]:
                return False
            self.filled = row + 1
            return True


@dataclass(frozen=True)
class Window:
    """A state: the contexts that end before row `end` of a log (see streaming.Snapshot)."""

    plan: "OneStep"
    log: Log
    end: int

    def entry(self, name: str) -> Tensor:
        """One context, (batch, channels, steps), as a view."""
        context = self.plan.contexts[name]
        steps = self.log.rows[:, self.end - context.steps : self.end]
        return steps[:, :, context.column : context.column + context.channels].transpose(1, 2)


@dataclass(frozen=True)
class Scratch:
    """The gathered taps of one step: (batch, all), and views of it by convolution."""

    gathered: Tensor
    rows: tuple[Tensor, ...]
    slots: tuple[Tensor, ...]


class OneStep:
    """Folded weights and index tables of one stack of temporal blocks."""

    def __init__(self, tcn: Any) -> None:
        """Fold weight norm and batch norm, and lay out the log."""
        self.origin = packed.Origin([tcn.blocks])
        # Of all parts; a table is empty while nobody listens.
        self.hooks = [
            table
            for part in tcn.blocks.modules()
            for table in (part._forward_hooks, part._forward_pre_hooks)
        ]
        self.contexts: dict[str, Context] = {}
        self.biases: list[Tensor] = []
        self.residuals: list[tuple[Tensor, Tensor] | None] = []
        self.scratches: list[Scratch] = []
        kernels, dilations, self.columns = [], [], 0
        for block in tcn.blocks.values():
            for conv, norm in ((block.conv1, block.norm1), (block.conv2, block.norm2)):
                weight, bias = packed.effective(conv, norm)
                kernels.append(weight.permute(0, 2, 1).flatten(1))
                self.biases.append(
                    torch.zeros(len(weight)) if bias is None else bias.detach().clone()
                )
                context = Context(conv.spec.in_channels, conv.spec.reach, self.columns)
                self.contexts[f"{conv.path}.context"] = context
                self.columns += context.channels
                dilations.append(conv.spec.dilation)
            self.residuals.append(_pointwise(block.residual))
        self.reach = max(context.steps for context in self.contexts.values())
        self._index(dilations)
        self.kernels = _one_buffer(kernels)

    def _index(self, dilations: list[int]) -> None:
        """Tabulate which values of the last `reach` rows are taps, and the free slots."""
        pieces, slots, place = [], [], 0
        for context, dilation in zip(self.contexts.values(), dilations, strict=True):
            rows = torch.arange(self.reach - context.steps, self.reach, dilation)
            columns = context.column + torch.arange(context.channels)
            taps = (rows[:, None] * self.columns + columns).flatten()
            pieces += [taps, torch.zeros(context.channels, dtype=torch.int64)]
            place += len(taps)
            slots.append(torch.arange(place, place + context.channels))
            place += context.channels
        self.taps, self.slots = torch.cat(pieces), torch.cat(slots)
        self.sizes = [len(piece) for piece in pieces]

    def run(self, x: Tensor, window: Window) -> tuple[Tensor, list[Tensor], Window]:
        """Feed one sample.

        Args:
            x: (batch, in, 1).
            window: the state; it stays valid.
        Returns:
            Output of the last block and inner outputs `out` of all, each (batch, channels), and the
            new state.
        """
        log, end = window.log, window.end
        if not log.claim(end):
            log, end = self._continued(window), self.reach
            log.claim(end)
        batch, capacity, columns = log.rows.shape
        scratch = self._free_scratch(batch)
        past = log.rows.as_strided(
            (batch, self.reach * columns), (capacity * columns, 1), (end - self.reach) * columns
        )
        torch.index_select(past, 1, self.taps, out=scratch.gathered)
        y, inner = self._blocks(x, scratch)
        log.rows[:, end].copy_(scratch.gathered.index_select(1, self.slots))
        self.scratches.append(scratch)
        return y, inner, Window(self, log, end + 1)

    def _blocks(self, x: Tensor, scratch: Scratch) -> tuple[Tensor, list[Tensor]]:
        """Run the blocks from slot to slot."""
        rows, slots = scratch.rows, scratch.slots
        slots[0].copy_(x[:, :, 0])
        inner, last = [], len(slots) - 1
        for level, residual in enumerate(self.residuals):
            first, second = 2 * level, 2 * level + 1
            _product(self.biases[first], rows[first], self.kernels[first], slots[second])
            out = _product(self.biases[second], rows[second], self.kernels[second])
            # The sum goes to the next block's slot; after the first block it is never negative.
            target = slots[second + 1] if second < last else torch.empty_like(out)
            if residual is not None:
                _product(out + residual[1], slots[first], residual[0], target)
            elif level:
                torch.add(out, slots[first], out=target)
            else:
                torch.add(out, slots[first], out=target).relu_()
            inner.append(out)
        return target, inner

    def _free_scratch(self, batch: int) -> Scratch:
        """One that no other thread uses: popping and appending are atomic."""
        try:
            scratch = self.scratches.pop()
        except IndexError:
            return self._scratch(batch)
        return scratch if len(scratch.gathered) == batch else self._scratch(batch)

    def _scratch(self, batch: int) -> Scratch:
        """Room for the taps of a step."""
        gathered = torch.empty(batch, len(self.taps))
        pairs = [a + b for a, b in zip(self.sizes[::2], self.sizes[1::2], strict=True)]
        pieces = gathered.split_with_sizes(self.sizes, 1)
        return Scratch(gathered, gathered.split_with_sizes(pairs, 1), pieces[1::2])

    def _continued(self, window: Window) -> Log:
        """A new log that starts with the rows of a window."""
        rows = window.log.rows
        fresh = rows.new_empty(rows.shape[0], self.reach + ROOM, self.columns)
        fresh[:, : self.reach].copy_(rows[:, window.end - self.reach : window.end])
        return Log(fresh, self.reach)

    def window_of(self, state: Any) -> Window:
        """The window that a state holds, or one made from its arrays."""
        if isinstance(state, LazyState):
            window = state.held.get(next(iter(self.contexts)))
            if isinstance(window, Window) and window.plan is self:
                return window
        first = state[next(iter(self.contexts))]
        rows = first.new_zeros(first.shape[0], self.reach + ROOM, self.columns)
        for name, context in self.contexts.items():
            columns = slice(context.column, context.column + context.channels)
            rows[:, self.reach - context.steps : self.reach, columns] = state[name].transpose(1, 2)
        return Window(self, Log(rows, self.reach), self.reach)


def _pointwise(conv: Any) -> tuple[Tensor, Tensor] | None:
    """Transposed matrix and bias of a 1x1 convolution, or None where there is none."""
    if conv is None:
        return None
    return conv.weight.detach()[:, :, 0].t().contiguous(), conv.bias.detach().clone()


def _one_buffer(kernels: list[Tensor]) -> list[Tensor]:
    """(out, taps * in) kernels side by side in memory, as (taps * in, out) views."""
    buffer = torch.cat([kernel.flatten() for kernel in kernels])
    parts = buffer.split_with_sizes([kernel.numel() for kernel in kernels])
    return [part.view(kernel.shape).t() for part, kernel in zip(parts, kernels, strict=True)]


def serves(tcn: Any) -> bool:
    """Whether this form serves a `tcn`: plain ReLU blocks in evaluation, with no hook on a part."""
    if not AVAILABLE or tcn.training:
        return False
    plan = packed.cached(tcn)
    if not isinstance(plan, OneStep) or not plan.origin.unchanged():
        spec = tcn.spec
        plain = (
            spec.activation.name == "relu"
            and not (spec.gate or spec.embeddings or spec.squeeze_excitation)
            and (spec.norm is None or spec.norm.kind != "layer_norm")
            and spec.padding_mode == "zeros"
            and min(spec.kernel_sizes) > 1
        )
        if not plain:
            return False
        plan = OneStep(tcn)
        packed.remember(tcn, plan)
    return plan.origin.counted and not any(plan.hooks)


def run(tcn: Any, x: Tensor, stream: Stream) -> tuple[Tensor, list[Tensor]]:
    """Run the blocks of a `tcn` that is served on one sample.

    Returns:
        (last block's output, inner outputs of all blocks).
    """
    plan = packed.cached(tcn) or OneStep(tcn)  # another thread may just have dropped it
    y, inner, window = plan.run(x, plan.window_of(stream.state))
    stream.next_state.update(dict.fromkeys(plan.contexts, window))
    return y.unsqueeze(2), [out.unsqueeze(2) for out in inner]
