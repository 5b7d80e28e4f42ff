"""Layers in order."""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SequentialSpec
from tcnzoo.specs.side_inputs import Routes

from .block import Block


class Sequential(Block[SequentialSpec], kind="sequential", parts_by_user=True):
    """Layers in order."""

    _routes: Routes
    _several: bool

    def __init__(self, spec: SequentialSpec, path: str = "") -> None:
        """Build the layers, and find which of them takes what beside the signal."""
        super().__init__(spec, path)
        self._routes = Routes.of(spec.layers)
        self._several = bool(spec.output_names)

    def forward(
        self, x: mx.array, stream: Stream | None = None, embeddings: Sequence[mx.array] = ()
    ) -> Any:
        """Run every layer on the output of the one before; a chunk ends where no steps are left."""
        y: Any = x
        for name in self.spec.layers:
            y = self[name](x, stream, **self._routes.inputs(name, embeddings))
            x = first(y)
            if stream is not None and x.shape[1] == 0:
                break
        return y if self._several else x
