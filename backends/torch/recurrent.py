"""LSTM and GRU by torch's own kernels."""

from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import GruSpec, LstmSpec

from .block import Block

S = TypeVar("S", LstmSpec, GruSpec)


class _Recurrent(Block[S], Generic[S]):
    """Layers and directions of either kind."""

    dropout: Block[Any] | None  # its rate goes to the kernel

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, in_channels, time) -> (batch, hidden * directions, time)."""
        spec = self.spec
        if stream is None:
            shape = spec.layers * len(spec.directions), x.shape[0], spec.hidden
            before = [x.new_zeros(shape) for _ in spec.states]
        else:
            before = [
                stream.read(self.path, name).to(x.dtype).transpose(0, 1).contiguous()
                for name in spec.states
            ]
        if x.shape[2]:
            y, after = self._run(x.transpose(1, 2), before)
        else:
            y, after = x.new_zeros((x.shape[0], 0, spec.width)), before
        if stream is not None:
            for name, state in zip(spec.states, after, strict=True):
                stream.write(self.path, name, state.transpose(0, 1))
        return y.transpose(1, 2)

    def _run(self, x: Tensor, before: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """(batch, time, channels) and states (layers, batch, hidden) to the same."""
        flat = list(self._parameters.values())  # in the order of the spec, which is torch's
        kernel: Any = torch.lstm if self.spec.kind == "lstm" else torch.gru
        state: Any = before if self.spec.kind == "lstm" else before[0]
        y, *after = kernel(
            x, state, flat, self.spec.bias, self.spec.layers, self.spec.dropout,
            self.training, self.spec.bidirectional, True,
        )  # fmt: skip
        return y, after


class Lstm(_Recurrent[LstmSpec], kind="lstm"):
    """c = f c + i g, h = o tanh(c)."""


class Gru(_Recurrent[GruSpec], kind="gru"):
    """h = (1 - z) n + z h."""
