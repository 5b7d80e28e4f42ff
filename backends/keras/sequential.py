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
        self.several = bool(spec.output_names)

    def call(
        self, x: Tensor, stream: Stream | None = None, embeddings: Sequence[Tensor] = ()
    ) -> Any:
        """Run every layer on the output of the one before; all outputs of the last."""
        entry, y = x, x
        for name, layer in self.parts.items():
            y = layer(x, stream, **self.routes.inputs(name, embeddings))
            x = first(y)
            if stream is not None and x.shape[1] == 0:
                channels = self.compute_output_shape((None, None, entry.shape[2]))[-1]
                return ops.zeros((entry.shape[0], 0, channels), dtype=entry.dtype)
        return y if self.several else x

    def compute_output_shape(self, x_shape: Any) -> Any:
        """Shape of the output, or of several by name."""
        if not self.several:
            return super().compute_output_shape(x_shape)
        *before, last = self.parts.values()
        for layer in before:
            x_shape = Block.compute_output_shape(layer, x_shape)
        return last.compute_output_shape(x_shape)
