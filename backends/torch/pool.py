"""Pools over the whole signal and over moving windows, and upsampling."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.models.streaming import Stream, strided_steps
from tcnzoo.specs import PoolSpec, UpsampleSpec, WindowPoolSpec

from .block import Block
from .types import wide

WHOLE: dict[str, Callable[[Tensor], Tensor]] = {
    "global_average": lambda x: x.mean(dim=2),
    "global_max": lambda x: x.amax(dim=2),
    "first": lambda x: x[:, :, 0],
    "last": lambda x: x[:, :, -1],
    "middle": lambda x: x[:, :, x.shape[2] // 2],
}


class Pool(Block[PoolSpec], kind="pool"):
    """Mean over time, or mean or maximum over equal parts of the time."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> (batch, channels) or (batch, channels, output_size)."""
        if self.spec.mode in WHOLE:
            return WHOLE[self.spec.mode](x)
        size = self.spec.output_size or 1  # an adaptive pool has one
        if self.spec.mode == "adaptive_average":
            return F.adaptive_avg_pool1d(x, size)
        return F.adaptive_max_pool1d(x, size)


class WindowPool(Block[WindowPoolSpec], kind="window_pool"):
    """Mean or maximum over a window that moves along the signal."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> (batch, channels, time')."""
        spec = self.spec
        if stream is not None:
            return self._reduce(self._continue(x, stream))
        pads = spec.pads(x.shape[2])
        if not any(pads):
            return self._reduce(x)
        if spec.mode == "max":
            return self._reduce(F.pad(x, pads, value=-torch.inf))
        y = self._reduce(F.pad(wide(x), pads))
        if not spec.count_padding:
            y = y / self._reduce(F.pad(y.new_ones(1, 1, x.shape[2]), pads))
        return y.to(x.dtype)

    def _reduce(self, x: Tensor) -> Tensor:
        """Pool the windows of an already padded signal; none where it is too short."""
        spec = self.spec
        if x.shape[2] < spec.size:
            return x[:, :, :0]
        pool = F.max_pool1d if spec.mode == "max" else F.avg_pool1d
        return pool(x, spec.size, spec.step)

    def _continue(self, x: Tensor, stream: Stream) -> Tensor:
        """Put the context before the chunk, and drop the steps before the first window."""
        spec, skip, length = self.spec, 0, x.shape[2]
        if spec.reach:
            x = torch.cat([stream.read(self.path, "context"), x], dim=2)
            stream.write(self.path, "context", x[:, :, x.shape[2] - spec.reach :].clone())
        if spec.reach or spec.step > 1:
            skip = int(stream.read(self.path, "skip"))
            after = strided_steps(skip, length, spec.step)[1]
            stream.write(self.path, "skip", torch.tensor(after, dtype=torch.int32))
        return x[:, :, skip:]


class Upsample(Block[UpsampleSpec], kind="upsample"):
    """Repeat every step, or interpolate between step centres."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> (batch, channels, time * factor)."""
        if self.spec.mode == "nearest" or x.shape[2] == 0:
            return x.repeat_interleave(self.spec.factor, dim=2)
        return F.interpolate(
            x, scale_factor=float(self.spec.factor), mode="linear", align_corners=False
        )
