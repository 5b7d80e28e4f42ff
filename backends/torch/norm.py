"""Batch norm with running statistics, and layer and root-mean-square norm over channels."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, distributed

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import BatchNormSpec, GroupNormSpec, LayerNormSpec, RmsNormSpec

from .block import Block
from .types import reduced


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes, and the same of its gradient."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:
        return _SumOverProcesses.forward(None, grad)


def _over_processes(x: Tensor) -> Tensor:
    """Its sum over all processes, to be differentiated in all of them at once."""
    total: Tensor = _SumOverProcesses.apply(x)  # type: ignore[no-untyped-call]
    return total


class BatchNorm(Block[BatchNormSpec], kind="batch_norm"):
    """Batch norm over batch and time; running statistics without torch's batch counter.

    Attributes:
        synchronised: take the statistics of a batch over all processes that train together.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    synchronised = False

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Normalise (batch, channels) or (batch, channels, time)."""
        if self.synchronised and self.training:
            return self._of_all(x)
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

    def _of_all(self, x: Tensor) -> Tensor:
        """Normalise by the mean and variance of what all processes have."""
        axes = tuple(axis for axis in range(x.ndim) if axis != 1)
        wide = (1, -1) + (1,) * (x.ndim - 2)
        values = x.to(self.running_mean.dtype)
        count = values.new_full((1,), values.numel() / values.shape[1])
        sums = _over_processes(torch.cat([values.sum(axes), count]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        values = values - mean.reshape(wide)
        var = _over_processes(values.square().sum(axes)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.spec.momentum)
            self.running_var.lerp_(var * (count / (count - 1)), self.spec.momentum)
        scale = self.weight * torch.rsqrt(var + self.spec.eps)
        return (values * scale.reshape(wide) + self.bias.reshape(wide)).to(x.dtype)


class LayerNorm(Block[LayerNormSpec], kind="layer_norm"):
    """Layer norm over the channels of each step."""

    weight: Tensor
    bias: Tensor

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Normalise (batch, channels) or (batch, channels, time)."""
        return reduced(self._normed, x, self.weight, self.bias)

    def _normed(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Normalise the channels of each step."""
        y = F.layer_norm(x.movedim(1, -1), weight.shape, weight, bias, eps=self.spec.eps)
        return y.movedim(-1, 1)


class GroupNorm(Block[GroupNormSpec], kind="group_norm"):
    """Group norm over all positions of each signal."""

    weight: Tensor
    bias: Tensor

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Normalise (batch, channels) or (batch, channels, ...)."""
        return reduced(self._normed, x, self.weight, self.bias)

    def _normed(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Normalise each group."""
        return F.group_norm(x, self.spec.groups, weight, bias, self.spec.eps)


class RmsNorm(Block[RmsNormSpec], kind="rms_norm"):
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
