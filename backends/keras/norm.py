"""Batch norm with torch's running statistics, and layer norm over channels."""

from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import BatchNormSpec, GroupNormSpec, LayerNormSpec, RmsNormSpec

from .block import Block, Tensor
from .replicas import among_replicas, summed
from .types import reduced, wide


class BatchNorm(Block[BatchNormSpec], kind="batch_norm"):
    """(x - mean) / sqrt(var + eps) * weight + bias, with running or batch statistics.

    Differs from Keras's own layer in what the spec fixes: eps, the meaning of momentum, and the
    unbiased estimate of the running variance. Frozen (`trainable = False`), it evaluates, as
    Keras's does.
    """

    def call(self, x: Tensor, stream: Stream | None = None, training: bool | None = None) -> Tensor:
        """Normalise (batch, channels) or (batch, time, channels)."""
        values = wide(x)
        if training and self.trainable:
            mean, variance = self._batch_statistics(values)
        else:
            mean, variance = (wide(self.arrays[name]) for name in ("running_mean", "running_var"))
        scale = wide(self.arrays["weight"]) * ops.rsqrt(variance + self.spec.eps)
        return ops.cast((values - mean) * scale + wide(self.arrays["bias"]), x.dtype)

    def _batch_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance of the batch; the running ones move by `momentum`."""
        axes = tuple(range(len(x.shape) - 1))
        count = ops.cast(ops.size(x), x.dtype) / x.shape[-1]
        if among_replicas():
            total, count = summed((ops.sum(x, axis=axes), count))
            mean = total / count
            variance = summed(ops.sum(ops.square(x - mean), axis=axes)) / count
        else:
            mean = ops.mean(x, axis=axes)
            variance = ops.mean(ops.square(x - mean), axis=axes)
        self._move("running_mean", mean)
        self._move("running_var", variance * count / ops.maximum(count - 1.0, 1.0))
        return mean, variance

    def _move(self, name: str, batch: Tensor) -> None:
        """new = (1 - momentum) * old + momentum * batch."""
        old, momentum = self.arrays[name], self.spec.momentum
        old.assign(ops.stop_gradient(wide(old) * (1.0 - momentum) + batch * momentum))


class LayerNorm(Block[LayerNormSpec], kind="layer_norm"):
    """Zero mean and unit (biased) variance over the channels of each step, then scale and shift."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Normalise (batch, channels) or (batch, time, channels)."""
        return reduced(self._normed, x, self.arrays["weight"], self.arrays["bias"])

    def _normed(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Normalise, in two passes: the mean of squares would lose a signal around an offset."""
        centred = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        return centred * ops.rsqrt(variance + self.spec.eps) * weight + bias


class GroupNorm(Block[GroupNormSpec], kind="group_norm"):
    """Zero mean and unit (biased) variance of each group over all positions, then scale, shift."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Normalise (batch, channels) or (batch, ..., channels)."""
        return reduced(self._normed, x, self.arrays["weight"], self.arrays["bias"])

    def _normed(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Normalise each group, in two passes."""
        shape, groups = ops.shape(x), self.spec.groups
        parts = ops.reshape(x, (shape[0], -1, groups, self.spec.channels // groups))
        centred = parts - ops.mean(parts, axis=(1, 3), keepdims=True)
        variance = ops.mean(ops.square(centred), axis=(1, 3), keepdims=True)
        return ops.reshape(centred * ops.rsqrt(variance + self.spec.eps), shape) * weight + bias


class RmsNorm(Block[RmsNormSpec], kind="rms_norm"):
    """x / sqrt(mean(x^2) + eps) * weight, the mean over the channels of a group."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Normalise (batch, channels) or (batch, time, channels)."""
        return reduced(self._normed, x, self.arrays["weight"])

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        """Normalise the channels of each group."""
        shape = ops.shape(x)
        groups = ops.reshape(x, (*shape[:-1], self.spec.groups, -1))
        squares = ops.mean(ops.square(groups), axis=-1, keepdims=True)
        return ops.reshape(groups * ops.rsqrt(squares + self.spec.eps), shape) * weight
