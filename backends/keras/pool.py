"""Pools over the whole signal and over moving windows, and upsampling."""

from collections.abc import Callable

from keras import ops

from tcnzoo.models.streaming import Stream, strided_steps
from tcnzoo.specs import PoolSpec, UpsampleSpec, WindowPoolSpec

from .block import Block, Tensor
from .conv import padded, pads_of
from .types import reduced

WHOLE: dict[str, Callable[[Tensor], Tensor]] = {
    "global_average": lambda x: reduced(lambda x: ops.mean(x, axis=1), x),
    "global_max": lambda x: ops.max(x, axis=1),
    "first": lambda x: x[:, 0],
    "last": lambda x: x[:, -1],
    "middle": lambda x: x[:, ops.shape(x)[1] // 2],
}


class Pool(Block[PoolSpec], kind="pool"):
    """Mean over time, or mean or maximum over equal parts of the time."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, channels) -> (batch, channels) or (batch, output_size, channels)."""
        if self.spec.mode in WHOLE:
            return WHOLE[self.spec.mode](x)
        take = ops.mean if self.spec.mode == "adaptive_average" else ops.max
        windows = self.spec.windows(ops.shape(x)[1])
        return reduced(
            lambda x: ops.stack([take(x[:, a:b], axis=1) for a, b in windows], axis=1), x
        )


class WindowPool(Block[WindowPoolSpec], kind="window_pool"):
    """Mean or maximum over a window that moves along the signal."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, channels) -> (batch, time', channels)."""
        spec = self.spec
        if stream is not None:
            x = self._continue(x, stream)
            return self._reduce(x) if x.shape[1] >= spec.size else x[:, :0]
        pads = pads_of(spec, ops.shape(x)[1])
        if spec.mode == "max":
            # As -inf would: a window that reaches over an end holds that end's own value too.
            return self._reduce(padded(x, pads, "replicate"))
        return reduced(lambda x: self._average(x, pads), x)

    def _average(self, x: Tensor, pads: tuple[int, int]) -> Tensor:
        """Mean over windows that may reach over the ends."""
        around = ((0, 0), pads, (0, 0))
        y = self._reduce(ops.pad(x, around))
        if self.spec.count_padding or self.spec.padding == "valid":
            return y
        return y / self._reduce(ops.pad(ops.ones_like(x[:1, :, :1]), around))

    def _reduce(self, x: Tensor) -> Tensor:
        """Pool the windows of an already padded signal."""
        pool = ops.max_pool if self.spec.mode == "max" else ops.average_pool
        window = (self.spec.size, self.spec.step, "valid", "channels_last")
        return reduced(lambda x: pool(x, *window), x)

    def _continue(self, x: Tensor, stream: Stream) -> Tensor:
        """Put the context before the chunk, and drop the steps before the first window."""
        spec, skip, length = self.spec, 0, x.shape[1]
        if spec.reach:
            x = ops.concatenate([stream.read(self.path, "context"), x], axis=1)
            stream.write(self.path, "context", x[:, length:])
        if spec.reach or spec.step > 1:
            skip = stream.read(self.path, "skip")
            stream.write(self.path, "skip", strided_steps(skip, length, spec.step)[1])
        return x[:, skip:]


class Upsample(Block[UpsampleSpec], kind="upsample"):
    """Repeat every step, or interpolate between step centres."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, channels) -> (batch, time * factor, channels)."""
        factor = self.spec.factor
        if self.spec.mode == "nearest":
            return ops.repeat(x, factor, axis=1)
        return reduced(self._between, x)

    def _between(self, x: Tensor) -> Tensor:
        """Interpolate between step centres."""
        factor = self.spec.factor
        before = ops.concatenate([x[:, :1], x[:, :-1]], axis=1)
        after = ops.concatenate([x[:, 1:], x[:, -1:]], axis=1)
        phases = []
        for phase in range(factor):
            offset = (phase + 0.5) / factor - 0.5
            # A step in the middle takes nothing of its neighbours: 0 * NaN would be NaN.
            beside = before if offset < 0 else after if offset > 0 else x
            phases.append(x * (1 - abs(offset)) + beside * abs(offset))
        stacked = ops.stack(phases, axis=2)
        return ops.reshape(stacked, (-1, ops.shape(x)[1] * factor, x.shape[2]))
