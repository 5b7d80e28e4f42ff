"""The torch backend: native modules for CUDA, MPS and CPU, (batch, channels, time)."""

from typing import TYPE_CHECKING, Any

import torch

from tcnzoo.errors import InputError
from tcnzoo.models.backend import BackendInfo, Handle
from tcnzoo.specs import Spec
from tcnzoo.specs.families import import_families

from .block import BLOCKS, Block, build as build_block
from .options import Options
from .run import (
    activation_bytes,
    device_peak,
    dtype_of,
    gradients,
    init_state,
    predict,
    quantize,
    step,
    trace,
)
from .weights import LAYOUT, get_weights, set_weights

if TYPE_CHECKING:
    from tcnzoo.training.stepper import Plan, Stepper

__all__ = [
    "BLOCKS",
    "DTYPES",
    "LAYOUT",
    "NAME",
    "OPTIONS",
    "Block",
    "activation_bytes",
    "build",
    "device_peak",
    "dtype_of",
    "get_weights",
    "gradients",
    "info",
    "init_state",
    "predict",
    "quantize",
    "set_weights",
    "step",
    "stepper",
    "trace",
]

import_families(__name__)

NAME = "torch"
DTYPES = ("float32", "float64", "bfloat16", "float16")
OPTIONS = ("checkpointing", "tf32", "autocast")


def _devices() -> tuple[str, ...]:
    """Devices that can be used here."""
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return tuple(devices)


def stepper(model: Block[Any], plan: "Plan") -> "Stepper":
    """Make a model ready for training; see `training`."""
    from .training import stepper as make  # which imports what only training needs

    return make(model, plan)


def info() -> BackendInfo:
    """Versions and devices."""
    return BackendInfo(NAME, True, {"torch": torch.__version__}, _devices(), DTYPES)


def build(spec: Spec, dtype: str, device: str | None, **options: Any) -> Block[Any]:
    """Make the module in evaluation mode, with a Handle as `tcnzoo`.

    Args:
        spec, dtype, device: as in `create`.
        options: see Options.
    Raises:
        InputError: the device is not there, or options that do not fit.
    """
    chosen = Options(**options) if options else Block.options
    if chosen.autocast is not None and dtype != "float32":
        raise InputError(f"autocast takes a model of float32 weights, but dtype is {dtype!r}")
    if device is not None and device.partition(":")[0] not in {
        name.partition(":")[0] for name in _devices()
    }:
        raise InputError(
            f"torch sees the devices {', '.join(_devices())}, but {device!r} was asked for"
        )
    # Of tensors made in inference mode torch counts no writes, which prepared kernels go by.
    with torch.inference_mode(False):
        model = build_block(spec).to(device=device, dtype=getattr(torch, dtype))
    model.tcnzoo = Handle(spec, NAME, dtype, device)
    if options:
        model.set_options(chosen)
    return model
