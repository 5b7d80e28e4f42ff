"""Finite scalar quantisation: channels that are bounded and rounded, without a codebook."""

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tcnzoo.specs.base import Spec, Whole


class FsqSpec(Spec):
    """Finite scalar quantisation: each channel is bounded and rounded to one of a few levels.

    y = round(tanh(x + shift) h - o) / (L // 2), h = (L - 1) 1.001 / 2, o = 1/2 for an even L, else
    0, shift = atanh(o / h); rounding passes the gradient on. There is no codebook, no loss, and
    the index is sum_i (y_i (L_i // 2) + L_i // 2) prod_{j<i} L_j.

    Attributes:
        levels: L of each channel, at least 3.
    Source:
        Mentzer et al. 2023, arXiv:2309.15505.
    """

    finite: ClassVar[str | None] = "a quantiser"
    surrogate_gradient: ClassVar[bool] = True

    kind: Literal["fsq"] = "fsq"
    levels: Annotated[tuple[Annotated[Whole, Field(ge=3)], ...], Field(min_length=1)]

    @property
    def channels(self) -> int:
        """One for each entry of `levels`."""
        return len(self.levels)

    @property
    def codes(self) -> int:
        """How many combinations there are."""
        return math.prod(self.levels)

    @property
    def input_channels(self) -> int:
        """Channels of the input."""
        return self.channels

    @property
    def bounds(self) -> tuple[tuple[float, float, float, int, int], ...]:
        """(h, o, shift, L // 2, stride of the index) of each channel."""
        bounds, stride = [], 1
        for level in self.levels:
            half, offset = (level - 1) * 1.001 / 2.0, 0.0 if level % 2 else 0.5
            bounds.append((half, offset, math.atanh(offset / half), level // 2, stride))
            stride *= level
        return tuple(bounds)
