"""The C code of each operation of a program."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tcnzoo.errors import SpecError
from tcnzoo.streams.program import (
    Activate,
    Affine,
    Conv,
    ConvTranspose,
    Gate,
    LayerNorm,
    Merge,
    Operation,
    Repeat,
    RmsNorm,
    Scan,
    Select,
    Spread,
    SqueezeExcitation,
    WindowPool,
)

from .writer import Kernel, Writer, literal

SKIP = "input steps before the next output step"
STARTED = "whether a step has come"


def write(writer: Writer, number: int, operation: Operation) -> None:
    """Add an operation to the code.

    Raises:
        SpecError: an operation that has no C function here.
    """
    emit = OPERATIONS.get(type(operation))
    if emit is None:
        raise SpecError(
            f"a C file has no form of the operation {type(operation).__name__}; export to onnx"
        )
    writer.begin(number, operation)
    label, products, rows = emit(writer, operation)
    writer.end(label, products, rows)


# What an operation is called in the size table, its products for each row, and of which signal.
Sizes = tuple[str, int, Any]


def conv(w: Writer, op: Conv) -> Sizes:
    """A convolution, with a ring of the steps that it looks back on."""
    out, taps, share = op.weight.shape
    kernel = Kernel(op.weight, op.bias, op.dilation, op.stride, op.groups)
    x, n, y = w.pointer(op.source), w.count(op.source), w.pointer(op.target)
    label = f"conv {op.source.channels} -> {out}, {_taps(taps, op.dilation, op.stride, op.groups)}"
    alone = op.groups == op.source.channels == out
    if op.groups == 1 and w.takes_int8(op.source, share):
        address, function, kind = w.kernel8(kernel), "conv8", "int8_t"
        label += ", int8"
    elif alone and out > 1:
        address, function, kind = w.depthwise(kernel), "depthwise", "float"
    else:
        address, function, kind = w.kernel(kernel), "conv", "float"
    if function == "conv" and op.context is None and op.skip is None:
        w.call("dense", address, x, n, y)
    else:
        ring = w.ring(op.source.channels, (taps - 1) * op.dilation + 1, op.context, kind)
        counters = [w.counter("skip", op.skip, SKIP), w.counter("started", op.started, STARTED)]
        w.counted(op.target, w.called(function, address, *ring, *counters, x, n, y))
    w.activate(op.activation, op.target)
    return label, op.weight.size, op.target


def conv_transpose(w: Writer, op: ConvTranspose) -> Sizes:
    """The products of all taps as one dense layer, then added to the output steps."""
    out, taps, width = op.weight.shape
    overlap = max(0, (taps - 1) * op.dilation + 1 - op.stride)
    together = np.ascontiguousarray(op.weight.transpose(1, 0, 2)).reshape(taps * out, 1, width)
    tail = "NULL"
    if overlap:
        tail = w.field("float", "tail", (overlap, out), "what is added later", op.tail)
    x, y, added = f"{w.pointer(op.source)} + r * {width}", w.pointer(op.target), w.scratch()
    label = f"transposed conv {width} -> {out}, {_taps(taps, op.dilation, op.stride)}"
    if w.takes_int8(op.source, width):
        ring = w.ring(width, 1, None, "int8_t")
        call = w.called(
            "conv8", w.kernel8(Kernel(together, None)), *ring, "NULL", "NULL", x, 1, added
        )
        label += ", int8"
    else:
        call = w.called("dense", w.kernel(Kernel(together, None)), x, 1, added)
    bias = w.constant("bias", op.bias)
    step = f"{y} + r * {op.stride * out}"
    sizes = (out, taps, op.stride, op.dilation, overlap)
    scatter = w.called("scatter", added, bias, *sizes, tail, step)
    w.say(f"for (int r = 0; r < {w.count(op.source)}; r++) {{\n    {call};\n    {scatter};\n}}")
    _multiplied(w, op, op.stride)
    return label, op.weight.size, op.source


def _multiplied(w: Writer, op: Operation, factor: int) -> None:
    """So many times as many steps."""
    if not w.rows[op.target.index].fixed:
        w.counted(op.target, w.count(op.source, factor))


def _taps(taps: int, dilation: int, stride: int, groups: int = 1) -> str:
    """Sizes of a kernel in words."""
    words = [f"{taps} tap{'s' * (taps > 1)}"]
    numbers = {"dilation": dilation, "stride": stride, "groups": groups}
    return ", ".join([*words, *(f"{name} {value}" for name, value in numbers.items() if value > 1)])


def affine(w: Writer, op: Affine) -> Sizes:
    """A scale and a shift."""
    scale, shift = w.constant("scale", op.scale), w.constant("shift", op.shift)
    x, n, y = w.pointer(op.source), w.count(op.source), w.pointer(op.target)
    w.call("affine", scale, shift, op.target.channels, x, n, y)
    return f"scale and shift of {op.target.channels}", op.target.channels, op.target


def activate(w: Writer, op: Activate) -> Sizes:
    """A copy, then the activation."""
    _copy(w, op)
    w.activate(op.activation, op.target)
    return f"{op.activation.name} of {op.target.channels}", 0, op.target


def _copy(w: Writer, op: Operation) -> None:
    """The source in the place of the target."""
    width = op.target.channels
    w.call(
        "place", w.pointer(op.source), width, w.pointer(op.target), width, width,
        w.count(op.source),
    )  # fmt: skip


def gate(w: Writer, op: Gate) -> Sizes:
    """Halves of the channels."""
    width = op.target.channels
    w.call("gate", w.pointer(op.source), w.count(op.source), width, w.pointer(op.target))
    return f"gate of {width}", 0, op.target


def select(w: Writer, op: Select) -> Sizes:
    """Some channels."""
    width, x = op.target.channels, w.pointer(op.source)
    x = f"{x} + {op.first}" if op.first else x
    n = w.count(op.source)
    w.call("place", x, op.source.channels, w.pointer(op.target), width, width, n)
    return f"{width} channels from {op.first} on", 0, op.target


def spread(w: Writer, op: Spread) -> Sizes:
    """A vector for every step."""
    if not w.rows[op.target.index].fixed:
        w.counted(op.target, w.count(op.like))
    times = w.count(op.like)
    w.call("repeat", w.pointer(op.source), 1, op.target.channels, times, w.pointer(op.target))
    return f"vector of {op.target.channels} for every step", 0, op.target


def repeat(w: Writer, op: Repeat) -> Sizes:
    """Steps, again and again."""
    n, width = w.count(op.source), op.target.channels
    w.call("repeat", w.pointer(op.source), n, width, op.factor, w.pointer(op.target))
    _multiplied(w, op, op.factor)
    return f"every step {op.factor} times", 0, op.target


def merge(w: Writer, op: Merge) -> Sizes:
    """Two signals, then each of the others."""
    signals = (op.source, *op.others)
    if op.mode == "concat":
        first = 0
        for signal in signals:
            y = f"{w.pointer(op.target)} + {first}" if first else w.pointer(op.target)
            x, n = w.pointer(signal), w.count(signal)
            w.call("place", x, signal.channels, y, op.target.channels, signal.channels, n)
            first += signal.channels
    elif op.others:
        left, y = w.pointer(op.source), w.pointer(op.target)
        for signal in op.others:
            w.call(op.mode, left, w.pointer(signal), w.count(op.target, op.target.channels), y)
            left = y
    else:
        _copy(w, op)
    w.activate(op.activation, op.target)
    return f"{op.mode} {len(signals)} signals of {op.source.channels}", 0, op.target


def layer_norm(w: Writer, op: LayerNorm) -> Sizes:
    """Over the channels of a step."""
    weight, bias, width = w.constant("weight", op.weight), w.constant("bias", op.bias), len(op.bias)
    x, n, y = w.pointer(op.source), w.count(op.source), w.pointer(op.target)
    w.call("layer_norm", weight, bias, float(op.eps), width, x, n, y)
    return f"layer norm of {width}", 2 * width, op.target


def rms_norm(w: Writer, op: RmsNorm) -> Sizes:
    """Over the channels of each group of a step."""
    weight, width = w.constant("weight", op.weight), len(op.weight)
    x, n, y = w.pointer(op.source), w.count(op.source), w.pointer(op.target)
    w.call("rms_norm", weight, float(op.eps), width, op.groups, x, n, y)
    return f"root-mean-square norm of {width}", 2 * width, op.target


def squeeze_excitation(w: Writer, op: SqueezeExcitation) -> Sizes:
    """By the mean of all steps so far, in double."""
    reduce, products, width = "NULL", op.expand[0].size, op.target.channels
    if op.reduce is not None:
        reduce = w.kernel(Kernel(op.reduce[0][:, None], op.reduce[1]), "reduce")
        products += op.reduce[0].size
    expand = w.kernel(Kernel(op.expand[0][:, None], op.expand[1]), "expand")
    mean = w.field("double", "mean", (width,), "of all steps; its rounding is mean_low", op.mean)
    count = w.field("int64_t", "count", (), "steps so far", op.count)
    x, n, y = w.pointer(op.source), w.count(op.source), w.pointer(op.target)
    w.call("excite", reduce, expand, int(op.residual), mean, count, x, n, w.scratch(), y)
    return f"squeeze and excitation of {width}", products, op.target


def window_pool(w: Writer, op: WindowPool) -> Sizes:
    """Over a ring of the window's steps."""
    width = op.target.channels
    ring, at = w.ring(width, op.size, op.context)
    skip = w.counter("skip", op.skip, SKIP)
    x, n, y = w.pointer(op.source), w.count(op.source), w.pointer(op.target)
    w.counted(op.target, w.called(op.mode, ring, width, op.size, op.step, at, skip, x, n, y))
    return f"{op.mode} of {op.size} steps of {width}, stride {op.step}", 0, op.target


def scan(w: Writer, op: Scan) -> Sizes:
    """The recurrence of Mamba-2; the state has its last two axes the other way round."""
    arrays = [w.constant(name, getattr(op, name)) for name in ("dt_bias", "decay", "skip")]
    sizes = [op.heads, op.head_dim, op.d_state, op.groups]
    values = ", ".join([*arrays, *map(literal, (*map(float, op.limit), *sizes))])
    name = f"NAME_recurrence_{w.number}"
    w.used.add("recurrence")
    w.constants.append(f"static const NAME_recurrence {name} = {{{values}}};")
    shape = (op.heads, op.d_state, op.head_dim)
    state = w.field("float", "ssm", shape, "(heads, d_state, head_dim)", op.state)
    x, dt, y = w.pointer(op.source), w.pointer(op.dt), w.pointer(op.target)
    w.call("scan", f"&{name}", state, x, dt, w.count(op.source), y)
    products = 2 * op.heads * op.head_dim * op.d_state
    return f"recurrence of {op.heads} heads of {op.head_dim} x {op.d_state}", products, op.target


OPERATIONS: dict[type[Operation], Callable[[Writer, Any], Sizes]] = {
    Conv: conv,
    ConvTranspose: conv_transpose,
    Affine: affine,
    Activate: activate,
    Gate: gate,
    Select: select,
    Spread: spread,
    Repeat: repeat,
    Merge: merge,
    LayerNorm: layer_norm,
    RmsNorm: rms_norm,
    SqueezeExcitation: squeeze_excitation,
    WindowPool: window_pool,
    Scan: scan,
}
