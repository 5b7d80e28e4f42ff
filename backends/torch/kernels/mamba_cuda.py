"""The CUDA kernels of mamba_ssm for the Mamba-2 recurrence, where they are installed."""

from importlib import import_module

import torch
from torch import Tensor

from tcnzoo.errors import InputError
from tcnzoo.specs.implementations import KERNELS

from ..types import watched
from .ssd import Inputs

DEVICE = "cuda"
# Steps of a chunk where the spec leaves them open: the library's own choice.
CHUNK = 256
_HALVES = (torch.bfloat16, torch.float16)


def wanted(implementation: str, device: torch.device) -> bool:
    """Whether `chosen` may answer yes, or has to refuse."""
    return implementation == KERNELS or (implementation != "native" and device.type == DEVICE)


def chosen(implementation: str, inputs: Inputs) -> bool:
    """Whether the kernels serve an offline call.

    They multiply float32 matrices as TF32, so `auto` takes them for 16-bit values, and for float32
    only where TF32 is allowed.

    Raises:
        InputError: the kernels are asked for by name, but cannot serve the call.
    """
    x = inputs.x
    if implementation == KERNELS:
        if x.device.type != DEVICE or x.dtype == torch.float64:
            raise InputError(
                f"implementation {KERNELS!r} takes float32 or 16-bit signals on {DEVICE!r}, but a "
                f"signal of {str(x.dtype).removeprefix('torch.')} on {x.device.type!r} came"
            )
        return True
    near = x.dtype in _HALVES or (
        x.dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32
    )
    return x.device.type == DEVICE and near and not watched()


def scan(inputs: Inputs, chunk: int | None) -> Tensor:
    """What `mamba.scan` does offline, without the state: y as x."""
    library = import_module("mamba_ssm.ops.triton.ssd_combined")
    x, dt, a, b, c, d = inputs
    skip = d.squeeze(1) if d.shape[1] == 1 else d
    y: Tensor = library.mamba_chunk_scan_combined(
        x, dt.float(), a.float(), b, c, chunk_size=chunk or CHUNK, D=skip.float()
    )
    return y
