"""Layers in order."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SequentialSpec
from tcnzoo.specs.side_inputs import Routes

from .block import UserNamed


class Sequential(UserNamed[SequentialSpec], kind="sequential"):
    """Layers in order, by name."""

    def __init__(self, spec: SequentialSpec, path: str = "") -> None:
        """Build the layers, and find which of them takes what beside the signal."""
        super().__init__(spec, path)
        self.routes = Routes.of(spec.layers)

    def forward(
        self,
        x: Tensor,
        stream: Stream | None = None,
        embeddings: Sequence[Tensor] | None = None,
    ) -> Any:
        """Run every layer on the output of the one before; all outputs of the last."""
        layers: list[Any] = list(self._modules.values())
        for layer, name in zip(layers, self.spec.layers, strict=False):
            y = layer(x, stream, **self.routes.inputs(name, embeddings or ()))
            x = y[0] if isinstance(y, tuple) else y
        return x  # a dictionary where the last layer, and no other, gives several outputs
