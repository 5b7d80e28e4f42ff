"""Channel adapters: mixtures of electrodes, fixed, learned, or attended to."""

import math
from typing import Any

import mlx.core as mx

from tcnzoo.arrays import Array
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ChannelAdapterSpec

from .block import Block
from .dense import Dense
from .norm import LayerNorm


class ChannelAdapter(Block[ChannelAdapterSpec], kind="channel_adapter"):
    """Electrodes of one montage to those of another."""

    query: Dense | None
    key: Dense | None
    value: Dense | None
    direction: Dense | None
    content: Dense | None
    norm: LayerNorm | None
    output: Dense | None

    def __init__(self, spec: ChannelAdapterSpec, path: str = "") -> None:
        """Work out the fixed matrix, or the directions of the electrodes."""
        super().__init__(spec, path)
        if spec.mixes:
            self._matrix = spec.matrix()
        else:
            self._sources = spec.source_directions()
            self._targets = spec.target_directions()

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, ..., sources) -> (batch, ..., targets)."""
        if self.spec.method == "perceiver":
            return self._attended(x)
        return x @ (_like(self._matrix, x) if self.spec.mixes else self._weights(x)).T

    def _weights(self, x: mx.array) -> mx.array:
        """Of `attend`: what each source counts for each target."""
        query, key = self._parts("query", "key")
        scores = query(_like(self._targets, x)) @ key(_like(self._sources, x)).T
        return mx.softmax(scores / math.sqrt(self.spec.inner), axis=-1)

    def _attended(self, x: mx.array) -> mx.array:
        """Of `perceiver`: queries of the targets attend to the tokens of each patch."""
        value, direction, key, content, norm, output = self._parts(
            "value", "direction", "key", "content", "norm", "output"
        )
        batch, length, sources = x.shape
        patch, heads, width = self.spec.patch, self.spec.heads, self.spec.inner
        count, each = length // patch, width // heads
        patches = x.reshape(batch * count, patch, sources).swapaxes(1, 2)
        tokens = value(patches) + direction(_like(self._sources, x))
        shape = (batch * count, sources, heads, each)
        keys = key(tokens).reshape(shape).swapaxes(1, 2)
        contents = content(tokens).reshape(shape).swapaxes(1, 2)
        learned = self["queries"]
        queries = learned.reshape(-1, heads, each).swapaxes(0, 1) / math.sqrt(each)
        powers = mx.softmax(queries @ keys.swapaxes(2, 3), axis=-1)
        taken = (powers @ contents).swapaxes(1, 2).reshape(batch * count, -1, width)
        made = output(norm(taken + learned))
        return made.swapaxes(1, 2).reshape(batch, length, -1)

    def _parts(self, *names: str) -> list[Any]:
        """The parts that a method has."""
        return [getattr(self, name) for name in names]


def _like(array: Array, x: mx.array) -> mx.array:
    """An array in the type of a signal."""
    return mx.array(array, dtype=x.dtype)
