"""Layers in order."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SequentialSpec
from tcnzoo.specs.side_inputs import Routes

from .block import Array, Block


class Sequential(Block[SequentialSpec], kind="sequential"):
    """Layers in order; a chunk that yields no step for a layer ends there."""

    parts: dict[str, Block[Any]]

    def __init__(self, spec: SequentialSpec, *arguments: Any) -> None:
        """Build the layers, and find which of them takes what beside the signal."""
        super().__init__(spec, *arguments)
        self.routes = Routes.of(spec.layers)
        self.several = bool(spec.output_names)

    def forward(
        self, x: Array, stream: Stream | None = None, embeddings: Sequence[Array] = ()
    ) -> Any:
        """Run every layer on the output of the one before; all outputs of the last."""
        y: Any = x
        for name, layer in self.parts.items():
            y = layer(first(y), stream, **self.routes.inputs(name, embeddings))
        return y if self.several else np.asarray(first(y))
