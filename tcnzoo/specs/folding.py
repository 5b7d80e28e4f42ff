"""Fold weight norm and batch norm into the kernels before them, for inference."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.specs import BatchNormSpec, Spec, WeightNormSpec
from tcnzoo.specs.params import check_weights, weight_norm_gain


def fold(
    spec: Spec, weights: Mapping[str, Array], *, batch_norm: bool = True
) -> tuple[Spec, Weights]:
    """Give an equal model without weight norm, and without the batch norms that follow a kernel.

    Args:
        spec: any model; other norms, and batch norms that stand alone, are left as they are.
        weights: neutral weights of `spec`.
        batch_norm: fold batch norms too, not only weight norm.
    Returns:
        (spec, weights) of the folded model: the same outputs in evaluation mode, computed in
        float64 and stored in the type the weights had. A folded kernel gains a bias if it had none.
    Raises:
        WeightError: the weights do not fit the spec.
    """
    check_weights(spec.params(), weights)
    folded = spec.map(partial(_without_norm, batch_norm=batch_norm))
    effective = {name: np.asarray(array) for name, array in weights.items()}
    for path, part in spec.walk():
        _fold_weight_norm(path, part, effective)
    for path, part in spec.walk() if batch_norm else ():
        _fold_batch_norms(path, part, effective)
    table = folded.params()
    check_weights(table, effective)
    return folded, {name: effective[name] for name in table}


def _without_norm(part: Spec, batch_norm: bool) -> Spec:
    """The same block without the norm of its own fields, where it can be folded."""
    fields = dict(part)
    norm = fields.get("norm")
    changes: dict[str, object] = {}
    if isinstance(norm, WeightNormSpec) or (batch_norm and isinstance(norm, BatchNormSpec)):
        changes["norm"] = None
        if isinstance(norm, BatchNormSpec) and "bias" in fields:
            changes["bias"] = True
    if fields.get("weight_norm"):
        changes["weight_norm"] = False
    return type(part).model_validate({**fields, **changes}) if changes else part


def _join(path: str, name: str) -> str:
    """Dotted name below a path."""
    return f"{path}.{name}" if path else name


def _fold_weight_norm(path: str, part: Spec, weights: Weights) -> None:
    """Replace v and g by g * v / ||v||."""
    table = part.own_params()
    if "weight_v" not in table:
        return
    direction = weights.pop(_join(path, "weight_v"))
    gain = weights.pop(_join(path, "weight_g")).astype(np.float64)
    effective = gain * direction / weight_norm_gain(direction, table["weight_v"].axes)
    weights[_join(path, "weight")] = effective.astype(direction.dtype)


def _fold_batch_norms(path: str, part: Spec, weights: Weights) -> None:
    """Scale the kernel, and shift the bias, of each kernel that a batch norm follows."""
    # The norm of a block's own field only: one that is a layer stays.
    own = dict(part).get("norm")
    if isinstance(own, BatchNormSpec):
        for kernel, norm in part.normed_kernels().items():
            _fold_one(_join(path, kernel), _join(path, norm), own.eps, weights)


def _fold_one(kernel: str, norm: str, eps: float, weights: Weights) -> None:
    """w' = w * s, b' = (b - mean) * s + beta, with s = gamma / sqrt(var + eps)."""
    scale, beta, mean, variance = (
        weights.pop(f"{norm}.{name}").astype(np.float64)
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = scale / np.sqrt(variance + eps)
    weight = weights[f"{kernel}.weight"]
    bias = weights.get(f"{kernel}.bias", np.zeros(scale.shape))
    spread = scale.reshape((-1,) + (1,) * (weight.ndim - 1))
    weights[f"{kernel}.weight"] = (weight * spread).astype(weight.dtype)
    weights[f"{kernel}.bias"] = ((bias - mean) * scale + beta).astype(weight.dtype)
