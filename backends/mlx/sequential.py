"""Layers in order."""

from collections.abc import Sequence

import mlx.core as mx

from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SequentialSpec

from .block import Block


class Sequential(Block[SequentialSpec], kind="sequential", parts_by_user=True):
    """Layers in order."""

    def forward(
        self, x: mx.array, stream: Stream | None = None, embeddings: Sequence[mx.array] = ()
    ) -> mx.array:
        """Run every layer on the output of the one before; a chunk ends where no steps are left."""
        for name, spec in self.spec.layers.items():
            inputs = {"embeddings": embeddings} if spec.embedding_specs else {}
            x = first(self[name](x, stream, **inputs))
            if stream is not None and x.shape[1] == 0:
                break
        return x
