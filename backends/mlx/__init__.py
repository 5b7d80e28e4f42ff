"""The MLX backend: native mlx.nn modules, channels last."""

from .blas import current_blas  # before mlx.core

# isort: split
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from tcnzoo.errors import InputError
from tcnzoo.models.backend import BackendInfo
from tcnzoo.specs import Spec
from tcnzoo.specs.families import import_families
from tcnzoo.specs.implementations import check_native

from .block import BLOCKS, Block, build_model
from .quantizer import quantize
from .run import gradients, predict, trace
from .stream import init_state, step
from .weights import LAYOUT, get_weights, set_weights

if TYPE_CHECKING:
    from tcnzoo.training.stepper import Plan, Stepper

__all__ = ["BLOCKS", "LAYOUT", "Block", "get_weights", "gradients", "init_state", "predict"]
__all__ += ["quantize", "set_weights", "step", "trace"]

import_families(__name__)
current_blas()

NAME = "mlx"
DTYPES = ("float32", "bfloat16", "float16", "float64")
DEVICES = {"cpu": mx.cpu, "gpu": mx.gpu}


def stepper(model: Block[Any], plan: "Plan") -> "Stepper":
    """Make a model ready for training; see `training`."""
    from .training import stepper as make  # which imports what only training needs

    return make(model, plan)


def info() -> BackendInfo:
    """Versions and devices."""
    devices = tuple(name for name, device in DEVICES.items() if mx.is_available(device))
    note = f"products of matrices on the CPU by {current_blas().name}"
    return BackendInfo(NAME, True, {"mlx": version("mlx")}, devices, DTYPES, note)


def advice() -> list[str]:
    """What makes MLX slow on this machine, and what helps: sentences for `tcnzoo doctor`."""
    products = current_blas()
    if products.tuned or mx.is_available(mx.gpu):
        return []
    return [f"its products on the CPU run on {products.name}; {products.advice}"]


def build(spec: Spec, dtype: str, device: str | None) -> Block[Any]:
    """Make the module in evaluation mode, with a Handle as `tcnzoo`.

    With a `device`, every call runs there, not on MLX's default device. In
    float64, which MLX has on CPUs only, that device is the CPU.
    """
    check_native(spec, NAME)
    check_device(device)
    if dtype == "float64":
        if device not in (None, "cpu"):
            raise InputError(f"backend 'mlx' computes float64 on 'cpu', not on {device!r}")
        device = "cpu"
    return build_model(spec, dtype, device)


def check_device(device: str | None) -> None:
    """Raise InputError unless MLX has `device`."""
    if device is None:
        return
    if device not in DEVICES:
        raise InputError(f"backend 'mlx' runs on 'cpu' or 'gpu', not on {device!r}")
    if not mx.is_available(DEVICES[device]):
        raise InputError(f"device {device!r} was asked for, but MLX finds none here; use 'cpu'")
