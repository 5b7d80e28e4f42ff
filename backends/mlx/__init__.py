"""The MLX backend: native mlx.nn modules, channels last."""

from importlib.metadata import version

import mlx.core as mx

from tcnzoo.backend import BackendInfo
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
from .block import BLOCKS, Block, build_model
from .fir import fast_products
from .run import gradients, predict, trace
from .stream import init_state, step
from .weights import LAYOUT, get_weights, set_weights

__all__ = ["BLOCKS", "LAYOUT", "Block", "activation", "conv", "dense", "graph", "norm"]
__all__ += ["mamba", "pool", "reshape", "sequential", "squeeze_excitation", "tcn"]
__all__ += ["get_weights", "gradients", "init_state", "predict", "set_weights", "step", "trace"]

NAME = "mlx"
DTYPES = ("float32", "bfloat16", "float16")
DEVICES = {"cpu": mx.cpu, "gpu": mx.gpu}


def info() -> BackendInfo:
    """Versions and devices."""
    found = tuple(name for name, device in DEVICES.items() if mx.is_available(device))
    note = "" if fast_products() else "slow without a tuned BLAS; preload OpenBLAS (LD_PRELOAD)"
    return BackendInfo(NAME, True, {"mlx": version("mlx")}, found, DTYPES, note)


def build(spec: Spec, dtype: str, device: str | None) -> Block:
    """Make the module in evaluation mode, with a Handle as `tcnzoo`.

    With a `device`, every call runs there, whatever MLX's default device is at the time.
    """
    check_device(device)
    return build_model(spec, dtype, device)


def check_device(device: str | None) -> None:
    """Raise InputError unless MLX has `device`."""
    if device is None:
        return
    if device not in DEVICES:
        raise InputError(f"backend 'mlx' runs on 'cpu' or 'gpu', not on {device!r}")
    if not mx.is_available(DEVICES[device]):
        raise InputError(f"device {device!r} was asked for, but MLX finds none here; use 'cpu'")
