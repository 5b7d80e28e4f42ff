"""Batch norm with running statistics, and layer norm over channels."""

import math
from functools import partial

import mlx.core as mx

from tcnzoo.errors import InputError
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import BatchNormSpec, GroupNormSpec, LayerNormSpec, RmsNormSpec

from .block import Block
from .kernels.functions import layer_norm, rms_norm
from .processes import Processes
from .types import reduced, wide


class BatchNorm(Block[BatchNormSpec], kind="batch_norm"):
    """(x - mean) / sqrt(variance + eps) * weight + bias, statistics of the batch in training.

    `running_mean` and `running_var` are parameters that stay frozen. A training step moves them, so
    a compiled one names the model among mx.compile's `outputs`, as for any state. Where several
    processes train together, statistics are of the batches of all.
    """

    _processes: Processes | None = None

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """Normalise (batch, channels) or (batch, time, channels)."""
        values = wide(x)
        if self.training:
            mean, variance = self._batch_statistics(values)
        else:
            mean, variance = self["running_mean"], self["running_var"]
        scale = self["weight"] * mx.rsqrt(wide(variance) + self.spec.eps)
        return ((values - mean) * scale + self["bias"]).astype(x.dtype)

    def _batch_statistics(self, x: mx.array) -> tuple[mx.array, mx.array]:
        """Mean and biased variance of each channel; the running ones move, the latter unbiased."""
        axes = tuple(range(x.ndim - 1))
        own_count = math.prod(x.shape[:-1])
        if own_count < 2 and self._processes is None:
            raise InputError(
                f"batch norm in training needs at least 2 values a channel, but {x.shape} came"
            )
        mean = x.mean(axis=axes)
        variance = mx.square(x - mean).mean(axis=axes)
        count: int | mx.array = own_count
        if self._processes is not None:
            mean, variance, count = _pooled(self._processes, mean, variance, own_count)
        self._move("running_mean", mean)
        self._move("running_var", variance * (count / (count - 1)))
        return mean, variance

    def _move(self, name: str, batch: mx.array) -> None:
        """Move a running statistic towards that of the batch."""
        old, momentum = self[name], self.spec.momentum
        new = (1.0 - momentum) * wide(old) + momentum * mx.stop_gradient(batch)
        self[name] = new.astype(old.dtype)


def _pooled(
    processes: Processes, mean: mx.array, variance: mx.array, count: int
) -> tuple[mx.array, mx.array, mx.array]:
    """Mean, biased variance and count of what all processes have, from those of this one."""
    own = mx.concatenate([mean, variance, mx.array([count], dtype=mean.dtype)])
    means, variances, counts = mx.split(processes.gathered(own), [len(mean), 2 * len(mean)], axis=1)
    total = mx.stop_gradient(counts.sum())
    share = mx.stop_gradient(counts) / total
    mean = (share * means).sum(axis=0)
    return mean, (share * (variances + mx.square(means - mean))).sum(axis=0), total


class LayerNorm(Block[LayerNormSpec], kind="layer_norm"):
    """Zero mean and unit (biased) variance over the channels of each step, then scale and shift."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """Normalise (batch, channels) or (batch, time, channels)."""
        compute = partial(layer_norm, eps=self.spec.eps)
        return reduced(compute, x, self["weight"], self["bias"])


class GroupNorm(Block[GroupNormSpec], kind="group_norm"):
    """Zero mean and unit (biased) variance of each group over all positions, then scale, shift."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """Normalise (batch, channels) or (batch, ..., channels)."""
        return reduced(self._normed, x, self["weight"], self["bias"])

    def _normed(self, x: mx.array, weight: mx.array, bias: mx.array) -> mx.array:
        """Normalise each group, in two passes."""
        parts = x.reshape(x.shape[0], -1, self.spec.groups, x.shape[-1] // self.spec.groups)
        centred = parts - parts.mean(axis=(1, 3), keepdims=True)
        variance = mx.square(centred).mean(axis=(1, 3), keepdims=True)
        return (centred * mx.rsqrt(variance + self.spec.eps)).reshape(x.shape) * weight + bias


class RmsNorm(Block[RmsNormSpec], kind="rms_norm"):
    """x / sqrt(mean(x^2) + eps) * weight, the mean over the channels of a group."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """Normalise (batch, channels) or (batch, time, channels)."""
        return reduced(self._normed, x, self["weight"])

    def _normed(self, x: mx.array, weight: mx.array) -> mx.array:
        """Normalise the channels of each group."""
        groups = self.spec.groups
        if groups == 1:
            return rms_norm(x, weight, self.spec.eps)
        parts = x.reshape(*x.shape[:-1], groups, -1)
        plain = mx.ones((parts.shape[-1],), dtype=x.dtype)
        return rms_norm(parts, plain, self.spec.eps).reshape(x.shape) * weight
