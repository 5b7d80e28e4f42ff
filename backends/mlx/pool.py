"""Pools over the whole signal and over moving windows, and upsampling."""

from collections.abc import Callable

import mlx.core as mx
import numpy as np

from tcnzoo.models.streaming import Stream, strided_steps
from tcnzoo.specs import PoolSpec, UpsampleSpec, WindowPoolSpec

from .block import Block
from .types import beside, reduced

WHOLE: dict[str, Callable[[mx.array], mx.array]] = {
    "global_average": lambda x: reduced(lambda x: x.mean(axis=1), x),
    "global_max": lambda x: x.max(axis=1),
    "first": lambda x: x[:, 0],
    "last": lambda x: x[:, -1],
    "middle": lambda x: x[:, x.shape[1] // 2],
}


class Pool(Block[PoolSpec], kind="pool"):
    """Mean over time, or mean or maximum over equal parts of the time."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, channels) -> (batch, channels) or (batch, output_size, channels)."""
        if self.spec.mode in WHOLE:
            return WHOLE[self.spec.mode](x)
        starts, ends = np.array(self.spec.windows(x.shape[1]), dtype=np.int32).T[..., None]
        steps = starts + np.arange((ends - starts).max(), dtype=np.int32)
        parts = x[:, mx.array(np.minimum(steps, ends - 1))]
        if self.spec.mode == "adaptive_max":
            return parts.max(axis=2)
        share = beside(x, (steps < ends) / (ends - starts))
        return reduced(lambda parts: (parts * share[..., None]).sum(axis=2), parts)


class WindowPool(Block[WindowPoolSpec], kind="window_pool"):
    """Mean or maximum over a window that moves along the signal."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, channels) -> (batch, time', channels)."""
        spec = self.spec
        if stream is not None:
            return self._reduce(self._continue(x, stream))
        pads = spec.pads(x.shape[1])
        if not any(pads):
            return self._reduce(x)
        if spec.mode == "max":
            around = mx.array(-np.inf, dtype=x.dtype)
            return self._reduce(mx.pad(x, [(0, 0), pads, (0, 0)], constant_values=around))
        return reduced(lambda x: self._average(x, pads), x)

    def _average(self, x: mx.array, pads: tuple[int, int]) -> mx.array:
        """Mean over windows that reach over the ends."""
        around = [(0, 0), pads, (0, 0)]
        y = self._reduce(mx.pad(x, around))
        if self.spec.count_padding:
            return y
        present = mx.pad(mx.ones((1, x.shape[1], 1), dtype=x.dtype), around)
        return y / self._reduce(present)

    def _reduce(self, x: mx.array) -> mx.array:
        """Pool the windows of an already padded signal; none where it is too short."""
        spec = self.spec
        if x.shape[1] < spec.size:
            return x[:, :0]
        starts = np.arange(0, x.shape[1] - spec.reach, spec.step, dtype=np.int32)
        windows = x[:, mx.array(starts[:, None] + np.arange(spec.size, dtype=np.int32))]
        if spec.mode == "max":
            return windows.max(axis=2)
        return reduced(lambda windows: windows.mean(axis=2), windows)

    def _continue(self, x: mx.array, stream: Stream) -> mx.array:
        """Put the context before the chunk, and drop the steps before the first window."""
        spec, skip, length = self.spec, 0, x.shape[1]
        if spec.reach:
            x = mx.concatenate([stream.read(self.path, "context").swapaxes(1, 2), x], axis=1)
            stream.write(self.path, "context", x[:, length:].swapaxes(1, 2))
        if spec.reach or spec.step > 1:
            skip = stream.read(self.path, "skip")
            stream.write(self.path, "skip", strided_steps(skip, length, spec.step)[1])
        return x[:, skip:]


class Upsample(Block[UpsampleSpec], kind="upsample"):
    """Repeat every step, or interpolate between step centres."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, channels) -> (batch, time * factor, channels)."""
        factor, length = self.spec.factor, x.shape[1]
        if self.spec.mode == "nearest":
            return mx.repeat(x, factor, axis=1)
        times = np.clip((np.arange(length * factor) + 0.5) / factor - 0.5, 0, length - 1)
        left = np.floor(times).astype(np.int32)
        right = np.ceil(times).astype(np.int32)  # the left one where its share is 0: 0 * NaN is NaN
        share = beside(x, times - left)[:, None]

        def between(before: mx.array, after: mx.array) -> mx.array:
            return before * (1 - share) + after * share

        return reduced(between, x[:, mx.array(left)], x[:, mx.array(right)])
