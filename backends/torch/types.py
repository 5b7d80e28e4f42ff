"""Float types in which sums are taken.

On CUDA torch's own operations add 16-bit values up in float32 and round once, and so do most of
them on a CPU. What is put together from several of them does not: there, values are widened first.
"""

from collections.abc import Callable

import torch
from torch import Tensor

HALVES = (torch.float16, torch.bfloat16)


def watched() -> bool:
    """Whether a compiler, a tracer or a transform looks on, which wants plain operations."""
    return bool(
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state()
        or torch._C._are_functorch_transforms_active()
    )


def wide(x: Tensor) -> Tensor:
    """The same in float32 at least."""
    return x.float() if x.dtype in HALVES else x


def reduced(compute: Callable[..., Tensor], x: Tensor, *others: Tensor | None) -> Tensor:
    """compute(x, *others), for operations that add up in 16 bits on a CPU.

    Of a 16-bit x there they run in float32, and the result is rounded once to x's type. They are,
    in torch 2.13: transposed convolutions (their taps) and layer norms (on the way back, the
    steps). What is traced is left as it is, for the compiler to choose.

    Args:
        compute: takes x and the others.
        x: of any float type.
        others: tensors of any float type, or None.
    """
    if x.dtype not in HALVES or x.device.type != "cpu" or watched():
        return compute(x, *others)
    return compute(*(None if tensor is None else wide(tensor) for tensor in (x, *others))).to(
        x.dtype
    )


def convolved(compute: Callable[..., Tensor], x: Tensor, *others: Tensor | None) -> Tensor:
    """The same for convolutions, which add up in 16 bits on the way back: the signals of a batch.

    In bfloat16 oneDNN does not, and it is up to twice as fast as float32 where no gradient is
    taken; in float16 float32 is faster.
    """
    if x.dtype == torch.bfloat16 and not torch.is_grad_enabled():
        return compute(x, *others)
    return reduced(compute, x, *others)
