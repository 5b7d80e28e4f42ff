"""Several layers that read the same input."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import HeadsSpec
from tcnzoo.specs.side_inputs import Routes

from .block import UserNamed


class Heads(UserNamed[HeadsSpec], kind="heads"):
    """A dictionary of outputs by task."""

    def __init__(self, spec: HeadsSpec, path: str = "") -> None:
        """Build the heads, and find which of them takes what beside the signal."""
        super().__init__(spec, path)
        self.routes = Routes.of(spec.heads)

    def forward(
        self,
        x: Tensor,
        stream: Stream | None = None,
        embeddings: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Run every head on the input."""
        heads: list[Any] = list(self._modules.values())
        return {
            name: first(head(x, stream, **self.routes.inputs(name, embeddings or ())))
            for head, name in zip(heads, self.spec.heads, strict=False)
        }
