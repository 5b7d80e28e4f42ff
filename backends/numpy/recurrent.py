"""LSTM and GRU, one step after the other."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import GruSpec, LstmSpec

from .activation import Dropout, sigmoid
from .block import Array, Block, maybe

S = TypeVar("S", LstmSpec, GruSpec)
# (what the input gives to the gates, state) -> state; its first entry is the output.
Step = Callable[[Array, list[Array]], list[Array]]


class _Recurrent(Block[S], Generic[S]):
    """Layers and directions of either kind."""

    dropout: Dropout | None

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, in_channels, time) -> (batch, hidden * directions, time)."""
        spec, batch = self.spec, len(x)
        before = self._state(batch, x.dtype, stream)
        after: list[list[Array]] = []
        for layer in range(spec.layers):
            rows = maybe(self.dropout, x) if layer else x
            outputs = []
            for way in spec.directions:
                state = [entry[:, layer].copy() for entry in before]
                y, state = self._run(rows, f"l{layer}{way}", state)
                outputs.append(y)
            after.append(state)
            x = np.concatenate(outputs, axis=1)
        if stream is not None:
            for index, name in enumerate(spec.states):
                stream.write(self.path, name, np.stack([state[index] for state in after], axis=1))
        return x

    def _state(self, batch: int, dtype: Any, stream: Stream | None) -> list[Array]:
        """Of every layer, (batch, layers, hidden): what a stream has, or zeros."""
        if stream is None:
            shape = batch, self.spec.layers, self.spec.hidden
            return [np.zeros(shape, dtype) for _ in self.spec.states]
        return [np.asarray(stream.read(self.path, name), dtype) for name in self.spec.states]

    def _run(self, x: Array, suffix: str, state: list[Array]) -> tuple[Array, list[Array]]:
        """One layer in one direction."""
        bias = self.arrays[f"bias_ih_{suffix}"] if self.spec.bias else 0.0
        gates = x.transpose(0, 2, 1) @ self.arrays[f"weight_ih_{suffix}"].T + bias
        steps = range(x.shape[2])
        y = np.zeros((len(x), self.spec.hidden, len(steps)), x.dtype)
        for t in reversed(steps) if suffix.endswith("_reverse") else steps:
            state = self._step(gates[:, t], self._carried(state[0], suffix), state)
            y[:, :, t] = state[0]
        return y, state

    def _carried(self, h: Array, suffix: str) -> Array:
        """What the last output gives to the gates."""
        bias = self.arrays[f"bias_hh_{suffix}"] if self.spec.bias else 0.0
        product: Array = h @ self.arrays[f"weight_hh_{suffix}"].T + bias
        return product

    def _step(self, inward: Array, carried: Array, state: list[Array]) -> list[Array]:
        """The state after one more step."""
        raise TypeError(f"{type(self).__name__} has no step")


class Lstm(_Recurrent[LstmSpec], kind="lstm"):
    """c = f c + i g, h = o tanh(c)."""

    def _step(self, inward: Array, carried: Array, state: list[Array]) -> list[Array]:
        i, f, g, o = np.split(inward + carried, 4, axis=1)
        c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
        return [sigmoid(o) * np.tanh(c), c]


class Gru(_Recurrent[GruSpec], kind="gru"):
    """h = (1 - z) n + z h."""

    def _step(self, inward: Array, carried: Array, state: list[Array]) -> list[Array]:
        (r, z, n), (r_h, z_h, n_h) = (np.split(part, 3, axis=1) for part in (inward, carried))
        z = sigmoid(z + z_h)
        n = np.tanh(n + sigmoid(r + r_h) * n_h)
        return [(1.0 - z) * n + z * state[0]]
