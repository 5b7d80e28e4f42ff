"""Losses of training on native outputs, channels last; what they mean is in the core."""

from collections.abc import Mapping
from typing import Any

from keras import ops

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

from .block import Tensor
from .types import wide

# Values of each example and step, and what each counts; None where all count the same.
Counted = tuple[Tensor, Tensor | None]


def total(
    losses: Mapping[str, AnyLoss], outputs: Any, wanted: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of some losses, and each of them by name.

    Args:
        losses: by name.
        outputs: of the model: (batch[, time], channels), a pair, or a dictionary.
        wanted: `target.<loss>`, classes (batch[, time]) or values of the output's shape, and
            `mask.<loss>`, (batch[, time]).
    Returns:
        scalars in float32 at least.
    """
    found = {name: _one(name, loss, outputs, wanted) for name, loss in losses.items()}
    parts = [losses[name].weight * value for name, value in found.items()]
    return ops.sum(ops.stack(parts)), found


def _one(name: str, loss: AnyLoss, outputs: Any, wanted: Mapping[str, Tensor]) -> Tensor:
    """One loss, without its weight in the sum."""
    y = wide(pick(outputs, loss.output))
    if isinstance(loss, Term):
        return y
    target = wanted[f"target.{name}"]
    if not takes_classes(loss):
        target = ops.cast(target, y.dtype)
    values, counts = _by_kind(loss, y, target)
    mask = wanted.get(f"mask.{name}")
    if mask is not None:
        mask = ops.cast(mask, y.dtype)
        for _ in range(len(values.shape) - len(mask.shape)):
            mask = ops.expand_dims(mask, -1)
        values = values * mask
        counts = ops.ones_like(values) * (mask if counts is None else counts * mask)
    if counts is None:
        return ops.mean(values)
    sum_of = ops.sum(counts)
    return ops.sum(values) / ops.where(sum_of == 0.0, ops.ones_like(sum_of), sum_of)


def _by_kind(loss: AnyLoss, y: Tensor, target: Tensor) -> Counted:
    """Values and counts of one loss, before its mask."""
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
            values = ops.square(y - target)
        case Mae():
            values = ops.abs(y - target)
        case Huber():
            gap = ops.abs(y - target)
            beyond = loss.delta * (gap - 0.5 * loss.delta)
            values = ops.where(gap <= loss.delta, 0.5 * ops.square(gap), beyond)
        case _:
            raise TypeError(f"no Keras loss {loss.kind}")
    return ops.mean(values, axis=-1), None


def _vector(values: Any, y: Tensor, field: str) -> Tensor:
    """One value for each channel."""
    return ops.convert_to_tensor(class_vector(values, y.shape[-1], field), dtype=y.dtype)


def _chosen(loss: CrossEntropy | Focal, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
    """One-hot classes, and which of them count."""
    if loss.ignore is None:
        return ops.one_hot(target, y.shape[-1], dtype=y.dtype), None
    counts = ops.not_equal(target, loss.ignore)
    target = ops.where(counts, target, ops.zeros_like(target))
    return ops.one_hot(target, y.shape[-1], dtype=y.dtype), ops.cast(counts, y.dtype)


def _cross_entropy(loss: CrossEntropy, y: Tensor, target: Tensor) -> Counted:
    """Cross-entropy over the last axis."""
    chosen, counts = _chosen(loss, y, target)
    logs, weight = ops.log_softmax(y, axis=-1), None
    if loss.class_weights is not None:
        vector = _vector(loss.class_weights, y, "class_weights")
        weight = ops.sum(chosen * vector, axis=-1)
        logs = logs * vector
    share = loss.label_smoothing
    values = -ops.sum(logs * ((1.0 - share) * chosen + share / y.shape[-1]), axis=-1)
    if counts is not None:
        values = values * counts
        weight = counts if weight is None else weight * counts
    return values, weight


def _softmax_focal(loss: Focal, y: Tensor, target: Tensor) -> Counted:
    """Focal loss over the last axis."""
    chosen, counts = _chosen(loss, y, target)
    log = ops.sum(ops.log_softmax(y, axis=-1) * chosen, axis=-1)
    values = -log * ops.power(ops.maximum(-ops.expm1(log), TINY), loss.gamma)
    if loss.alpha is not None:
        values = values * ops.sum(chosen * _vector(loss.alpha, y, "alpha"), axis=-1)
    return values if counts is None else values * counts, counts


def _bce(y: Tensor, target: Tensor, positive: Tensor | float) -> Tensor:
    """Binary cross-entropy of logits."""
    return (1.0 - target) * y + (1.0 + (positive - 1.0) * target) * ops.softplus(-y)


def _sigmoid_focal(loss: Focal, y: Tensor, target: Tensor) -> Tensor:
    """Focal loss of each logit by itself."""
    missed = target * ops.sigmoid(-y) + (1.0 - target) * ops.sigmoid(y)
    values = _bce(y, target, loss.pos_weight) * ops.power(ops.maximum(missed, TINY), loss.gamma)
    if isinstance(loss.alpha, float):
        values = values * (loss.alpha * target + (1.0 - loss.alpha) * (1.0 - target))
    return values
