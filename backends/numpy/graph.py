"""Named nodes that each read from earlier ones."""

from functools import reduce
from typing import Any

import numpy as np

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import MergeSpec

from .block import Array, Block


def merge(mode: str, signals: list[Array]) -> Array:
    """Add or multiply signals, vectors acting on every step, or put their channels side by side."""
    if mode == "concat":
        return np.concatenate(signals, axis=1)
    rank = max(signal.ndim for signal in signals)
    ready = [one[:, :, None] if one.ndim < rank else one for one in signals]
    return reduce(np.add if mode == "add" else np.multiply, ready)


class Merge(Block, kind="merge"):
    """Several signals made one."""

    def forward(self, x: list[Array], stream: Stream | None = None) -> Array:  # type: ignore[override]
        """Merge a list of signals."""
        return merge(self.spec.mode, x)


class Graph(Block, kind="graph"):
    """Nodes in order of computation; the last one is the output."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """Run every node on the outputs that it reads."""
        seen: dict[str, Any] = {"input": x}
        for name, node in self.spec.nodes.items():
            found: Any = [seen[one] for one in node.inputs]
            merges = isinstance(node.layer, MergeSpec)
            y = self.parts[name](found if merges else found[0], stream)
            seen[name] = y[0] if isinstance(y, tuple) else y
        return np.asarray(seen[name])
