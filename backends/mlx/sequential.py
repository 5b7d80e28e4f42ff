"""Layers in order."""

from collections.abc import Sequence

import mlx.core as mx

from tcnzoo.models.streaming import Stream

from .block import Block


class Sequential(Block, kind="sequential"):
    """Layers in order."""

    def forward(
        self, x: mx.array, stream: Stream | None = None, embeddings: Sequence[mx.array] = ()
    ) -> mx.array:
        """Run every layer on the output of the one before; a chunk that has run dry ends there."""
        for name, spec in self.spec.children().items():
            inputs = {"embeddings": embeddings} if spec.embedding_specs else {}
            y = self[name](x, stream, **inputs)
            x = y[0] if isinstance(y, tuple) else y
            if stream is not None and x.shape[1] == 0:
                break
        return x
