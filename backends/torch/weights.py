"""Neutral weights into a module and out of it: torch's own layout is the neutral one."""

import ml_dtypes
import numpy as np
import torch
from torch import Tensor, nn

from tcnzoo.arrays import Array, Weights, to_numpy
from tcnzoo.models.backend import handle_of

from .kernels import packed

LAYOUT = {"OIK": "OIK", "OIHW": "OIHW", "IOK": "IOK", "OI": "OI", "C": "C"}


def to_torch(array: Array) -> Tensor:
    """Copy a numpy array, bfloat16 too, to a CPU tensor of the same type."""
    array = np.array(to_numpy(array), order="C")
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def whole(tensor: Tensor) -> Tensor:
    """A tensor in one piece. Of one that is sharded, every process must ask at once."""
    gather = getattr(tensor.detach(), "full_tensor", None)
    return tensor if gather is None else gather()


def laid_out_as(tensor: Tensor, target: Tensor) -> Tensor:
    """A whole tensor as the one that it goes into: this process's part of it, where that is one."""
    mesh = getattr(target, "device_mesh", None)
    if mesh is None:
        return tensor
    from torch.distributed.tensor import distribute_tensor  # slow to import, and seldom needed

    placements = target.placements  # type: ignore[attr-defined]
    return distribute_tensor(tensor.to(target.device), mesh, placements, src_data_rank=None)


def get_weights(model: nn.Module) -> Weights:
    """Copy the weights, in table order. Of a sharded model, every process must ask at once."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: to_numpy(whole(tensors[name])).copy() for name in handle_of(model).params}


def set_weights(model: nn.Module, weights: Weights) -> None:
    """Write checked neutral weights in place, cast to the model's float type."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    sharded = any(hasattr(tensor, "device_mesh") for tensor in tensors.values())
    with torch.inference_mode(False), torch.no_grad():
        for name, array in weights.items():
            value, target = to_torch(array), tensors[name]
            target.copy_(laid_out_as(value, target) if sharded else value)
    if sharded:
        # What is gathered from shards looks unchanged, so kernels made from it have to be let go.
        for part in model.modules():
            packed.forget(part)
