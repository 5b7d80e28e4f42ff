"""One streaming step, compiled once its kind recurs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from tcnzoo.arrays import DTYPES, Array, to_numpy
from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import Stream

from .block import LONG, Tensor
from .model import SpecModel
from .run import Body, channels_first, channels_last, compiled, tensor_of, uncompiled

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


def step(
    model: SpecModel, chunk: Array, state: Mapping[str, Any], embeddings: Sequence[Array]
) -> tuple[Array, dict[str, Any]]:
    """Run one streaming step.

    Args:
        model: a model that can stream.
        chunk: (batch, channels, time).
        state: neutral arrays of any framework.
        embeddings: for the steps of this chunk.
    Returns:
        (neutral output, neutral state for the next chunk: tensors, and numpy counters).
    """
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
            embeddings=tuple(channels_last(each) for each in embeddings),
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
