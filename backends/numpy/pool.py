"""Pools over the whole signal and over moving windows, and upsampling."""

from collections.abc import Callable

import numpy as np

from tcnzoo.models.streaming import Stream, strided_steps
from tcnzoo.specs import PoolSpec, UpsampleSpec, WindowPoolSpec

from .block import Array, Block

WHOLE: dict[str, Callable[[Array], Array]] = {
    "global_average": lambda x: x.mean(axis=2),
    "global_max": lambda x: x.max(axis=2),
    "first": lambda x: x[:, :, 0],
    "last": lambda x: x[:, :, -1],
    "middle": lambda x: x[:, :, x.shape[2] // 2],
}


class Pool(Block[PoolSpec], kind="pool"):
    """Mean over time, or mean or maximum over equal parts of the time."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, time) -> (batch, channels) or (batch, channels, output_size)."""
        if self.spec.mode in WHOLE:
            return WHOLE[self.spec.mode](x)
        reduce = np.mean if self.spec.mode == "adaptive_average" else np.max
        parts = [reduce(x[:, :, a:b], axis=2) for a, b in self.spec.windows(x.shape[2])]
        return np.stack(parts, axis=2)


class WindowPool(Block[WindowPoolSpec], kind="window_pool"):
    """Mean or maximum over a window that moves along the signal."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, time) -> (batch, channels, time')."""
        spec = self.spec
        if stream is not None:
            return self._reduce(self._continue(x, stream))
        pads = spec.pads(x.shape[2])
        lowest = -np.inf if spec.mode == "max" else 0.0
        y = self._reduce(np.pad(x, ((0, 0), (0, 0), pads), constant_values=lowest))
        if spec.mode == "max" or spec.count_padding or not any(pads):
            return y
        present = np.pad(np.ones((1, 1, x.shape[2]), x.dtype), ((0, 0), (0, 0), pads))
        return y / self._reduce(present)

    def _reduce(self, x: Array) -> Array:
        """Pool the windows of an already padded signal; none where it is too short."""
        spec = self.spec
        if x.shape[2] < spec.size:
            return x[:, :, :0]
        windows = np.lib.stride_tricks.sliding_window_view(x, spec.size, axis=2)[:, :, :: spec.step]
        return windows.max(axis=3) if spec.mode == "max" else windows.mean(axis=3)

    def _continue(self, x: Array, stream: Stream) -> Array:
        """Put the context before the chunk, and drop the steps before the first window."""
        spec, skip, length = self.spec, 0, x.shape[2]
        if spec.reach:
            x = np.concatenate([np.asarray(stream.read(self.path, "context")), x], axis=2)
            stream.write(self.path, "context", x[:, :, x.shape[2] - spec.reach :])
        if spec.reach or spec.step > 1:
            skip = int(stream.read(self.path, "skip"))
            stream.write(self.path, "skip", np.int32(strided_steps(skip, length, spec.step)[1]))
        return x[:, :, skip:]


class Upsample(Block[UpsampleSpec], kind="upsample"):
    """Repeat every step, or interpolate between step centres."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, time) -> (batch, channels, time * factor)."""
        factor, length = self.spec.factor, x.shape[2]
        if self.spec.mode == "nearest":
            return np.repeat(x, factor, axis=2)
        position = (np.arange(length * factor) + 0.5) / factor - 0.5
        position = np.clip(position, 0, length - 1)
        left = np.floor(position).astype(int)
        right = np.ceil(position).astype(int)  # the left one where its share is 0: 0 * NaN is NaN
        share = (position - left).astype(x.dtype)
        return x[:, :, left] * (1 - share) + x[:, :, right] * share
