"""Squeeze-and-excitation."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SqueezeExcitationSpec

from .block import Block
from .dense import Dense

# Steps that are summed one after the other.
BLOCK = 32


class SqueezeExcitation(Block[SqueezeExcitationSpec], kind="squeeze_excitation"):
    """x * sigmoid(expand(relu(reduce(mean over time)))), plus x if residual."""

    reduce: Dense | None
    expand: Dense

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> the same shape."""
        if self.spec.pool == "global":
            squeezed = x.mean(dim=2, keepdim=True)
        else:
            squeezed = self._mean_so_far(x, stream)
        if self.reduce is not None:
            squeezed = self.reduce(squeezed).relu()
        y: Tensor = x * self.expand(squeezed).sigmoid()
        return y + x if self.spec.residual else y

    def _mean_so_far(self, x: Tensor, stream: Stream | None) -> Tensor:
        """Mean of the steps up to each one, earlier chunks included, in float32 or better.

        The mean before a chunk is the sum of two floats. The steps move it by a small number, which
        is added to the second, so that it moves also where the first one alone would not.
        """
        wide, length = x if x.dtype == torch.float64 else x.float(), x.shape[2]
        if stream is None:
            steps = torch.arange(1, length + 1, device=x.device, dtype=wide.dtype)
            return (running_sums(wide) / steps).to(x.dtype)
        count = int(stream.read(self.path, "count"))
        high, low = stream.read(self.path, "mean"), stream.read(self.path, "mean_low")
        stream.write(self.path, "count", torch.tensor(count + length))
        if length == 0:
            stream.write(self.path, "mean", high)
            stream.write(self.path, "mean_low", low)
            return x
        apart = wide - high.unsqueeze(2) - low.unsqueeze(2)
        if length == 1:
            moved = apart / (count + 1) + low.unsqueeze(2)
        else:
            steps = torch.arange(count + 1, count + length + 1, device=x.device)
            moved = running_sums(apart) / steps + low.unsqueeze(2)
        last = moved[:, :, -1]
        after = high + last
        mean: Tensor = high.unsqueeze(2) + moved
        stream.write(self.path, "mean", after)
        stream.write(self.path, "mean_low", last - (after - high))
        return mean.to(x.dtype)


def running_sums(x: Tensor) -> Tensor:
    """Sums up to each step of (batch, channels, time), by blocks of blocks.

    Summed one after the other, the rounding errors of millions of steps would add up. On a CPU
    torch sums float32 in float64 itself.
    """
    length = x.shape[2]
    if x.device.type == "cpu" or length <= BLOCK:
        return x.cumsum(dim=2)
    return by_blocks(x)


def by_blocks(x: Tensor) -> Tensor:
    """See `running_sums`."""
    length = x.shape[2]
    if length <= BLOCK:
        return x.cumsum(dim=2)
    blocks: Tensor = F.pad(x, (0, -length % BLOCK)).unflatten(2, (-1, BLOCK)).cumsum(dim=3)
    before = F.pad(by_blocks(blocks[:, :, :-1, -1]), (1, 0))
    return (blocks + before.unsqueeze(3)).flatten(2)[:, :, :length]
