"""LSTM and GRU: what the input gives in one product, then a loop of the backend's own."""

from typing import Generic, TypeVar

from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import GruSpec, LstmSpec

from .activation import Dropout
from .block import Block, Tensor, maybe
from .kernels.loop import Tensors, scan

S = TypeVar("S", LstmSpec, GruSpec)


class _Recurrent(Block[S], Generic[S]):
    """Layers and directions of either kind."""

    dropout: Dropout | None

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, in_channels) -> (batch, time, hidden * directions)."""
        spec = self.spec
        if stream is None:
            shape = ops.shape(x)[0], spec.hidden, spec.layers
            before = [ops.zeros(shape, dtype=x.dtype) for _ in spec.states]
        else:
            before = [ops.cast(stream.read(self.path, name), x.dtype) for name in spec.states]
        after: list[Tensors] = []
        for layer in range(spec.layers):
            rows = maybe(self.dropout, x) if layer else x
            outputs = []
            for way in spec.directions:
                state = tuple(entry[:, :, layer] for entry in before)
                y, state = self._run(rows, f"l{layer}{way}", state)
                outputs.append(y)
            after.append(state)
            x = ops.concatenate(outputs, axis=-1)
        if stream is not None:
            for index, name in enumerate(spec.states):
                stream.write(self.path, name, ops.stack([state[index] for state in after], axis=-1))
        return x

    def _run(self, x: Tensor, suffix: str, state: Tensors) -> tuple[Tensor, Tensors]:
        """One layer in one direction; kernels lie (in, out)."""
        gates = ops.matmul(x, self.arrays[f"weight_ih_{suffix}"])
        kernel, bias = self.arrays[f"weight_hh_{suffix}"], None
        if self.spec.bias:
            gates = gates + self.arrays[f"bias_ih_{suffix}"]
            bias = self.arrays[f"bias_hh_{suffix}"]

        def step(state: Tensors, rows: Tensors) -> tuple[Tensors, Tensors]:
            carried = ops.matmul(state[0], kernel)
            state = self._step(rows[0], carried if bias is None else carried + bias, state)
            return state, (state[0],)

        rows = (ops.swapaxes(gates, 0, 1),)
        state, (y,) = scan(step, state, rows, reverse=suffix.endswith("_reverse"))
        return ops.swapaxes(y, 0, 1), state

    def _step(self, inward: Tensor, carried: Tensor, state: Tensors) -> Tensors:
        """The state after one more step."""
        raise TypeError(f"{type(self).__name__} has no step")


class Lstm(_Recurrent[LstmSpec], kind="lstm"):
    """c = f c + i g, h = o tanh(c)."""

    def _step(self, inward: Tensor, carried: Tensor, state: Tensors) -> Tensors:
        i, f, g, o = ops.split(inward + carried, 4, axis=1)
        c = ops.sigmoid(f) * state[1] + ops.sigmoid(i) * ops.tanh(g)
        return ops.sigmoid(o) * ops.tanh(c), c


class Gru(_Recurrent[GruSpec], kind="gru"):
    """h = (1 - z) n + z h."""

    def _step(self, inward: Tensor, carried: Tensor, state: Tensors) -> Tensors:
        (r, z, n), (r_h, z_h, n_h) = (ops.split(part, 3, axis=1) for part in (inward, carried))
        z = ops.sigmoid(z + z_h)
        n = ops.tanh(n + ops.sigmoid(r + r_h) * n_h)
        return ((1.0 - z) * n + z * state[0],)
