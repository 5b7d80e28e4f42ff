"""Channel adapters: mixtures of electrodes, fixed, learned, or attended to."""

from typing import Any

import numpy as np

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ChannelAdapterSpec

from .block import Array, Block
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

    def __init__(self, spec: ChannelAdapterSpec, path: str, dtype: str) -> None:
        """Work out the fixed matrix, or the directions of the electrodes."""
        super().__init__(spec, path, dtype)
        if spec.mixes:
            self.matrix = spec.matrix().astype(dtype)
        else:
            self.sources = spec.source_directions().astype(dtype)
            self.targets = spec.target_directions().astype(dtype)

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, sources, ...) -> (batch, targets, ...)."""
        if self.spec.method == "perceiver":
            return self._attended(x)
        weights = self.matrix if self.spec.mixes else self._weights()
        return np.einsum("ts,bs...->bt...", weights, x)

    def _weights(self) -> Array:
        """Of `attend`: what each source counts for each target."""
        query, key = self._parts("query", "key")
        scores = query(self.targets) @ key(self.sources).T
        return softmax(scores / np.sqrt(self.spec.inner))

    def _attended(self, x: Array) -> Array:
        """Of `perceiver`: queries of the targets attend to the tokens of each patch."""
        value, direction, key, content, norm, output = self._parts(
            "value", "direction", "key", "content", "norm", "output"
        )
        batch, sources, length = x.shape
        patch, heads, width = self.spec.patch, self.spec.heads, self.spec.inner
        patches = x.reshape(batch * sources * (length // patch), patch)
        tokens = value(patches).reshape(batch, sources, length // patch, width)
        tokens = tokens + direction(self.sources)[:, None]
        flat = tokens.reshape(-1, width)
        shape = batch, sources, length // patch, heads, width // heads
        keys, contents = key(flat).reshape(shape), content(flat).reshape(shape)
        queries = self.arrays["queries"].reshape(-1, heads, width // heads)
        scores = np.einsum("thd,bsphd->bpths", queries, keys) / np.sqrt(width // heads)
        taken = np.einsum("bpths,bsphd->bpthd", softmax(scores), contents)
        rows = taken.reshape(-1, len(queries), width) + self.arrays["queries"]
        made = output(norm(rows.reshape(-1, width)))
        made = made.reshape(batch, length // patch, len(queries), patch)
        answer: Array = made.swapaxes(1, 2).reshape(batch, len(queries), length)
        return answer

    def _parts(self, *names: str) -> list[Any]:
        """The parts that a method has."""
        return [getattr(self, name) for name in names]


def softmax(scores: Array) -> Array:
    """Over the last axis."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
