"""Layers between devices: attention, and signals of several devices made one and the reverse."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tcnzoo.errors import InputError
from tcnzoo.specs.activation import DropoutSpec
from tcnzoo.specs.base import DeviceSpec, Positive, Rate, Shape, Spec, Whole
from tcnzoo.specs.dense import DenseSpec
from tcnzoo.specs.params import Init, InitializerSpec, Param

_PLAIN = InitializerSpec(name="xavier_uniform", gain=1.0)
Several = Annotated[Whole, Field(ge=2)]


class DeviceAttentionSpec(DeviceSpec):
    """Attention between devices at each time step; the output keeps its devices.

    The channels of one device at one step are a token, to which the device's embedding is added.
    `projection_in` gives queries, keys and values (in this order), each split into heads; a token
    is the softmax(q k / sqrt(channels / heads))-weighted mean of the values of all devices, through
    `projection_out`. With `residual` the input is added.

    Attributes:
        channels: width; a multiple of `heads`.
        devices: how many there are.
        heads: of the attention.
        residual: add the input.
        dropout: rate in training, on the output of the attention.
    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.2.
    """

    kind: Literal["device_attention"] = "device_attention"
    channels: Positive
    devices: Several = 2
    heads: Positive = 4
    residual: bool = True
    dropout: Rate = 0.0

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.channels % self.heads:
            raise ValueError(f"heads must divide the {self.channels} channels, but is {self.heads}")
        return self

    @property
    def input_channels(self) -> int:
        """Channels of the input."""
        return self.channels

    def own_params(self) -> dict[str, Param]:
        """`embedding`, a row of channels for each device."""
        shape = (self.devices, self.channels)
        return {"embedding": Param(shape, "OI", Init("normal", 0.02))}

    def children(self) -> dict[str, Spec]:
        """`projection_in`, `projection_out`, and `dropout` where there is some."""
        parts: dict[str, Spec] = {
            "projection_in": DenseSpec(
                in_features=self.channels, out_features=3 * self.channels, initializer=_PLAIN
            ),
            "projection_out": DenseSpec(
                in_features=self.channels, out_features=self.channels, initializer=_PLAIN
            ),
        }
        if self.dropout > 0.0:
            parts["dropout"] = DropoutSpec(rate=self.dropout)
        return parts

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, devices, time) -> the same."""
        self.device_shape(input_shape)
        return input_shape

    def macs_of(self, input_shape: Shape) -> int:
        """The two maps, and the products of every device with every other."""
        devices, length = self.device_shape(input_shape)
        maps = sum(part.macs(devices * length) for part in self.children().values())
        return maps + 2 * devices * devices * self.channels * length


class DevicePoolSpec(DeviceSpec):
    """Signals of all devices made one: (batch, channels, devices, time) loses its devices.

    Attributes:
        mode: `average` or `max` over devices, or `concat`: their channels side by side, those of
            the first device first.
        devices: how many there are; needed for `concat`.
    """

    ends_devices: ClassVar[bool] = True

    kind: Literal["device_pool"] = "device_pool"
    mode: Literal["average", "max", "concat"] = "average"
    devices: Positive | None = None

    @model_validator(mode="after")
    def _concat_names_devices(self) -> Self:
        if self.mode == "concat" and self.devices is None:
            raise ValueError("mode 'concat' must name its devices")
        return self

    @property
    def factor(self) -> int:
        """Output channels for each input channel."""
        return (self.devices or 1) if self.mode == "concat" else 1

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, devices, time) -> (channels, time) or (channels * devices, time)."""
        _, length = self.device_shape(input_shape)
        return input_shape[0] * self.factor, length

    def channels_before(self, channels: int) -> int:
        """Those of one device, of `concat`."""
        return channels // self.factor

    def channels_after(self, channels: int | None) -> int | None:
        """Those of all devices, of `concat`."""
        return None if channels is None else channels * self.factor


class DeviceSplitSpec(Spec):
    """Channels dealt out to devices, (batch, devices * channels, time) -> (batch, channels, ...).

    Channel h * channels + c of the input is channel c of device h. Behind a convolution that makes
    so many channels, every device has weights of its own.

    Attributes:
        devices: how many.
    """

    kind: Literal["device_split"] = "device_split"
    devices: Several = 2

    @property
    def channel_multiple(self) -> int:
        """As many for each device."""
        return self.devices

    def channels_before(self, channels: int) -> int:
        """Those of all devices."""
        return channels * self.devices

    def channels_after(self, channels: int | None) -> int | None:
        """Those of one device."""
        return None if channels is None else channels // self.devices

    def output_shape(self, input_shape: Shape) -> Shape:
        """(devices * channels, time) -> (channels, devices, time)."""
        if len(input_shape) != 2 or input_shape[0] % self.devices:
            raise InputError(
                f"device_split expects a signal (batch, channels, time) whose channels are a "
                f"multiple of {self.devices}, but (batch, {', '.join(map(str, input_shape))}) came"
            )
        return input_shape[0] // self.devices, self.devices, input_shape[1]
