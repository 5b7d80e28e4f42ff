"""Convolutions of signals of several devices, which are (batch, channels, devices, time) always."""

from dataclasses import replace

from .builder import Value
from .emit import Place, emits


@emits("conv2d")
def conv2d(place: Place, x: Value) -> Value:
    """(batch, in, devices, time) -> (batch, out, devices', time')."""
    spec, (rows, taps) = place.spec, place.spec.kernel_size
    if place.streaming and spec.reach:
        raise place.refuse("a conv2d is written for whole signals only; leave out --streaming")
    left, right = spec.pads
    weight = place.graph.weight(place.full("weight"), place.weights[place.full("weight")])
    name = place.op(
        "Conv",
        x,
        weight,
        *([place.vector("bias")] if spec.bias else []),
        kernel_shape=[rows, taps],
        strides=[1, 1],
        dilations=[1, spec.dilation],
        group=spec.groups,
        pads=[0, left, 0, right],
    )
    steps = None if x.time is None else x.time + left + right - spec.reach
    return Value(name, (spec.out_channels, x.devices - rows + 1, steps))


@emits("temporal_block_2d")
def temporal_block_2d(place: Place, x: Value) -> Value:
    """Two dilated 1 x k convolutions with norms and activations, and a residual."""
    out = x
    for number in (1, 2):
        out = place.optional(f"norm{number}", place.apply(f"conv{number}", out))
        out = place.optional("dropout", place.apply(f"activation{number}", out))
    total = place.op("Add", place.optional("residual", x), out)
    return place.apply("activation", replace(out, name=total))


@emits("tcn_2d")
def tcn_2d(place: Place, x: Value) -> Value:
    """Temporal blocks, one after the other."""
    for name in place.spec.children():
        x = place.apply(name, x)
    return x
