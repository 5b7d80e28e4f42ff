"""Convolutions over time, plain and transposed."""

from typing import Any

import numpy as np

from tcnzoo.specs import Conv1dSpec, ConvBlockSpec, ConvTranspose1dSpec, WindowPoolSpec
from tcnzoo.specs.base import PROBE

from .block import BlockWriter, writes
from .builder import Value
from .stream import continued, finished

# What ONNX calls the modes of its operator Pad; `circular` is put together from slices.
MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}


def window_pads(
    block: BlockWriter[Conv1dSpec | WindowPoolSpec], x: Value, stride: int
) -> tuple[Any, Any]:
    """Steps that a window adds left and right: numbers, or vectors where they depend on the length.

    Only `same_upper` with a stride does: what ceil(time / stride) outputs need, half of it left.
    """
    spec, graph = block.spec, block.graph
    if x.time is not None or stride == 1 or spec.padding != "same_upper":
        pads: tuple[int, int] = spec.pads(PROBE if x.time is None else x.time)
        return pads
    length, step = block.length(x), graph.integers(stride)
    outputs = block.op("Div", block.op("Add", length, graph.integers(stride - 1)), step)
    starts = block.op("Mul", outputs, step)
    needed = block.op("Add", starts, graph.integers(spec.reach + 1 - stride))
    total = block.op("Max", block.op("Sub", needed, length), graph.integers(0))
    left = block.op("Div", total, graph.integers(2))
    return left, block.op("Sub", total, left)


def padded(block: BlockWriter[Any], x: Value, left: Any, right: Any, mode: str) -> str:
    """A signal with steps before and after it."""
    if left == right == 0:
        return x.name
    if mode != "circular":
        return block.lengthened(x, left, right, MODES[mode])
    parts: list[Value | str] = [x]
    if left != 0:
        start = -left if isinstance(left, int) else block.op("Sub", block.length(x), left)
        parts.insert(0, block.cut(x, start))
    if right != 0:
        parts.append(block.cut(x, 0, right))
    return block.join(*parts)


@writes("conv1d")
def conv1d(block: BlockWriter[Conv1dSpec], x: Value) -> Value:
    """(batch, in, time) -> (batch, out, time')."""
    if block.streaming:
        ready, count = continued(block, x, block.spec.stride)
        return finished(block, x, _convolved(block, ready, [0, 0]), count, block.spec.out_channels)
    spec = block.spec
    left, right = window_pads(block, x, spec.stride)
    if spec.padding_mode == "zeros" and isinstance(left, int):
        name = _convolved(block, x, [left, right])
    else:
        name = _convolved(block, padded(block, x, left, right, spec.padding_mode), [0, 0])
    return Value(name, (spec.out_channels, _steps(block, x)))


def _convolved(block: BlockWriter[Conv1dSpec], x: Value | str, pads: list[int]) -> str:
    """The convolution itself."""
    spec = block.spec
    return block.op(
        "Conv",
        x,
        block.kernel(),
        *([block.vector("bias")] if spec.bias else []),
        kernel_shape=block.spatial(spec.kernel_size),
        strides=block.spatial(spec.stride),
        dilations=block.spatial(spec.dilation),
        group=spec.groups,
        pads=block.spatial_pads(*pads),
    )


def _steps(block: BlockWriter[Conv1dSpec | ConvTranspose1dSpec], x: Value) -> int | None:
    """Steps of the output, where those of the input are known."""
    if x.time is None:
        return None
    _, steps = block.spec.output_shape((x.channels, x.time))
    return int(steps)


@writes("conv_transpose1d")
def conv_transpose1d(block: BlockWriter[ConvTranspose1dSpec], x: Value) -> Value:
    """(batch, in, time) -> (batch, out, time * stride), or as `padding` says."""
    spec = block.spec
    if block.streaming:
        return _streamed_transpose(block, x)
    left, right = spec.crops
    name = _scattered(block, x, left, right, spec.bias)
    return Value(name, (spec.out_channels, _steps(block, x)))


def _scattered(
    block: BlockWriter[ConvTranspose1dSpec], x: Value | str, left: int, right: int, bias: bool
) -> str:
    """The transposed convolution itself, cropped; a right < 0 adds steps of bias only."""
    spec = block.spec
    return block.op(
        "ConvTranspose",
        x,
        block.kernel(),
        *([block.vector("bias")] if bias else []),
        kernel_shape=block.spatial(spec.kernel_size),
        strides=block.spatial(spec.stride),
        dilations=block.spatial(spec.dilation),
        pads=block.spatial_pads(left, max(0, right)),
        output_padding=[0, max(0, -right)] if block.wide else [max(0, -right)],
    )


def _streamed_transpose(block: BlockWriter[ConvTranspose1dSpec], x: Value) -> Value:
    """Add the tail of earlier chunks, return the finished steps, and keep the rest."""
    spec = block.spec
    ready: Value | str = block.lengthened(x, 0, 1) if x.may_be_empty else x
    name = _scattered(block, ready, 0, min(0, spec.overlap), spec.bias and spec.overlap <= 0)
    if x.may_be_empty:
        name = block.cut(name, 0, -spec.stride)
    if spec.overlap > 0:
        dtype = block.graph.dtype
        name = block.cast(name, np.float32, dtype)
        head = block.op("Add", block.cut(name, 0, spec.overlap), block.read("tail"))
        name = block.join(head, block.cut(name, spec.overlap))
        block.leave("tail", block.cut(name, -spec.overlap))
        name = block.cast(block.cut(name, 0, -spec.overlap), dtype, np.float32)
        if spec.bias:
            name = block.op("Add", name, block.over_time(block.vector("bias")))
    time = None if x.time is None else x.time * spec.stride
    return Value(name, (spec.out_channels, time), x.may_be_empty)


@writes("conv_block")
def conv_block(block: BlockWriter[ConvBlockSpec], x: Value) -> Value:
    """Convolution -> norm -> activation -> dropout."""
    x = block.apply("conv", x)
    for name in ("norm", "activation", "dropout"):
        x = block.optional(name, x)
    return x
