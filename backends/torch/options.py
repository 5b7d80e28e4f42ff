"""What `create` takes for torch whatever the spec: checkpointing, TF32 and mixed precision."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tcnzoo.errors import InputError

from .types import watched

# What `checkpointing="blocks"` computes once more in the backward pass, each as a whole.
BLOCKS = ("temporal_block", "temporal_block_2d", "bi_mamba2_layer", "mamba2")
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
# Switches of torch.backends.cuda.matmul.
SUMS_IN_16_BITS = (
    "allow_bf16_reduced_precision_reduction",
    "allow_fp16_reduced_precision_reduction",
)

Call = Callable[..., Any]


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Let CUDA round float32 products to TF32 for a while, or keep it from that.

    Sums of 16-bit products are taken in float32 throughout, which torch leaves to chance: its
    default lets cuBLAS add partial sums in 16 bits.
    """
    if not torch.cuda.is_available():
        yield
        return
    matmul = torch.backends.cuda.matmul
    wanted = {"allow_tf32": allowed, **dict.fromkeys(SUMS_IN_16_BITS, False)}
    before = {name: getattr(matmul, name) for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(matmul, name, value)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=allowed):
            yield
    finally:
        for name, value in before.items():
            setattr(matmul, name, value)


@dataclass(frozen=True)
class Options:
    """Checked options of one model.

    Attributes:
        checkpointing: `blocks`, or None to keep all that the backward pass needs.
        tf32: whether CUDA may round products of float32 values in calls of the model.
        autocast: `bfloat16` or `float16` for mixed precision in offline calls, or None.
    Raises:
        InputError: a value that is none of these.
    """

    checkpointing: str | None = None
    tf32: bool = False
    autocast: str | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if self.checkpointing not in (None, "blocks"):
            raise InputError(
                f"checkpointing must be 'blocks' or None, but is {self.checkpointing!r}"
            )
        if not isinstance(self.tf32, bool):
            raise InputError(f"tf32 must be True or False, but is {self.tf32!r}")
        if self.autocast not in (None, *DTYPES):
            raise InputError(
                f"autocast must be {', '.join(map(repr, DTYPES))} or None, but is {self.autocast!r}"
            )

    @contextlib.contextmanager
    def _applied(self, device: str, streams: bool) -> Iterator[None]:
        """TF32 and autocast as wanted, and afterwards as they were."""
        with contextlib.ExitStack() as stack:
            if self.tf32:
                stack.enter_context(tf32(True))
            if self.autocast is not None and not streams:
                stack.enter_context(torch.autocast(device, DTYPES[self.autocast]))
            yield

    def run(self, forward: Call, x: Any, stream: Any = None, *rest: Any) -> Any:
        """Run a model's forward; outputs are as wide as they are without autocast."""
        with self._applied(x.device.type, stream is not None):
            y = forward(x, stream, *rest)
        return y if self.autocast is None else _wide(y)


def _wide(y: Any) -> Any:
    """Outputs of 16 bits as float32."""
    if isinstance(y, dict):
        return {name: _wide(output) for name, output in y.items()}
    if isinstance(y, tuple):
        return tuple(_wide(output) for output in y)
    return y.float() if isinstance(y, Tensor) and y.dtype in DTYPES.values() else y


def recomputed(part: nn.Module, forward: Call, x: Any, stream: Any = None, *rest: Any) -> Any:
    """Run a part so that the backward pass computes its inside once more.

    Dropout draws the same values then, and running statistics are left as the first pass left them.
    """
    if stream is not None or not torch.is_grad_enabled() or watched():
        return forward(x, stream, *rest)
    contexts = functools.partial(_contexts, part)
    return checkpoint(forward, x, stream, *rest, use_reentrant=False, context_fn=contexts)


def _contexts(part: nn.Module) -> tuple[Any, Any]:
    """What the first and the second pass run within."""
    return contextlib.nullcontext(), _on_copies(part)


@contextlib.contextmanager
def _on_copies(part: nn.Module) -> Iterator[None]:
    """Give a part copies of its buffers for a while."""
    tables = [inner._buffers for inner in part.modules() if inner._buffers]
    originals = [dict(table) for table in tables]
    for table in tables:
        table.update({name: buffer.clone() for name, buffer in table.items() if buffer is not None})
    try:
        yield
    finally:
        for table, own in zip(tables, originals, strict=True):
            table.update(own)


def checkpointed(model: nn.Module) -> list[Any]:
    """The outermost parts that `checkpointing="blocks"` is about.

    Raises:
        InputError: there are none.
    """
    outermost: dict[str, nn.Module] = {}
    for path, part in model.named_modules():
        inside = any(not outer or path.startswith(f"{outer}.") for outer in outermost)
        if getattr(getattr(part, "spec", None), "kind", None) in BLOCKS and not inside:
            outermost[path] = part
    if not outermost:
        raise InputError(
            f"checkpointing='blocks' takes a model with one of {', '.join(BLOCKS)} in it, but this "
            "one has none"
        )
    return list(outermost.values())
