"""The padding of windows that were read, by the names that specs have for it."""

from tcnzoo.specs.conv import window_pads

from .layers import Layer, Program
from .refused import LATE, Refused
from .simplify import named_padding


def settle_padding(program: Program, number: int, fixed: bool) -> None:
    """Choose the padding of a layer, with a pad beside it where none fits."""
    layer = program.layers[number]
    if layer.kind == "conv1d":
        left, right = _window_padding(layer, fixed)
        _put_pad(program, number, left, right)
    elif layer.kind == "window_pool":
        _put_pad(program, number, *_pool_padding(layer, fixed))
    elif layer.kind == "conv_transpose1d":
        _settle_transpose(program, number, layer)


def _window_padding(layer: Layer, fixed: bool) -> tuple[int, int]:
    """Set the field `padding`; return the steps that a pad must add before."""
    pads, fields = layer.notes.pads, layer.fields
    size = fields["kernel_size"] if layer.kind == "conv1d" else fields["size"]
    reach, stride = (size - 1) * fields.get("dilation", 1), fields["stride"]
    padding = "same_upper" if pads is None else named_padding(layer, pads)
    if padding is None and fixed:
        whole = window_pads("same_upper", layer.notes.length, reach, stride)
        padding = "same_upper" if pads == whole else None
    fields["padding"] = padding or "valid"
    left, right = (0, 0) if padding or pads is None else pads
    return left, right


def _pool_padding(layer: Layer, fixed: bool) -> tuple[int, int]:
    """The same for a pool, whose padding a pad replaces only if zeros are counted."""
    left, right = _window_padding(layer, fixed)
    if (left, right) != (0, 0) and not layer.fields["count_padding"]:
        raise Refused(
            f"{layer.node} is not supported: it adds {left} and {right} steps that do not count; "
            "none, or half of its size on either side, are read",
            LATE,
        )
    if layer.fields["padding"] == "valid":
        layer.fields["count_padding"] = False
    return left, right


def _put_pad(program: Program, number: int, left: int, right: int) -> None:
    """Put zeros before a layer."""
    if (left, right) == (0, 0):
        return
    layer = program.layers[number]
    fields = {"left": left, "right": right, "mode": "zeros"}
    layer.inputs = [program.add(Layer("pad", list(layer.inputs), layer.node, fields), number)]


def _settle_transpose(program: Program, number: int, layer: Layer) -> None:
    """Choose the padding of a transposed convolution, with a cut behind it where none fits."""
    fields, crops = layer.fields, layer.notes.crops
    overlap = (fields["kernel_size"] - 1) * fields["dilation"] + 1 - fields["stride"]
    choices = {"causal": (0, overlap), "same": (overlap // 2, overlap - overlap // 2)}
    choices["valid"] = (0, 0)
    for padding, wanted in choices.items():
        if crops == wanted and (padding != "same" or overlap >= 0):
            fields["padding"] = padding
            return
    fields["padding"] = "valid"
    if crops[1] < 0 and "bias" in layer.arrays:
        raise Refused(
            f"{layer.node} is not supported: its output_padding adds steps of the bias alone",
            LATE,
        )
    cut = Layer(
        "pad", [number], layer.node, {"left": -crops[0], "right": -crops[1], "mode": "zeros"}
    )
    position = program.order.index(number) + 1
    before = program.order[position] if position < len(program.order) else None
    program.replace(number, program.add(cut, before))
    cut.inputs = [number]
