"""One sample through a stack of plain temporal blocks on a CPU: few torch calls, exact numbers.

The contexts of all convolutions lie in one buffer, time-major, and the entries of the streaming
state are views of it. A step gathers the past taps of every convolution with one call, which leaves
a free slot in each row for the present sample; each convolution is then one product whose result is
written into the next one's slot. One more call builds the buffer of the next step, so the state that
came in is never changed.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tcnzoo.streaming import Stream

from . import packed


@dataclass(frozen=True)
class _Conv:
    """Place of one convolution's context in the buffer: `steps` steps of `channels`, from `offset`."""

    name: str
    channels: int
    steps: int
    offset: int


def _product(bias: Tensor, rows: Tensor, weight: Tensor, out: Tensor | None = None) -> Tensor:
    """relu(bias + rows @ weight), into `out` where it is given."""
    return torch._addmm_activation(bias, rows, weight, out=out)  # type: ignore[call-overload, no-any-return]


AVAILABLE = packed.AVAILABLE and hasattr(torch, "_addmm_activation")


def eligible(tcn: Any, x: Tensor) -> bool:
    """Whether this form serves a call: one sample, plain ReLU blocks, inference on a CPU."""
    spec = tcn.spec
    return (
        x.shape[2] == 1
        and AVAILABLE
        and packed.usable(x)
        and not tcn.training
        and spec.activation.name == "relu"
        and not (spec.gate or spec.embeddings or spec.squeeze_excitation)
        and (spec.norm is None or spec.norm.kind != "layer_norm")
        and spec.padding_mode == "zeros"
        and min(spec.kernel_sizes) > 1
    )


class OneStep:
    """Folded weights and index tables of one stack of temporal blocks."""

    def __init__(self, tcn: Any) -> None:
        """Fold weight norm and batch norm, and lay the contexts out."""
        parts = list(tcn.blocks.modules())
        self.origin = packed.Origin(parts)
        self.listeners = packed.listeners(parts)
        self.convs: list[_Conv] = []
        self.biases: list[Tensor] = []
        self.residuals: list[tuple[Tensor, Tensor] | None] = []
        kernels, gathered, offset = [], [], 0
        for level, block in enumerate(tcn.blocks.values()):
            for name in ("conv1", "conv2"):
                conv = getattr(block, name)
                weight, bias = packed.effective(conv, block.part(name.replace("conv", "norm")))
                kernels.append(weight.permute(0, 2, 1).flatten(1))
                self.biases.append(torch.zeros(len(weight)) if bias is None else bias.detach().clone())
                channels, reach = conv.spec.in_channels, conv.spec.reach
                path = f"blocks.{level}.{name}.context"
                self.convs.append(_Conv(path, channels, reach, offset))
                taps = torch.arange(0, reach, conv.spec.dilation)
                places = offset + taps[:, None] * channels + torch.arange(channels)
                gathered += [places.flatten(), torch.zeros(channels, dtype=torch.int64)]
                offset += reach * channels
            self.residuals.append(_pointwise(block.part("residual")))
        self.size = offset
        self.index = torch.cat(gathered)
        self.rows = [len(a) + len(b) for a, b in zip(gathered[::2], gathered[1::2], strict=True)]
        self.slots = [len(part) for part in gathered]
        self.kept = [
            size for conv in self.convs for size in (conv.channels, (conv.steps - 1) * conv.channels)
        ]
        self.kernels = _one_buffer(kernels)

    def serves(self) -> bool:
        """Whether the weights are still those that were folded, and nobody listens to a part."""
        return self.origin.unchanged() and not any(self.listeners)

    def run(
        self, x: Tensor, state: dict[str, Tensor]
    ) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
        """Feed one sample.

        Args:
            x: (batch, in, 1).
            state: contexts by name, (batch, channels, steps) each.
        Returns:
            Output of the last block and inner outputs `out` of all, each (batch, channels), and the
            new state.
        """
        flat = self._flat(state)
        gathered = flat.index_select(1, self.index)
        rows = gathered.split_with_sizes(self.rows, 1)
        slots = gathered.split_with_sizes(self.slots, 1)[1::2]
        slots[0].copy_(x[:, :, 0])
        inner, last = [], len(slots) - 1
        for level, residual in enumerate(self.residuals):
            first, second = 2 * level, 2 * level + 1
            _product(self.biases[first], rows[first], self.kernels[first], slots[second])
            out = _product(self.biases[second], rows[second], self.kernels[second])
            # The sum goes to the next block's slot; from the second block on it has no negative part.
            target = slots[second + 1] if second < last else torch.empty_like(out)
            if residual is not None:
                _product(out + residual[1], slots[first], residual[0], target)
            elif level:
                torch.add(out, slots[first], out=target)
            else:
                torch.add(out, slots[first], out=target).relu_()
            inner.append(out)
        pieces: list[Any] = [None] * (2 * len(slots))
        pieces[::2] = flat.split_with_sizes(self.kept, 1)[1::2]
        pieces[1::2] = slots
        return target, inner, self._views(torch.cat(pieces, 1))

    def _views(self, flat: Tensor) -> dict[str, Tensor]:
        """The state entries, (batch, channels, steps), as views of a (batch, size) buffer."""
        batch = flat.shape[0]
        return {
            conv.name: flat.as_strided(
                (batch, conv.channels, conv.steps), (self.size, 1, conv.channels), conv.offset
            )
            for conv in self.convs
        }

    def _flat(self, state: dict[str, Tensor]) -> Tensor:
        """The buffer that the state entries are views of; a copy if they are anything else."""
        first = state[self.convs[0].name]
        start, batch = first.data_ptr(), first.shape[0]
        item, origin = first.element_size(), first.storage_offset()
        if first.untyped_storage().nbytes() >= item * (origin + batch * self.size):
            for conv in self.convs:
                entry = state[conv.name]
                here = entry.data_ptr() == start + item * conv.offset
                if not here or entry.stride() != (self.size, 1, conv.channels):
                    break
            else:
                return first.as_strided((batch, self.size), (self.size, 1), origin)
        return torch.cat([state[c.name].transpose(1, 2).flatten(1) for c in self.convs], 1)


def _pointwise(conv: Any) -> tuple[Tensor, Tensor] | None:
    """Transposed matrix and bias of a 1x1 convolution, or None where there is none."""
    if conv is None:
        return None
    return conv.weight.detach()[:, :, 0].t().contiguous(), conv.bias.detach().clone()


def _one_buffer(kernels: list[Tensor]) -> list[Tensor]:
    """(out, taps * in) kernels side by side in memory, as (taps * in, out) views: fewer page misses."""
    buffer = torch.cat([kernel.flatten() for kernel in kernels])
    parts = buffer.split_with_sizes([kernel.numel() for kernel in kernels])
    return [part.view(kernel.shape).t() for part, kernel in zip(parts, kernels, strict=True)]


def one_step(tcn: Any, x: Tensor, stream: Stream) -> tuple[Tensor, list[Tensor]] | None:
    """Run the blocks of a `tcn` on one sample.

    Returns:
        (last block's output, inner outputs of all blocks), or None where someone listens to a part,
        which must then really be called.
    """
    plan = packed.cached(tcn)
    if not isinstance(plan, OneStep) or not plan.serves():
        plan = OneStep(tcn)
        if not plan.serves():
            return None
        packed.remember(tcn, plan)
    state = {conv.name: stream.read(tcn.path, conv.name) for conv in plan.convs}
    y, inner, after = plan.run(x, state)
    for name, context in after.items():
        stream.write(tcn.path, name, context)
    return y.unsqueeze(2), [out.unsqueeze(2) for out in inner]
