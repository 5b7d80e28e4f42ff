"""Convolutions over time, plain and transposed, and the block with norm, activation, dropout."""

from fractions import Fraction
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from tcnzoo.errors import InputError
from tcnzoo.specs.activation import OptionalActivation, activation_child
from tcnzoo.specs.base import (
    PROBE,
    PaddingMode,
    Positive,
    Rate,
    ReceptiveField,
    Shape,
    Spec,
    StateItem,
    described,
)
from tcnzoo.specs.norm import Norm, WeightNormSpec, norm_child
from tcnzoo.specs.params import Initializer, InitializerSpec, Param, kernel_rows

Padding = Literal["causal", "same", "same_upper", "valid"]


def window_pads(padding: Padding, length: int, reach: int, stride: int) -> tuple[int, int]:
    """Steps that a window over time adds on the left and on the right.

    Args:
        padding: as in Conv1dSpec.
        length: steps of the signal.
        reach: steps from the first to the last that one output sees.
        stride: steps between the windows.
    """
    total = reach
    if padding == "same_upper":
        outputs = -(-length // stride)
        total = max(0, (outputs - 1) * stride + reach + 1 - length)
    left = {"causal": reach, "valid": 0}.get(padding, total // 2)
    return left, (total - left if padding in ("same", "same_upper") else 0)


def window_delay(padding: Padding, reach: int, stride: int) -> int:
    """Steps after an output's own first one that it sees, at most; arguments as `window_pads`."""
    fewest = max(0, reach - stride + 1) if padding == "same_upper" else reach
    return {"causal": 0, "valid": reach}.get(padding, reach - fewest // 2)


def check_padding(mode: PaddingMode, steps: int, length: int) -> None:
    """Raise InputError unless a signal of `length` steps can be padded by `steps` in this mode."""
    if mode == "reflect" and steps >= length:
        raise InputError(
            f"reflect padding by {steps} steps needs a signal of more than {steps} steps, "
            f"but {length} came"
        )
    if mode == "circular" and steps > length:
        raise InputError(
            f"circular padding by {steps} steps needs a signal of at least {steps} steps, "
            f"but {length} came"
        )


class _KernelSpec(Spec):
    """What plain and transposed convolutions share."""

    is_kernel: ClassVar[bool] = True

    in_channels: Positive
    out_channels: Positive
    kernel_size: Positive
    stride: Positive = 1
    dilation: Positive = 1
    bias: bool = True
    weight_norm: bool = False
    initializer: Initializer = InitializerSpec()

    @property
    def input_channels(self) -> int:
        """Channels of the input."""
        return self.in_channels

    @property
    def engine_shape(self) -> str:
        """Widths and taps."""
        return f"{self.in_channels}->{self.out_channels}, kernel {self.kernel_size}"

    @property
    def reach(self) -> int:
        """Steps between the first and the last tap: (kernel_size - 1) * dilation."""
        return (self.kernel_size - 1) * self.dilation

    def channels_after(self, channels: int | None) -> int:
        """Channels of the output."""
        return self.out_channels

    def step_shape(self, input_shape: Shape) -> int:
        """Length of a (channels, time) input, or InputError for a vector."""
        self.check_channels(input_shape)
        if len(input_shape) != 2:
            raise InputError(
                f"{self.kind} expects a signal (batch, channels, time), but "
                f"{described(input_shape)} came"
            )
        return input_shape[1]


class Conv1dSpec(_KernelSpec):
    """A convolution: y[o, t] = b[o] + sum_{i, j} w[o, i, j] x[i, t * stride + j * dilation].

    Attributes:
        groups: input and output channels are split into this many independent groups.
        padding: `causal` adds (kernel_size - 1) * dilation steps on the left, `same` half of that
            (rounded down) on the left and the rest on the right, `valid` none. `same_upper` adds
            what ceil(time / stride) outputs need, half of it (rounded down) on the left: Keras's
            and TensorFlow's "same", and ONNX's SAME_UPPER, which with a stride differs from `same`
            and depends on the length.
        padding_mode: what the added steps hold, as torch.nn.functional.pad defines the four modes.
        weight_norm: parameters `weight_v` and `weight_g` instead of `weight`.
    Source:
        Bai, Kolter, Koltun 2018, arXiv:1803.01271, section 3.1 (causal, dilated).
    """

    kind: Literal["conv1d"] = "conv1d"
    groups: Positive = 1
    padding: Padding = "causal"
    padding_mode: PaddingMode = "zeros"

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % self.groups:
                raise ValueError(
                    f"{name} must be a multiple of groups={self.groups}, "
                    f"but is {getattr(self, name)}"
                )
        return self

    def pads(self, length: int) -> tuple[int, int]:
        """Steps added on the left and on the right of a signal of `length` steps."""
        return window_pads(self.padding, length, self.reach, self.stride)

    @property
    def pointwise(self) -> bool:
        """Whether every output step sees exactly its own input step."""
        return self.kernel_size == 1 and self.stride == 1

    def own_params(self) -> dict[str, Param]:
        """`weight` (O, I/groups, K) or `weight_v`, `weight_g` (O, 1, 1); `bias` (O,)."""
        inside, taps = self.in_channels // self.groups, self.kernel_size
        shape = (self.out_channels, inside, taps)
        fans = inside * taps, self.out_channels // self.groups * taps
        return kernel_rows(
            self.initializer, shape, "OIK", fans, bias=self.bias, weight_norm=self.weight_norm
        )

    def own_state(self) -> dict[str, StateItem]:
        """The last `reach` input steps; counters where stride, `valid` or `replicate` need them."""
        state: dict[str, StateItem] = {}
        if self.reach:
            state["context"] = StateItem((self.in_channels, self.reach))
        if self.stride > 1 or (self.padding == "valid" and self.reach):
            first = self.reach if self.padding == "valid" else 0
            state["skip"] = StateItem((), integer=True, start=first)
        if self.reach and self.padding_mode == "replicate" and self.padding == "causal":
            state["started"] = StateItem((), integer=True)
        return state

    def output_shape(self, input_shape: Shape) -> Shape:
        """(in, time) -> (out, time'); see Spec.output_shape."""
        length = self.step_shape(input_shape)
        left, right = self.pads(length)
        check_padding(self.padding_mode, max(left, right), length)
        steps = length + left + right - self.reach
        if steps < 1:
            raise InputError(
                f"conv1d with padding {self.padding!r}, kernel_size {self.kernel_size} and "
                f"dilation {self.dilation} needs at least {1 + self.reach - left - right} steps, "
                f"but {length} came"
            )
        return self.out_channels, (steps - 1) // self.stride + 1

    def macs_of(self, input_shape: Shape) -> int:
        """Products of one forward pass."""
        _, steps = self.output_shape(input_shape)
        return steps * self.out_channels * self.in_channels // self.groups * self.kernel_size

    def field(self) -> ReceptiveField:
        """`reach + 1` steps, of which `same` needs the right half from the future."""
        return ReceptiveField.of(
            self.reach, self.stride, window_delay(self.padding, self.reach, self.stride)
        )

    def own_streaming_blocker(self) -> str | None:
        """Streaming needs padding that looks at the past only."""
        if self.padding in ("same", "same_upper") and self.reach:
            return (
                f"padding {self.padding!r} looks ahead, so it cannot stream; use padding 'causal' "
                "or 'valid' (causal: true in a tcn)"
            )
        if self.padding_mode in ("reflect", "circular") and self.pads(PROBE)[0]:
            return (
                f"padding_mode {self.padding_mode!r} fills the start from later samples, so it "
                "cannot stream; use 'zeros' or 'replicate'"
            )
        return None


class ConvTranspose1dSpec(_KernelSpec):
    """A transposed convolution over time.

    Input step i adds w[:, :, j] x[:, i] to output step i * stride + j * dilation.

    Attributes:
        padding: `causal` keeps the first time * stride output steps, `same` drops
            (reach + 1 - stride) steps, half of them (rounded down) on the left, and `valid` keeps
            all.
    Source:
        torch.nn.ConvTranspose1d; `causal` and `same` agree with pytorch-tcn's
        TemporalConvTranspose1d at its only shape, kernel_size = 2 * stride.
    """

    kind: Literal["conv_transpose1d"] = "conv_transpose1d"
    padding: Literal["causal", "same", "valid"] = "causal"

    @property
    def overlap(self) -> int:
        """Output steps by which one input step reaches into the next one's (negative: a gap)."""
        return self.reach + 1 - self.stride

    @model_validator(mode="after")
    def _same_needs_overlap(self) -> Self:
        if self.padding == "same" and self.overlap < 0:
            raise ValueError(
                f"padding 'same' needs (kernel_size - 1) * dilation + 1 >= stride, but "
                f"{self.reach + 1} < {self.stride}"
            )
        return self

    @property
    def crops(self) -> tuple[int, int]:
        """Steps dropped left and right of the full output; a right < 0 adds bias-only steps."""
        left = self.overlap // 2 if self.padding == "same" else 0
        return left, (0 if self.padding == "valid" else self.overlap - left)

    def own_params(self) -> dict[str, Param]:
        """`weight` (I, O, K) or `weight_v`, `weight_g` (1, O, 1); `bias` (O,)."""
        shape = (self.in_channels, self.out_channels, self.kernel_size)
        fan_in = self.in_channels * max(1, self.kernel_size // self.stride)
        fans = fan_in, self.out_channels * self.kernel_size
        return kernel_rows(
            self.initializer, shape, "IOK", fans, bias=self.bias, weight_norm=self.weight_norm
        )

    def own_state(self) -> dict[str, StateItem]:
        """What past input steps still add to output steps to come."""
        if self.overlap > 0:
            return {"tail": StateItem((self.out_channels, self.overlap), summed=True)}
        return {}

    def output_shape(self, input_shape: Shape) -> Shape:
        """(in, time) -> (out, time * stride) for `causal` and `same`; all of it for `valid`."""
        length = self.step_shape(input_shape)
        full = (length - 1) * self.stride + self.reach + 1
        return self.out_channels, full - sum(self.crops)

    def macs_of(self, input_shape: Shape) -> int:
        """Products of one forward pass."""
        return input_shape[1] * self.in_channels * self.out_channels * self.kernel_size

    def field(self) -> ReceptiveField:
        """Input steps whose taps can meet at one output step."""
        span = Fraction(self.reach, self.stride)
        return ReceptiveField.of(span, Fraction(1, self.stride), -(-self.crops[0] // self.stride))

    def own_streaming_blocker(self) -> str | None:
        """Streaming emits `stride` steps for each input step, no more and none later."""
        if self.padding == "same" and self.overlap:
            return "padding 'same' looks ahead, so it cannot stream; use padding 'causal'"
        if self.padding == "valid" and self.overlap:
            return (
                f"padding 'valid' ends with {self.overlap} more steps after the last input, so it "
                "cannot stream; use padding 'causal'"
            )
        return None


class ConvBlockSpec(Spec):
    """Convolution -> norm -> activation -> dropout.

    Attributes:
        in_channels, out_channels, kernel_size, stride, dilation: as in Conv1dSpec.
        groups, bias, padding, padding_mode: as in Conv1dSpec.
        norm: `batch_norm`, `layer_norm`, `weight_norm` or none.
        activation: after the norm; none for a linear block.
        dropout: rate in training.
        initializer: of the kernel; its gain defaults to the activation's.
    """

    kind: Literal["conv_block"] = "conv_block"
    in_channels: Positive
    out_channels: Positive
    kernel_size: Positive
    stride: Positive = 1
    dilation: Positive = 1
    groups: Positive = 1
    bias: bool = True
    padding: Padding = "causal"
    padding_mode: PaddingMode = "zeros"
    norm: Norm = None
    activation: OptionalActivation = None
    dropout: Rate = 0.0
    initializer: Initializer = InitializerSpec()

    @property
    def input_channels(self) -> int:
        """Channels of the input."""
        return self.in_channels

    @property
    def conv(self) -> Conv1dSpec:
        """The convolution inside."""
        return Conv1dSpec(
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            kernel_size=self.kernel_size,
            stride=self.stride,
            dilation=self.dilation,
            groups=self.groups,
            bias=self.bias,
            padding=self.padding,
            padding_mode=self.padding_mode,
            weight_norm=isinstance(self.norm, WeightNormSpec),
            initializer=self.initializer.for_activation(self.activation),
        )

    @model_validator(mode="after")
    def _conv_is_valid(self) -> Self:
        self.children()  # whose convolution is validated
        return self

    def children(self) -> dict[str, Spec]:
        """`conv`, `norm` (unless weight norm), `activation`, `dropout`: those that exist."""
        return {
            "conv": self.conv,
            **norm_child(self.norm, self.out_channels),
            **activation_child(self.activation, self.dropout),
        }

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape after the convolution."""
        return self.conv.output_shape(input_shape)

    def channels_after(self, channels: int | None) -> int:
        """Channels of the output."""
        return self.out_channels

    def normed_kernels(self) -> dict[str, str]:
        """The convolution before the norm."""
        return {"conv": "norm"} if norm_child(self.norm, self.out_channels) else {}

    def macs_of(self, input_shape: Shape) -> int:
        """Those of the convolution and the norm."""
        shape = self.output_shape(input_shape)
        norms = norm_child(self.norm, self.out_channels).values()
        return self.conv.macs_of(input_shape) + sum(norm.macs_of(shape) for norm in norms)

    def field(self) -> ReceptiveField:
        """That of the convolution."""
        return self.conv.field()
