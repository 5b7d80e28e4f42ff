"""Layers in order."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SequentialSpec
from tcnzoo.specs.side_inputs import Routes

from .block import Block, Tensor


class Sequential(Block[SequentialSpec], kind="sequential"):
    """Layers in order; a streamed chunk that yields no step for a layer ends there."""

    parts: dict[str, Block[Any]]

    def __init__(
        self, spec: SequentialSpec, path: str = "", owned: bool = False, **options: Any
    ) -> None:
        """Build the layers, and find which of them takes what beside the signal."""
        super().__init__(spec, path, owned, **options)
        self.routes = Routes.of(spec.layers)

    def call(
        self, x: Tensor, stream: Stream | None = None, embeddings: Sequence[Tensor] = ()
    ) -> Tensor:
        """Run every layer on the output of the one before."""
        entry = x
        for name, layer in self.parts.items():
            x = first(layer(x, stream, **self.routes.inputs(name, embeddings)))
            if stream is not None and x.shape[1] == 0:
                channels = self.compute_output_shape((None, None, entry.shape[2]))[-1]
                return ops.zeros((entry.shape[0], 0, channels), dtype=entry.dtype)
        return x
