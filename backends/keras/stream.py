"""One streaming step: by the compiled engine, or by Keras, compiled once its kind recurs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
from keras import ops

from tcnzoo.arrays import DTYPES, Array, Weights, to_numpy
from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import State, Stream
from tcnzoo.streams.steps import AVAILABLE, Steps

from . import weights
from .block import LONG, Tensor
from .model import SpecModel
from .run import Body, beside_last, channels_first, channels_last, compiled, tensor_of, uncompiled
from .watch import Watch

# Counters that decide how many steps come out: plain integers here. Others are tensors.
SHAPING = ("skip", "started")
# Compiling takes as long as several steps, so it waits until a kind of step has come this often.
TIMES = 3
# Kinds that a model remembers; a stream in equal chunks has as many as its strides multiply to.
KINDS = 256


@dataclass
class Kind:
    """Steps of one batch size, chunk length and set of shaping counters.

    Attributes:
        function: of (chunk, tensors of the state, counts as floats, embeddings), all neutral.
        after: the shaping counters after such a step, and what it adds to the counts; filled in
            when `function` first runs.
        times: how often it has come.
    """

    function: Body
    after: dict[str, int]
    times: int = 0


class Streams:
    """How a model of float32 on a CPU is streamed: with its layers or by the compiled engine.

    Attributes:
        watch: notices a change of the variables.
        steps: the choice, and that engine.
        lock: taken to look for a change, and until the engine has seen it: no other thread then
            goes on with the old values.
    """

    def __init__(self, model: SpecModel) -> None:
        """Note the variables."""
        backend, handle = keras.backend.backend(), model.tcnzoo
        package = f"keras {keras.__version__}, {backend} {import_module(backend).__version__}"
        variables = [variable for _, variable in model.root.named_variables()]
        same = {variable.dtype for variable in variables} <= {"float32"}
        self.watch = Watch(variables)
        self.works = self.watch.works and same and model.compute_dtype == "float32"
        self.steps = Steps(handle, package, partial(_entry, handle.device))
        self.lock = RLock()
        self.behind = True

    def follow(self) -> None:
        """Look whether the variables were changed."""
        self.behind = self.watch.follow() or self.behind


_STREAMS: WeakKeyDictionary[SpecModel, Streams] = WeakKeyDictionary()


def _streams_of(model: SpecModel) -> Streams | None:
    """How the model is streamed; None where only its layers can."""
    if not AVAILABLE or model.tcnzoo.dtype != "float32":
        return None
    streams = _STREAMS.get(model)
    if streams is None:
        streams = _STREAMS.setdefault(model, Streams(model))
    return streams if streams.works else None


def _entry(device: str | None, array: Array) -> Any:
    """An entry of a state: a tensor, but counters stay numpy, for they decide shapes."""
    if np.issubdtype(array.dtype, np.integer):
        return array
    if device is None:
        return tensor_of(array, "float32")
    with keras.device(device):
        return tensor_of(array, "float32")


def read_weights(model: SpecModel) -> Weights:
    """Copy the weights, neutral, in table order."""
    return weights.read(model.root.named_variables(), model.tcnzoo.params)


def init_state(model: SpecModel, state: dict[str, Array]) -> State:
    """Float arrays as tensors of the model's type; counters stay numpy, for they decide shapes."""
    streams = _streams_of(model)
    if streams is not None:
        batch = next((len(array) for array in state.values() if array.ndim), 1)
        start = streams.steps.start(state, batch, partial(read_weights, model))
        if start is not state:
            return start
    table, kept = model.tcnzoo.state, model.tcnzoo.kept
    with model.on_device():
        return {
            name: array if table[name].integer else tensor_of(array, kept[name])
            for name, array in state.items()
        }


def step(
    model: SpecModel, chunk: Array, state: Mapping[str, Any], embeddings: Sequence[Array]
) -> tuple[Array, State]:
    """Run one streaming step, with the model's layers or the compiled engine.

    Args:
        model: a model that can stream.
        chunk: (batch, channels, time).
        state: neutral arrays of any framework.
        embeddings: for the steps of this chunk.
    Returns:
        (neutral output, neutral state for the next chunk: tensors, and numpy counters).
    """
    streams, own = _streams_of(model), partial(_own_step, model)
    if streams is None or chunk.shape[-1] == 0:
        return own(chunk, state, embeddings)

    def run() -> tuple[Array, State]:
        if streams.behind:
            streams.steps.forget()
            streams.behind = False
        read = partial(read_weights, model)
        return streams.steps.step(own, read, chunk, state, embeddings)

    with streams.lock:
        streams.follow()
        if streams.behind:
            return run()
    return run()


def _own_step(
    model: SpecModel, chunk: Array, state: Mapping[str, Any], embeddings: Sequence[Array]
) -> tuple[Array, dict[str, Any]]:
    """One step with the model's layers; arguments and result as `step` has them."""
    handle = model.tcnzoo
    if chunk.shape[-1] == 0:
        *axes, _ = handle.spec.output_shape((*chunk.shape[1:-1], LONG))
        nothing = np.zeros((chunk.shape[0], *axes, 0), dtype=DTYPES[handle.dtype])
        return nothing, {name: state[name] for name in handle.state}
    shaping = {
        name: int(to_numpy(state[name]))
        for name in handle.state
        if name.rpartition(".")[2] in SHAPING
    }
    counts = {
        name: int(to_numpy(state[name]))
        for name, item in handle.state.items()
        if item.integer and item.summed
    }
    with model.on_device():
        # Counts stay exact out here: JAX has no int64 by default.
        tensors = {
            name: tensor_of(state[name], handle.kept[name])
            for name in handle.state
            if name not in shaping and name not in counts
        }
        exact = "float64" if handle.dtype == "float64" else "float32"
        floats = {name: tensor_of(np.asarray(count), exact) for name, count in counts.items()}
        conditions = tuple(tensor_of(each, handle.dtype) for each in embeddings)
        kind = _kind(model, chunk, shaping, list(counts))
        y, tensors = kind.function(tensor_of(chunk, handle.dtype), tensors, floats, conditions)
    after = {**tensors, **kind.after}
    after |= {name: count + kind.after[name] for name, count in counts.items()}
    return np.array(to_numpy(y)), {
        name: np.asarray(to_numpy(after[name]), handle.kept[name]) if item.integer else after[name]
        for name, item in handle.state.items()
    }


def _kind(model: SpecModel, chunk: Array, shaping: dict[str, int], counts: list[str]) -> Kind:
    """The kind of a step, with its function compiled if it has come often enough."""
    kinds = model.step_kinds
    key = (chunk.shape[0], *chunk.shape[2:], *shaping.values())
    if key not in kinds:
        if len(kinds) >= KINDS:
            kinds.clear()
        after: dict[str, int] = {}
        kinds[key] = Kind(uncompiled(_body(model, shaping, counts, after)), after)
    kind = kinds[key]
    kind.times += 1
    if kind.times == TIMES:
        kind.function = compiled(model, _body(model, shaping, counts, kind.after))
    return kind


def _body(
    model: SpecModel, shaping: dict[str, int], counts: list[str], after: dict[str, int]
) -> Body:
    """The step as a function of tensors; see `Kind` for what it leaves in `after`."""

    def body(
        chunk: Tensor,
        tensors: dict[str, Tensor],
        floats: dict[str, Tensor],
        embeddings: tuple[Tensor, ...],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        native = {name: _swapped(tensor) for name, tensor in tensors.items()}
        stream = Stream({**shaping, **floats, **native})
        y = model(
            channels_last(chunk),
            embeddings=beside_last(model, embeddings),
            stream=stream,
            training=False,
        )
        state = {**stream.state, **stream.next_state}
        after.update({name: state[name] for name in shaping})
        after.update({name: stream.next_state.get(name, 0) for name in counts})
        return channels_first(first(y)), {name: _swapped(state[name]) for name in tensors}

    return body


def _swapped(tensor: Tensor) -> Tensor:
    """An entry of the state between neutral and native: three axes are those of a signal."""
    return ops.swapaxes(tensor, 1, 2) if len(tensor.shape) == 3 else tensor
