"""Pools over the whole signal, and upsampling."""

from keras import ops

from tcnzoo.streaming import Stream

from .block import Block, Tensor


class Pool(Block, kind="pool"):
    """Mean over time, or mean or maximum over equal parts of the time."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, channels) -> (batch, channels) or (batch, output_size, channels)."""
        if self.spec.mode == "global_average":
            return ops.mean(x, axis=1)
        reduce = ops.mean if self.spec.mode == "adaptive_average" else ops.max
        windows = self.spec.windows(ops.shape(x)[1])
        return ops.stack([reduce(x[:, a:b], axis=1) for a, b in windows], axis=1)


class Upsample(Block, kind="upsample"):
    """Repeat every step, or interpolate between step centres."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, channels) -> (batch, time * factor, channels)."""
        factor = self.spec.factor
        if self.spec.mode == "nearest":
            return ops.repeat(x, factor, axis=1)
        before = ops.concatenate([x[:, :1], x[:, :-1]], axis=1)
        after = ops.concatenate([x[:, 1:], x[:, -1:]], axis=1)
        phases = []
        for phase in range(factor):
            offset = (phase + 0.5) / factor - 0.5
            beside = before if offset < 0 else after
            phases.append(x * (1 - abs(offset)) + beside * abs(offset))
        stacked = ops.stack(phases, axis=2)
        return ops.reshape(stacked, (-1, ops.shape(x)[1] * factor, x.shape[2]))
