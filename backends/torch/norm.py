"""Batch norm with running statistics, and layer and root-mean-square norm over channels."""

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.streaming import Stream

from .block import Block


class BatchNorm(Block, kind="batch_norm"):
    """Batch norm over batch and time; running statistics without torch's batch counter."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Normalise (batch, channels) or (batch, channels, time)."""
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training,
            momentum=self.spec.momentum,
            eps=self.spec.eps,
        )


class LayerNorm(Block, kind="layer_norm"):
    """Layer norm over the channels of each step."""

    weight: Tensor
    bias: Tensor

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Normalise (batch, channels) or (batch, channels, time)."""
        y = F.layer_norm(
            x.movedim(1, -1), self.weight.shape, self.weight, self.bias, eps=self.spec.eps
        )
        return y.movedim(-1, 1)


class RmsNorm(Block, kind="rms_norm"):
    """x / sqrt(mean(x^2) + eps) * weight, the mean over the channels of a group."""

    weight: Tensor

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Normalise (batch, channels) or (batch, channels, time)."""
        last, groups = x.movedim(1, -1), self.spec.groups
        if groups == 1:
            y = F.rms_norm(last, self.weight.shape, self.weight, self.spec.eps)
        else:
            parts = last.unflatten(-1, (groups, -1))
            y = F.rms_norm(parts, parts.shape[-1:], eps=self.spec.eps).flatten(-2) * self.weight
        return y.movedim(-1, 1)
