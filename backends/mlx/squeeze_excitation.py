"""Squeeze-and-excitation."""

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SqueezeExcitationSpec

from .block import Block
from .dense import Dense
from .kernels.functions import sigmoid
from .types import reduced, wide

STATE = ("count", "mean", "mean_low")
# Steps that are summed one after the other.
BLOCK = 32


class SqueezeExcitation(Block[SqueezeExcitationSpec], kind="squeeze_excitation"):
    """x * sigmoid(expand(relu(reduce(mean over time)))), plus x if residual."""

    reduce: Dense | None
    expand: Dense

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, channels) -> the same shape."""
        if self.spec.pool == "global":
            squeezed = reduced(lambda x: x.mean(axis=1, keepdims=True), x)
        else:
            squeezed = self._mean_so_far(wide(x), stream).astype(x.dtype)
        if self.reduce is not None:
            squeezed = mx.maximum(self.reduce(squeezed), 0.0)
        y = reduced(lambda x, gate: x * sigmoid(gate), x, self.expand(squeezed))
        return y + x if self.spec.residual else y

    def _mean_so_far(self, x: mx.array, stream: Stream | None) -> mx.array:
        """Mean of the steps up to each step, earlier chunks included.

        The mean before a chunk is the sum of two floats. The steps move it by a small number, which
        is added to the second, so that it moves also where the first one alone would not.
        """
        length = x.shape[1]
        if stream is None:
            return running_sums(x) / mx.arange(1, length + 1, dtype=x.dtype)[:, None]
        if length == 0:
            return x
        count, high, low = (stream.read(self.path, name) for name in STATE)
        apart, steps = x - high[:, None] - low[:, None], count + 1
        if length > 1:
            apart, steps = running_sums(apart), steps + mx.arange(length, dtype=mx.int64)[:, None]
        moved = apart / steps.astype(x.dtype) + low[:, None]
        last = moved[:, -1]
        after = high + last
        left = (count + length, after, last - (after - high))
        for name, value in zip(STATE, left, strict=True):
            stream.write(self.path, name, value)
        return high[:, None] + moved


def running_sums(x: mx.array) -> mx.array:
    """Sums up to each step of (batch, time, channels), by blocks of blocks.

    Summed one after the other, the rounding errors of millions of steps would add up.
    """
    batch, length, channels = x.shape
    if length <= BLOCK:
        return mx.cumsum(x, axis=1)
    filled = mx.pad(x, [(0, 0), (0, -length % BLOCK), (0, 0)])
    blocks = mx.cumsum(filled.reshape(batch, -1, BLOCK, channels), axis=2)
    before = mx.pad(running_sums(blocks[:, :-1, -1]), [(0, 0), (1, 0), (0, 0)])
    return (blocks + before[:, :, None]).reshape(batch, -1, channels)[:, :length]
