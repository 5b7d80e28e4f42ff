"""Layers in order."""

from collections.abc import Sequence

from torch import Tensor

from tcnzoo.models.streaming import Stream

from .block import Block


class Sequential(Block, kind="sequential"):
    """Layers in order, each an attribute of its name."""

    def forward(
        self,
        x: Tensor,
        stream: Stream | None = None,
        embeddings: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Run every layer on the output of the one before."""
        for name in self.spec.layers:
            layer = self._modules[name]
            taking = isinstance(layer, Block) and layer.spec.embedding_specs
            y = layer(x, stream, embeddings) if taking else layer(x, stream)  # type: ignore[misc]
            x = y[0] if isinstance(y, tuple) else y
        return x
