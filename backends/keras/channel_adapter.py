"""Channel adapters: mixtures of electrodes, fixed, learned, or attended to."""

import math
from typing import Any

from keras import ops

from tcnzoo.arrays import Array
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ChannelAdapterSpec

from .block import Block, Tensor
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

    def __init__(
        self, spec: ChannelAdapterSpec, path: str = "", owned: bool = False, **options: Any
    ) -> None:
        """Work out the fixed matrix, or the directions of the electrodes."""
        super().__init__(spec, path, owned, **options)
        if spec.mixes:
            self.matrix = spec.matrix()
        else:
            self.sources = spec.source_directions()
            self.targets = spec.target_directions()

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, ..., sources) -> (batch, ..., targets)."""
        if self.spec.method == "perceiver":
            return self._attended(x)
        fixed = self.spec.mixes
        weights = _like(self.matrix.T, x) if fixed else ops.transpose(self._weights(x))
        return ops.matmul(x, weights)

    def _weights(self, x: Tensor) -> Tensor:
        """Of `attend`: what each source counts for each target."""
        query, key = self._parts("query", "key")
        scores = ops.matmul(
            query(_like(self.targets, x)), ops.transpose(key(_like(self.sources, x)))
        )
        return ops.softmax(scores / math.sqrt(self.spec.inner), axis=-1)

    def _attended(self, x: Tensor) -> Tensor:
        """Of `perceiver`: queries of the targets attend to the tokens of each patch."""
        value, direction, key, content, norm, output = self._parts(
            "value", "direction", "key", "content", "norm", "output"
        )
        length = ops.shape(x)[1]
        sources, targets = self.spec.input_channels, len(self.spec.targets)
        patch, heads, width = self.spec.patch, self.spec.heads, self.spec.inner
        each = width // heads
        patches = ops.swapaxes(ops.reshape(x, (-1, patch, sources)), 1, 2)
        tokens = value(patches) + direction(_like(self.sources, x))
        shape = (-1, sources, heads, each)
        keys = ops.swapaxes(ops.reshape(key(tokens), shape), 1, 2)
        contents = ops.swapaxes(ops.reshape(content(tokens), shape), 1, 2)
        learned = ops.transpose(self.arrays["queries"])  # kernels lie (in, out)
        queries = ops.swapaxes(ops.reshape(learned, (targets, heads, each)), 0, 1)
        scores = ops.matmul(queries / math.sqrt(each), ops.swapaxes(keys, 2, 3))
        taken = ops.swapaxes(ops.matmul(ops.softmax(scores, axis=-1), contents), 1, 2)
        rows = ops.reshape(taken, (-1, targets, width)) + learned
        made = ops.swapaxes(output(norm(rows)), 1, 2)
        return ops.reshape(made, (-1, length, targets))

    def _parts(self, *names: str) -> list[Any]:
        """The parts that a method has."""
        return [getattr(self, name) for name in names]


def _like(array: Array, x: Tensor) -> Tensor:
    """An array in the type of a signal."""
    return ops.cast(ops.convert_to_tensor(array), x.dtype)
