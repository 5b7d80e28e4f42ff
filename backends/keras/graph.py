"""Named nodes that each read from earlier ones."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from tcnzoo.models.outputs import first
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import GraphSpec, MergeSpec
from tcnzoo.specs.side_inputs import Routes

from .block import Block, Tensor
from .types import reduced


class Merge(Block[MergeSpec], kind="merge"):
    """Several signals made one."""

    def call(self, x: list[Tensor], stream: Stream | None = None) -> Tensor:
        """Add or multiply, vectors acting on every step, or put channels side by side."""
        if self.spec.mode == "concat":
            return ops.concatenate(x, axis=-1)
        return reduced(self._merged, *x)

    def _merged(self, *x: Tensor) -> Tensor:
        """Add or multiply; the gradient of a vector is a sum over time."""
        rank = max(len(signal.shape) for signal in x)
        y, *others = [ops.expand_dims(s, 1) if len(s.shape) < rank else s for s in x]
        for other in others:
            y = y + other if self.spec.mode == "add" else y * other
        return y

    def compute_output_shape(self, x_shape: Any) -> Any:
        """Shape of the result, from a list of shapes."""
        longest = max(x_shape, key=len)
        if self.spec.mode != "concat":
            return longest
        return (*longest[:-1], sum(shape[-1] for shape in x_shape))


class Graph(Block[GraphSpec], kind="graph"):
    """Nodes in order of computation; the last one is the output."""

    parts: dict[str, Block[Any]]

    def __init__(
        self, spec: GraphSpec, path: str = "", owned: bool = False, **options: Any
    ) -> None:
        """Build the nodes, and find which of them takes what beside the signal."""
        super().__init__(spec, path, owned, **options)
        self.routes = Routes.of(spec.children())

    def call(
        self, x: Tensor, stream: Stream | None = None, embeddings: Sequence[Tensor] = ()
    ) -> Tensor:
        """Run every node on what it reads; in a stream none on a chunk without steps."""
        outputs = {"input": x}
        for name, node in self.spec.nodes.items():
            inputs = [outputs[source] for source in node.inputs]
            empty = [signal for signal in inputs if signal.shape[1] == 0]
            if stream is not None and empty:
                outputs[name] = empty[0]
                continue
            read = inputs if isinstance(node.layer, MergeSpec) else inputs[0]
            beside = self.routes.inputs(name, embeddings)
            outputs[name] = first(self.parts[name](read, stream, **beside))
        y = outputs[name]
        if stream is not None and y.shape[1] == 0:
            return ops.zeros((x.shape[0], 0, self.spec.out_channels), dtype=x.dtype)
        return y
