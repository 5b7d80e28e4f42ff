"""Several layers that read the same input."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import HeadsSpec
from tcnzoo.specs.side_inputs import Routes

from .block import Array, Block


class Heads(Block[HeadsSpec], kind="heads"):
    """A dictionary of outputs by task."""

    parts: dict[str, Block[Any]]

    def __init__(self, spec: HeadsSpec, *arguments: Any) -> None:
        """Build the heads, and find which of them takes what beside the signal."""
        super().__init__(spec, *arguments)
        self.routes = Routes.of(spec.heads)

    def forward(
        self, x: Array, stream: Stream | None = None, embeddings: Sequence[Array] = ()
    ) -> dict[str, Array]:
        """Run every head on the input."""
        return {
            name: np.asarray(first(head(x, stream, **self.routes.inputs(name, embeddings))))
            for name, head in self.parts.items()
        }
