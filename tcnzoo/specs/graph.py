"""Named nodes that each read from earlier ones: models with branches, sums and concatenations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tcnzoo.errors import InputError, SignalTooLong
from tcnzoo.specs.base import (
    MOST_PARTS,
    PROBE,
    Positive,
    ReceptiveField,
    Shape,
    SideInput,
    Spec,
    Usage,
)
from tcnzoo.specs.sequential import RESERVED, LayerName
from tcnzoo.specs.side_inputs import Routes

if TYPE_CHECKING:
    from tcnzoo.specs.base import NodeLayer

# What nodes call the input of the graph.
INPUT = "input"


class MergeSpec(Spec):
    """Several signals made one; a node of a graph and nothing else.

    Attributes:
        mode: `add` and `multiply` take signals of one shape, or vectors (batch, channels) that act
            on every step of them; `concat` puts channels side by side.
    """

    usage: ClassVar[Usage] = "node"

    kind: Literal["merge"] = "merge"
    mode: Literal["add", "multiply", "concat"]

    def merged_zeros(self, zeros: list[int]) -> int:
        """Channels of the result that are zero, at most, where so many of each signal are."""
        if self.mode == "concat":
            return sum(zeros)
        return min(zeros) if self.mode == "add" else max(zeros)

    def merged_shape(self, shapes: list[Shape]) -> Shape:
        """Shape of the result.

        Raises:
            InputError: shapes that do not go together.
        """
        text = " and ".join(str(shape) for shape in shapes)
        lengths = {shape[1:] for shape in shapes}
        if self.mode == "concat":
            if len(lengths) > 1:
                raise InputError(f"merge 'concat' takes signals of one length, but got {text}")
            return (sum(shape[0] for shape in shapes), *shapes[0][1:])
        if len({shape[0] for shape in shapes}) > 1 or len(lengths - {()}) > 1:
            raise InputError(f"merge {self.mode!r} takes signals of one shape, but got {text}")
        return max(shapes, key=len)


class NodeSpec(BaseModel):
    """One node of a graph.

    Attributes:
        layer: any block, or a merge.
        inputs: names of earlier nodes, or `input`: one for a block, two or more for a merge.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    layer: NodeLayer
    inputs: Annotated[tuple[str, ...], Field(min_length=1)] = (INPUT,)

    @model_validator(mode="after")
    def _inputs_fit(self) -> Self:
        merges = isinstance(self.layer, MergeSpec)
        if merges != (len(self.inputs) > 1):
            wanted = "two or more inputs" if merges else "one input"
            raise ValueError(f"a {self.layer.kind} takes {wanted}, but got {len(self.inputs)}")
        if self.layer.output_names:
            raise ValueError(f"a {self.layer.kind} gives several outputs, so it must stand alone")
        return self


class GraphSpec(Spec):
    """Nodes in order of computation, each reading from the input or from earlier nodes.

    The last node is the output. Parameters are named `node.parameter`.

    Attributes:
        in_channels: of the input.
        nodes: name -> node; names as in SequentialSpec.
    """

    kind: Literal["graph"] = "graph"
    in_channels: Positive
    nodes: Annotated[dict[LayerName, NodeSpec], Field(min_length=1, max_length=MOST_PARTS)]

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        known, read = {INPUT}, set[str]()
        for name, node in self.nodes.items():
            if name in RESERVED or name == INPUT:
                raise ValueError(f"node name {name!r} is reserved; choose another")
            unknown = [source for source in node.inputs if source not in known]
            if unknown:
                raise ValueError(f"node {name!r} reads {unknown[0]!r}, which is no earlier node")
            known.add(name)
            read.update(node.inputs)
        unread = [name for name in list(self.nodes)[:-1] if name not in read]
        if unread:
            raise ValueError(f"no node reads {unread[0]!r}, and it is not the last one")
        return self

    @model_validator(mode="after")
    def _zeros_reach_no_shared_norm(self) -> Self:
        self.zeros_after(0)
        return self

    def zeros_after(self, zeros: int) -> int:
        """Through all nodes, to the last."""
        after = {INPUT: zeros}
        for name, node in self.nodes.items():
            before = [after[source] for source in node.inputs]
            if isinstance(node.layer, MergeSpec):
                after[name] = node.layer.merged_zeros(before)
                continue
            try:
                after[name] = node.layer.zeros_after(before[0])
            except ValueError as error:
                raise ValueError(f"node {name!r}: {error}") from None
        return after[name]

    @model_validator(mode="after")
    def _nodes_take_what_comes(self) -> Self:
        routes = Routes.of(self.children())
        try:
            reaching = self._probed()
            routes.shapes(self.children(), reaching)
        except InputError as error:
            raise ValueError(str(error)) from None
        routes.check_steps(self.children(), reaching)
        return self

    def _probed(self) -> dict[str, Shape]:
        """Shape that reaches each node: of PROBE steps, or of the one length that it takes.

        Raises:
            InputError: the nodes do not go together.
        """
        try:
            return self.reaching((self.in_channels, PROBE))
        except SignalTooLong:
            return self.reaching((self.in_channels, self.min_length()))

    def children(self) -> dict[str, Spec]:
        """The layers of the nodes."""
        return {name: node.layer for name, node in self.nodes.items()}

    def map(self, change: Callable[[Spec], Spec]) -> Spec:
        """The layer of each node, then the whole."""
        nodes = {
            name: NodeSpec(layer=node.layer.map(change), inputs=node.inputs)
            for name, node in self.nodes.items()
        }
        return change(GraphSpec(in_channels=self.in_channels, nodes=nodes))

    def normed_kernels(self) -> dict[str, str]:
        """Nodes that only a norm reads."""
        readers: dict[str, list[str]] = {name: [] for name in (INPUT, *self.nodes)}
        for name, node in self.nodes.items():
            for source in node.inputs:
                readers[source].append(name)
        return {
            name: readers[name][0]
            for name, node in self.nodes.items()
            if node.layer.is_kernel
            and len(readers[name]) == 1
            and self.nodes[readers[name][0]].layer.is_norm
        }

    @property
    def input_channels(self) -> int:
        """Channels of the input."""
        return self.in_channels

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        shape: Shape = (self.in_channels, PROBE)
        try:
            return self.output_shape(shape)[0]
        except SignalTooLong:
            return self.output_shape((self.in_channels, self.min_length()))[0]

    def channels_after(self, channels: int | None) -> int:
        """Channels of the output."""
        return self.out_channels

    def shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Shape after each node."""
        self.check_channels(input_shape)
        shapes = {INPUT: input_shape}
        for name, node in self.nodes.items():
            before = [shapes[source] for source in node.inputs]
            try:
                if isinstance(node.layer, MergeSpec):
                    shapes[name] = node.layer.merged_shape(before)
                else:
                    shapes[name] = node.layer.output_shape(before[0])
            except InputError as error:
                raise type(error)(f"node {name!r}: {error}") from None
        del shapes[INPUT]
        return shapes

    def reaching(self, input_shape: Shape) -> dict[str, Shape]:
        """Shape that reaches each node; of a merge, that of its first input."""
        shapes = {INPUT: input_shape, **self.shapes(input_shape)}
        return {name: shapes[node.inputs[0]] for name, node in self.nodes.items()}

    @property
    def embedding_specs(self) -> tuple[SideInput, ...]:
        """Those of all nodes, the same name once."""
        return Routes.of(self.children()).specs

    def embedding_shapes(self, input_shape: Shape) -> list[Shape]:
        """Those of the nodes, each at the shape that reaches it."""
        return Routes.of(self.children()).shapes(self.children(), self.reaching(input_shape))

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape after the last node."""
        return list(self.shapes(input_shape).values())[-1]

    def macs_of(self, input_shape: Shape) -> int:
        """Sum over the nodes, each at the shape that reaches it."""
        reaching = self.reaching(input_shape)
        return sum(node.layer.macs_of(reaching[name]) for name, node in self.nodes.items())

    def fields(self) -> dict[str, ReceptiveField]:
        """Field of each node, and of the input, counted from the input of the graph."""
        fields = {INPUT: ReceptiveField()}
        for name, node in self.nodes.items():
            field = fields[node.inputs[0]]
            for source in node.inputs[1:]:
                field = field.union(fields[source])
            fields[name] = field.then(node.layer.field())
        return fields

    def field(self) -> ReceptiveField:
        """That of the last node."""
        return list(self.fields().values())[-1]

    def own_streaming_blocker(self) -> str | None:
        """Signals that are merged must lag equally, and masks go with the steps of the input."""
        fields = self.fields()
        for name, node in self.nodes.items():
            delays = {source: fields[source].delay for source in node.inputs}
            if len(set(delays.values())) > 1:
                text = ", ".join(f"{source} by {steps}" for source, steps in delays.items())
                return (
                    f"node {name!r} merges signals that lag differently ({text} steps), so it "
                    "cannot stream; use padding 'causal'"
                )
        routes = Routes.of(self.children())
        return routes.mask_blocker(self.children(), self._probed()) if routes.specs else None
