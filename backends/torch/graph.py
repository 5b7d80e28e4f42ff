"""Named nodes that each read from earlier ones."""

from functools import reduce

import torch
from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import MergeSpec

from .block import Block
from .types import wide


class Merge(Block, kind="merge"):
    """Several signals made one."""

    def forward(self, x: list[Tensor], stream: Stream | None = None) -> Tensor:
        """Add or multiply, vectors acting on every step, or put channels side by side."""
        if self.spec.mode == "concat":
            return torch.cat(x, dim=1)
        rank = max(one.dim() for one in x)
        ready = [one.unsqueeze(2) if one.dim() < rank else one for one in x]
        if len(ready) > 2:  # torch rounds two added up or multiplied once by itself
            ready = [wide(one) for one in ready]
        return reduce(torch.add if self.spec.mode == "add" else torch.mul, ready).to(x[0].dtype)


class Graph(Block, kind="graph"):
    """Nodes in order of computation, each an attribute of its name; the last is the output."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Run every node on the outputs that it reads."""
        seen = {"input": x}
        for name, node in self.spec.nodes.items():
            found = [seen[one] for one in node.inputs]
            merges = isinstance(node.layer, MergeSpec)
            y = self._modules[name](found if merges else found[0], stream)  # type: ignore[misc]
            seen[name] = y[0] if isinstance(y, tuple) else y
        return seen[name]
