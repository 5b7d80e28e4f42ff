"""Streaming steps: run as they come at first, then compiled over folded weights."""

import copy
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import mlx.core as mx
import numpy as np

from tcnzoo.arrays import DTYPES, Array, to_numpy
from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import Conv1dSpec, Spec, WindowPoolSpec
from tcnzoo.specs.folding import fold

from .blas import one_thread
from .block import Block, arrays, build_model
from .conv import Conv1d
from .kept import address
from .run import native, to_neutral
from .twin import evaluating
from .weights import get_weights, set_weights, to_mlx

# Steps of one shape that run as they come before it is worth folding and compiling.
WARM_UP = 16
# Compiled steps that are kept; what comes beyond that runs as it comes.
KEPT = 64

State = dict[str, Any]
Run = Callable[..., tuple[mx.array, State]]


def init_state(model: Block[Any], state: Mapping[str, Any]) -> State:
    """Neutral arrays of any framework to MLX's, in the types that they are kept in."""
    return {name: _to_mlx(state[name], dtype) for name, dtype in model.tcnzoo.kept.items()}


def _to_mlx(array: Any, dtype: str) -> mx.array:
    """An array of MLX as it is, a copy of one of another framework."""
    if isinstance(array, mx.array):
        return array.astype(getattr(mx, dtype))
    if dtype in ("int32", "int64"):
        return mx.array(np.asarray(to_numpy(array), dtype=dtype))
    return to_mlx(to_numpy(array), dtype)


def step(
    model: Block[Any], chunk: Array, state: Mapping[str, Any], embeddings: Sequence[Array]
) -> tuple[Array, State]:
    """Run one streaming step; see Steps for how it is made fast."""
    before = init_state(model, state)
    if chunk.shape[-1] == 0:
        return _nothing(model, chunk), before
    if model._steps is None or not model._steps.is_current(model):
        model._steps = Steps(model)
    with evaluating(model) as ready, one_thread():
        x, inputs = native(model, chunk, embeddings)
        y, after = model._steps.run(ready, x, inputs, before)
        mx.eval(y, after)
    return (to_neutral(y) if y.shape[-2] else _nothing(model, chunk)), after


def _nothing(model: Block[Any], chunk: Array) -> Array:
    """No output step yet: (batch, out_channels, ..., 0)."""
    *axes, _ = model.spec.output_shape((*chunk.shape[1:-1], model.spec.field().size))
    return np.zeros((len(chunk), *axes, 0), dtype=DTYPES[model.tcnzoo.dtype])


class Compiled(threading.local):
    """The compiled steps of one thread.

    MLX 0.32.4 may abort the process at its end where a thread has called a function that another
    one compiled.
    """

    def __init__(self) -> None:
        """Nothing is compiled yet, in each thread."""
        self.known: dict[tuple[Any, ...], Run] = {}


class Steps:
    """The streaming steps of a model, for as long as its weights stay what they are.

    Once chunks of a shape have come often enough, their steps are compiled, over a copy of the
    model with weight norm and batch norm folded into the kernels. Counters shape a step, so there
    is a compiled one for each of their values that can come up again and again.

    Before every step the address of each parameter is compared with that of the array the copy was
    made from, which is kept alive: so a new array (from an optimiser, `update` or an assignment) is
    noticed, and so is one written to in place (`weight *= 2`), which MLX does by moving it. Then
    the copy and the compiled steps are made again.
    """

    def __init__(self, model: Block[Any]) -> None:
        """Note the weights of `model`; nothing is folded yet."""
        self.weights = [copy.copy(array) for array in arrays(model)]  # kept alive
        self.addresses = [address(array) for array in self.weights]
        self.periods = {
            f"{path}.skip" if path else "skip": _period(part)
            for path, part in model.spec.walk()
            if "skip" in part.own_state()
        }
        self.ran: dict[tuple[Any, ...], int] = {}
        self.folded: Block[Any] | None = None
        self.threads = Compiled()

    def __reduce__(self) -> Any:
        """Copy as None: a copy of the model makes its own."""
        return type(None), ()

    def is_current(self, model: Block[Any]) -> bool:
        """Whether the weights of `model` are those noted."""
        addresses = [address(array) for array in arrays(model)]
        return None not in addresses and addresses == self.addresses

    def run(
        self, model: Block[Any], x: mx.array, inputs: dict[str, Any], state: State
    ) -> tuple[mx.array, State]:
        """Run one step, compiled if one of its shapes and counters has come up often."""
        counters = {
            name: int(array)
            for name, array in state.items()
            if name.rpartition(".")[2] in ("skip", "started")
        }
        arrays = {name: array for name, array in state.items() if name not in counters}
        shapes = (x.shape, *(embedding.shape for embedding in inputs.get("embeddings", ())))
        self.ran[shapes] = self.ran.get(shapes, 0) + 1
        if self.ran[shapes] <= WARM_UP:
            return _advance(model, counters, x, inputs, arrays)
        return self._fast(model, shapes, counters)(x, inputs, arrays)

    def _fast(self, model: Block[Any], shapes: tuple[Any, ...], counters: dict[str, int]) -> Run:
        """A step over folded weights; compiled if these counters can come up again."""
        if self.folded is None:
            self.folded = _folded(model)
        run = functools.partial(_advance, self.folded, counters)
        key = (*shapes, *counters.values())
        returning = all(
            value < self.periods[name] if name in self.periods else value > 0
            for name, value in counters.items()
        )
        known = self.threads.known
        if returning and key not in known and len(known) < KEPT:
            known[key] = mx.compile(run)
        return known.get(key, run)


def _period(spec: Spec) -> int:
    """Input steps from one output of a strided block to the next."""
    return spec.step if isinstance(spec, WindowPoolSpec) else cast(Conv1dSpec, spec).stride


def _advance(
    model: Block[Any], counters: dict[str, int], x: mx.array, inputs: dict[str, Any], arrays: State
) -> tuple[mx.array, State]:
    """Run the model on a chunk; what a layer leaves alone stays as it was."""
    stream = Stream({**arrays, **counters})
    stream.next_state.update(stream.state)
    y = first(model(x, stream, **inputs))
    after = {name: stream.next_state[name] for name in model.tcnzoo.state}
    return y, {
        name: value if isinstance(value, mx.array) else mx.array(int(value), dtype=mx.int32)
        for name, value in after.items()
    }


def _folded(model: Block[Any]) -> Block[Any]:
    """A copy of a model without weight norm and batch norm, or the model itself if it has none."""
    spec, weights = fold(model.spec, get_weights(model))
    if spec == model.spec:
        return model
    twin = build_model(spec, model.tcnzoo.dtype, model.tcnzoo.device)
    set_weights(twin, weights)
    for _, part in twin.walk():
        if isinstance(part, Conv1d):
            part._kept.fixed = True
    return twin
