"""Layers in order."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SequentialSpec

from .block import Block


class Sequential(Block[SequentialSpec], kind="sequential"):
    """Layers in order, each by its name in `_modules`."""

    parts_by_user = True

    def forward(
        self,
        x: Tensor,
        stream: Stream | None = None,
        embeddings: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Run every layer on the output of the one before."""
        for name, spec in self.spec.layers.items():
            layer: Any = self._modules[name]
            y = layer(x, stream, embeddings) if spec.embedding_specs else layer(x, stream)
            x = y[0] if isinstance(y, tuple) else y
        return x
