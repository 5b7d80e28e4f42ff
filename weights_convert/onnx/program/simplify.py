"""Neighbouring layers made one where the numbers stay the same: pads, cuts, biases, scales.

onnxslim 0.1.98 and onnxoptimizer 0.4.2 work on operators whose axes have no roles yet, fuse norms
into kernels, which changes numbers, and give tensors new names, so that none says where it went.
"""

from collections.abc import Callable

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import WeightError

from .layers import Layer, Program
from .signal import INPUT, Const

Pads = tuple[int, int]


def simplify(program: Program) -> None:
    """Join layers until none can be joined any more."""
    program.prune()
    readers = {number: len(read) for number, read in program.readers().items()}
    joined = True
    while joined:
        joined = False
        for number in list(program.order):
            joined = _joined(program, number, readers) or joined


def _joined(program: Program, number: int, readers: dict[int, int]) -> bool:
    """Join a layer with the one that it reads, if that one is read by nothing else."""
    layer = program.layers[number]
    first = layer.inputs[0]
    if len(layer.inputs) != 1 or first == INPUT or readers[first] != 1:
        return False
    before = program.layers[first]
    join, into_later = _JOINS.get((before.kind, layer.kind), (_never, False))
    if not join(before, layer):
        return False
    if into_later:
        layer.inputs = list(before.inputs)
        program.order.remove(first)
    else:
        readers[first] = readers[number]
        program.replace(number, first)
        program.order.remove(number)
    return True


def _never(before: Layer, layer: Layer) -> bool:
    """For kinds that are not joined."""
    return False


def _pads(layer: Layer) -> Pads:
    """Steps that a pad adds at the two ends."""
    return layer.fields["left"], layer.fields["right"]


def _pad_then_pad(before: Layer, layer: Layer) -> bool:
    """Zeros beside zeros; a cut of what was added."""
    (left, right), (more_left, more_right) = _pads(before), _pads(layer)
    if {before.fields["mode"], layer.fields["mode"]} != {"zeros"}:
        return False
    if min(left, right) < 0 < max(more_left, more_right):
        return False
    layer.fields.update(left=left + more_left, right=right + more_right)
    return True


def _pad_then_conv(before: Layer, layer: Layer) -> bool:
    """Zeros before a convolution are its padding; another mode is, where all of it is there."""
    (left, right), mode = _pads(before), before.fields["mode"]
    pads = layer.notes.pads
    if pads is None or layer.fields["padding_mode"] != "zeros" or min(left, right) < 0:
        return False
    if mode != "zeros" and (pads != (0, 0) or named_padding(layer, (left, right)) is None):
        return False
    layer.fields["padding_mode"] = mode
    layer.notes.pads = (pads[0] + left, pads[1] + right)
    layer.notes.length -= left + right
    return True


def _pad_then_pool(before: Layer, layer: Layer) -> bool:
    """Zeros before an average that counts them."""
    left, right = _pads(before)
    zeros = before.fields["mode"] == "zeros" and min(left, right) >= 0
    if not zeros or layer.fields["mode"] != "average" or layer.notes.pads != (0, 0):
        return False
    reach = layer.fields["size"] - 1
    if (left, right) != (reach // 2, reach - reach // 2):
        return False
    layer.fields["count_padding"] = True
    layer.notes.pads = (left, right)
    return True


def _conv_then_cut(before: Layer, layer: Layer) -> bool:
    """Outputs that are dropped at the ends need no padding there."""
    left, right = _pads(layer)
    pads = before.notes.pads
    if max(left, right) > 0 or pads is None or before.fields["stride"] != 1:
        return False
    if before.fields["padding_mode"] != "zeros" or min(pads[0] + left, pads[1] + right) < 0:
        return False
    before.notes.pads = (pads[0] + left, pads[1] + right)
    return True


def _transpose_then_cut(before: Layer, layer: Layer) -> bool:
    """Steps that a transposed convolution need not give."""
    (left, right), crops = _pads(layer), before.notes.crops
    if max(left, right) > 0 or crops[1] < 0:
        return False
    before.notes.crops = (crops[0] - left, crops[1] - right)
    return True


def _affine_then_affine(before: Layer, layer: Layer) -> bool:
    """A scale then a shift, or a shift then a scale (and a shift)."""
    if before.notes.widens or layer.notes.widens:
        return False
    had, adds = set(before.arrays), set(layer.arrays)
    if adds == {"shift"} and "shift" not in had:
        layer.arrays = {**before.arrays, **layer.arrays}
        return True
    signs = [step.arrays["scale"].array for step in (before, layer) if "scale" in step.arrays]
    if had == {"scale"} and "scale" in adds and "mean" not in adds and _changes_sign(signs):
        sources = before.arrays["scale"].sources | layer.arrays["scale"].sources
        layer.arrays["scale"] = Const(signs[0] * signs[1], sources)
        return True
    if had == {"shift"} and "scale" in adds and "mean" not in adds:
        shift = before.arrays["shift"]
        layer.arrays["mean"] = shift.now(-shift.array)
        return True
    return False


def _changes_sign(scales: list[Array]) -> bool:
    """Whether one of two scales is -1, so that their product keeps the bits of the other."""
    return any(scale.size == 1 and float(scale.reshape(-1)[0]) == -1.0 for scale in scales)


def _then_bias(before: Layer, layer: Layer) -> bool:
    """A shift behind a layer that has no bias."""
    if "bias" in before.arrays or set(layer.arrays) != {"shift"} or layer.notes.widens:
        return False
    width = before.fields["out_features" if before.kind == "dense" else "out_channels"]
    before.arrays["bias"] = spread(layer.arrays["shift"], width)
    return True


def _norm_then_affine(before: Layer, layer: Layer) -> bool:
    """A scale and a shift behind a layer norm that has none."""
    names = {"scale": "weight", "shift": "bias"}
    wanted = {names.get(name, "") for name in layer.arrays}
    # A scale after a shift would scale the shift too.
    late = "weight" in wanted and "bias" in before.arrays
    if wanted & set(before.arrays) or "" in wanted or late or layer.notes.widens:
        return False
    for name, const in layer.arrays.items():
        before.arrays[names[name]] = spread(const, before.fields["channels"])
    return True


def spread(const: Const, width: int) -> Const:
    """One number for each channel.

    Raises:
        WeightError: neither one number nor so many.
    """
    if const.array.size not in (1, width):
        raise WeightError(f"a constant has {const.array.size} numbers for {width} channels")
    flat = const.array.reshape(-1)
    return const.now(flat if flat.size == width else np.full(width, flat[0]))


Join = tuple[Callable[[Layer, Layer], bool], bool]
# Kinds of two layers in a row -> how they are joined, and whether into the later one.
_JOINS: dict[tuple[str, str], Join] = {
    ("pad", "pad"): (_pad_then_pad, True),
    ("pad", "conv1d"): (_pad_then_conv, True),
    ("pad", "window_pool"): (_pad_then_pool, True),
    ("conv1d", "pad"): (_conv_then_cut, False),
    ("conv_transpose1d", "pad"): (_transpose_then_cut, False),
    ("affine", "affine"): (_affine_then_affine, True),
    ("conv1d", "affine"): (_then_bias, False),
    ("conv_transpose1d", "affine"): (_then_bias, False),
    ("dense", "affine"): (_then_bias, False),
    ("layer_norm", "affine"): (_norm_then_affine, False),
}


def named_padding(layer: Layer, pads: Pads) -> str | None:
    """The padding of a Conv1dSpec or WindowPoolSpec that adds so many steps, at any length."""
    fields = layer.fields
    size = fields["kernel_size"] if layer.kind == "conv1d" else fields["size"]
    reach = (size - 1) * fields.get("dilation", 1)
    if layer.kind == "conv1d" and pads == (reach, 0):
        return "causal"
    if pads == (0, 0):
        return "valid"
    return "same" if pads == (reach // 2, reach - reach // 2) else None
