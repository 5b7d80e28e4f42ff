"""The torch backend: native modules for CUDA, MPS and CPU, (batch, channels, time)."""

import torch

from tcnzoo.backend import BackendInfo, Handle
from tcnzoo.errors import InputError
from tcnzoo.specs import Spec

from . import (
    activation,
    conv,
    dense,
    graph,
    mamba,
    norm,
    pool,
    reshape,
    sequential,
    squeeze_excitation,
    tcn,
)
from .block import BLOCKS, Block, build as build_block
from .run import (
    activation_bytes,
    device_peak,
    gradients,
    init_state,
    predict,
    step,
    trace,
)
from .weights import LAYOUT, get_weights, set_weights

__all__ = [
    "BLOCKS",
    "DTYPES",
    "LAYOUT",
    "NAME",
    "Block",
    "activation",
    "activation_bytes",
    "build",
    "conv",
    "dense",
    "device_peak",
    "get_weights",
    "gradients",
    "graph",
    "info",
    "init_state",
    "mamba",
    "norm",
    "pool",
    "predict",
    "reshape",
    "sequential",
    "set_weights",
    "squeeze_excitation",
    "step",
    "tcn",
    "trace",
]

NAME = "torch"
DTYPES = ("float32", "float64", "bfloat16", "float16")


def _devices() -> tuple[str, ...]:
    """Devices that can be used here."""
    found = ["cpu"]
    if torch.cuda.is_available():
        found += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return tuple(found)


def info() -> BackendInfo:
    """Versions and devices."""
    return BackendInfo(NAME, True, {"torch": torch.__version__}, _devices(), DTYPES)


def build(spec: Spec, dtype: str, device: str | None) -> Block:
    """Make the module in evaluation mode, with a Handle as `tcnzoo`.

    Raises:
        InputError: the device is not there.
    """
    if device is not None and device.partition(":")[0] not in {
        name.partition(":")[0] for name in _devices()
    }:
        raise InputError(
            f"torch sees the devices {', '.join(_devices())}, but {device!r} was asked for"
        )
    model = build_block(spec).to(device=device, dtype=getattr(torch, dtype))
    for path, part in model.named_modules():
        if isinstance(part, Block):
            part.path = path
    model.tcnzoo = Handle(spec, NAME, dtype, device)
    return model.eval()
