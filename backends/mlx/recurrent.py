"""LSTM and GRU: what the input gives in one product, then one step after the other."""

from typing import Generic, TypeVar

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import GruSpec, LstmSpec

from .activation import Dropout
from .block import Block, maybe
from .kernels.functions import sigmoid

S = TypeVar("S", LstmSpec, GruSpec)


class _Recurrent(Block[S], Generic[S]):
    """Layers and directions of either kind."""

    dropout: Dropout | None

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, in_channels) -> (batch, time, hidden * directions)."""
        spec = self.spec
        if stream is None:
            shape = x.shape[0], spec.layers, spec.hidden
            before = [mx.zeros(shape, dtype=x.dtype) for _ in spec.states]
        else:
            before = [stream.read(self.path, name).astype(x.dtype) for name in spec.states]
        after = []
        for layer in range(spec.layers):
            rows = maybe(self.dropout, x) if layer else x
            outputs = []
            for way in spec.directions:
                state = [entry[:, layer] for entry in before]
                y, state = self._run(rows, f"l{layer}{way}", state)
                outputs.append(y)
            after.append(state)
            x = mx.concatenate(outputs, axis=-1)
        if stream is not None:
            for index, name in enumerate(spec.states):
                stream.write(self.path, name, mx.stack([state[index] for state in after], axis=1))
        return x

    def _run(
        self, x: mx.array, suffix: str, state: list[mx.array]
    ) -> tuple[mx.array, list[mx.array]]:
        """One layer in one direction."""
        gates = x @ self[f"weight_ih_{suffix}"].T
        if self.spec.bias:
            gates = gates + self[f"bias_ih_{suffix}"]
        kernel = self[f"weight_hh_{suffix}"].T
        outputs = []
        steps = range(x.shape[1])
        backwards = suffix.endswith("_reverse")
        for t in reversed(steps) if backwards else steps:
            carried = state[0] @ kernel
            if self.spec.bias:
                carried = carried + self[f"bias_hh_{suffix}"]
            state = self._step(gates[:, t], carried, state)
            outputs.append(state[0])
        if not outputs:
            return mx.zeros((x.shape[0], 0, self.spec.hidden), dtype=x.dtype), state
        return mx.stack(outputs[::-1] if backwards else outputs, axis=1), state

    def _step(self, inward: mx.array, carried: mx.array, state: list[mx.array]) -> list[mx.array]:
        """The state after one more step."""
        raise TypeError(f"{type(self).__name__} has no step")


class Lstm(_Recurrent[LstmSpec], kind="lstm"):
    """c = f c + i g, h = o tanh(c)."""

    def _step(self, inward: mx.array, carried: mx.array, state: list[mx.array]) -> list[mx.array]:
        i, f, g, o = mx.split(inward + carried, 4, axis=1)
        c = sigmoid(f) * state[1] + sigmoid(i) * mx.tanh(g)
        return [sigmoid(o) * mx.tanh(c), c]


class Gru(_Recurrent[GruSpec], kind="gru"):
    """h = (1 - z) n + z h."""

    def _step(self, inward: mx.array, carried: mx.array, state: list[mx.array]) -> list[mx.array]:
        (r, z, n), (r_h, z_h, n_h) = (mx.split(part, 3, axis=1) for part in (inward, carried))
        z = sigmoid(z + z_h)
        n = mx.tanh(n + sigmoid(r + r_h) * n_h)
        return [(1.0 - z) * n + z * state[0]]
