"""Learned tokens: one put before all others, and one that stands where a mask says so."""

from typing import Literal

from tcnzoo.specs.base import MaskSpec, Positive, Shape, SideInput, SideName, Spec
from tcnzoo.specs.params import Init, Param
from tcnzoo.specs.pool import steps_of

# Standard deviation of the normal law that learned tokens start with, as ViT and LaBraM have it.
TOKEN_DEVIATION = 0.02


class ClsTokenSpec(Spec):
    """A learned token before all others: (batch, channels, N) -> (batch, channels, N + 1).

    Attributes:
        channels: width of the tokens.
    Source:
        Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.1.
    """

    kind: Literal["cls_token"] = "cls_token"
    channels: Positive

    @property
    def input_channels(self) -> int:
        """Width of the tokens."""
        return self.channels

    def own_params(self) -> dict[str, Param]:
        """`token` (C,)."""
        return {"token": Param((self.channels,), "C", Init("normal", TOKEN_DEVIATION))}

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, N) -> (channels, N + 1)."""
        self.check_channels(input_shape)
        return self.channels, steps_of(self, input_shape) + 1

    def own_streaming_blocker(self) -> str | None:
        """It counts from the first token of the signal."""
        return "a token stands before the whole signal once, so it cannot stream"


class MaskTokenSpec(Spec):
    """A learned token instead of those that a mask names: where it is 1, the token stands.

    Attributes:
        channels: width of the tokens.
        mask: name of the mask, (batch, tokens).
    Source:
        Bao et al. 2022 (BEiT), arXiv:2106.08254, section 2.3; Jiang et al. 2024 (LaBraM),
        arXiv:2405.18765, section 2.3.
    """

    kind: Literal["mask_token"] = "mask_token"
    channels: Positive
    mask: SideName = "mask"

    @property
    def input_channels(self) -> int:
        """Width of the tokens."""
        return self.channels

    @property
    def embedding_specs(self) -> tuple[SideInput, ...]:
        """The mask."""
        return (MaskSpec(name=self.mask),)

    def own_params(self) -> dict[str, Param]:
        """`token` (C,)."""
        return {"token": Param((self.channels,), "C", Init("normal", TOKEN_DEVIATION))}

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, N) -> the same."""
        self.check_channels(input_shape)
        steps_of(self, input_shape)
        return input_shape
