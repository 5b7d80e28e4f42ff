"""An output that keeps its axis of size 1: layers behind a pool as those of a signal of one step.

While a graph is read, what a pool over all of time gives is a vector, whether or not the pool keeps
an axis of size 1. Where that axis is still there at the end, the output is (batch, channels, 1).
"""

from .layers import Layer, Notes, Program
from .signal import INPUT

# Kinds that give a signal for a signal and a vector for a vector.
_EITHER = ("activation", "affine", "batch_norm", "dropout", "glu", "layer_norm", "merge")
_POOLS = {"global_average": "adaptive_average", "global_max": "adaptive_max"}


def keep_axis(program: Program) -> bool:
    """Make the output of a program, a vector, a signal of one step; whether that was possible.

    It is possible where a pool over all of time, or a flatten of one step, makes the vector, and
    nothing but the output needs it. Otherwise the program is left as it is.
    """
    inside: set[int] = set()
    if not _collect(program, program.output, inside):
        return False
    readers, end = program.readers(), len(program.layers)
    if any(other not in inside and other != end for number in inside for other in readers[number]):
        return False
    for number in inside:
        _as_signal(program, number)
    return True


def _collect(program: Program, number: int, inside: set[int]) -> bool:
    """Gather the layers from the vector's beginning on; whether all of them can be changed."""
    if number in inside:
        return True
    if number == INPUT:
        return False
    layer = program.layers[number]
    inside.add(number)
    if layer.kind == "pool":
        return layer.fields["mode"] in _POOLS
    if layer.kind == "flatten":
        return bool(layer.fields["length"] == 1)
    if layer.kind != "dense" and layer.kind not in _EITHER:
        return False
    return all(_collect(program, source, inside) for source in layer.inputs)


def _as_signal(program: Program, number: int) -> None:
    """Change one layer."""
    layer = program.layers[number]
    if layer.kind == "pool":
        layer.fields = {"mode": _POOLS[layer.fields["mode"]], "output_size": 1}
    elif layer.kind == "flatten":
        program.replace(number, layer.inputs[0])
        program.order.remove(number)
    elif layer.kind == "dense":
        _as_conv(layer)


def _as_conv(layer: Layer) -> None:
    """A dense layer as a convolution of one tap."""
    weight = layer.arrays["weight"]
    layer.kind = "conv1d"
    layer.arrays["weight"] = weight.now(weight.array[:, :, None])
    layer.fields = {
        "in_channels": layer.fields["in_features"],
        "out_channels": layer.fields["out_features"],
        "kernel_size": 1,
        "stride": 1,
        "dilation": 1,
        "groups": 1,
        "padding_mode": "zeros",
    }
    layer.notes = Notes(length=1)
