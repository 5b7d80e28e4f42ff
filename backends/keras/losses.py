"""Losses of training on native outputs, channels last; what they mean is in the core."""

from collections.abc import Callable, Mapping
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
from .run import channels_last, tensor_of
from .types import wide

# The losses of `tcnzoo.gradients`, of a named output or of the only one.
PLAIN: dict[str, Callable[..., AnyLoss]] = {
    "mse": Mse,
    "mae": Mae,
    "bce": Bce,
    "cross_entropy": CrossEntropy,
    "term": Term,
}

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
    values = {name: _unweighted(name, loss, outputs, wanted) for name, loss in losses.items()}
    parts = [losses[name].weight * value for name, value in values.items()]
    return ops.sum(ops.stack(parts)), values


def plain(
    loss: str | Mapping[str, str], target: Any, dtype: str
) -> tuple[dict[str, AnyLoss], dict[str, Tensor]]:
    """The losses of `tcnzoo.gradients` and their neutral targets, as `total` takes them.

    Args:
        loss: of the only output, or one for each of several.
        target: neutral, as `loss`; a term has none.
        dtype: float type of targets that are values.
    """
    if isinstance(loss, str):
        losses, targets = {"loss": PLAIN[loss]()}, {"loss": target}
    else:
        losses, targets = {name: PLAIN[kind](output=name) for name, kind in loss.items()}, target
    return losses, {
        f"target.{name}": channels_last(
            tensor_of(targets[name], "int32" if takes_classes(each) else dtype)
        )
        for name, each in losses.items()
        if not isinstance(each, Term)
    }


def _unweighted(name: str, loss: AnyLoss, outputs: Any, wanted: Mapping[str, Tensor]) -> Tensor:
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
    count = ops.sum(counts)
    return ops.sum(values) / ops.where(count == 0.0, ops.ones_like(count), count)


def _by_kind(loss: AnyLoss, y: Tensor, target: Tensor) -> Counted:
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
    """Focal loss of each logit."""
    missed = target * ops.sigmoid(-y) + (1.0 - target) * ops.sigmoid(y)
    values = _bce(y, target, loss.pos_weight) * ops.power(ops.maximum(missed, TINY), loss.gamma)
    if isinstance(loss.alpha, float):
        values = values * (loss.alpha * target + (1.0 - loss.alpha) * (1.0 - target))
    return values
