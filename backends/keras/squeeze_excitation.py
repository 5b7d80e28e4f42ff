"""Squeeze-and-excitation."""

import keras
from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SqueezeExcitationSpec

from .activation import gated
from .block import Block, Tensor
from .dense import Dense
from .types import reduced

# Steps that are summed one after the other, and how often blocks of them are put together where the
# length is not known.
BLOCK, DEPTH = 32, 4


class SqueezeExcitation(Block[SqueezeExcitationSpec], kind="squeeze_excitation"):
    """x * sigmoid(expand(relu(reduce(mean over time)))), plus x if residual."""

    reduce: Dense | None
    expand: Dense

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, channels) -> the same shape."""
        if self.spec.pool == "global":
            squeezed = reduced(lambda x: ops.mean(x, axis=1, keepdims=True), x)
        else:
            squeezed = self._mean_so_far(x, stream)
        if self.reduce is not None:
            squeezed = ops.relu(self.reduce(squeezed))
        y = gated(x, self.expand(squeezed))
        return y + x if self.spec.residual else y

    def _mean_so_far(self, x: Tensor, stream: Stream | None) -> Tensor:
        """Mean of the steps up to each step, earlier chunks included, in float32 or better.

        The mean before a chunk is the sum of two floats. The steps move it by a small number, which
        is added to the second, so that it moves also where the first one alone would not.
        """
        length, dtype = ops.shape(x)[1], keras.backend.result_type(x.dtype, "float32")
        wide, steps = ops.cast(x, dtype), ops.cast(ops.arange(1, length + 1), dtype)
        if stream is None:
            return ops.cast(running_sums(wide) / steps[:, None], x.dtype)
        if length == 0:
            return x
        seen, high, low = (stream.read(self.path, name) for name in ("count", "mean", "mean_low"))
        steps = (steps + seen)[:, None]
        moved = running_sums(wide - high[:, None] - low[:, None]) / steps + low[:, None]
        last = moved[:, -1]
        after = high + last
        stream.write(self.path, "count", length)
        stream.write(self.path, "mean", after)
        stream.write(self.path, "mean_low", last - (after - high))
        return ops.cast(high[:, None] + moved, x.dtype)


def running_sums(x: Tensor, depth: int = DEPTH) -> Tensor:
    """Sums up to each step of (batch, time, channels), by blocks of blocks.

    Summed one after the other, the rounding errors of millions of steps would add up.
    """
    length = ops.shape(x)[1]
    if depth == 0 or (isinstance(length, int) and length <= BLOCK):
        return ops.cumsum(x, axis=1)
    batch, channels, short = ops.shape(x)[0], x.shape[2], -length % BLOCK
    count = (length + short) // BLOCK
    filled = ops.pad(x, ((0, 0), (0, short), (0, 0)))
    blocks = ops.cumsum(ops.reshape(filled, (batch, count, BLOCK, channels)), axis=2)
    before = ops.pad(running_sums(blocks[:, :-1, -1], depth - 1), ((0, 0), (1, 0), (0, 0)))
    sums = ops.reshape(blocks + before[:, :, None], (batch, count * BLOCK, channels))
    return sums[:, :length]
