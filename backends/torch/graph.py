"""Named nodes that each read from earlier ones."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import GraphSpec, MergeSpec
from tcnzoo.specs.side_inputs import Routes

from .block import Block, UserNamed
from .types import wide


class Merge(Block[MergeSpec], kind="merge"):
    """Several signals made one."""

    def forward(self, x: list[Tensor], stream: Stream | None = None) -> Tensor:
        """Add or multiply, vectors acting on every step, or put channels side by side."""
        if self.spec.mode == "concat":
            return torch.cat(x, dim=1)
        rank = max(signal.dim() for signal in x)
        aligned = [signal.unsqueeze(2) if signal.dim() < rank else signal for signal in x]
        if len(aligned) > 2:  # torch rounds the result of two operands once
            aligned = [wide(signal) for signal in aligned]
        combine = torch.add if self.spec.mode == "add" else torch.mul
        return reduce(combine, aligned).to(x[0].dtype)


class Graph(UserNamed[GraphSpec], kind="graph"):
    """Nodes in order of computation, by name; the last is the output."""

    def __init__(self, spec: GraphSpec, path: str = "") -> None:
        """Build the nodes, and find which of them takes what beside the signal."""
        super().__init__(spec, path)
        self.routes = Routes.of(spec.children())

    def forward(
        self,
        x: Tensor,
        stream: Stream | None = None,
        embeddings: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Run every node on the outputs that it reads."""
        outputs = {"input": x}
        layers: list[Any] = list(self._modules.values())
        for layer, (name, node) in zip(layers, self.spec.nodes.items(), strict=False):
            inputs = [outputs[source] for source in node.inputs]
            read = inputs if isinstance(node.layer, MergeSpec) else inputs[0]
            y = layer(read, stream, **self.routes.inputs(name, embeddings or ()))
            outputs[name] = y[0] if isinstance(y, tuple) else y
        return outputs[name]
