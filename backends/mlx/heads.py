"""Several layers that read the same input."""

from collections.abc import Sequence

import mlx.core as mx

from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import HeadsSpec
from tcnzoo.specs.side_inputs import Routes

from .block import Block


class Heads(Block[HeadsSpec], kind="heads", parts_by_user=True):
    """A dictionary of outputs by task."""

    _routes: Routes

    def __init__(self, spec: HeadsSpec, path: str = "") -> None:
        """Build the heads, and find which of them takes what beside the signal."""
        super().__init__(spec, path)
        self._routes = Routes.of(spec.heads)

    def forward(
        self, x: mx.array, stream: Stream | None = None, embeddings: Sequence[mx.array] = ()
    ) -> dict[str, mx.array]:
        """Run every head on the input."""
        return {
            name: first(self[name](x, stream, **self._routes.inputs(name, embeddings)))
            for name in self.spec.heads
        }
