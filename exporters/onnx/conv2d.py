"""Convolutions of signals of several devices, which are (batch, channels, devices, time) always."""

from dataclasses import replace

from tcnzoo.specs import Conv2dSpec, Tcn2dSpec, TemporalBlock2dSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("conv2d")
def conv2d(block: BlockWriter[Conv2dSpec], x: Value) -> Value:
    """(batch, in, devices, time) -> (batch, out, devices', time')."""
    spec, (spanned, taps) = block.spec, block.spec.kernel_size
    if block.streaming and spec.reach:
        raise block.refuse("a conv2d is written for whole signals only; leave out --streaming")
    left, right = spec.pads
    weight = block.graph.weight(block.full("weight"), block.weights[block.full("weight")])
    name = block.op(
        "Conv",
        x,
        weight,
        *([block.vector("bias")] if spec.bias else []),
        kernel_shape=[spanned, taps],
        strides=[1, 1],
        dilations=[1, spec.dilation],
        group=spec.groups,
        pads=[0, left, 0, right],
    )
    steps = None if x.time is None else x.time + left + right - spec.reach
    return Value(name, (spec.out_channels, x.devices - spanned + 1, steps))


@writes("temporal_block_2d")
def temporal_block_2d(block: BlockWriter[TemporalBlock2dSpec], x: Value) -> Value:
    """Two dilated 1 x k convolutions with norms and activations, and a residual."""
    out = x
    for number in (1, 2):
        out = block.optional(f"norm{number}", block.apply(f"conv{number}", out))
        out = block.optional("dropout", block.apply(f"activation{number}", out))
    total = block.op("Add", block.optional("residual", x), out)
    return block.apply("activation", replace(out, name=total))


@writes("tcn_2d")
def tcn_2d(block: BlockWriter[Tcn2dSpec], x: Value) -> Value:
    """Temporal blocks, one after the other."""
    for name in block.spec.children():
        x = block.apply(name, x)
    return x
