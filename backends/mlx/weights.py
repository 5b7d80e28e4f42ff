"""Weights between the neutral layout and MLX's."""

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

from tcnzoo.arrays import Array, Weights, to_numpy
from tcnzoo.specs.params import Param, permute

# How MLX stores each labelled kind of parameter.
LAYOUT = {"OIK": "OKI", "OIHW": "OHWI", "IOK": "OKI", "OI": "OI", "C": "C"}


def stored_shape(param: Param) -> tuple[int, ...]:
    """Shape of a parameter as MLX stores it."""
    return tuple(param.shape[param.axes.index(letter)] for letter in LAYOUT[param.axes])


def neutral(tree: Any, table: Mapping[str, Param]) -> Weights:
    """Copy a tree of parameters, or of their gradients, to neutral arrays in table order.

    Args:
        tree: nested as `model.parameters()`; it may lack some entries of the table.
        table: the spec's `params()`.
    """
    arrays = dict(tree_flatten(tree))
    return {
        name: np.array(permute(to_numpy(arrays[name]), LAYOUT[param.axes], param.axes), order="C")
        for name, param in table.items()
        if name in arrays
    }


def get_weights(model: Any) -> Weights:
    """Copy the weights, in table order."""
    return neutral(model.parameters(), model.tcnzoo.params)


def set_weights(model: Any, weights: Mapping[str, Array]) -> None:
    """Write checked neutral weights, cast to the model's float type."""
    arrays = [
        (name, to_mlx(permute(weights[name], param.axes, LAYOUT[param.axes]), model.tcnzoo.dtype))
        for name, param in model.tcnzoo.params.items()
    ]
    model.update(tree_unflatten(arrays))
    mx.eval(model.parameters())


def to_mlx(array: Array, dtype: str) -> mx.array:
    """Copy a numpy array of any float type to MLX, as `dtype`."""
    if dtype == "float64":
        return mx.array(np.asarray(array, dtype=np.float64, order="C"), dtype=mx.float64)
    return mx.array(np.asarray(array, dtype=np.float32, order="C")).astype(getattr(mx, dtype))
