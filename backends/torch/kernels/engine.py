"""Which engine computes a call. They all give what the blocks define, within float32 rounding.

On a CPU the engine of a convolution is chosen by `tcnzoo.engines.fastest`, for each shape. Where
somebody looks on (a compiler, a tracer, a transform, autocast, a dispatch mode), on other devices
and in 16 bits, convolutions are torch's own.
"""

import functools
from collections.abc import Callable
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from tcnzoo.engines import fastest
from tcnzoo.models.streaming import Stream

from ..types import watched
from . import one_step, packed, taps, toom_cook
from .channels_last import laid_out
from .toom_points import TILE

PACKAGE = f"torch {torch.__version__.partition('+')[0]}"
# What is measured is cut to so many multiply-adds, but not below so many steps.
MULTIPLY_ADDS, STEPS = 2**29, 512
# From this waste on, by steps that complete the tiles, Toom-Cook has no products to spare.
WASTE = 1.5


class Engine(Enum):
    """The ways to compute convolutions.

    PLAIN: torch's own operations on (batch, channels, time), as the blocks define them.
    CHANNELS_LAST: the same operations on channels-last memory; with gradients.
    PACKED: packed oneDNN kernels, with norm and activation fused in; inference.
    K_TAP: a matrix product for each tap, norm folded in; inference.
    TOOM_COOK: fewer products, in transforms of the signal; norm folded in for inference.
    """

    PLAIN = "plain"
    CHANNELS_LAST = "channels last"
    PACKED = "packed"
    K_TAP = "k-tap"
    TOOM_COOK = "toom-cook"


def _undisturbed(x: Tensor) -> bool:
    """Whether a call is on ordinary CPU tensors, and nobody looks on."""
    return (
        x.device.type == "cpu"
        and type(x) in (Tensor, nn.Parameter)
        and not watched()
        and not torch.is_autocast_enabled("cpu")
        and torch._C._len_torch_dispatch_stack() == 0
        and x.numel() > 0
    )


def infers(x: Tensor) -> bool:
    """Whether a call is inference in float32 on a CPU, which folded kernels serve."""
    return x.dtype == torch.float32 and not torch.is_grad_enabled() and _undisturbed(x)


def trains(x: Tensor, weight: Tensor) -> bool:
    """Whether a call with gradients has a choice of engines."""
    return (
        torch.is_grad_enabled()
        and x.dtype == weight.dtype
        and x.dtype in (torch.float32, torch.float64)
        and (x.requires_grad or weight.requires_grad)
        and type(weight) in (Tensor, nn.Parameter)
        and _undisturbed(x)
    )


def takes_one_step(tcn: Any, x: Tensor, stream: Stream | None) -> bool:
    """Whether all blocks of a `tcn` are computed at once for this call."""
    single = stream is not None and x.shape[2] == 1 and packed.AVAILABLE and infers(x)
    return single and one_step.serves(tcn)


def for_inference(
    spec: Any, x: Tensor, pads: tuple[int, int], follows: str, run: Callable[..., object]
) -> Engine:
    """Choose the engine of a convolution without gradients.

    Args:
        spec: of the convolution.
        x: (batch, in, time), without its padding.
        pads: zeros to be added before and after it.
        follows: names of what is computed with it, such as ` + relu`.
        run: run(engine, x, forms) computes it; `forms` takes the kernels that are prepared for it.
    """
    offered = [Engine.PLAIN]
    if packed.AVAILABLE and torch.backends.mkldnn.enabled:
        offered.append(Engine.PACKED)
    if spec.groups == 1:
        offered.append(Engine.K_TAP)
    return _choose("conv1d forward", spec, x, pads, offered, follows, run)


def for_training(spec: Any, x: Tensor, pads: tuple[int, int], run: Callable[..., object]) -> Engine:
    """Choose the engine of a convolution with gradients: the fastest there and back.

    Args:
        spec, x, pads: as above.
        run: run(engine, x, forms) computes the convolution and its gradients.
    """
    offered = [Engine.PLAIN, Engine.CHANNELS_LAST]
    follows = "" if x.requires_grad else ", no gradient of the input"
    return _choose("conv1d training", spec, x, pads, offered, follows, run)


def _choose(
    operation: str,
    spec: Any,
    x: Tensor,
    pads: tuple[int, int],
    offered: list[Engine],
    follows: str,
    run: Callable[..., object],
) -> Engine:
    """Ask for the fastest engine; Toom-Cook is offered where it can be one."""
    batch, steps = _measured_size(spec, x)
    outputs = steps + sum(pads) - spec.reach
    widths = spec.in_channels, spec.out_channels
    tiles = toom_cook.serves(spec.kernel_size, spec.stride, spec.groups, widths)
    if tiles and toom_cook.tiled(outputs, spec.dilation) <= WASTE * outputs:
        offered.append(Engine.TOOM_COOK)
    far = tiles and Engine.TOOM_COOK not in offered
    layout = x.stride(1) == 1 and x.shape[1] > 1
    name = _shape(
        *widths, spec.kernel_size, spec.stride, spec.groups, min(spec.dilation, 2), far, batch,
        1 << max(0, outputs - 1).bit_length(), layout, x.dtype == torch.float64, follows,
        torch.get_num_threads(),
    )  # fmt: skip
    trial = _Trial(x, batch, steps, run)
    engines = {engine.value: functools.partial(trial, engine) for engine in offered}
    return Engine(fastest(operation, name, engines, package=PACKAGE))


@functools.lru_cache(maxsize=4096)
def _shape(
    inside: int,
    outside: int,
    kernel: int,
    stride: int,
    groups: int,
    dilation: int,
    far: bool,
    batch: int,
    steps: int,
    channels_last: bool,
    double: bool,
    follows: str,
    threads: int,
) -> str:
    """All that the speed depends on, as text; lengths by the next power of two."""
    parts = [f"{inside}->{outside}", f"kernel {kernel}"]
    parts += [f"stride {stride}"] if stride > 1 else []
    parts += [f"{groups} groups"] if groups > 1 else []
    parts += ["dilated beyond the signal" if far else "dilated"] if dilation > 1 else []
    parts += ["short"] if far and dilation == 1 else []
    parts += [f"{batch} x {steps}"]
    parts += ["channels last"] if channels_last else []
    parts += ["float64"] if double else []
    return ", ".join(parts) + follows + f", threads {threads}"


def _measured_size(spec: Any, x: Tensor) -> tuple[int, int]:
    """How many signals and steps of x are measured."""
    each = spec.in_channels * spec.out_channels * spec.kernel_size // (spec.groups * spec.stride)
    least = max(STEPS, 4 * TILE * spec.dilation) + spec.reach
    steps = min(x.shape[2], max(least, MULTIPLY_ADDS // max(1, each)))
    return max(1, min(x.shape[0], MULTIPLY_ADDS // max(1, each * steps))), steps


class _Trial:
    """Calls of one shape for measuring, with what they prepare."""

    def __init__(self, x: Tensor, batch: int, steps: int, run: Callable[..., object]) -> None:
        """Note what is to be run, and on which part of x."""
        self.x, self.size, self.compute = x, (batch, steps), run
        self.part: Tensor | None = None
        self.forms: dict[str, Tensor] = {}

    def __call__(self, engine: Engine) -> None:
        """Compute the part with an engine."""
        if self.part is None:
            self.part = self._cut()
        self.compute(engine, self.part, self.forms)

    def _cut(self) -> Tensor:
        """The part of x that is measured, laid out as x is."""
        batch, steps = self.size
        if (batch, steps) == (self.x.shape[0], self.x.shape[2]):
            return self.x
        part = self.x[:batch, :, :steps]
        if self.x.stride(1) == 1:
            return part.transpose(1, 2).contiguous().transpose(1, 2)
        return part.contiguous()


def forward(
    engine: Engine, kernel: packed.Packed, spec: Any, x: Tensor, pads: tuple[int, int],
    activation: Any, forms: dict[str, Tensor],
) -> Tensor:  # fmt: skip
    """Pad, convolve with a folded kernel and apply an activation.

    Args:
        engine: PACKED, K_TAP or TOOM_COOK.
        kernel: with the norm folded in.
        spec: of the convolution.
        x: (batch, in, time).
        pads: zeros to be added before and after it.
        activation: its spec, of a name in `packed.FUSED`, or None.
        forms: where the engine finds its form of the kernel, or puts it.
    Returns:
        (batch, out, time'), channel stride 1.
    """
    form = forms.get(engine.value)
    if form is None:
        form = forms[engine.value] = (
            packed.prepared(kernel.weight, spec)
            if engine is Engine.PACKED
            else PREPARED[engine](kernel.weight)
        )
    if engine is Engine.TOOM_COOK:
        y = toom_cook.run(x, form, kernel.bias, spec.kernel_size, spec.dilation, pads)
    else:
        signal = laid_out(x, *pads)
        if engine is Engine.PACKED:
            return packed.convolve(signal, form, kernel.bias, spec, activation)
        y = taps.convolve(signal, form, kernel.bias, spec.stride, spec.dilation).transpose(1, 2)
    if activation is None:
        return y
    if activation.name == "relu":
        return y.relu_()
    return torch.nn.functional.leaky_relu_(y, activation.slope)


PREPARED = {Engine.K_TAP: taps.prepared, Engine.TOOM_COOK: toom_cook.prepared}
