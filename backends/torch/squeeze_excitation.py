"""Squeeze-and-excitation."""

import torch
from torch import Tensor

from tcnzoo.streaming import Stream

from .block import Block


class SqueezeExcitation(Block, kind="squeeze_excitation"):
    """x * sigmoid(expand(relu(reduce(mean over time)))), plus x if residual."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> the same shape."""
        if self.spec.pool == "global":
            squeezed = x.mean(dim=2, keepdim=True)
        else:
            squeezed = self._mean_so_far(x, stream)
        if self.spec.reduction:
            squeezed = self.reduce(squeezed).relu()
        y = x * self.expand(squeezed).sigmoid()
        return y + x if self.spec.residual else y

    def _mean_so_far(self, x: Tensor, stream: Stream | None) -> Tensor:
        """Mean of the steps up to each one, earlier chunks included, in float32 or better."""
        wide = x if x.dtype == torch.float64 else x.float()
        steps = torch.arange(1, x.shape[2] + 1, device=x.device, dtype=wide.dtype)
        if stream is None:
            return (wide.cumsum(dim=2) / steps).to(x.dtype)
        count = int(stream.read(self.path, "count"))
        before = stream.read(self.path, "mean")
        mean = (before.to(wide.dtype)[:, :, None] * count + wide.cumsum(dim=2)) / (steps + count)
        after = torch.tensor(count + x.shape[2], dtype=torch.int32)
        stream.write(self.path, "count", after)
        stream.write(self.path, "mean", mean[:, :, -1] if x.shape[2] else before)
        return mean.to(x.dtype)
