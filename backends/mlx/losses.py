"""Losses of training on native outputs, channels last; what they mean is in the core."""

from collections.abc import Callable, Mapping
from typing import Any

import mlx.core as mx
import numpy as np

from tcnzoo.training.losses import (
    AnyLoss,
    Bce,
    CrossEntropy,
    Focal,
    Huber,
    Mae,
    Mse,
    Term,
    takes_classes,
)
from tcnzoo.training.targets import TINY, class_vector, pick

from .kernels.functions import logsumexp, sigmoid, softplus
from .types import wide
from .weights import to_mlx

# The losses of `tcnzoo.gradients`, of an output or of the only one.
PLAIN: dict[str, Callable[..., AnyLoss]] = {
    "mse": Mse,
    "mae": Mae,
    "bce": Bce,
    "cross_entropy": CrossEntropy,
    "term": Term,
}

# Values of each example and step, and what each counts; None where all count the same.
Counted = tuple[mx.array, mx.array | None]


def total(
    losses: Mapping[str, AnyLoss], outputs: Any, wanted: Mapping[str, mx.array]
) -> tuple[mx.array, dict[str, mx.array]]:
    """The weighted sum of some losses, and each of them by name.

    Args:
        losses: by name.
        outputs: of the model: (batch[, time], channels), a pair, or a dictionary.
        wanted: `target.<loss>`, classes (batch[, time]) or values of the output's shape, and
            `mask.<loss>`, (batch[, time]).
    Returns:
        scalars in float32 at least.
    """
    values = {name: _unweighted(name, loss, outputs, wanted) for name, loss in losses.items()}
    parts = [losses[name].weight * value for name, value in values.items()]
    return mx.stack(parts).sum() if len(parts) > 1 else parts[0], values


def plain(
    loss: str | Mapping[str, str], target: Any
) -> tuple[dict[str, AnyLoss], dict[str, mx.array]]:
    """The losses of `tcnzoo.gradients` and their neutral targets, as `total` takes them."""
    if isinstance(loss, str):
        losses, targets = {"loss": PLAIN[loss]()}, {"loss": target}
    else:
        losses, targets = {name: PLAIN[kind](output=name) for name, kind in loss.items()}, target
    return losses, {
        f"target.{name}": mx.array(np.asarray(targets[name], dtype=np.int32))
        if takes_classes(loss)
        else to_mlx(np.moveaxis(targets[name], 1, -1), "float32")
        for name, loss in losses.items()
        if not isinstance(loss, Term)
    }


def _unweighted(name: str, loss: AnyLoss, outputs: Any, wanted: Mapping[str, mx.array]) -> mx.array:
    y = wide(pick(outputs, loss.output))
    if isinstance(loss, Term):
        return y
    values, counts = _by_kind(loss, y, wanted[f"target.{name}"])
    mask = wanted.get(f"mask.{name}")
    if mask is not None:
        mask = mask.reshape(*mask.shape, *[1] * (values.ndim - mask.ndim))
        values = values * mask
        counts = mx.broadcast_to(mask if counts is None else counts * mask, values.shape)
    if counts is None:
        return values.mean()
    count = counts.sum()
    return values.sum() / mx.where(count == 0, 1.0, count)


def _by_kind(loss: AnyLoss, y: mx.array, target: mx.array) -> Counted:
    """Values and counts of a loss, before its mask."""
    match loss:
        case CrossEntropy():
            return _cross_entropy(loss, y, target)
        case Focal(activation="softmax"):
            return _softmax_focal(loss, y, target)
        case Focal():
            values = _sigmoid_focal(loss, y, target)
        case Bce():
            values = _bce(y, target, _vector(loss.pos_weight, y, "pos_weight"))
        case Mse():
            values = mx.square(y - target)
        case Mae():
            values = mx.abs(y - target)
        case Huber():
            gap = mx.abs(y - target)
            beyond = loss.delta * (gap - 0.5 * loss.delta)
            values = mx.where(gap <= loss.delta, 0.5 * mx.square(gap), beyond)
        case _:
            raise TypeError(f"no MLX loss {loss.kind}")
    return values.mean(axis=-1), None


def _vector(values: Any, y: mx.array, field: str) -> mx.array:
    return mx.array(class_vector(values, y.shape[-1], field))


def _classes(loss: CrossEntropy | Focal, target: mx.array) -> tuple[mx.array, mx.array | None]:
    """Classes that can be looked up, and which of them count."""
    if loss.ignore is None:
        return target, None
    counts = target != loss.ignore
    return mx.where(counts, target, 0), counts.astype(mx.float32)


def _log_of_class(y: mx.array, target: mx.array) -> tuple[mx.array, mx.array]:
    """Logarithms of all probabilities, and of the target's."""
    logs = y - logsumexp(y)
    return logs, mx.take_along_axis(logs, target[..., None], axis=-1).squeeze(-1)


def _cross_entropy(loss: CrossEntropy, y: mx.array, target: mx.array) -> Counted:
    target, counts = _classes(loss, target)
    logs, chosen = _log_of_class(y, target)
    values, weight = -chosen, None
    if loss.class_weights is not None:
        vector = _vector(loss.class_weights, y, "class_weights")
        weight = vector[target]
        values, logs = values * weight, logs * vector
    if loss.label_smoothing:
        share = loss.label_smoothing
        values = (1.0 - share) * values - share / y.shape[-1] * logs.sum(axis=-1)
    if counts is not None:
        values = values * counts
        weight = counts if weight is None else weight * counts
    return values, weight


def _softmax_focal(loss: Focal, y: mx.array, target: mx.array) -> Counted:
    target, counts = _classes(loss, target)
    _, chosen = _log_of_class(y, target)
    values = -chosen * mx.power(mx.maximum(-mx.expm1(chosen), TINY), loss.gamma)
    if loss.alpha is not None:
        values = values * _vector(loss.alpha, y, "alpha")[target]
    return values if counts is None else values * counts, counts


def _bce(y: mx.array, target: mx.array, positive: mx.array | float) -> mx.array:
    return (1.0 - target) * y + (1.0 + (positive - 1.0) * target) * softplus(-y)


def _sigmoid_focal(loss: Focal, y: mx.array, target: mx.array) -> mx.array:
    missed = target * sigmoid(-y) + (1.0 - target) * sigmoid(y)
    values = _bce(y, target, loss.pos_weight) * mx.power(mx.maximum(missed, TINY), loss.gamma)
    if isinstance(loss.alpha, float):
        values = values * (loss.alpha * target + (1.0 - loss.alpha) * (1.0 - target))
    return values
