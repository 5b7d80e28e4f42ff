"""Convolutions of signals of several devices, (batch, channels, devices, time), and stacks."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from tcnzoo.errors import InputError
from tcnzoo.specs.activation import Activation, ActivationSpec, DropoutSpec
from tcnzoo.specs.base import (
    MOST_PARTS,
    DeviceSpec,
    Positive,
    Rate,
    ReceptiveField,
    Shape,
    Spec,
    StateItem,
)
from tcnzoo.specs.conv import window_delay, window_pads
from tcnzoo.specs.norm import BatchNormSpec, Norm, WeightNormSpec, norm_child
from tcnzoo.specs.params import Initializer, InitializerSpec, Param, kernel_rows


class Conv2dSpec(DeviceSpec):
    """A convolution over devices and time.

    y[o, h, t] = b[o] + sum over i, g, j of w[o, i, g, j] x[i, h + g, t + j * dilation]. Over time x
    is padded with zeros as `padding` says; over devices it is not padded, so a kernel that spans
    all of them leaves one.

    Attributes:
        kernel_size: (devices, taps).
        dilation: steps between taps.
        groups: input and output channels are split into this many independent groups.
        padding: `causal`, `same` or `valid`, as in Conv1dSpec.
        devices: of the input; needed to stream, and where the kernel spans several.
    """

    is_kernel: ClassVar[bool] = True

    kind: Literal["conv2d"] = "conv2d"
    in_channels: Positive
    out_channels: Positive
    kernel_size: tuple[Positive, Positive]
    dilation: Positive = 1
    groups: Positive = 1
    bias: bool = True
    padding: Literal["causal", "same", "valid"] = "causal"
    devices: Positive | None = None
    initializer: Initializer = InitializerSpec()

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % self.groups:
                raise ValueError(
                    f"{name} must be a multiple of groups={self.groups}, "
                    f"but is {getattr(self, name)}"
                )
        return self

    @model_validator(mode="after")
    def _devices_are_named(self) -> Self:
        spanned = self.kernel_size[0]
        if spanned > 1 and (self.devices is None or self.devices < spanned):
            came = "is missing" if self.devices is None else f"is {self.devices}"
            raise ValueError(
                f"devices must be at least {spanned}, as many as the kernel spans, but {came}"
            )
        return self

    @property
    def input_channels(self) -> int:
        """Channels of the input."""
        return self.in_channels

    @property
    def reach(self) -> int:
        """Steps between the first and the last tap."""
        return (self.kernel_size[1] - 1) * self.dilation

    @property
    def pads(self) -> tuple[int, int]:
        """Steps added on the left and on the right."""
        return window_pads(self.padding, 0, self.reach, 1)

    def own_params(self) -> dict[str, Param]:
        """`weight` (O, I/groups, devices, taps) and `bias` (O,)."""
        spanned, taps = self.kernel_size
        inside = self.in_channels // self.groups
        fans = inside * spanned * taps, self.out_channels // self.groups * spanned * taps
        shape = (self.out_channels, inside, spanned, taps)
        return kernel_rows(self.initializer, shape, "OIHW", fans, bias=self.bias)

    def channels_after(self, channels: int | None) -> int:
        """Channels of the output."""
        return self.out_channels

    def own_state(self) -> dict[str, StateItem]:
        """`context`, the last `reach` input steps of every device."""
        if not self.reach or self.devices is None:
            return {}
        return {"context": StateItem((self.in_channels, self.devices, self.reach))}

    def output_shape(self, input_shape: Shape) -> Shape:
        """(in, devices, time) -> (out, devices - rows + 1, time')."""
        devices, length = self.device_shape(input_shape)
        steps = length + sum(self.pads) - self.reach
        if steps < 1:
            raise InputError(
                f"conv2d with padding {self.padding!r} needs at least {length - steps + 1} steps, "
                f"but {length} came"
            )
        return self.out_channels, devices - self.kernel_size[0] + 1, steps

    def macs_of(self, input_shape: Shape) -> int:
        """One for each weight and output step of every output device."""
        _, devices, steps = self.output_shape(input_shape)
        return self.own_params()["weight"].size * devices * steps

    def field(self) -> ReceptiveField:
        """`reach` steps."""
        return ReceptiveField.of(self.reach, 1, window_delay(self.padding, self.reach, 1))

    def own_streaming_blocker(self) -> str | None:
        """Streaming needs taps in the past, and a state of known width."""
        if self.reach and self.padding != "causal":
            return f"padding {self.padding!r} does not stream in a conv2d; use 'causal'"
        if self.reach and self.devices is None:
            return "conv2d must name its devices to stream"
        return None


class TemporalBlock2dSpec(DeviceSpec):
    """A temporal block whose kernels are 1 x k: every device by itself, with the same weights.

    conv1 -> norm1 -> activation1 -> dropout -> conv2 -> norm2 -> activation2 -> dropout = out, and
    activation(residual + out). `residual` is the input, through a 1 x 1 convolution where its width
    differs. Statistics of a batch norm are over batch, devices and time.

    Attributes:
        kernel_size: taps k.
        causal: pad on the left only; otherwise as `same`.
        norm: `batch_norm`, `layer_norm` (over channels) or none.
        dropout: rate of single values.
        devices: of the input; needed only to stream.
    Source:
        Bai, Kolter, Koltun 2018, arXiv:1803.01271, on the layout of an accelerator that has 2-d
        convolutions only.
    """

    kind: Literal["temporal_block_2d"] = "temporal_block_2d"
    in_channels: Positive
    channels: Positive
    kernel_size: Positive = 3
    dilation: Positive = 1
    causal: bool = True
    norm: Norm = BatchNormSpec()
    activation: Activation = ActivationSpec(name="relu")
    dropout: Rate = 0.2
    devices: Positive | None = None
    initializer: Initializer = InitializerSpec()

    @model_validator(mode="after")
    def _norm_is_of_values(self) -> Self:
        if isinstance(self.norm, WeightNormSpec):
            raise ValueError(
                f"norm of a {self.kind} must be batch_norm, layer_norm or none, but is weight_norm"
            )
        return self

    @property
    def input_channels(self) -> int:
        """Channels of the input."""
        return self.in_channels

    def _conv(self, inside: int) -> Conv2dSpec:
        return Conv2dSpec(
            in_channels=inside,
            out_channels=self.channels,
            kernel_size=(1, self.kernel_size),
            dilation=self.dilation,
            padding="causal" if self.causal else "same",
            devices=self.devices,
            initializer=self.initializer.for_activation(self.activation),
        )

    def children(self) -> dict[str, Spec]:
        """`conv1`, `norm1`, `activation1`, ... in order; `dropout` is used twice."""
        parts: dict[str, Spec] = {}
        for number, inside in ((1, self.in_channels), (2, self.channels)):
            parts[f"conv{number}"] = self._conv(inside)
            norm = norm_child(self.norm, self.channels)
            parts |= {f"{name}{number}": spec for name, spec in norm.items()}
            parts[f"activation{number}"] = self.activation
            if number == 1 and self.dropout > 0.0:
                parts["dropout"] = DropoutSpec(rate=self.dropout)
        if self.in_channels != self.channels:
            parts["residual"] = Conv2dSpec(
                in_channels=self.in_channels,
                out_channels=self.channels,
                kernel_size=(1, 1),
                devices=self.devices,
                initializer=self.initializer.for_activation(None),
            )
        parts["activation"] = self.activation
        return parts

    def output_shape(self, input_shape: Shape) -> Shape:
        """(in, devices, time) -> (channels, devices, time)."""
        devices, length = self.device_shape(input_shape)
        return self.channels, devices, length

    def channels_after(self, channels: int | None) -> int:
        """Channels of the output."""
        return self.channels

    def normed_kernels(self) -> dict[str, str]:
        """Both convolutions before their norms."""
        return {"conv1": "norm1", "conv2": "norm2"} if self.norm else {}

    def macs_of(self, input_shape: Shape) -> int:
        """Those of the convolutions and norms."""
        inner = (self.channels, *input_shape[1:])
        return sum(
            part.macs_of(input_shape if name in ("conv1", "residual") else inner)
            for name, part in self.children().items()
        )

    def field(self) -> ReceptiveField:
        """Both convolutions."""
        field = self._conv(self.channels).field()
        return field.then(field)


class Tcn2dSpec(DeviceSpec):
    """A stack of temporal_block_2d.

    Attributes:
        channels: width of each block.
        dilations: of each block; None for 1, 2, 4, ...
        kernel_size, causal, norm, activation, dropout, devices, initializer: of all blocks.
    """

    kind: Literal["tcn_2d"] = "tcn_2d"
    in_channels: Positive
    channels: list[Positive] = Field(min_length=1, max_length=MOST_PARTS)
    kernel_size: Positive = 3
    dilations: list[Positive] | None = None
    causal: bool = True
    norm: Norm = BatchNormSpec()
    activation: Activation = ActivationSpec(name="relu")
    dropout: Rate = 0.2
    devices: Positive | None = None
    initializer: Initializer = InitializerSpec()

    @model_validator(mode="after")
    def _dilations_match(self) -> Self:
        if self.dilations is not None and len(self.dilations) != len(self.channels):
            raise ValueError(
                f"dilations must name one for each of the {len(self.channels)} blocks, "
                f"but names {len(self.dilations)}"
            )
        self.children()
        return self

    @property
    def input_channels(self) -> int:
        """Channels of the input."""
        return self.in_channels

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.channels[-1]

    def children(self) -> dict[str, Spec]:
        """`blocks.0`, `blocks.1`, ..."""
        shared = {
            name: getattr(self, name)
            for name in (
                "kernel_size", "causal", "norm", "activation", "dropout", "devices", "initializer",
            )
        }  # fmt: skip
        dilations = self.dilations or [2**level for level in range(len(self.channels))]
        widths = [self.in_channels, *self.channels]
        return {
            f"blocks.{level}": TemporalBlock2dSpec(
                in_channels=widths[level], channels=widths[level + 1], dilation=dilation, **shared
            )
            for level, dilation in enumerate(dilations)
        }

    def output_shape(self, input_shape: Shape) -> Shape:
        """(in, devices, time) -> (channels[-1], devices, time)."""
        devices, length = self.device_shape(input_shape)
        return self.channels[-1], devices, length

    def channels_after(self, channels: int | None) -> int:
        """Channels of the output."""
        return self.channels[-1]

    def macs_of(self, input_shape: Shape) -> int:
        """Sum over the blocks."""
        total, shape = 0, input_shape
        for block in self.children().values():
            total, shape = total + block.macs_of(shape), block.output_shape(shape)
        return total

    def field(self) -> ReceptiveField:
        """All blocks, one after the other."""
        field = ReceptiveField()
        for block in self.children().values():
            field = field.then(block.field())
        return field
