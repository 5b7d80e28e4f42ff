"""Layers in order."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SequentialSpec

from .block import Block, Tensor


class Sequential(Block[SequentialSpec], kind="sequential"):
    """Layers in order; a streamed chunk that yields no step for a layer ends there."""

    parts: dict[str, Block[Any]]

    def call(
        self, x: Tensor, stream: Stream | None = None, embeddings: Sequence[Tensor] = ()
    ) -> Tensor:
        """Run every layer on the output of the one before."""
        entry = x
        for layer in self.parts.values():
            inputs = {"embeddings": embeddings} if layer.spec.embedding_specs else {}
            x = first(layer(x, stream, **inputs))
            if stream is not None and x.shape[1] == 0:
                channels = self.compute_output_shape((None, None, entry.shape[2]))[-1]
                return ops.zeros((entry.shape[0], 0, channels), dtype=entry.dtype)
        return x
