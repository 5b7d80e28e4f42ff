"""Signals cut into patches, each of which becomes a token."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tcnzoo.errors import InputError, SignalTooLong
from tcnzoo.specs.activation import ActivationSpec
from tcnzoo.specs.base import Positive, ReceptiveField, Shape, Spec
from tcnzoo.specs.conv import Conv1dSpec
from tcnzoo.specs.dense import DenseSpec
from tcnzoo.specs.norm import GroupNormSpec
from tcnzoo.specs.pool import steps_of


def patches_in(spec: Spec, patch: int, input_shape: Shape) -> int:
    """How many whole patches a signal has.

    Raises:
        InputError: none at all, or some steps more.
    """
    length = steps_of(spec, input_shape)
    if length % patch or not length:
        error = InputError if length < patch else SignalTooLong
        raise error(
            f"{spec.kind} takes whole patches of {patch} steps, but the signal has {length} steps"
        )
    return length // patch


class PatchesSpec(Spec):
    """Base of blocks that make a token of each patch of each electrode.

    Attributes:
        patch: steps of a patch.
        electrodes: how many the input has, or None for any number.
    """

    patch: Positive
    electrodes: Positive | None = None

    @property
    def width(self) -> int:
        """Channels of the tokens."""
        raise NotImplementedError(self.kind)

    @property
    def input_channels(self) -> int | None:
        """Electrodes of the input, where the spec names them."""
        return self.electrodes

    @property
    def token_electrodes(self) -> int | None:
        """Electrodes of the input, where the spec names them; else 0."""
        return self.electrodes or 0

    def channels_before(self, channels: int) -> int:
        """Any number of electrodes will do."""
        return self.electrodes or 1

    def channels_after(self, channels: int | None) -> int:
        """Width of the tokens."""
        return self.width

    def output_shape(self, input_shape: Shape) -> Shape:
        """(E, A * patch) -> (width, E * A)."""
        self.check_channels(input_shape)
        return self.width, input_shape[0] * patches_in(self, self.patch, input_shape)


class PatchEmbedSpec(PatchesSpec):
    """Patches of each electrode as tokens, (batch, E, A * patch) -> (batch, channels, E * A).

    Token e * A + a is patch a of electrode e. With stem `conv` each patch goes through three
    convolutions, each with a group norm, whose statistics are over all electrodes and patches of a
    signal, and exact GELU; what is left of the patch is flattened, with its channels side by side
    at each step. With stem `linear` a patch is one dense map.

    Attributes:
        patch: steps of a patch.
        stem: `conv` or `linear`.
        channels: width of the tokens; it follows from the rest for a conv stem without projection.
        out_channels: of each convolution.
        kernel_size, stride: of the first one; kernel_size - 1 steps are added, half on each side.
        groups, eps: of the group norms.
        projection: a dense map of what a conv stem gives to `channels`.
        electrodes: how many the input has, or None for any number.
    Source:
        Jiang et al. 2024 (LaBraM), arXiv:2405.18765, section 2.2, "Temporal Encoder"; linear as in
        Dosovitskiy et al. 2021, arXiv:2010.11929, equation 1.
    """

    kind: Literal["patch_embed"] = "patch_embed"
    stem: Literal["conv", "linear"] = "conv"
    channels: Positive | None = None
    out_channels: Positive = 8
    kernel_size: Positive = 15
    stride: Positive = 8
    groups: Positive = 4
    eps: Annotated[float, Field(gt=0.0)] = 1e-5
    projection: bool = False

    @model_validator(mode="after")
    def _fields_go_together(self) -> Self:
        if self.stem == "linear" or self.projection:
            if self.channels is None:
                which = "a projection" if self.projection else "stem 'linear'"
                raise ValueError(f"{which} needs channels, the width of the tokens")
        elif self.channels not in (None, self.stem_width):
            raise ValueError(
                f"stem 'conv' makes tokens of width {self.stem_width}, but channels is "
                f"{self.channels}; leave it out, or set projection"
            )
        if self.stem == "linear":
            own = {"out_channels", "kernel_size", "stride", "groups", "eps", "projection"}
            given = sorted(own & self.model_fields_set)
            if any(getattr(self, name) != type(self).model_fields[name].default for name in given):
                raise ValueError(f"stem 'linear' takes no {given[0]}")
        elif self.out_channels % self.groups:
            raise ValueError(
                f"groups must divide the {self.out_channels} out_channels, but is {self.groups}"
            )
        return self

    @property
    def stem_steps(self) -> int:
        """Steps of a patch after the first convolution."""
        return -(-self.patch // self.stride)

    @property
    def stem_width(self) -> int:
        """Values that the convolutions make of a patch."""
        return self.out_channels * self.stem_steps

    @property
    def width(self) -> int:
        """Channels of the tokens."""
        return self.stem_width if self.channels is None else self.channels

    def children(self) -> dict[str, Spec]:
        """`conv1`, `norm1`, ... and `activation` of a conv stem, and the dense map `proj`."""
        if self.stem == "linear":
            return {"proj": DenseSpec(in_features=self.patch, out_features=self.width)}
        norm = GroupNormSpec(channels=self.out_channels, groups=self.groups, eps=self.eps)
        parts: dict[str, Spec] = {}
        for place in (1, 2, 3):
            parts[f"conv{place}"] = Conv1dSpec(
                in_channels=1 if place == 1 else self.out_channels,
                out_channels=self.out_channels,
                kernel_size=self.kernel_size if place == 1 else 3,
                stride=self.stride if place == 1 else 1,
                padding="same",
            )
            parts[f"norm{place}"] = norm
        parts["activation"] = ActivationSpec(name="gelu")
        if self.projection:
            parts["proj"] = DenseSpec(in_features=self.stem_width, out_features=self.width)
        return parts

    def macs_of(self, input_shape: Shape) -> int:
        """All parts for each patch."""
        _, tokens = self.output_shape(input_shape)
        parts = self.children()
        if self.stem == "linear":
            return parts["proj"].macs_of((self.patch, tokens))
        first, steps = self.out_channels, self.stem_steps
        each = parts["conv1"].macs_of((1, self.patch))
        each += sum(parts[f"conv{place}"].macs_of((first, steps)) for place in (2, 3))
        each += sum(parts[f"norm{place}"].macs_of((first, steps)) for place in (1, 2, 3))
        if self.projection:
            each += parts["proj"].macs_of((self.stem_width,))
        return tokens * each

    def field(self) -> ReceptiveField:
        """One patch; tokens of one electrode are a patch apart."""
        return ReceptiveField.of(self.patch - 1, self.patch, self.patch - 1)

    @property
    def pools_all(self) -> bool:
        """The norms of a conv stem look at the whole signal."""
        return self.stem == "conv"

    def zeros_after(self, zeros: int) -> int:
        """None may come to the norms of a conv stem, which take all electrodes together."""
        if self.stem == "conv":
            self._refuse_zeros(zeros)
        return 0

    def own_streaming_blocker(self) -> str | None:
        """Tokens come electrode by electrode."""
        return (
            "tokens are ordered by electrode over the whole signal, so it cannot stream; one "
            "electrode streams through a conv1d of kernel_size and stride 'patch'"
        )
