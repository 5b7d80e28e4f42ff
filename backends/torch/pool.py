"""Pools over the whole signal, and upsampling."""

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.streaming import Stream

from .block import Block


class Pool(Block, kind="pool"):
    """Mean over time, or mean or maximum over equal parts of the time."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> (batch, channels) or (batch, channels, output_size)."""
        if self.spec.mode == "global_average":
            return x.mean(dim=2)
        if self.spec.mode == "adaptive_average":
            return F.adaptive_avg_pool1d(x, self.spec.output_size)
        return F.adaptive_max_pool1d(x, self.spec.output_size)


class Upsample(Block, kind="upsample"):
    """Repeat every step, or interpolate between step centres."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> (batch, channels, time * factor)."""
        if self.spec.mode == "nearest":
            return x.repeat_interleave(self.spec.factor, dim=2)
        return F.interpolate(
            x, scale_factor=float(self.spec.factor), mode="linear", align_corners=False
        )
