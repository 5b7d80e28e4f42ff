"""Convolutions over time, offline and streaming."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.models.streaming import Stream, strided_steps
from tcnzoo.specs import ActivationSpec, Conv1dSpec, ConvBlockSpec, ConvTranspose1dSpec

from .activation import Dropout
from .block import Block, maybe
from .kernels import engine, packed
from .kernels.channels_last import ChannelsLast
from .kernels.engine import Engine
from .kernels.toom_cook import ToomCook
from .types import convolved, reduced, wide

_PAD = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def padded(x: Tensor, pads: tuple[int, int], mode: str) -> Tensor:
    """Add steps before and after a signal (batch, channels, time), in one of the four modes."""
    return F.pad(x, pads, mode=_PAD[mode]) if any(pads) else x


class Conv1d(Block[Conv1dSpec], kind="conv1d"):
    """Dilated, strided, grouped convolution; (batch, in, time) -> (batch, out, time')."""

    weight: Tensor
    weight_g: Tensor
    weight_v: Tensor
    bias: Tensor | None

    def kernel(self) -> Tensor:
        """`weight`, or g * v / ||v|| with the norm over every axis but the output channels'."""
        if not self.spec.weight_norm:
            return self.weight
        return torch._weight_norm(self.weight_v, self.weight_g, 0)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Pad and convolve; with a `stream`, continue what came before."""
        return self.run(x, stream)

    def run(
        self,
        x: Tensor,
        stream: Stream | None = None,
        norm: Block[Any] | None = None,
        activation: Block[Any] | None = None,
    ) -> Tensor:
        """Compute with the engine that is the fastest here, and what follows with it.

        Args:
            x: (batch, in, time).
            stream: continue what came before.
            norm: the batch norm that follows, in evaluation; for inference on a CPU only.
            activation: the activation that follows, one of `packed.FUSED`; likewise.
        """
        spec, pads = self.spec, (0, 0)
        if stream is not None:
            x = self._continue(x, stream)
            if x.shape[2] <= spec.reach:
                return x.new_zeros(x.shape[0], spec.out_channels, 0)
        else:
            pads = spec.pads(x.shape[2])
            if spec.padding_mode != "zeros" and any(pads):
                x, pads = padded(x, pads, spec.padding_mode), (0, 0)
        if x.shape[2] + sum(pads) == 0:  # an empty chunk
            return x.new_zeros(x.shape[0], spec.out_channels, 0)
        if engine.infers(x):
            return self._inferred(x, pads, norm, activation)
        weight, bias = self.kernel(), self.bias
        if engine.trains(x, weight):
            run = partial(_there_and_back, spec, weight, bias, pads, x.requires_grad)
            chosen = engine.for_training(spec, x, pads, run)
            return _with_gradients(chosen, spec, x, weight, bias, pads)
        return convolved(partial(_plain, spec), padded(x, pads, "zeros"), weight, bias)

    def _inferred(
        self,
        x: Tensor,
        pads: tuple[int, int],
        norm: Block[Any] | None,
        activation: Block[Any] | None,
    ) -> Tensor:
        """Inference in float32 on a CPU."""
        follows = "".join(f" + {_name(part.spec)}" for part in (norm, activation) if part)
        run = partial(self._by_engine, pads, norm, activation)
        chosen = engine.for_inference(self.spec, x, pads, follows, run)
        return run(chosen, x)

    def _by_engine(
        self,
        pads: tuple[int, int],
        norm: Block[Any] | None,
        activation: Block[Any] | None,
        chosen: Engine,
        x: Tensor,
        forms: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Compute with one engine; prepared kernels are kept in `forms`, else with the module."""
        if chosen is Engine.PLAIN:
            y = _plain(self.spec, padded(x, pads, "zeros"), self.kernel(), self.bias)
            return maybe(activation, maybe(norm, y))
        kernel = packed.folded(self, norm)
        name = None if activation is None else activation.spec
        forms = kernel.forms if forms is None else forms
        return engine.forward(chosen, kernel, self.spec, x, pads, name, forms)

    def _continue(self, x: Tensor, stream: Stream) -> Tensor:
        """Put the context before the chunk, and drop what lies before the first due output."""
        length, reach = x.shape[2], self.spec.reach
        if "context" in self.state_items:
            context = stream.read(self.path, "context")
            if "started" in self.state_items:
                started = int(stream.read(self.path, "started"))
                if length and not started:
                    context = x[:, :, :1].expand(-1, -1, reach)
                begun = torch.tensor(max(started, int(length > 0)), dtype=torch.int32)
                stream.write(self.path, "started", begun)
            x = torch.cat([context.transpose(1, 2), x.transpose(1, 2)], dim=1).transpose(1, 2)
            after = x[:, :, x.shape[2] - reach :]
            # A view keeps the whole chunk in memory, so a chunk longer than the context is let go.
            stream.write(self.path, "context", after.clone() if length > reach else after)
        if "skip" not in self.state_items:
            return x
        skip = int(stream.read(self.path, "skip"))
        steps, left = strided_steps(skip, length, self.spec.stride)
        stream.write(self.path, "skip", torch.tensor(left, dtype=torch.int32))
        return x[:, :, skip:] if steps else x[:, :, :0]


def _name(spec: Any) -> str:
    """What follows a convolution, by name."""
    return spec.name if isinstance(spec, ActivationSpec) else spec.kind


def _plain(spec: Conv1dSpec, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve an already padded signal."""
    return F.conv1d(x, weight, bias, spec.stride, 0, spec.dilation, spec.groups)


def _with_gradients(
    chosen: Engine,
    spec: Conv1dSpec,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    pads: tuple[int, int],
) -> Tensor:
    """Pad and convolve with one of the engines that have gradients."""
    y: Tensor
    if chosen is Engine.TOOM_COOK:
        y = ToomCook.apply(x, weight, bias, spec.dilation, pads)  # type: ignore[no-untyped-call]
        return y
    if chosen is Engine.CHANNELS_LAST:
        geometry = spec.stride, spec.dilation, spec.groups
        y = ChannelsLast.apply(x, weight, bias, geometry, pads)  # type: ignore[no-untyped-call]
        return y
    return _plain(spec, padded(x, pads, "zeros"), weight, bias)


def _there_and_back(
    spec: Conv1dSpec,
    weight: Tensor,
    bias: Tensor | None,
    pads: tuple[int, int],
    input_slope: bool,
    chosen: Engine,
    x: Tensor,
    _: dict[str, Tensor],
) -> None:
    """Compute a convolution and its gradients on copies that nobody else differentiates."""
    x = x.detach().requires_grad_(input_slope)
    weight = weight.detach().requires_grad_()
    bias = None if bias is None else bias.detach().requires_grad_()
    leaves = [one for one in (x, weight, bias) if one is not None and one.requires_grad]
    # Hooks of others, such as those of checkpoints, see nothing of it.
    with torch.autograd.graph.saved_tensors_hooks(lambda kept: kept, lambda kept: kept):
        y = _with_gradients(chosen, spec, x, weight, bias, pads)
        torch.autograd.grad(y, leaves, torch.ones_like(y))


class ConvTranspose1d(Block[ConvTranspose1dSpec], kind="conv_transpose1d"):
    """Transposed convolution; (batch, in, time) -> (batch, out, time * stride) when causal."""

    weight: Tensor
    weight_g: Tensor
    weight_v: Tensor
    bias: Tensor | None

    def kernel(self) -> Tensor:
        """`weight`, or g * v / ||v|| with the norm over every axis but the output channels'."""
        if not self.spec.weight_norm:
            return self.weight
        return torch._weight_norm(self.weight_v, self.weight_g, 1)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Scatter the taps and crop; with a `stream`, add to what earlier chunks left."""
        compute = partial(self._scattered, stream=stream)
        return reduced(compute, x, self.kernel(), self.bias)

    def _scattered(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, stream: Stream | None
    ) -> Tensor:
        """Scatter the taps, and crop or continue."""
        spec = self.spec
        if x.shape[2] == 0:
            full = x.new_zeros(x.shape[0], spec.out_channels, 0)
        else:
            full = F.conv_transpose1d(x, weight, stride=spec.stride, dilation=spec.dilation)
        if stream is None:
            left, right = spec.crops
            y = F.pad(full, (-left, -right))
        else:
            y = self._emit(full, x.shape[2] * spec.stride, stream).to(x.dtype)
        return y if bias is None else y + bias[:, None]

    def _emit(self, full: Tensor, steps: int, stream: Stream) -> Tensor:
        """Add the tail of earlier chunks, return the finished steps, and keep the rest."""
        overlap = max(0, self.spec.overlap)
        y = F.pad(full, (0, steps + overlap - full.shape[2]))
        if overlap:
            y = y + F.pad(stream.read(self.path, "tail"), (0, steps))
            stream.write(self.path, "tail", wide(y[:, :, steps:]))
        return y[:, :, :steps]


def fused(
    conv: Conv1d,
    norm: Block[Any] | None,
    activation: Block[Any] | None,
    x: Tensor,
    stream: Stream | None,
) -> Tensor:
    """conv -> norm -> activation, in one kernel where the engine has one."""
    norm_fits = norm is None or (norm.spec.kind == "batch_norm" and not norm.training)
    if not (engine.infers(x) and norm_fits) or packed.hooked(conv, norm, activation):
        return maybe(activation, maybe(norm, conv(x, stream)))
    spec = None if activation is None else activation.spec
    if isinstance(spec, ActivationSpec) and spec.name in packed.FUSED:
        return conv.run(x, stream, norm, activation)
    return maybe(activation, conv.run(x, stream, norm))


class ConvBlock(Block[ConvBlockSpec], kind="conv_block"):
    """Convolution -> norm -> activation -> dropout."""

    conv: Conv1d
    norm: Block[Any] | None
    activation: Block[Any] | None
    dropout: Dropout | None

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, in, time) -> (batch, out, time')."""
        return maybe(self.dropout, fused(self.conv, self.norm, self.activation, x, stream))
