"""Convolutions, plain and transposed, of one axis of time among axes of size 1."""

from dataclasses import replace

from tcnzoo.arrays import Array

from ..program.layers import Notes
from ..program.signal import BATCH, CHANNELS, TIME, UNIT, Const, Signal, Unfit
from .dense import dense
from .reader import NodeReader, handles
from .windows import Window, over_time, tap, windows


@handles("Conv")
def conv(reader: NodeReader) -> Signal:
    """A convolution over time; over a vector it is a dense layer."""
    x, weight, bias = reader.signal(), reader.needed(1), reader.const(2)
    groups = reader.node.get("group", 1)
    if weight.array.ndim < 3:
        raise Unfit(f"its kernel has {weight.array.ndim} axes, where 3 or 4 are expected")
    _check_shape(reader, weight)
    if groups < 1:
        raise Unfit(f"its group is {groups}")
    if _mixes_an_axis_of_channels(x):
        x, weight = _channels_first(reader, x, weight)
    if not x.is_channels(1):
        raise Unfit(f"its axis 1 is {x.roles[1]!r}, where the channels are expected")
    each_axis = windows(reader, x, weight.array.shape[2:])
    if TIME not in x.roles:
        return _of_vector(reader, x, weight, bias, each_axis, groups)
    axis, window = over_time(x, each_axis)
    x = reader.with_channels(x, weight.array.shape[1] * groups)
    kernel = _taps(weight.array, each_axis, axis)
    outputs = window.outputs(x.length or 0)
    if outputs < 1 or kernel.shape[0] % groups:
        raise Unfit("it has no output, or groups that do not divide its channels")
    arrays = {"weight": weight.now(kernel)} | ({"bias": bias} if bias else {})
    layer = reader.add(
        "conv1d",
        x,
        arrays,
        in_channels=x.channels,
        out_channels=kernel.shape[0],
        kernel_size=window.size,
        stride=window.stride,
        dilation=window.dilation,
        groups=groups,
        padding_mode="zeros",
        notes=Notes(pads=window.pads, length=x.length or 0),
    )
    roles = (BATCH, CHANNELS, *x.roles[2:])
    return replace(x, layer=layer, roles=roles, channels=kernel.shape[0], length=outputs)


def _check_shape(reader: NodeReader, weight: Const) -> None:
    """Refuse a `kernel_shape` that is not that of the kernel."""
    said, actual = reader.node.get("kernel_shape"), list(weight.array.shape[2:])
    if said is not None and list(said) != actual:
        raise Unfit(f"its kernel_shape is {list(said)}, but its kernel has {actual}")


def _taps(kernel: Array, each_axis: list[Window], time: int) -> Array:
    """A kernel (O, I, ...) without the axes of size 1 of the signal."""
    index = [slice(None) if axis == time else tap(window) for axis, window in enumerate(each_axis)]
    return kernel[(slice(None), slice(None), *index)]


def _of_vector(
    reader: NodeReader,
    x: Signal,
    weight: Const,
    bias: Const | None,
    each_axis: list[Window],
    groups: int,
) -> Signal:
    """A convolution of axes of size 1 only."""
    if groups != 1:
        raise Unfit("it has groups, but its signal has one step only")
    matrix = weight.now(_taps(weight.array, each_axis, -1))
    y = dense(reader, replace(x, roles=(BATCH, CHANNELS)), matrix, bias)
    return replace(y, roles=(BATCH, CHANNELS, *x.roles[2:]))


def _mixes_an_axis_of_channels(x: Signal) -> bool:
    """Whether the channels are an axis of space, as in (batch, 1, channels, time)."""
    return len(x.roles) == 4 and x.roles[1] == UNIT and {CHANNELS, TIME} == set(x.roles[2:])


def _channels_first(reader: NodeReader, x: Signal, weight: Const) -> tuple[Signal, Const]:
    """Such a signal and its kernel, which must cover all channels, with the channels in front."""
    kernel = weight.array
    each_axis = windows(reader, x, kernel.shape[2:])
    axis = x.roles.index(CHANNELS)
    across = each_axis[axis - 2]
    whole = across.size == x.channels and across.pads == (0, 0) and across.dilation == 1
    if kernel.ndim != 4 or kernel.shape[1] != 1 or not whole:
        raise Unfit("it moves over two axes of space")
    order = (0, 2, 1, 3) if axis == 2 else (0, 3, 2, 1)
    swapped = weight.now(kernel.transpose(order))
    roles = tuple(x.roles[old] for old in order)
    return replace(x, roles=roles), swapped


@handles("ConvTranspose")
def conv_transpose(reader: NodeReader) -> Signal:
    """A transposed convolution over time."""
    x, weight, bias = reader.signal(), reader.needed(1), reader.const(2)
    if reader.node.get("group", 1) != 1 or "output_shape" in reader.node.attributes:
        raise Unfit("it has groups or an output_shape; one group and pads are read")
    if not x.is_channels(1) or weight.array.ndim < 3:
        raise Unfit(f"its axes are {x.roles}, where channels and time are expected")
    _check_shape(reader, weight)
    if len(reader.node.get("output_padding", x.roles[2:])) != len(x.roles) - 2:
        raise Unfit(f"its output_padding is not that of {len(x.roles) - 2} axes")
    cropped = [
        _crops(reader, each, axis, len(x.roles) - 2)
        for axis, each in enumerate(windows(reader, x, weight.array.shape[2:]))
    ]
    axis = over_time(x, [window for window, _ in cropped])[0]
    window, (left, right) = cropped[axis]
    kernel = weight.array[(slice(None), slice(None), *_places(cropped, axis))]
    x = reader.with_channels(x, kernel.shape[0])
    outputs = ((x.length or 0) - 1) * window.stride + window.reach + 1 - left - right
    if outputs < 1:
        raise Unfit("it has no output")
    layer = reader.add(
        "conv_transpose1d",
        x,
        {"weight": weight.now(kernel)} | ({"bias": bias} if bias else {}),
        in_channels=x.channels,
        out_channels=kernel.shape[1],
        kernel_size=window.size,
        stride=window.stride,
        dilation=window.dilation,
        notes=Notes(crops=(left, right)),
    )
    roles = (BATCH, CHANNELS, *x.roles[2:])
    return replace(x, layer=layer, roles=roles, channels=kernel.shape[1], length=outputs)


def _crops(
    reader: NodeReader, window: Window, axis: int, rank: int
) -> tuple[Window, tuple[int, int]]:
    """Steps that a transposed window drops at the two ends; fewer than none where it adds some."""
    added = reader.node.get("output_padding", [0] * rank)[axis]
    auto = reader.node.get("auto_pad", "NOTSET")
    overlap = window.reach + 1 - window.stride
    if auto == "SAME_LOWER":
        raise Unfit("its auto_pad is 'SAME_LOWER'")
    if auto == "SAME_UPPER":
        total = max(0, overlap + added)
        return window, (total // 2, total - total // 2 - added)
    left, right = window.pads or (0, 0)
    return window, (left, right - added)


def _places(cropped: list[tuple[Window, tuple[int, int]]], time: int) -> list[slice | int]:
    """Where a kernel is read: all of it over time, one tap over axes of size 1."""
    index: list[slice | int] = []
    for axis, (window, (left, right)) in enumerate(cropped):
        tap_at, rest = divmod(left, window.dilation)
        if axis == time:
            index.append(slice(None))
        elif window.reach + 1 - left - right == 1 and not rest:
            index.append(tap_at)
        else:
            raise Unfit("it changes an axis of size 1 beside that of time: two axes of space")
    return index
