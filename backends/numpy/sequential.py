"""Layers in order."""

from collections.abc import Sequence

import numpy as np

from tcnzoo.models.streaming import Stream

from .block import Array, Block


class Sequential(Block, kind="sequential"):
    """Layers in order; a chunk that yields no step for a layer ends there."""

    def forward(
        self, x: Array, stream: Stream | None = None, embeddings: Sequence[Array] = ()
    ) -> Array:
        """Run every layer on the output of the one before."""
        for layer in self.parts.values():
            inputs = {"embeddings": embeddings} if layer.spec.embedding_specs else {}
            y = layer(x, stream, **inputs)
            x = y[0] if isinstance(y, tuple) else y
        return np.asarray(x)
