"""Named nodes that each read from earlier ones."""

from typing import Any

from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import MergeSpec

from .block import Block, Tensor
from .types import reduced


class Merge(Block, kind="merge"):
    """Several signals made one."""

    def call(self, x: list[Tensor], stream: Stream | None = None) -> Tensor:
        """Add or multiply, vectors acting on every step, or put channels side by side."""
        if self.spec.mode == "concat":
            return ops.concatenate(x, axis=-1)
        return reduced(self._merged, *x)

    def _merged(self, *x: Tensor) -> Tensor:
        """Add or multiply; the gradient of a vector is a sum over time."""
        rank = max(len(one.shape) for one in x)
        first, *others = [ops.expand_dims(one, 1) if len(one.shape) < rank else one for one in x]
        for one in others:
            first = first + one if self.spec.mode == "add" else first * one
        return first

    def compute_output_shape(self, x_shape: Any) -> Any:
        """Shape of the result, from a list of shapes."""
        longest = max(x_shape, key=len)
        if self.spec.mode != "concat":
            return longest
        return (*longest[:-1], sum(shape[-1] for shape in x_shape))


class Graph(Block, kind="graph"):
    """Nodes in order of computation; the last one is the output."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Run every node on what it reads; in a stream none on a chunk without steps."""
        seen = {"input": x}
        for name, node in self.spec.nodes.items():
            found = [seen[one] for one in node.inputs]
            dry = [one for one in found if one.shape[1] == 0]
            if stream is not None and dry:
                seen[name] = dry[0]
                continue
            merges = isinstance(node.layer, MergeSpec)
            y = self.parts[name](found if merges else found[0], stream=stream)
            seen[name] = y[0] if isinstance(y, tuple) else y
        y = seen[name]
        if stream is not None and y.shape[1] == 0:
            return ops.zeros((x.shape[0], 0, self.spec.out_channels), dtype=x.dtype)
        return y
