"""One streaming step, compiled once its kind recurs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcnzoo.arrays import DTYPES, Array, to_numpy
from tcnzoo.streaming import Stream

from .block import LONG, Tensor
from .model import SpecModel
from .run import Body, channels_first, channels_last, compiled, swapped, tensor_of, uncompiled

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
        function: of (chunk, tensors of the state, embeddings), all neutral.
        after: the shaping counters after such a step, filled in when `function` first runs.
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
        return _nothing(model, chunk), {name: state[name] for name in handle.state}
    shaping = {
        name: int(to_numpy(state[name]))
        for name in handle.state
        if name.rpartition(".")[2] in SHAPING
    }
    with model.on_device():
        tensors = {
            name: tensor_of(state[name], item.dtype(handle.dtype))
            for name, item in handle.state.items()
            if name not in shaping
        }
        rows = tuple(tensor_of(row, handle.dtype) for row in embeddings)
        kind = _kind(model, chunk, shaping)
        y, tensors = kind.function(tensor_of(chunk, handle.dtype), tensors, rows)
    held = {**kind.after, **tensors}
    after = {
        name: np.asarray(to_numpy(held[name]), np.int32) if item.integer else held[name]
        for name, item in handle.state.items()
    }
    return np.array(to_numpy(y)), after


def _nothing(model: SpecModel, chunk: Array) -> Array:
    """The output of an empty chunk."""
    *axes, _ = model.tcnzoo.spec.output_shape((*chunk.shape[1:-1], LONG))
    return np.zeros((chunk.shape[0], *axes, 0), dtype=DTYPES[model.tcnzoo.dtype])


def _kind(model: SpecModel, chunk: Array, shaping: dict[str, int]) -> Kind:
    """The kind of a step, with its function compiled if it has come often enough."""
    kinds = model.step_kinds
    key = (chunk.shape[0], *chunk.shape[2:], *shaping.values())
    if key not in kinds:
        if len(kinds) >= KINDS:
            kinds.clear()
        after: dict[str, int] = {}
        kinds[key] = Kind(uncompiled(_body(model, shaping, after)), after)
    kind = kinds[key]
    kind.times += 1
    if kind.times == TIMES:
        kind.function = compiled(model, _body(model, shaping, kind.after))
    return kind


def _body(model: SpecModel, shaping: dict[str, int], after: dict[str, int]) -> Body:
    """The step as a function of tensors; it leaves the next shaping counters in `after`."""

    def body(
        chunk: Tensor, tensors: dict[str, Tensor], embeddings: tuple[Tensor, ...]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        stream = Stream({**shaping, **{name: swapped(one) for name, one in tensors.items()}})
        y = model(
            channels_last(chunk),
            embeddings=tuple(swapped(row) for row in embeddings),
            stream=stream,
            training=False,
        )
        left = {**stream.state, **stream.after}
        after.update({name: left[name] for name in shaping})
        return channels_first(y[0] if isinstance(y, tuple) else y), {
            name: swapped(left[name]) for name in tensors
        }

    return body
