"""Named nodes that each read from earlier ones."""

from collections.abc import Sequence
from functools import reduce

import mlx.core as mx

from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import GraphSpec, MergeSpec
from tcnzoo.specs.side_inputs import Routes

from .block import Block
from .types import reduced


class Merge(Block[MergeSpec], kind="merge"):
    """Several signals made one."""

    def forward(self, x: list[mx.array], stream: Stream | None = None) -> mx.array:  # type: ignore[override]
        """Add or multiply, vectors acting on every step, or put channels side by side."""
        if self.spec.mode == "concat":
            return mx.concatenate(x, axis=-1)
        return reduced(self._merged, *x)

    def _merged(self, *x: mx.array) -> mx.array:
        """Add or multiply; the gradient of a vector is a sum over time."""
        rank = max(signal.ndim for signal in x)
        signals = [signal[:, None] if signal.ndim < rank else signal for signal in x]
        return reduce(mx.add if self.spec.mode == "add" else mx.multiply, signals)


class Graph(Block[GraphSpec], kind="graph", parts_by_user=True):
    """Nodes in order of computation; the last one is the output."""

    _routes: Routes

    def __init__(self, spec: GraphSpec, path: str = "") -> None:
        """Build the nodes, and find which of them takes what beside the signal."""
        super().__init__(spec, path)
        self._routes = Routes.of(spec.children())

    def forward(
        self, x: mx.array, stream: Stream | None = None, embeddings: Sequence[mx.array] = ()
    ) -> mx.array:
        """Run every node on what it reads; in a stream none on a chunk without steps."""
        signals = {"input": x}
        for name, node in self.spec.nodes.items():
            inputs = [signals[source] for source in node.inputs]
            empty = [signal for signal in inputs if signal.shape[1] == 0]
            if stream is not None and empty:
                signals[name] = empty[0]
                continue
            read = inputs if isinstance(node.layer, MergeSpec) else inputs[0]
            beside = self._routes.inputs(name, embeddings)
            signals[name] = first(self[name](read, stream, **beside))
        return signals[name]
