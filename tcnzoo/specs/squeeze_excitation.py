"""Squeeze-and-excitation: channels weighted by what the signal holds."""

import math
from typing import Annotated, Literal

from pydantic import Field

from tcnzoo.specs.activation import ActivationSpec
from tcnzoo.specs.base import Positive, Shape, Spec, StateItem, Whole, require_channels
from tcnzoo.specs.dense import DenseSpec
from tcnzoo.specs.params import InitializerSpec


class SqueezeExcitationSpec(Spec):
    """y = x * sigmoid(W2 relu(W1 s + b1) + b2), with s the mean of x over time.

    Attributes:
        channels: width; left out inside a tcn, which knows it.
        reduction: the inner layer has max(1, channels // reduction) units; 0 leaves it (and its
            relu) out.
        residual: add x to the result.
        pool: `global` takes the mean over all time steps; `cumulative` that over the steps so far,
            the only form that is causal and can stream.
    Source:
        Hu, Shen, Sun 2018, arXiv:1709.01507; `residual` and reduction 0 as in mlx-tcn.
    """

    kind: Literal["squeeze_excitation"] = "squeeze_excitation"
    channels: Positive | None = None
    reduction: Annotated[Whole, Field(ge=0)] = 8
    residual: bool = False
    pool: Literal["global", "cumulative"] = "global"

    @property
    def input_channels(self) -> int | None:
        """Channels of the input."""
        return self.channels

    def with_channels(self, channels: int) -> "SqueezeExcitationSpec":
        """The same block for a known width."""
        return self.model_copy(update={"channels": channels})

    def children(self) -> dict[str, Spec]:
        """`reduce` (absent for reduction 0) and `expand`."""
        channels = require_channels(self.kind, self.channels)
        inner = max(1, channels // self.reduction) if self.reduction else channels
        expand = DenseSpec(
            in_features=inner, out_features=channels, initializer=InitializerSpec(gain=1.0)
        )
        if not self.reduction:
            return {"expand": expand}
        relu = InitializerSpec().for_activation(ActivationSpec(name="relu"))
        return {
            "reduce": DenseSpec(in_features=channels, out_features=inner, initializer=relu),
            "expand": expand,
        }

    def own_state(self) -> dict[str, StateItem]:
        """For `cumulative`: the mean of the steps so far, and how many they were.

        The mean is `mean + mean_low`, two floats of one type: a single float32 would stop moving
        after 2^24 steps or so.
        """
        if self.pool == "global":
            return {}
        shape = (self.channels or 0,)
        return {
            "mean": StateItem(shape, summed=True, lasting=True),
            "mean_low": StateItem(shape, summed=True, added=True),
            "count": StateItem((), integer=True, summed=True),
        }

    def output_shape(self, input_shape: Shape) -> Shape:
        """Unchanged."""
        self.check_channels(input_shape)
        return input_shape

    def macs_of(self, input_shape: Shape) -> int:
        """The dense layers, once or at every step, and one product a value."""
        steps = math.prod(input_shape[1:])
        times = steps if self.pool == "cumulative" else 1
        dense = sum(child.macs(times) for child in self.children().values())
        return dense + (self.channels or 0) * steps

    @property
    def pools_all(self) -> bool:
        """For the global mean."""
        return self.pool == "global"

    def own_streaming_blocker(self) -> str | None:
        """The mean over all of the signal is not known while it comes in."""
        if self.pool == "global":
            return (
                "squeeze-and-excitation with pool 'global' needs the whole signal, so it cannot "
                "stream; use pool 'cumulative'"
            )
        return None
