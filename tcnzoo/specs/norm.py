"""Normalisations: of a batch, of channels, of groups of them, and the mark for weight norm."""

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tcnzoo.specs.base import NoneWord, Positive, Shape, Spec, Usage, require_channels
from tcnzoo.specs.params import Init, Param


class _ChannelNormSpec(Spec):
    """A normalisation with a scale and a shift for each channel; a block fills in `channels`."""

    any_rank: ClassVar[bool] = True
    is_norm: ClassVar[bool] = True

    channels: Positive | None = None
    eps: Annotated[float, Field(gt=0.0)] = 1e-5

    @property
    def input_channels(self) -> int | None:
        """Channels that are normalised."""
        return self.channels

    def with_channels(self, channels: int) -> "_ChannelNormSpec":
        """The same normalisation for a known width."""
        return self.model_copy(update={"channels": channels})

    def own_params(self) -> dict[str, Param]:
        """Scale `weight` and shift `bias`, one a channel."""
        shape = (require_channels(self.kind, self.channels),)
        return {
            "weight": Param(shape, "C", Init("constant", 1.0), "scale"),
            "bias": Param(shape, "C", Init("constant", 0.0), "bias"),
        }

    def macs_of(self, input_shape: Shape) -> int:
        """One multiply-add a value."""
        return (self.channels or 0) * math.prod(input_shape[1:])


class BatchNormSpec(_ChannelNormSpec):
    """Batch normalisation over batch and time.

    Attributes:
        channels: width; left out inside a block, which knows it.
        eps: added to the variance (torch and MLX 1e-5; Keras's own default is 1e-3).
        momentum: torch's meaning, `new = (1 - momentum) * old + momentum * batch`, with the
            unbiased batch variance (Keras keeps 0.99, that is momentum 0.01, and the biased one).
    Source:
        Ioffe & Szegedy 2015, arXiv:1502.03167.
    """

    kind: Literal["batch_norm"] = "batch_norm"
    momentum: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1

    def own_params(self) -> dict[str, Param]:
        """Scale, shift, and the running mean and variance."""
        shape = (require_channels(self.kind, self.channels),)
        return {
            **super().own_params(),
            "running_mean": Param(shape, "C", Init("constant", 0.0), "statistic"),
            "running_var": Param(shape, "C", Init("constant", 1.0), "statistic"),
        }


class LayerNormSpec(_ChannelNormSpec):
    """Layer normalisation over the channels of each time step, biased variance.

    Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450.
    """

    kind: Literal["layer_norm"] = "layer_norm"


class GroupNormSpec(Spec):
    """Zero mean and unit variance of groups of channels over all positions of each signal.

    The mean and the biased variance of a group are over its channels and all steps (and devices),
    then come a scale and a shift for each channel.

    Attributes:
        channels: width.
        groups: how many equal groups.
        eps: added to the variance.
    Source:
        Wu & He 2018, arXiv:1803.08494, section 3.1.
    """

    any_rank: ClassVar[bool] = True

    kind: Literal["group_norm"] = "group_norm"
    channels: Positive
    groups: Positive
    eps: Annotated[float, Field(gt=0.0)] = 1e-5

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        check_groups(self.channels, self.groups)
        return self

    @property
    def input_channels(self) -> int:
        """Channels that are normalised."""
        return self.channels

    def own_params(self) -> dict[str, Param]:
        """Scale `weight` and shift `bias`, one a channel."""
        return {
            "weight": Param((self.channels,), "C", Init("constant", 1.0), "scale"),
            "bias": Param((self.channels,), "C", Init("constant", 0.0), "bias"),
        }

    def macs_of(self, input_shape: Shape) -> int:
        """One multiply-add a value."""
        return self.channels * math.prod(input_shape[1:])

    @property
    def pools_all(self) -> bool:
        """Always."""
        return True

    def zeros_after(self, zeros: int) -> int:
        """None may come: neighbours in a group share their statistics."""
        self._refuse_zeros(zeros)
        return 0

    def own_streaming_blocker(self) -> str | None:
        """Its statistics are never complete before the end."""
        return "a group norm takes statistics of the whole signal, so it cannot stream"


def check_groups(channels: int, groups: int) -> None:
    """Raise ValueError unless the channels are as many in each group."""
    if channels % groups:
        raise ValueError(f"groups must divide the {channels} channels, but is {groups}")


class RmsNormSpec(Spec):
    """Root-mean-square normalisation of the channels of each step, x / sqrt(mean(x^2) + eps) * w.

    Attributes:
        channels: width.
        groups: the mean is over the channels of one of so many equal groups.
        eps: added to the mean square.
    Source:
        Zhang & Sennrich 2019, arXiv:1910.07467.
    """

    kind: Literal["rms_norm"] = "rms_norm"
    channels: Positive
    groups: Positive = 1
    eps: Annotated[float, Field(gt=0.0)] = 1e-5

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        check_groups(self.channels, self.groups)
        return self

    @property
    def input_channels(self) -> int:
        """Channels that are normalised."""
        return self.channels

    def own_params(self) -> dict[str, Param]:
        """Scale `weight`, one a channel."""
        return {"weight": Param((self.channels,), "C", Init("constant", 1.0), "scale")}

    def macs_of(self, input_shape: Shape) -> int:
        """One multiply-add a value."""
        return self.channels * math.prod(input_shape[1:])


class WeightNormSpec(Spec):
    """Weight normalisation of a convolution: w = g * v / ||v||, one g for each output channel.

    Source: Salimans & Kingma 2016, arXiv:1602.07868.
    """

    usage: ClassVar[Usage] = "field"

    kind: Literal["weight_norm"] = "weight_norm"


def named_norm(value: Any) -> Any:
    """Let a bare name stand for a normalisation with its default constants."""
    return {"kind": value} if isinstance(value, str) and value != "none" else value


_AnyNorm = Annotated[BatchNormSpec | LayerNormSpec | WeightNormSpec, Field(discriminator="kind")]
Norm = Annotated[_AnyNorm | None, NoneWord, BeforeValidator(named_norm)]


def norm_child(norm: Spec | None, channels: int) -> dict[str, Spec]:
    """The normalisation as a block's child `norm`, sized; empty for none and for weight norm."""
    if isinstance(norm, _ChannelNormSpec):
        return {"norm": norm.with_channels(channels)}
    return {}
