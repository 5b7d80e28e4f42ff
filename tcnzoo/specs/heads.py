"""Several layers that read the same input: a model with one output for each task."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from tcnzoo.errors import InputError
from tcnzoo.specs.base import MOST_PARTS, ReceptiveField, Shape, SideInput, Spec
from tcnzoo.specs.sequential import RESERVED, LayerName
from tcnzoo.specs.side_inputs import Routes

if TYPE_CHECKING:
    from tcnzoo.specs.base import AnySpec


class HeadsSpec(Spec):
    """A dictionary of outputs by task, each a layer's on the same input.

    Stands alone, or as the last layer of a sequential, which then gives the same outputs.

    Attributes:
        heads: task -> layer of one output; names as in SequentialSpec.
    """

    kind: Literal["heads"] = "heads"
    heads: Annotated[dict[LayerName, AnySpec], Field(min_length=1, max_length=MOST_PARTS)]

    @model_validator(mode="after")
    def _heads_read_one_input(self) -> Self:
        known: tuple[str, int] | None = None
        for name, head in self.heads.items():
            if name in RESERVED:
                raise ValueError(f"head name {name!r} is reserved; choose another")
            if head.output_names:
                raise ValueError(f"head {name!r} must have one output, but gives several")
            channels = head.input_channels
            if channels is None:
                continue
            if known is None:
                known = name, channels
            elif known[1] != channels:
                raise ValueError(
                    f"heads read the same input, but {known[0]!r} expects {known[1]} channels and "
                    f"{name!r} expects {channels}"
                )
        Routes.of(self.heads)
        return self

    def children(self) -> dict[str, Spec]:
        """The heads."""
        return dict(self.heads)

    def map(self, change: Callable[[Spec], Spec]) -> Spec:
        """Each head, then the whole."""
        return change(
            HeadsSpec(heads={name: head.map(change) for name, head in self.heads.items()})
        )

    @property
    def main(self) -> Spec:
        """The first head, whose output is that of the model where there can be one only."""
        return next(iter(self.heads.values()))

    @property
    def input_channels(self) -> int | None:
        """What the heads that expect a number expect."""
        widths = (head.input_channels for head in self.heads.values())
        return next((width for width in widths if width is not None), None)

    @property
    def channel_multiple(self) -> int:
        """The least that every head can divide."""
        return math.lcm(*(head.channel_multiple for head in self.heads.values()))

    def channels_before(self, channels: int) -> int:
        """Those of the first head."""
        return self.main.channels_before(channels)

    def channels_after(self, channels: int | None) -> int | None:
        """Those of the first head."""
        return self.main.channels_after(channels)

    @property
    def takes_vectors(self) -> bool:
        """Whether all heads do."""
        return all(head.takes_vectors for head in self.heads.values())

    @property
    def signal_rank(self) -> int:
        """That of the first head which does not take any."""
        ranks = (head.signal_rank for head in self.heads.values() if not head.any_rank)
        return next(ranks, 3)

    @property
    def input_devices(self) -> int | None:
        """Devices that the first head which expects a number expects."""
        counts = (head.input_devices for head in self.heads.values())
        return next((count for count in counts if count is not None), None)

    @property
    def embedding_specs(self) -> tuple[SideInput, ...]:
        """Those of all heads, the same name once."""
        return Routes.of(self.heads).specs

    def embedding_shapes(self, input_shape: Shape) -> list[Shape]:
        """Those of the heads."""
        return Routes.of(self.heads).shapes(self.heads, dict.fromkeys(self.heads, input_shape))

    @property
    def output_names(self) -> tuple[str, ...]:
        """The tasks."""
        return tuple(self.heads)

    def output_shape(self, input_shape: Shape) -> Shape:
        """That of the first head."""
        return next(iter(self.output_shapes(input_shape).values()))

    def output_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Of every head."""
        shapes = {}
        for name, head in self.heads.items():
            try:
                shapes[name] = head.output_shape(input_shape)
            except InputError as error:
                raise type(error)(f"head {name!r}: {error}") from None
        return shapes

    def macs_of(self, input_shape: Shape) -> int:
        """Sum over the heads."""
        return sum(head.macs_of(input_shape) for head in self.heads.values())

    def field(self) -> ReceptiveField:
        """That of the head which sees most."""
        return max((head.field() for head in self.heads.values()), key=lambda field: field.size)

    def own_streaming_blocker(self) -> str | None:
        """A step of a stream has one output."""
        return "heads give several outputs, but a step of a stream gives one; stream one head"
