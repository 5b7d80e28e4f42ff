"""Which engine computes a call. They all give what the blocks define, within float32 rounding."""

from enum import Enum
from typing import Any

import torch
from torch import Tensor

from tcnzoo.models.streaming import Stream

from . import one_step, packed

# Up to this width, training on a CPU is 1.2 to 1.3 times as fast with channels last.
NARROW = 128


class Engine(Enum):
    """The ways to compute convolutions.

    PLAIN: torch's own operations on (batch, channels, time), as the blocks define them.
    CHANNELS_LAST: the same operations on channels-last memory: narrow convolutions on a CPU.
    PACKED: packed oneDNN kernels, with norm and activation fused in: float32 inference on a CPU.
    ONE_STEP: all blocks of a stack at once: one sample of a stream, in float32 on a CPU.
    """

    PLAIN = "plain"
    CHANNELS_LAST = "channels last"
    PACKED = "packed"
    ONE_STEP = "one step"


def engine_for(block: Any, x: Tensor, stream: Stream | None = None) -> Engine:
    """Choose the engine of a `conv1d` or a `tcn`.

    Args:
        block: to be run.
        x: its input, (batch, channels, time).
        stream: of a step of a stream.
    """
    on_cpu = x.device.type == "cpu"
    fast_inference = (
        on_cpu
        and packed.AVAILABLE
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and bool(torch.backends.mkldnn.enabled)
        and not torch.compiler.is_compiling()
        and not torch._C._get_tracing_state()
        and not torch.is_autocast_enabled("cpu")
        and x.numel() > 0
    )
    spec = block.spec
    if spec.kind == "tcn":
        single = stream is not None and x.shape[2] == 1 and fast_inference
        return Engine.ONE_STEP if single and one_step.serves(block) else Engine.PLAIN
    if fast_inference:
        return Engine.PACKED
    if on_cpu and max(spec.in_channels, spec.out_channels) <= NARROW:
        return Engine.PLAIN if torch.compiler.is_compiling() else Engine.CHANNELS_LAST
    return Engine.PLAIN
