"""Targets of `tcnzoo.gradients`, checked against the outputs of a model."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, to_real
from tcnzoo.errors import InputError, suggestion
from tcnzoo.specs import Shape, Spec

LOSSES = ("mse", "mae", "bce", "cross_entropy")
# What stands for a loss where an output is itself a scalar to be minimised.
TERM = "term"


def target_of(target: Any, shape: Shape, loss: str, dtype: str) -> Array:
    """A target as floats, or as int64 classes, of the shape that goes with an output's.

    Raises:
        InputError: another shape, values that are no real numbers, or classes that there are not.
    """
    values = to_real(target, dtype if loss != "cross_entropy" else "float64", "the target")
    wanted = (shape[0], *shape[2:]) if loss == "cross_entropy" else shape
    if values.shape != wanted:
        raise InputError(
            f"the target of loss {loss!r} must have shape {wanted}, but has {values.shape}"
        )
    if loss != "cross_entropy":
        return values
    odd = (values != np.rint(values)) | (values < 0) | (values >= shape[1])
    if odd.any():
        raise InputError(
            f"the target of loss 'cross_entropy' must be classes 0 .. {shape[1] - 1}, "
            f"but holds {values[odd][0]:g}"
        )
    return values.astype(np.int64)


def targets_of(
    spec: Spec, x_shape: Shape, target: Any, loss: str | Mapping[str, str], dtype: str
) -> dict[str, Array]:
    """The targets of a model with several outputs, by output; a term has none.

    Raises:
        InputError: no dictionaries, or an output, loss or target that does not fit.
    """
    if isinstance(loss, str) or not loss or not isinstance(target, Mapping):
        raise InputError(
            "the model has several outputs, so target and loss must be dictionaries by output: "
            f"{', '.join(spec.output_names)}"
        )
    shapes = {name: (x_shape[0], *rest) for name, rest in spec.output_shapes(x_shape[1:]).items()}
    targets = {}
    for name, chosen in loss.items():
        if chosen not in (*LOSSES, TERM):
            raise InputError(f"loss must be one of {', '.join((*LOSSES, TERM))}, but is {chosen!r}")
        if name not in spec.output_names:
            raise InputError(f"no output {name!r}{suggestion(name, list(spec.output_names))}")
        if chosen == TERM:
            if name in shapes:
                raise InputError(f"loss 'term' takes a scalar output, but {name!r} is none")
            continue
        if name not in target or name not in shapes:
            raise InputError(f"loss {chosen!r} of output {name!r} needs a target of its shape")
        targets[name] = target_of(target[name], shapes[name], chosen, dtype)
    return targets
