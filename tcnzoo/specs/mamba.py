"""Mamba-2: a selective state-space block, and the bidirectional layer built of two of them."""

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from tcnzoo.errors import InputError
from tcnzoo.specs.activation import DropoutSpec
from tcnzoo.specs.base import (
    Depth,
    Positive,
    Rate,
    ReceptiveField,
    Shape,
    Spec,
    StateItem,
    described,
    require_channels,
)
from tcnzoo.specs.conv import Conv1dSpec
from tcnzoo.specs.dense import DenseSpec
from tcnzoo.specs.norm import LayerNormSpec, RmsNormSpec
from tcnzoo.specs.params import Init, InitializerSpec, Param

_PLAIN = InitializerSpec(gain=1.0)
PositiveFloat = Annotated[float, Field(gt=0.0)]


class Mamba2Sizes(NamedTuple):
    """Widths within a Mamba-2 block.

    Attributes:
        inner: expand * channels.
        width: channels of the state space.
        heads: their number.
        convolved: channels of x, B and C together.
        sections: widths of what `in_proj` gives: z0 and x0 (often none), z, xBC, dt.
    """

    inner: int
    width: int
    heads: int
    convolved: int
    sections: tuple[int, int, int, int, int]


class Mamba2Spec(Spec):
    """A Mamba-2 block, (batch, channels, time) -> the same shape.

    `in_proj` gives z, x, B, C and dt in this order; a causal depthwise convolution and SiLU act on
    x, B and C together; dt = clamp(softplus(dt + dt_bias), *dt_limit) and A = -exp(A_log), one a
    head; head h has the state S (head_dim, d_state) with

        S_t = exp(dt_t A) S_{t-1} + dt_t x_t B_t^T,    y_t = S_t C_t + D x_t,

    where B and C belong to group h // (heads / groups). The result is norm(y * silu(z)), or
    norm(y) * silu(z) with `norm_before_gate`, through `out_proj`.

    Attributes:
        channels: width of input and output; left out inside a bi_mamba2, which knows it.
        d_state: values of the state for each of a head's channels.
        d_conv: taps of the convolution.
        expand: the inner width is expand * channels.
        d_ssm: channels of the state space, None for the whole inner width; the others pass through
            a gated linear layer, silu(z0) * x0.
        head_dim: channels of one head.
        groups: heads share B and C within a group; also the groups of the norm.
        d_per_channel: D has a value for each channel instead of each head.
        rms_norm: normalise; otherwise the gate alone.
        norm_before_gate: gate after the norm instead of before.
        grouped_norm: the norm's mean is over the channels of a group (mamba_ssm); false for all of
            them at once (mlx-lm, Mamba2Simple).
        norm_eps: added to the mean square.
        dt_limit: bounds of dt, which hold offline and in a stream.
        bias: of `in_proj` and `out_proj`.
        conv_bias: of the convolution.
        chunk_size: time steps that are computed at once by matrix products; it changes the rounding
            and the speed, not the result; None leaves the choice to the backend.
        implementation: `native` for tcnzoo's own, `mamba-ssm` for that library's CUDA kernels
            (torch on a CUDA device only), `auto` for the kernels where they can be used.
        dt_min, dt_max, dt_floor: initial dt is log-uniform within the first two, at least the last.
        a_range: initial -A is uniform between these.
    Source:
        Dao & Gu 2024, arXiv:2405.21060; names, order and initial values of mamba_ssm's `Mamba2`
        (Apache-2.0).
    """

    kind: Literal["mamba2"] = "mamba2"
    channels: Positive | None = None
    d_state: Positive = 128
    d_conv: Positive = 4
    expand: Positive = 2
    d_ssm: Positive | None = None
    head_dim: Positive = 64
    groups: Positive = 1
    d_per_channel: bool = False
    rms_norm: bool = True
    norm_before_gate: bool = False
    grouped_norm: bool = True
    norm_eps: PositiveFloat = 1e-5
    dt_limit: tuple[float, float | None] = (0.0, None)
    bias: bool = False
    conv_bias: bool = True
    chunk_size: Positive | None = None
    implementation: Literal["auto", "native", "mamba-ssm"] = "auto"
    dt_min: PositiveFloat = 1e-3
    dt_max: PositiveFloat = 0.1
    dt_floor: PositiveFloat = 1e-4
    a_range: tuple[PositiveFloat, PositiveFloat] = (1.0, 16.0)

    @model_validator(mode="after")
    def _sizes_and_ranges_fit(self) -> Self:
        if self.channels is not None:
            sizes = self.sizes
            if sizes.width > sizes.inner:
                raise ValueError(f"d_ssm must be at most {sizes.inner}, but is {sizes.width}")
            if sizes.width % self.head_dim:
                raise ValueError(
                    f"head_dim must divide the {sizes.width} channels of the state space, "
                    f"but is {self.head_dim}"
                )
            if sizes.heads % self.groups:
                raise ValueError(
                    f"groups must divide the {sizes.heads} heads, but is {self.groups}"
                )
        for name in ("dt_limit", "a_range"):
            low, high = getattr(self, name)
            if low < 0.0 or (high is not None and high < low):
                raise ValueError(f"{name} must be 0 <= low <= high, but is [{low}, {high}]")
        if self.dt_max < self.dt_min:
            raise ValueError(f"dt_max must be at least dt_min={self.dt_min}, but is {self.dt_max}")
        return self

    def with_channels(self, channels: int) -> "Mamba2Spec":
        """The same block for a known width."""
        return type(self).model_validate({**self.model_dump(), "channels": channels})

    @property
    def input_channels(self) -> int | None:
        """Channels of the input."""
        return self.channels

    @property
    def inner(self) -> int:
        """Inner width."""
        return self.expand * require_channels(self.kind, self.channels)

    @property
    def width(self) -> int:
        """Channels of the state space."""
        return self.d_ssm or self.inner

    @property
    def heads(self) -> int:
        """Number of heads."""
        return self.width // self.head_dim

    @property
    def sizes(self) -> Mamba2Sizes:
        """All widths within the block."""
        inner = self.expand * require_channels(self.kind, self.channels)
        width = self.d_ssm or inner
        heads, convolved = width // self.head_dim, width + 2 * self.groups * self.d_state
        sections = (inner - width, inner - width, width, convolved, heads)
        return Mamba2Sizes(inner, width, heads, convolved, sections)

    @property
    def convolved(self) -> int:
        """Channels of x, B and C together."""
        return self.sizes.convolved

    @property
    def sections(self) -> tuple[int, int, int, int, int]:
        """Widths of what `in_proj` gives: z0 and x0 (often none), z, xBC, dt."""
        return self.sizes.sections

    @property
    def engine_shape(self) -> str:
        """Heads, their width, groups and states."""
        return f"{self.heads} x {self.head_dim} x {self.groups} x {self.d_state}"

    def own_params(self) -> dict[str, Param]:
        """`dt_bias` and `A_log`, one a head; `D`, one a head or one a channel."""
        sizes = self.sizes
        heads = (sizes.heads,)
        steps = Init("softplus_inverse", bounds=(self.dt_min, self.dt_max), floor=self.dt_floor)
        skip = (sizes.width,) if self.d_per_channel else heads
        return {
            "dt_bias": Param(heads, "C", steps, "bias"),
            "A_log": Param(heads, "C", Init("log_uniform", bounds=self.a_range), "scale"),
            "D": Param(skip, "C", Init("constant", 1.0), "scale"),
        }

    def children(self) -> dict[str, Spec]:
        """`in_proj`, `conv1d`, `norm` (with rms_norm) and `out_proj`."""
        sizes, channels = self.sizes, require_channels(self.kind, self.channels)
        parts: dict[str, Spec] = {
            "in_proj": DenseSpec(
                in_features=channels,
                out_features=sum(sizes.sections),
                bias=self.bias,
                initializer=_PLAIN,
            ),
            "conv1d": Conv1dSpec(
                in_channels=sizes.convolved,
                out_channels=sizes.convolved,
                kernel_size=self.d_conv,
                groups=sizes.convolved,
                bias=self.conv_bias,
                initializer=_PLAIN,
            ),
        }
        if self.rms_norm:
            groups = self.groups if self.grouped_norm else 1
            parts["norm"] = RmsNormSpec(channels=sizes.width, groups=groups, eps=self.norm_eps)
        parts["out_proj"] = DenseSpec(
            in_features=sizes.inner, out_features=channels, bias=self.bias, initializer=_PLAIN
        )
        return parts

    def own_state(self) -> dict[str, StateItem]:
        """`ssm`, the state of every head."""
        shape = (self.sizes.heads, self.head_dim, self.d_state)
        return {"ssm": StateItem(shape, summed=True, lasting=True)}

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, time) -> the same."""
        self.check_channels(input_shape)
        return _signal(self, input_shape)

    def macs_of(self, input_shape: Shape) -> int:
        """The linear maps, the convolution, and the state's update and reading at each step."""
        steps = input_shape[-1]
        scan = 2 * self.sizes.width * self.d_state * steps
        return scan + sum(part.macs(steps) for part in self.children().values())

    def field(self) -> ReceptiveField:
        """That of the convolution; the state remembers all of the past."""
        return ReceptiveField.of(self.d_conv - 1)


class _Bidirectional(Spec):
    """The fields of one layer and of a stack of them."""

    channels: Positive
    mamba: Mamba2Spec = Mamba2Spec()
    shared: bool = False
    dropout: Rate = 0.1
    eps: PositiveFloat = 1e-5

    @property
    def input_channels(self) -> int:
        """Channels of the input."""
        return self.channels

    @model_validator(mode="after")
    def _mamba_fits(self) -> Self:
        self.mamba.with_channels(self.channels)
        return self


class BiMamba2LayerSpec(_Bidirectional):
    """One layer of a bi_mamba2; see there."""

    kind: Literal["bi_mamba2_layer"] = "bi_mamba2_layer"

    def children(self) -> dict[str, Spec]:
        """`forward_mamba`, `backward_mamba` (unless shared), `projection`, `dropout`, `norm`."""
        parts: dict[str, Spec] = {"forward_mamba": self.mamba.with_channels(self.channels)}
        if not self.shared:
            parts["backward_mamba"] = self.mamba.with_channels(self.channels)
        parts["projection"] = DenseSpec(
            in_features=2 * self.channels, out_features=self.channels, initializer=_PLAIN
        )
        if self.dropout > 0.0:
            parts["dropout"] = DropoutSpec(rate=self.dropout)
        parts["norm"] = LayerNormSpec(channels=self.channels, eps=self.eps)
        return parts

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, time) -> the same."""
        self.check_channels(input_shape)
        return _signal(self, input_shape)

    def macs_of(self, input_shape: Shape) -> int:
        """Both directions, and the projection."""
        parts = self.children()
        total = sum(part.macs(input_shape[-1]) for part in parts.values())
        return total + self.shared * parts["forward_mamba"].macs_of(input_shape)

    def field(self) -> ReceptiveField:
        """The two convolutions, one on either side."""
        reach = self.mamba.d_conv - 1
        return ReceptiveField.of(2 * reach, 1, reach)

    @property
    def pools_all(self) -> bool:
        """Always: the states come from both ends."""
        return True

    def own_streaming_blocker(self) -> str | None:
        """One direction begins at the end of the signal."""
        return "it also runs from the end of the signal, so it cannot stream; use mamba2"


class BiMamba2Spec(_Bidirectional):
    """Bidirectional Mamba-2 layers: y = norm(x + dropout(projection([forward, backward]))).

    `backward` is a mamba2 on the signal with time reversed, reversed back. The norm is a layer norm
    over channels, after the residual sum.

    Attributes:
        channels: width.
        layers: how many, one after the other.
        mamba: of both directions; its `channels` are filled in.
        shared: one set of weights for both directions.
        dropout: rate in training.
        eps: of the layer norm.
    Source:
        the seizure detector brain-go-brr-v2 (Apache-2.0), module `BiMamba2`.
    """

    kind: Literal["bi_mamba2"] = "bi_mamba2"
    layers: Depth = 1

    def children(self) -> dict[str, Spec]:
        """`layers.0`, `layers.1`, ..."""
        shared = {
            name: getattr(self, name) for name in ("channels", "mamba", "shared", "dropout", "eps")
        }
        layer = BiMamba2LayerSpec(**shared)
        return {f"layers.{level}": layer for level in range(self.layers)}

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, time) -> the same."""
        self.check_channels(input_shape)
        return _signal(self, input_shape)

    def macs_of(self, input_shape: Shape) -> int:
        """Sum over the layers."""
        return sum(part.macs_of(input_shape) for part in self.children().values())

    def field(self) -> ReceptiveField:
        """All layers, one after the other."""
        field = ReceptiveField()
        for part in self.children().values():
            field = field.then(part.field())
        return field


def _signal(spec: Spec, input_shape: Shape) -> Shape:
    """The shape, or InputError for a vector."""
    if len(input_shape) != 2:
        raise InputError(
            f"{spec.kind} expects a signal (batch, channels, time), but "
            f"{described(input_shape)} came"
        )
    return input_shape
