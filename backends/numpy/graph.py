"""Named nodes that each read from earlier ones."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import GraphSpec, MergeSpec
from tcnzoo.specs.side_inputs import Routes

from .block import Array, Block


def merge(mode: str, signals: list[Array]) -> Array:
    """Add or multiply signals, vectors acting on every step, or put their channels side by side."""
    if mode == "concat":
        return np.concatenate(signals, axis=1)
    rank = max(signal.ndim for signal in signals)
    ready = [signal[:, :, None] if signal.ndim < rank else signal for signal in signals]
    return reduce(np.add if mode == "add" else np.multiply, ready)


class Merge(Block[MergeSpec], kind="merge"):
    """Several signals made one."""

    def forward(self, x: list[Array], stream: Stream | None = None) -> Array:  # type: ignore[override]
        """Merge a list of signals."""
        return merge(self.spec.mode, x)


class Graph(Block[GraphSpec], kind="graph"):
    """Nodes in order of computation; the last one is the output."""

    parts: dict[str, Block[Any]]

    def __init__(self, spec: GraphSpec, *arguments: Any) -> None:
        """Build the nodes, and find which of them takes what beside the signal."""
        super().__init__(spec, *arguments)
        self.routes = Routes.of(spec.children())

    def forward(
        self, x: Array, stream: Stream | None = None, embeddings: Sequence[Array] = ()
    ) -> Array:
        """Run every node on the outputs that it reads."""
        outputs: dict[str, Any] = {"input": x}
        for name, node in self.spec.nodes.items():
            inputs: Any = [outputs[source] for source in node.inputs]
            read = inputs if isinstance(node.layer, MergeSpec) else inputs[0]
            beside = self.routes.inputs(name, embeddings)
            outputs[name] = first(self.parts[name](read, stream, **beside))
        return np.asarray(outputs[name])
