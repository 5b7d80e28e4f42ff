"""Convolutions for inference on a CPU: kernels folded with their norm, and oneDNN's packed form.

Prepared kernels are a cache beside the module, never in its state_dict, copies or pickles. A packed
kernel is made again when a tensor it came from was replaced or written in place (torch counts such
writes; for those of fused optimizers, which it does not count, see `_count_writes`), and on every
call of `train()` or `eval()`. A write through `.data` in evaluation mode is not counted by torch:
write under `torch.no_grad()` instead.
"""

import operator
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

# oneDNN chooses a blocked layout for a length; any other length runs as fast with it.
LENGTH_HINT = 1024
# The exact ones: oneDNN's own tanh and exponentials are approximations.
FUSED = {"relu": ("relu", []), "leaky_relu": ("leaky_relu", ["slope"])}


def _count_writes(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Count what a fused optimizer has written as a write, as torch does for the other forms."""
    for group in optimizer.param_groups:
        if group.get("fused"):
            torch.autograd.graph.increment_version(group["params"])


register_optimizer_step_post_hook(_count_writes)


class Origin:
    """The tensors that something was made from, and whether they are still the same.

    It holds the tensors, so that no other tensor can come to lie at the same address. Writes to
    tensors made in inference mode are not counted by torch, so those never pass for unchanged.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        """Note the parameters and buffers of some modules and of those inside them."""
        parts = dict.fromkeys(part for module in modules for part in module.modules())
        self.tables = [t for part in parts for t in (part._parameters, part._buffers) if t]
        self.tensors = [t for table in self.tables for t in table.values() if t is not None]
        self.counted = not any(tensor.is_inference() for tensor in self.tensors)
        self.versions = [tensor._version for tensor in self.tensors] if self.counted else []
        self.places = [tensor.data_ptr() for tensor in self.tensors]

    def unchanged(self) -> bool:
        """Whether no tensor was replaced, moved or written in place since."""
        now = [t for table in self.tables for t in table.values() if t is not None]
        return (
            self.counted
            and len(now) == len(self.tensors)
            and all(map(operator.is_, now, self.tensors))
            and [tensor._version for tensor in now] == self.versions
            and [tensor.data_ptr() for tensor in now] == self.places
        )


@dataclass
class Packed:
    """A kernel, with `norm` folded in, and where it came from.

    Attributes:
        forms: what the engines made of the kernel, by their names.
    """

    norm: nn.Module | None
    origin: Origin
    weight: Tensor
    bias: Tensor | None
    forms: dict[str, Tensor] = field(default_factory=dict)


_CACHE: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
# Counts what was forgotten, by any module.
generation = 0


def forget(module: nn.Module) -> None:
    """Drop what is cached for a module, and let what was made of several be made again."""
    global generation
    generation += 1
    _CACHE.pop(module, None)


def cached(module: nn.Module) -> Any:
    """What is cached for a module, or None."""
    return _CACHE.get(module)


def remember(module: nn.Module, value: Any) -> None:
    """Cache a value for as long as the module lives."""
    _CACHE[module] = value


def _probe() -> bool:
    """Whether this build of torch has the packed kernels, and they agree with the plain ones."""
    if not torch._C._has_mkldnn:
        return False
    with torch.inference_mode():
        x, weight = torch.arange(24.0).view(1, 4, 6), torch.arange(24.0).view(2, 4, 3) - 12
        try:
            y = _run(x, _pack(weight, 1, 1, 1), None, 1, 1, 1, "relu", [])
        except (AttributeError, RuntimeError, TypeError):
            return False
        return torch.allclose(y, torch.nn.functional.conv1d(x, weight).relu())


def _pack(weight: Tensor, stride: int, dilation: int, groups: int) -> Tensor:
    """Reorder a (out, in, K) kernel into oneDNN's blocked layout."""
    reach = (weight.shape[2] - 1) * dilation
    size = [1, weight.shape[1] * groups, 1, LENGTH_HINT + reach]
    packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
        weight.unsqueeze(2), [0, 0], [1, stride], [1, dilation], groups, size
    )
    return packed


def _run(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    dilation: int,
    groups: int,
    activation: str,
    scalars: list[float],
) -> Tensor:
    """Convolve a padded (batch, in, time) signal and apply the activation."""
    y: Tensor = torch.ops.mkldnn._convolution_pointwise.default(
        x.unsqueeze(2), weight, bias, [0, 0], [1, stride], [1, dilation], groups,
        activation, scalars, "",
    )  # fmt: skip
    return y.squeeze(2)


AVAILABLE = _probe()


def hooked(*modules: nn.Module | None) -> bool:
    """Whether someone listens to one of the modules, so that it must really be called."""
    for module in modules:
        if module is not None and (module._forward_hooks or module._forward_pre_hooks):
            return True
    return False


def effective(conv: Any, norm: Any = None) -> tuple[Tensor, Tensor | None]:
    """Kernel (out, in, K) and bias of a convolution, with weight and batch norm folded in."""
    weight, bias = conv.kernel().detach(), conv.bias
    if norm is None:
        return weight, bias
    scale = norm.weight.double() / (norm.running_var.double() + norm.spec.eps).sqrt()
    start = 0.0 if bias is None else bias.double()
    shift = (start - norm.running_mean.double()) * scale + norm.bias.double()
    return (weight.double() * scale[:, None, None]).float(), shift.float()


def folded(conv: Any, norm: Any = None) -> Packed:
    """The kernel of a convolution, with the batch norm that follows it."""
    kernel = _CACHE.get(conv)
    if isinstance(kernel, Packed) and kernel.norm is norm and kernel.origin.unchanged():
        return kernel
    origin = Origin((conv,) if norm is None else (conv, norm))
    kernel = _CACHE[conv] = Packed(norm, origin, *effective(conv, norm))
    return kernel


def prepared(weight: Tensor, spec: Any) -> Tensor:
    """Reorder the (out, in, K) kernel of a convolution for `convolve`."""
    return _pack(weight, spec.stride, spec.dilation, spec.groups)


def convolve(
    signal: Tensor, blocked: Tensor, bias: Tensor | None, spec: Any, activation: Any
) -> Tensor:
    """Convolve a padded signal with a packed kernel and apply the activation.

    Args:
        signal: (batch, time, in), contiguous.
        blocked: see `prepared`.
        bias: (out,).
        spec: of the convolution.
        activation: of a name in FUSED, or None.
    Returns:
        (batch, out, time'), channel stride 1.
    """
    name, fields = FUSED[activation.name] if activation is not None else ("none", [])
    scalars = [getattr(activation, name) for name in fields]
    geometry = spec.stride, spec.dilation, spec.groups
    return _run(signal.transpose(1, 2), blocked, bias, *geometry, name, scalars)
