"""Named nodes that each read from earlier ones."""

from functools import reduce

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import MergeSpec

from .block import Block
from .types import reduced


class Merge(Block, kind="merge"):
    """Several signals made one."""

    def forward(self, x: list[mx.array], stream: Stream | None = None) -> mx.array:  # type: ignore[override]
        """Add or multiply, vectors acting on every step, or put channels side by side."""
        if self.spec.mode == "concat":
            return mx.concatenate(x, axis=-1)
        return reduced(self._merged, *x)

    def _merged(self, *x: mx.array) -> mx.array:
        """Add or multiply; the gradient of a vector is a sum over time."""
        rank = max(one.ndim for one in x)
        ready = [one[:, None] if one.ndim < rank else one for one in x]
        return reduce(mx.add if self.spec.mode == "add" else mx.multiply, ready)


class Graph(Block, kind="graph"):
    """Nodes in order of computation; the last one is the output."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """Run every node on what it reads; in a stream none on a chunk without steps."""
        seen = {"input": x}
        for name, node in self.spec.nodes.items():
            found = [seen[one] for one in node.inputs]
            dry = [one for one in found if one.shape[1] == 0]
            if stream is not None and dry:
                seen[name] = dry[0]
                continue
            merges = isinstance(node.layer, MergeSpec)
            y = self[name](found if merges else found[0], stream)
            seen[name] = y[0] if isinstance(y, tuple) else y
        return seen[name]
