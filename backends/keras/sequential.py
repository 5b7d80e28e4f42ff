"""Layers in order."""

from collections.abc import Sequence

from keras import ops

from tcnzoo.models.streaming import Stream

from .block import Block, Tensor


class Sequential(Block, kind="sequential"):
    """Layers in order; a streamed chunk that yields no step for a layer ends there."""

    def call(
        self, x: Tensor, stream: Stream | None = None, embeddings: Sequence[Tensor] = ()
    ) -> Tensor:
        """Run every layer on the output of the one before."""
        entry = x
        for layer in self.parts.values():
            inputs = {"embeddings": embeddings} if layer.spec.embedding_specs else {}
            y = layer(x, stream=stream, **inputs)
            x = y[0] if isinstance(y, tuple) else y
            if stream is not None and x.shape[1] == 0:
                return self.nothing(entry)
        return x

    def nothing(self, x: Tensor) -> Tensor:
        """No output steps, for the batch of x."""
        channels = self.compute_output_shape((None, None, x.shape[2]))[-1]
        return ops.zeros((x.shape[0], 0, channels), dtype=x.dtype)
