"""Named layers, one after the other: how models are composed."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tcnzoo.errors import InputError, SignalTooLong
from tcnzoo.specs.base import MOST_PARTS, PROBE, ReceptiveField, Shape, SideInput, Spec
from tcnzoo.specs.input_unit import InputUnit
from tcnzoo.specs.side_inputs import Routes

if TYPE_CHECKING:
    from tcnzoo.specs.base import AnySpec

LayerName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]

# What every native module of ours says of itself, and MLX finds layers beside.
RESERVED = frozenset(["path", "spec", "tcnzoo"])


class SequentialSpec(Spec):
    """Layers in order, each known by its name; parameters are named `layer.parameter`.

    Attributes:
        layers: name -> spec; names are lower-case identifiers other than RESERVED.
        input: unit of the signal; None where any will do. No number depends on it: a signal whose
            size cannot be that unit is warned of.
    """

    kind: Literal["sequential"] = "sequential"
    layers: Annotated[dict[LayerName, AnySpec], Field(min_length=1, max_length=MOST_PARTS)]
    input: InputUnit | None = None

    @model_validator(mode="after")
    def _layers_fit(self) -> Self:
        for name in self.layers:
            if name in RESERVED:
                raise ValueError(f"layer name {name!r} is reserved; choose another")
        width: int | None = None
        for name, layer in self.layers.items():
            wanted = layer.input_channels
            if width is not None and wanted is not None and wanted != width:
                raise ValueError(
                    f"layer {name!r} expects {wanted} channels, "
                    f"but the layer before it gives {width}"
                )
            width = layer.channels_after(width)
        last = next(reversed(self.layers))
        for name, layer in self.layers.items():
            if layer.output_names and layer.discrete_outputs:
                raise ValueError(f"layer {name!r} gives several outputs, so it must stand alone")
            if layer.output_names and name != last:
                raise ValueError(f"layer {name!r} gives several outputs, so it must be the last")
        Routes.of(self.layers)
        return self

    @model_validator(mode="after")
    def _electrodes_agree(self) -> Self:
        known: tuple[str, int] | None = None
        for name, layer in self.layers.items():
            electrodes = layer.token_electrodes
            if electrodes is None:
                continue
            if known is None:
                known = name, electrodes
            elif known[1] != electrodes:
                made = f"{known[1]} electrodes" if known[1] else "any number of electrodes"
                raise ValueError(
                    f"layer {name!r} takes tokens of {electrodes} electrodes, but layer "
                    f"{known[0]!r} makes those of {made}; set its electrodes to {electrodes}"
                )
        return self

    @model_validator(mode="after")
    def _zeros_reach_no_shared_norm(self) -> Self:
        self.zeros_after(0)
        return self

    def zeros_after(self, zeros: int) -> int:
        """Through all layers."""
        for name, layer in self.layers.items():
            try:
                zeros = layer.zeros_after(zeros)
            except ValueError as error:
                raise ValueError(f"layer {name!r}: {error}") from None
        return zeros

    @model_validator(mode="after")
    def _layers_take_what_comes(self) -> Self:
        try:
            reaching = self._probed()
            routes = Routes.of(self.layers)
            routes.shapes(self.layers, reaching)
        except InputError as error:
            raise ValueError(str(error)) from None
        routes.check_steps(self.layers, reaching)
        return self

    def _probed(self) -> dict[str, Shape]:
        """Shape that reaches each layer: of PROBE steps, or of the one length that it takes.

        Raises:
            InputError: the layers do not go together.
        """
        channels = self.input_channels or PROBE
        try:
            return self.reaching(self.signal_shape(PROBE, channels))
        except SignalTooLong:
            return self.reaching(self.signal_shape(self.min_length(), channels))

    def children(self) -> dict[str, Spec]:
        """The layers."""
        return dict(self.layers)

    def map(self, change: Callable[[Spec], Spec]) -> Spec:
        """Each layer, then the whole."""
        layers = {name: layer.map(change) for name, layer in self.layers.items()}
        return change(SequentialSpec(layers=layers, input=self.input))

    def normed_kernels(self) -> dict[str, str]:
        """Layers before a norm."""
        names = list(self.layers)
        return {
            name: after
            for name, after in zip(names, names[1:], strict=False)
            if self.layers[name].is_kernel and self.layers[after].is_norm
        }

    @property
    def input_channels(self) -> int | None:
        """Channels that give the first layer which expects a number what it expects."""
        layers = list(self.layers.values())
        for index, layer in enumerate(layers):
            channels = layer.input_channels  # asked once: stacks in stacks would double the work
            if channels is not None:
                for before in reversed(layers[:index]):
                    channels = before.channels_before(channels)
                return max(1, channels)
            if layer.channels_after(None) is not None:  # whatever comes in, so any number will do
                return None
        return None

    @property
    def channel_multiple(self) -> int:
        """The least that every layer can divide, one after the other."""
        multiple, factor = 1, Fraction(1)
        for layer in self.layers.values():
            needed = layer.channel_multiple
            multiple = math.lcm(multiple, (factor / needed).denominator)
            factor *= Fraction(layer.channels_after(needed) or needed, needed)
        return multiple

    def channels_before(self, channels: int) -> int:
        """Through all layers, from the last."""
        for layer in reversed(self.layers.values()):
            channels = layer.channels_before(channels)
        return channels

    def channels_after(self, channels: int | None) -> int | None:
        """Through all layers."""
        for layer in self.layers.values():
            channels = layer.channels_after(channels)
        return channels

    @property
    def takes_vectors(self) -> bool:
        """Whether the first layer does."""
        return next(iter(self.layers.values())).takes_vectors

    @property
    def signal_rank(self) -> int:
        """That of the first layer which does not take any."""
        ranks = (layer.signal_rank for layer in self.layers.values() if not layer.any_rank)
        return next(ranks, 3)

    @property
    def input_unit(self) -> InputUnit | None:
        """The field `input`."""
        return self.input

    @property
    def input_devices(self) -> int | None:
        """Devices that the first layer which expects a number expects, while there are devices."""
        for layer in self.layers.values():
            devices = layer.input_devices
            if devices is not None or layer.ends_devices:
                return devices
        return None

    @property
    def embedding_specs(self) -> tuple[SideInput, ...]:
        """Those of all layers, the same name once."""
        return Routes.of(self.layers).specs

    def embedding_shapes(self, input_shape: Shape) -> list[Shape]:
        """Those of the layers, each at the shape that reaches it."""
        return Routes.of(self.layers).shapes(self.layers, self.reaching(input_shape))

    def own_streaming_blocker(self) -> str | None:
        """Masks must go with the steps of the input."""
        routes = Routes.of(self.layers)
        return routes.mask_blocker(self.layers, self._probed()) if routes.specs else None

    @property
    def last(self) -> Spec:
        """The last layer."""
        return next(reversed(self.layers.values()))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Those of the last layer."""
        return self.last.output_names

    def output_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Those of the last layer."""
        if not self.output_names:
            return {}
        *_, before = self.reaching(input_shape).values()
        return self.last.output_shapes(before)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape after the last layer."""
        return self.shapes(input_shape)[-1]

    def shapes(self, input_shape: Shape) -> list[Shape]:
        """Shape after each layer."""
        shapes = [input_shape]
        for name, layer in self.layers.items():
            try:
                shapes.append(layer.output_shape(shapes[-1]))
            except InputError as error:
                raise type(error)(f"layer {name!r}: {error}") from None
        return shapes[1:]

    def reaching(self, input_shape: Shape) -> dict[str, Shape]:
        """Shape before each layer, by its name."""
        before = [input_shape, *self.shapes(input_shape)]
        return dict(zip(self.layers, before, strict=False))

    def macs_of(self, input_shape: Shape) -> int:
        """Sum over the layers, each at the shape that reaches it."""
        return sum(
            self.layers[name].macs_of(shape) for name, shape in self.reaching(input_shape).items()
        )

    def field(self) -> ReceptiveField:
        """All layers, one after the other."""
        field = ReceptiveField()
        for layer in self.layers.values():
            field = field.then(layer.field())
        return field
