"""Layers in order."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SequentialSpec

from .block import UserNamed


class Sequential(UserNamed[SequentialSpec], kind="sequential"):
    """Layers in order, by name."""

    def forward(
        self,
        x: Tensor,
        stream: Stream | None = None,
        embeddings: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Run every layer on the output of the one before."""
        layers: list[Any] = list(self._modules.values())
        for layer, spec in zip(layers, self.spec.layers.values(), strict=False):
            y = layer(x, stream, embeddings) if spec.embedding_specs else layer(x, stream)
            x = y[0] if isinstance(y, tuple) else y
        return x
