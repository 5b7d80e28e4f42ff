"""Losses of training on native outputs, channels second; what they mean is in the core."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.training.losses import AnyLoss, Bce, CrossEntropy, Focal, Huber, Mae, Mse, Term
from tcnzoo.training.targets import TINY, class_vector, pick

KINDS: dict[str, AnyLoss] = {
    "mse": Mse(),
    "mae": Mae(),
    "bce": Bce(),
    "cross_entropy": CrossEntropy(),
}

# Values of each example and step, and what each counts; None where all count the same.
Counted = tuple[Tensor, Tensor | None]


def total(
    losses: Mapping[str, AnyLoss], outputs: Any, wanted: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of some losses, and each of them by name.

    Args:
        losses: by name.
        outputs: of the model: (batch, channels[, time]), a pair, or a dictionary.
        wanted: `target.<loss>`, classes (batch[, time]) or values of the output's shape, and
            `mask.<loss>`, (batch[, time]).
    Returns:
        scalars in float32 at least.
    """
    values = {name: _value_of(name, loss, outputs, wanted) for name, loss in losses.items()}
    parts = [losses[name].weight * value for name, value in values.items()]
    return torch.stack(parts).sum(), values


def by_kind(kinds: str | Mapping[str, str]) -> dict[str, AnyLoss]:
    """Losses without options, as `gradients` takes them.

    Args:
        kinds: of a loss of the only output; or those of several outputs, by output.
    Returns:
        by kind, or by output.
    """
    if isinstance(kinds, str):
        return {kinds: KINDS[kinds]}
    return {
        output: Term(output=output)
        if kind == "term"
        else KINDS[kind].model_copy(update={"output": output})
        for output, kind in kinds.items()
    }


def _value_of(name: str, loss: AnyLoss, outputs: Any, wanted: Mapping[str, Tensor]) -> Tensor:
    """One loss, without its weight in the sum."""
    y: Tensor = pick(outputs, loss.output)
    y = y.to(torch.promote_types(y.dtype, torch.float32))
    if isinstance(loss, Term):
        return y
    target = wanted[f"target.{name}"]
    values, counts = _by_kind(loss, y, target)
    mask = wanted.get(f"mask.{name}")
    if mask is not None:
        mask = mask.reshape(*mask.shape, *[1] * (values.ndim - mask.ndim)).to(values.dtype)
        values = values * mask
        counts = (mask if counts is None else counts * mask).expand(values.shape)
    if counts is None:
        return values.mean()
    sum_of = counts.sum()
    return values.sum() / torch.where(sum_of == 0, torch.ones_like(sum_of), sum_of)


def _by_kind(loss: AnyLoss, y: Tensor, target: Tensor) -> Counted:
    """Values and counts of one loss, before its mask."""
    match loss:
        case CrossEntropy():
            return _cross_entropy(loss, y, target)
        case Focal(activation="softmax"):
            return _softmax_focal(loss, y, target)
        case Focal():
            values = _sigmoid_focal(loss, y, target.to(y.dtype))
        case Bce():
            values = _bce(y, target.to(y.dtype), _vector(loss.pos_weight, y, "pos_weight"))
        case Mse():
            values = (y - target).square()
        case Mae():
            values = (y - target).abs()
        case Huber():
            values = F.huber_loss(y, target.to(y.dtype), reduction="none", delta=loss.delta)
        case _:
            raise TypeError(f"no torch loss {loss.kind}")
    return values.mean(dim=1), None


def _vector(values: Any, y: Tensor, field: str) -> Tensor:
    """One value for each channel, to be multiplied with (batch, channels[, time])."""
    vector = torch.from_numpy(class_vector(values, y.shape[1], field)).to(y)
    return vector.reshape(-1, *[1] * (y.ndim - 2))


def _classes(loss: CrossEntropy | Focal, target: Tensor) -> tuple[Tensor, Tensor | None]:
    """Classes that can be looked up, and which of them count."""
    target = target.long()
    if loss.ignore is None:
        return target, None
    counts = target != loss.ignore
    return torch.where(counts, target, torch.zeros_like(target)), counts


def _log_of_class(y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of all probabilities, and of the target's."""
    logs = F.log_softmax(y, dim=1)
    return logs, logs.gather(1, target.unsqueeze(1)).squeeze(1)


def _cross_entropy(loss: CrossEntropy, y: Tensor, target: Tensor) -> Counted:
    """Cross-entropy over axis 1."""
    target, counts = _classes(loss, target)
    logs, chosen = _log_of_class(y, target)
    values, weight = -chosen, None
    if loss.class_weights is not None:
        vector = _vector(loss.class_weights, y, "class_weights")
        weight = vector.flatten()[target]
        values, logs = values * weight, logs * vector
    if loss.label_smoothing:
        share = loss.label_smoothing
        values = (1.0 - share) * values - share / y.shape[1] * logs.sum(dim=1)
    if counts is not None:
        values = values * counts
        weight = counts.to(y.dtype) if weight is None else weight * counts
    return values, weight


def _softmax_focal(loss: Focal, y: Tensor, target: Tensor) -> Counted:
    """Focal loss over axis 1."""
    target, counts = _classes(loss, target)
    _, chosen = _log_of_class(y, target)
    values = -chosen * (-torch.expm1(chosen)).clamp(min=TINY).pow(loss.gamma)
    if loss.alpha is not None:
        values = values * _vector(loss.alpha, y, "alpha").flatten()[target]
    if counts is None:
        return values, None
    return values * counts, counts.to(y.dtype)


def _bce(y: Tensor, target: Tensor, positive: Tensor | float) -> Tensor:
    """Binary cross-entropy of logits."""
    return (1.0 - target) * y + (1.0 + (positive - 1.0) * target) * F.softplus(-y)


def _sigmoid_focal(loss: Focal, y: Tensor, target: Tensor) -> Tensor:
    """Focal loss of each logit by itself."""
    missed = target * torch.sigmoid(-y) + (1.0 - target) * torch.sigmoid(y)
    values = _bce(y, target, loss.pos_weight) * missed.clamp(min=TINY).pow(loss.gamma)
    if isinstance(loss.alpha, float):
        values = values * (loss.alpha * target + (1.0 - loss.alpha) * (1.0 - target))
    return values
