"""Batch norm with torch's running statistics, and layer norm over channels."""

import keras
from keras import ops

from tcnzoo.streaming import Stream

from .block import Block, Tensor
from .replicas import among_replicas, summed


def _wide(x: Tensor) -> Tensor:
    """The same in float32 at least: statistics of 16-bit values need it."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


class BatchNorm(Block, kind="batch_norm"):
    """(x - mean) / sqrt(var + eps) * weight + bias, with running or batch statistics.

    Differs from Keras's own layer in what the spec fixes: eps, the meaning of momentum, and the
    unbiased estimate of the running variance. Frozen (`trainable = False`), it evaluates, as
    Keras's does.
    """

    def call(self, x: Tensor, stream: Stream | None = None, training: bool | None = None) -> Tensor:
        """Normalise (batch, channels) or (batch, time, channels)."""
        if training and self.trainable:
            mean, variance = self._batch_statistics(_wide(x))
        else:
            mean, variance = (_wide(self.arrays[name]) for name in ("running_mean", "running_var"))
        scale = self.arrays["weight"] * ops.rsqrt(variance + self.spec.eps)
        shift = self.arrays["bias"] - mean * scale
        return x * ops.cast(scale, x.dtype) + ops.cast(shift, x.dtype)

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
        old.assign(ops.stop_gradient(_wide(old) * (1.0 - momentum) + batch * momentum))


class LayerNorm(Block, kind="layer_norm"):
    """Zero mean and unit (biased) variance over the channels of each step, then scale and shift."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Normalise (batch, channels) or (batch, time, channels)."""
        wide = _wide(x)
        centred = wide - ops.mean(wide, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        normal = ops.cast(centred * ops.rsqrt(variance + self.spec.eps), x.dtype)
        return normal * self.arrays["weight"] + self.arrays["bias"]


class RmsNorm(Block, kind="rms_norm"):
    """x / sqrt(mean(x^2) + eps) * weight, the mean over the channels of a group."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Normalise (batch, channels) or (batch, time, channels)."""
        shape = ops.shape(x)
        groups = ops.reshape(_wide(x), (*shape[:-1], self.spec.groups, -1))
        squares = ops.mean(ops.square(groups), axis=-1, keepdims=True)
        normal = ops.reshape(groups * ops.rsqrt(squares + self.spec.eps), shape)
        return ops.cast(normal, x.dtype) * self.arrays["weight"]
