"""Neutral weights into a module and out of it: torch's own layout is the neutral one."""

import ml_dtypes
import numpy as np
import torch
from torch import Tensor, nn

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.backend import handle_of
from tcnzoo.params import Weights

LAYOUT = {"OIK": "OIK", "OIHW": "OIHW", "IOK": "IOK", "OI": "OI", "C": "C"}


def to_torch(array: Array) -> Tensor:
    """Copy a numpy array, bfloat16 too, to a CPU tensor of the same type."""
    array = np.array(array, order="C")
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by dotted name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def get_weights(model: nn.Module) -> Weights:
    """Copy the weights, in table order."""
    held = _tensors(model)
    return {name: to_numpy(held[name]).copy() for name in handle_of(model).params}


def set_weights(model: nn.Module, weights: Weights) -> None:
    """Write checked neutral weights in place, cast to the model's float type."""
    held = _tensors(model)
    with torch.no_grad():
        for name, array in weights.items():
            held[name].copy_(to_torch(array))
