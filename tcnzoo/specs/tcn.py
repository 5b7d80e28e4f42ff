"""Temporal convolutional networks: the residual block of two dilated convolutions, and a stack."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tcnzoo.specs.activation import (
    Activation,
    ActivationSpec,
    DropoutSpec,
    GluSpec,
    OptionalActivation,
)
from tcnzoo.specs.base import (
    MOST_PARTS,
    EmbeddingSpec,
    NoneWord,
    PaddingMode,
    Positive,
    Rate,
    ReceptiveField,
    Shape,
    Spec,
)
from tcnzoo.specs.conv import Conv1dSpec
from tcnzoo.specs.norm import Norm, WeightNormSpec, norm_child
from tcnzoo.specs.params import Initializer, InitializerSpec
from tcnzoo.specs.squeeze_excitation import SqueezeExcitationSpec


def _width(value: Any) -> Any:
    """Let a bare number stand for a global embedding of that width."""
    return {"channels": value} if isinstance(value, int) else value


Embedding = Annotated[EmbeddingSpec, BeforeValidator(_width)]


class _TemporalSpec(Spec):
    """The options that a single block and the whole stack share.

    Attributes:
        dropout: rate after each of the two activations.
        causal: padding on the left only; else `same`.
        norm: `batch_norm`, `layer_norm`, `weight_norm` or none, after each convolution.
        activation: after each norm and after the residual sum.
        gate: the first convolution makes 2C channels, halved by a gated linear unit
            (first half * sigmoid(second half)) instead of the first activation.
        embeddings: what conditions the block, between norm1 and activation1.
        embedding_mode: `add` the projected embeddings, or `concat` and project back.
        squeeze_excitation: at the end of each block, before the residual sum.
        padding_mode: what padding holds.
        initializer: of all kernels but those of the embeddings; gain from the activation.
    """

    in_channels: Positive
    dropout: Rate = 0.1
    causal: bool = True
    norm: Norm = WeightNormSpec()
    activation: Activation = ActivationSpec(name="relu")
    gate: bool = False
    embeddings: tuple[Embedding, ...] = ()
    embedding_mode: Literal["add", "concat"] = "add"
    squeeze_excitation: Annotated[SqueezeExcitationSpec | None, NoneWord] = None
    padding_mode: PaddingMode = "zeros"
    initializer: Initializer = InitializerSpec(name="xavier_uniform")

    @model_validator(mode="after")
    def _se_width_is_ours(self) -> Self:
        given = self.squeeze_excitation.channels if self.squeeze_excitation else None
        if given is not None:
            raise ValueError(
                "squeeze_excitation takes its channels from the block, "
                f"but channels={given} was given"
            )
        return self

    @property
    def input_channels(self) -> int:
        """Channels of the input."""
        return self.in_channels

    @property
    def embedding_specs(self) -> tuple[EmbeddingSpec, ...]:
        """Embeddings that the model takes beside its signal."""
        return self.embeddings

    def pointwise(self, inside: int, outside: int, initializer: InitializerSpec) -> Conv1dSpec:
        """A 1x1 convolution."""
        return Conv1dSpec(
            in_channels=inside, out_channels=outside, kernel_size=1, initializer=initializer
        )


class TemporalBlockSpec(_TemporalSpec):
    """Two dilated convolutions beside a residual path.

    conv1 -> norm1 -> embeddings -> activation1 -> dropout -> conv2 -> norm2 -> activation2 ->
    dropout -> [SE].

    The native block returns (activation(residual + out), out); residual is the input, through a 1x1
    convolution where the widths differ.

    Source: Bai, Kolter, Koltun 2018, arXiv:1803.01271, figure 1; gates, embeddings and the order of
    steps as in pytorch-tcn; squeeze-and-excitation as in mlx-tcn.
    """

    kind: Literal["temporal_block"] = "temporal_block"
    channels: Positive
    kernel_size: Positive = 4
    dilation: Positive = 1

    @property
    def inner(self) -> int:
        """Channels after conv1."""
        return 2 * self.channels if self.gate else self.channels

    def _conv(self, inside: int, outside: int) -> Conv1dSpec:
        return Conv1dSpec(
            in_channels=inside,
            out_channels=outside,
            kernel_size=self.kernel_size,
            dilation=self.dilation,
            padding="causal" if self.causal else "same",
            padding_mode=self.padding_mode,
            weight_norm=isinstance(self.norm, WeightNormSpec),
            initializer=self.initializer.for_activation(self.activation),
        )

    def children(self) -> dict[str, Spec]:
        """The parts that exist, in order of use; `dropout` is used twice."""
        initializer = self.initializer.for_activation(self.activation)
        parts: dict[str, Spec] = {"conv1": self._conv(self.in_channels, self.inner)}
        for norm in norm_child(self.norm, self.inner).values():
            parts["norm1"] = norm
        if self.embeddings:
            width = sum(embedding.channels for embedding in self.embeddings)
            plain = InitializerSpec(gain=1.0)
            parts["embedding1"] = self.pointwise(width, self.inner, plain)
            if self.embedding_mode == "concat":
                parts["embedding2"] = self.pointwise(2 * self.inner, self.inner, plain)
        parts["activation1"] = GluSpec() if self.gate else self.activation
        if self.dropout > 0.0:
            parts["dropout"] = DropoutSpec(rate=self.dropout)
        parts["conv2"] = self._conv(self.channels, self.channels)
        for norm in norm_child(self.norm, self.channels).values():
            parts["norm2"] = norm
        parts["activation2"] = self.activation
        if self.squeeze_excitation is not None:
            parts["se"] = self.squeeze_excitation.with_channels(self.channels)
        if self.in_channels != self.channels:
            parts["residual"] = self.pointwise(self.in_channels, self.channels, initializer)
        parts["activation"] = self.activation
        return parts

    def output_shape(self, input_shape: Shape) -> Shape:
        """(in, time) -> (channels, time)."""
        self.check_channels(input_shape)
        parts = self.children()
        _, steps = parts["conv1"].output_shape(input_shape)
        return parts["conv2"].output_shape((self.channels, steps))

    def channels_after(self, channels: int | None) -> int:
        """Channels of the output."""
        return self.channels

    def normed_kernels(self) -> dict[str, str]:
        """Both convolutions before their norms."""
        return {"conv1": "norm1", "conv2": "norm2"} if norm_child(self.norm, self.channels) else {}

    def macs_of(self, input_shape: Shape) -> int:
        """Sum over the parts, each at full length."""
        return sum(part.macs(input_shape[-1]) for part in self.children().values())

    def field(self) -> ReceptiveField:
        """Two convolutions, one after the other."""
        parts = self.children()
        return parts["conv1"].field().then(parts["conv2"].field())


class TcnSpec(_TemporalSpec):
    """A stack of temporal blocks, with optional skip connections and output projection.

    Attributes:
        channels: width of each block; their number is the depth.
        kernel_size: one for all blocks, or one each.
        dilations: one each; default 1, 2, 4, ..., starting again after `dilation_reset`.
        dilation_reset: largest dilation before the series starts again (its period is
            int(log2(2 * dilation_reset))); not together with `dilations`.
        skip_connections: sum the blocks' inner outputs (through 1x1 convolutions where widths
            differ, all but the last block's) and the last block's output, then the activation.
        output_projection: channels of a final 1x1 convolution, or none.
        output_activation: after that, or none.
    Source:
        Bai, Kolter, Koltun 2018, arXiv:1803.01271; arguments and order of pytorch-tcn 1.2.3 (MIT)
        and mlx-tcn; skip connections after van den Oord et al. 2016 (WaveNet), arXiv:1609.03499.
    """

    kind: Literal["tcn"] = "tcn"
    channels: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=MOST_PARTS)]
    kernel_size: Positive | tuple[Positive, ...] = 4
    dilations: Annotated[tuple[Positive, ...] | None, NoneWord] = None
    dilation_reset: Annotated[Positive | None, NoneWord] = None
    skip_connections: bool = False
    output_projection: Annotated[Positive | None, NoneWord] = None
    output_activation: OptionalActivation = None

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        for name in ("kernel_size", "dilations"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != len(self.channels):
                raise ValueError(
                    f"{name} must have one entry for each of the {len(self.channels)} blocks, "
                    f"but has {len(value)}"
                )
        if self.dilations is not None and self.dilation_reset is not None:
            raise ValueError("give dilations or dilation_reset, not both")
        return self

    @property
    def kernel_sizes(self) -> tuple[int, ...]:
        """Kernel size of each block."""
        if isinstance(self.kernel_size, tuple):
            return self.kernel_size
        return (self.kernel_size,) * len(self.channels)

    @property
    def dilation_of(self) -> tuple[int, ...]:
        """Dilation of each block."""
        return tuple(self.block(level).dilation for level in range(len(self.channels)))

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.output_projection or self.channels[-1]

    def block(self, level: int) -> TemporalBlockSpec:
        """The block at one level."""
        shared = {
            name: getattr(self, name) for name in _TemporalSpec.model_fields if name != "kind"
        }
        shared["in_channels"] = self.channels[level - 1] if level else self.in_channels
        size, dilations, period = self.kernel_size, self.dilations, level + 1
        if self.dilation_reset is not None:
            period = int(math.log2(2 * self.dilation_reset))
        return TemporalBlockSpec.model_construct(
            **shared,
            kind="temporal_block",
            channels=self.channels[level],
            kernel_size=size if isinstance(size, int) else size[level],
            dilation=int(2 ** (level % period)) if dilations is None else dilations[level],
        )

    def children(self) -> dict[str, Spec]:
        """blocks.i; with skip connections skips.i and activation; output, output_activation.

        There is a skips.i where block i's width is not the last one's.
        """
        depth = len(self.channels)
        parts: dict[str, Spec] = {f"blocks.{level}": self.block(level) for level in range(depth)}
        initializer = self.initializer.for_activation(self.activation)
        if self.skip_connections:
            for level, width in enumerate(self.channels):
                if width != self.channels[-1]:
                    skip = self.pointwise(width, self.channels[-1], initializer)
                    parts[f"skips.{level}"] = skip
            parts["activation"] = self.activation
        if self.output_projection is not None:
            output = InitializerSpec().for_activation(self.output_activation)
            parts["output"] = self.pointwise(self.channels[-1], self.output_projection, output)
        if self.output_activation is not None:
            parts["output_activation"] = self.output_activation
        return parts

    def output_shape(self, input_shape: Shape) -> Shape:
        """(in, time) -> (out_channels, time)."""
        self.check_channels(input_shape)
        shape = input_shape
        for level in range(len(self.channels)):
            shape = self.block(level).output_shape(shape)
        return self.out_channels, shape[1]

    def channels_after(self, channels: int | None) -> int:
        """Channels of the output."""
        return self.out_channels

    def macs_of(self, input_shape: Shape) -> int:
        """Sum over the parts, each at full length."""
        return sum(part.macs(input_shape[-1]) for part in self.children().values())

    def field(self) -> ReceptiveField:
        """All blocks, one after the other."""
        field = ReceptiveField()
        for level in range(len(self.channels)):
            field = field.then(self.block(level).field())
        return field
