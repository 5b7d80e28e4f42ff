"""Streaming steps: by the compiled engine, or by MLX, as they come and then compiled."""

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, cast

import mlx.core as mx
import numpy as np

from tcnzoo.arrays import DTYPES, Array, to_numpy
from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import Conv1dSpec, Spec, WindowPoolSpec
from tcnzoo.specs.folding import fold
from tcnzoo.streams.steps import AVAILABLE, Steps as Choice

from .blas import one_thread
from .block import Block, build_model
from .conv import Conv1d
from .kept import Watch
from .run import native, to_neutral
from .twin import evaluating
from .types import on_cpu
from .weights import get_weights, set_weights, to_mlx

# Steps of one shape that run as they come before it is worth folding and compiling.
WARM_UP = 16
# Compiled steps that are kept; what comes beyond that runs as it comes.
KEPT = 64

State = dict[str, Any]
Run = Callable[..., tuple[mx.array, State]]


def init_state(model: Block[Any], state: Mapping[str, Any]) -> Mapping[str, Any]:
    """A neutral state for the first step: arrays of MLX, some made when they are asked for."""
    start, streams = _arrays(model, state), _streams_of(model)
    if not streams.may_compile(model):
        return start
    batch = next((len(array) for array in start.values() if array.ndim), 1)
    with streams.lock:
        streams.follow(model)
        return streams.compiled.start(start, batch, functools.partial(get_weights, model))


def _arrays(model: Block[Any], state: Mapping[str, Any]) -> State:
    """Neutral arrays of any framework as MLX's, in the types that they are kept in."""
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
) -> tuple[Array, Mapping[str, Any]]:
    """Run one streaming step, with MLX or the compiled engine; see Streams and Steps."""
    if chunk.shape[-1] == 0:
        return _nothing(model, chunk), _arrays(model, state)
    streams = _streams_of(model)
    may_compile = streams.may_compile(model)
    with evaluating(model) as ready:
        with streams.lock:
            streams.follow(model)
            if may_compile and streams.behind:
                return streams.run(model, ready, True, chunk, state, embeddings)
        return streams.run(model, ready, may_compile, chunk, state, embeddings)


def _nothing(model: Block[Any], chunk: Array) -> Array:
    """No output step yet: (batch, out_channels, ..., 0)."""
    *axes, _ = model.spec.output_shape((*chunk.shape[1:-1], model.spec.field().size))
    return np.zeros((len(chunk), *axes, 0), dtype=DTYPES[model.tcnzoo.dtype])


_making = threading.Lock()


def _streams_of(model: Block[Any]) -> "Streams":
    """How a model is streamed; another for every object, also for one that was copied from it."""
    with _making:
        if model._steps is None or model._steps.watch.model() is not model:
            model._steps = Streams(model)
        streams: Streams = model._steps
        return streams


class Streams:
    """How one model is streamed, whatever its weights become.

    Attributes:
        watch: notices a change of the weights.
        own: steps of MLX over the present weights.
        compiled: the choice between these and the compiled engine.
        behind: whether that engine has not seen the present weights.
        lock: taken to look for a change, and until the engine has seen it: no other thread then
            goes on with the old weights.
    """

    def __init__(self, model: Block[Any]) -> None:
        """Note the weights."""
        self.watch, self.own, self.behind = Watch(model), Steps(model), True
        self.compiled = Choice(model.tcnzoo, f"mlx {version('mlx')}", mx.array)
        self.lock = threading.RLock()
        self._lengths: set[tuple[int, int]] = set()

    def __reduce__(self) -> Any:
        """Copy as None: a copy of the model makes its own."""
        return type(None), ()

    def follow(self, model: Block[Any]) -> None:
        """Note the weights again if they were changed."""
        if not self.watch.unchanged(model):
            self.watch, self.own, self.behind = Watch(model), Steps(model), True

    def may_compile(self, model: Block[Any]) -> bool:
        """Whether the compiled engine computes what the model does: float32 on the CPU."""
        cpu = model._device == "cpu" or (model._device is None and on_cpu())
        wide = model.tcnzoo.dtype == "float32" and not self.watch.narrow
        return AVAILABLE and cpu and wide and not model.training

    def run(
        self,
        model: Block[Any],
        ready: Block[Any],
        may_compile: bool,
        chunk: Array,
        state: Mapping[str, Any],
        embeddings: Sequence[Array],
    ) -> tuple[Array, Mapping[str, Any]]:
        """One step.

        Args:
            model: the model.
            ready: the same in evaluation mode.
            may_compile: as the method of this name says.
            chunk, state, embeddings: of the step.
        """
        # The first of its kind may be measured: over folded weights, but as compiling takes seconds
        # and gains little where the compiled engine is not ahead anyway, without that.
        kind = len(chunk), chunk.shape[-1].bit_length()
        measured = may_compile and kind not in self._lengths
        self._lengths.add(kind)

        def own(
            chunk: Array, state: Mapping[str, Any], embeddings: Sequence[Array]
        ) -> tuple[Array, State]:
            return _own_step(self.own, ready, measured, chunk, state, embeddings)

        if not may_compile:
            return own(chunk, state, embeddings)
        if self.behind:
            self.compiled.forget()
            self.behind = False
        weights = functools.partial(get_weights, model)
        return self.compiled.step(own, weights, chunk, state, embeddings)


def _own_step(
    steps: "Steps",
    model: Block[Any],
    measured: bool,
    chunk: Array,
    state: Mapping[str, Any],
    embeddings: Sequence[Array],
) -> tuple[Array, State]:
    """One step computed by MLX."""
    with one_thread():
        x, inputs = native(model, chunk, embeddings)
        y, after = steps.run(model, x, inputs, _arrays(model, state), measured)
        mx.eval(y, after)
    return (to_neutral(y) if y.shape[-2] else _nothing(model, chunk)), after


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

    They are of one set of weights: `Streams` makes others when the weights have changed.
    """

    def __init__(self, model: Block[Any]) -> None:
        """Nothing is folded yet."""
        self.periods = {
            f"{path}.skip" if path else "skip": _period(part)
            for path, part in model.spec.walk()
            if "skip" in part.own_state()
        }
        self.ran: dict[tuple[Any, ...], int] = {}
        self.folded: Block[Any] | None = None
        self.threads = Compiled()

    def run(
        self,
        model: Block[Any],
        x: mx.array,
        inputs: dict[str, Any],
        state: State,
        measured: bool = False,
    ) -> tuple[mx.array, State]:
        """Run one step, compiled if one of its shapes and counters has come up often.

        Args:
            model: in evaluation mode.
            x, inputs: native chunk and embeddings.
            state: arrays of MLX.
            measured: fold the weights at once, but compile nothing.
        """
        counters = {
            name: int(array)
            for name, array in state.items()
            if name.rpartition(".")[2] in ("skip", "started")
        }
        arrays = {name: array for name, array in state.items() if name not in counters}
        shapes = (x.shape, *(embedding.shape for embedding in inputs.get("embeddings", ())))
        if measured:
            return _advance(self._folded(model), counters, x, inputs, arrays)
        self.ran[shapes] = self.ran.get(shapes, 0) + 1
        if self.ran[shapes] <= WARM_UP:
            return _advance(model, counters, x, inputs, arrays)
        return self._fast(model, shapes, counters)(x, inputs, arrays)

    def _folded(self, model: Block[Any]) -> Block[Any]:
        """The copy with folded weights."""
        if self.folded is None:
            self.folded = _folded(model)
        return self.folded

    def _fast(self, model: Block[Any], shapes: tuple[Any, ...], counters: dict[str, int]) -> Run:
        """A step over folded weights; compiled if these counters can come up again."""
        run = functools.partial(_advance, self._folded(model), counters)
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
