"""The numpy backend: the reference, in float64 or float32; forward and streaming only."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from tcnzoo.arrays import Weights, to_numpy
from tcnzoo.errors import InputError
from tcnzoo.models.backend import BackendInfo, Handle, check_device
from tcnzoo.models.outputs import Output, Trace, first, named_outputs
from tcnzoo.models.streaming import State, Stream
from tcnzoo.specs import Spec
from tcnzoo.specs.families import import_families
from tcnzoo.streams.steps import Steps, steps_of

from .block import BLOCKS, Array, Block, build as build_block
from .quantizer import quantize

import_families(__name__)

__all__ = ["BLOCKS", "Block", "quantize"]

NAME = "numpy"
DEVICES = ("cpu",)
DTYPES = ("float32", "float64")


@dataclass
class _Watch:
    """The arrays of all parts of a model as they were at the last step of a stream."""

    tables: list[dict[str, Array]]
    arrays: list[Array]
    writable: bool = True


_WATCHES: WeakKeyDictionary[Block[Any], _Watch] = WeakKeyDictionary()


def info() -> BackendInfo:
    """Versions and devices."""
    return BackendInfo(NAME, True, {"numpy": np.__version__}, DEVICES, DTYPES, "the reference")


def build(spec: Spec, dtype: str, device: str | None) -> Block[Any]:
    """Make the block, with a Handle as `tcnzoo`."""
    check_device(NAME, device, DEVICES)
    model = build_block(spec, dtype=dtype)
    model.tcnzoo = Handle(spec, NAME, dtype, "cpu")
    return model


def get_weights(model: Block[Any]) -> Weights:
    """Copy the weights, in table order."""
    weights = {
        f"{path}.{name}" if path else name: array.copy()
        for path, part in model.walk()
        for name, array in part.arrays.items()
    }
    return {name: weights[name] for name in model.tcnzoo.params}


def set_weights(model: Block[Any], weights: Weights) -> None:
    """Write checked neutral weights, cast to the model's float type."""
    for path, part in model.walk():
        for name, array in part.arrays.items():
            values = weights[f"{path}.{name}" if path else name].astype(array.dtype)
            values.flags.writeable = False  # so that a stream sees by the array what has changed
            part.arrays[name] = values


def _run(model: Block[Any], x: Array, stream: Stream | None, embeddings: Sequence[Array]) -> Any:
    """Run the block in the model's float type; it takes embeddings where its spec names some."""
    dtype = model.tcnzoo.dtype
    x = np.asarray(x, dtype=dtype)
    if not model.spec.embedding_specs:
        return model(x, stream)
    return model(x, stream, embeddings=tuple(np.asarray(e, dtype=dtype) for e in embeddings))


def predict(model: Block[Any], x: Array, embeddings: Sequence[Array]) -> Output:
    """Run the block."""
    output: Output = named_outputs(_run(model, x, None, embeddings))
    return output


def init_state(model: Block[Any], state: dict[str, Array]) -> State:
    """Cast the arrays of a neutral state to the types that this model keeps them in."""
    start, steps = _cast(model, state), _steps(model)
    if steps is None:
        return start
    batch = next((len(array) for array in start.values() if array.ndim), 1)
    return steps.start(start, batch, partial(get_weights, model))


def step(
    model: Block[Any], chunk: Array, state: Mapping[str, Any], embeddings: Sequence[Array]
) -> tuple[Array, State]:
    """Run one streaming step, with the blocks or the compiled engine."""
    plain, steps = partial(_plain_step, model), _steps(model)
    if steps is None:
        return plain(chunk, state, embeddings)
    return steps.step(plain, partial(get_weights, model), chunk, state, embeddings)


def _steps(model: Block[Any]) -> Steps | None:
    """How the stream is stepped, with the weights of now; None where only the blocks can."""
    if model.tcnzoo.dtype != "float32":
        return None
    steps = steps_of(model, f"{NAME} {np.__version__}", np.asarray)
    if steps is not None and _weights_changed(model):
        steps.forget()
    return steps


def _weights_changed(model: Block[Any]) -> bool:
    """Whether an array was replaced since the last call, or may be written in place."""
    watch = _WATCHES.get(model)
    if watch is None:
        watch = _WATCHES[model] = _Watch([part.arrays for _, part in model.walk()], [])
    now = [array for table in watch.tables for array in table.values()]
    if len(now) == len(watch.arrays) and all(map(operator.is_, now, watch.arrays)):
        return watch.writable
    watch.arrays, watch.writable = now, any(array.flags.writeable for array in now)
    return True


def _cast(model: Block[Any], state: Mapping[str, Any]) -> dict[str, Array]:
    """Arrays of a neutral state in the types that this model keeps them in."""
    kept = model.tcnzoo.kept
    return {name: np.asarray(array, dtype=kept[name]) for name, array in state.items()}


def _plain_step(
    model: Block[Any], chunk: Array, state: Mapping[str, Any], embeddings: Sequence[Array]
) -> tuple[Array, dict[str, Any]]:
    """One step with the blocks."""
    stream = Stream(_cast(model, {name: to_numpy(array) for name, array in state.items()}))
    y: Array = first(_run(model, chunk, stream, embeddings))
    return y, stream.next_state


def gradients(model: Block[Any], *args: Any) -> tuple[float, Weights]:
    """Refuse: the reference does not differentiate."""
    raise InputError("backend 'numpy' has no gradients; use torch, mlx or keras")


def trace(model: Block[Any], x: Array, embeddings: Sequence[Array]) -> dict[str, Array]:
    """Run the block; return the output of every part by dotted path, in order of completion."""
    outputs = Trace(np.asarray)
    parts = [part for _, part in model.walk()]
    for part in parts:
        part.observer = outputs
    try:
        predict(model, x, embeddings)
    finally:
        for part in parts:
            part.observer = None
    return outputs.outputs
