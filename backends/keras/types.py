"""Float types of tensors, and what 16-bit ones are added up in."""

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from .block import Tensor
from .device import devices

HALVES = ("float16", "bfloat16")


def wide(x: Any) -> Tensor:
    """A tensor or variable in float32 at least."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def reduced(compute: Callable[..., Tensor], x: Tensor, *others: Any) -> Tensor:
    """compute(x, *others); of a 16-bit x in float32, and the result rounded once to x's type.

    TensorFlow adds 16-bit values up in 16 bits in its pools and sums on a CPU: they stop growing at
    256 times what is added (bfloat16), or overflow at 65504 (float16). So every sum goes through
    this.

    Args:
        compute: adds values up; takes x and the others.
        x: of any float type.
        others: tensors or variables of any float type, or None.
    """
    if keras.backend.standardize_dtype(x.dtype) not in HALVES:
        return compute(x, *others)
    y = compute(*(None if tensor is None else wide(tensor) for tensor in (x, *others)))
    return ops.cast(y, x.dtype)


def multiplied(compute: Callable[..., Tensor], x: Tensor, *others: Any) -> Tensor:
    """The same for sums of products: convolutions and products of matrices.

    cuDNN and cuBLAS add these up in float32 themselves, so only a CPU needs wide tensors.
    """
    return reduced(compute, x, *others) if _on_cpu(x) else compute(x, *others)


def _on_cpu(x: Tensor) -> bool:
    """Whether a tensor lies on a CPU or, where its device is open, there is nothing else."""
    device = str(x.device).lower() if keras.backend.backend() != "jax" else ""
    return "cpu" in device or (not device and _only_cpus())


@functools.cache
def _only_cpus() -> bool:
    """Whether the Keras backend has no other device."""
    return all(name.startswith("cpu") for name in devices())
