"""Several layers that read the same input."""

from collections.abc import Sequence
from typing import Any

from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import HeadsSpec
from tcnzoo.specs.side_inputs import Routes

from .block import Block, Tensor


class Heads(Block[HeadsSpec], kind="heads"):
    """A dictionary of outputs by task."""

    parts: dict[str, Block[Any]]

    def __init__(
        self, spec: HeadsSpec, path: str = "", owned: bool = False, **options: Any
    ) -> None:
        """Build the heads, and find which of them takes what beside the signal."""
        super().__init__(spec, path, owned, **options)
        self.routes = Routes.of(spec.heads)

    def call(
        self, x: Tensor, stream: Stream | None = None, embeddings: Sequence[Tensor] = ()
    ) -> dict[str, Tensor]:
        """Run every head on the input."""
        return {
            name: first(head(x, stream, **self.routes.inputs(name, embeddings)))
            for name, head in self.parts.items()
        }

    def compute_output_shape(self, x_shape: Any) -> Any:
        """Shapes of the outputs by task."""
        return {
            name: Block.compute_output_shape(head, x_shape) for name, head in self.parts.items()
        }
