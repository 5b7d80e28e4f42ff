"""Layers in order."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SequentialSpec

from .block import Array, Block


class Sequential(Block[SequentialSpec], kind="sequential"):
    """Layers in order; a chunk that yields no step for a layer ends there."""

    parts: dict[str, Block[Any]]

    def forward(
        self, x: Array, stream: Stream | None = None, embeddings: Sequence[Array] = ()
    ) -> Array:
        """Run every layer on the output of the one before."""
        for layer in self.parts.values():
            inputs = {"embeddings": embeddings} if layer.spec.embedding_specs else {}
            x = first(layer(x, stream, **inputs))
        return np.asarray(x)
