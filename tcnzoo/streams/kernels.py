"""What runs a plan: one set of compiled functions for every model, over flat arrays.

Rows are in order of time: row t * batch + b is step t of stream b. A signal lies in `work` at
`signals[s, UNIT] * capacity + signals[s, SHIFT]`, with `signals[s, STRIDE]` floats from row to row;
`capacity` is batch * input steps that there is room for. Channels of another signal, its ROOT, lie
within that one and have its steps; other signals are their own root. `layout` writes the tables.

A product of rows with a kernel keeps a tile of the result in vector registers, 32 outputs wide, and
runs through the inputs once: `_tile` writes that loop in LLVM's own vector instructions, which LLVM
fits to the processor.

All loops are in this file: what numba keeps of them is renewed when this file changes, no other.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as typed_intrinsic

from tcnzoo.arrays import Array

F = TypeVar("F", bound=Callable[..., object])

# --- Tables: columns and codes --------------------------------------------------------------------

WIDTH = 32  # outputs of a tile; rows of signals and kernels are filled up to a multiple of it
UNIT, STRIDE, SHIFT, ROOT = 0, 1, 2, 3  # of `signals`
RING_START, RING_REACH, RING_ROWS, RING_CHANNELS = 0, 1, 2, 3  # of `rings`
KIND, SOURCE, TARGET, INSIDE, OUTSIDE, FUNCTION = 0, 1, 2, 3, 4, 5  # of `table`, then its own
OWN = 6
COLUMNS = 18
SLOPE, EPS, LOW, HIGH = 0, 1, 2, 3  # of `constants`

KINDS = (
    "Conv", "ConvTranspose", "Affine", "Activate", "Gate", "Spread", "Merge", "LayerNorm",
    "RmsNorm", "SqueezeExcitation", "WindowPool", "Repeat", "Scan",
)  # fmt: skip
(
    CONV, CONV_TRANSPOSE, AFFINE, ACTIVATE, GATE, SPREAD, MERGE, LAYER_NORM,
    RMS_NORM, SQUEEZE_EXCITATION, WINDOW_POOL, REPEAT, SCAN,
) = range(len(KINDS))  # fmt: skip

FUNCTIONS = (
    "linear", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "sigmoid", "softplus",
    "softmax", "log_softmax", "gelu_tanh", "relu6", "hard_sigmoid", "hard_swish",
    "square", "safe_log",
)  # fmt: skip
(
    LINEAR, RELU, LEAKY_RELU, ELU, SELU, GELU, SILU, TANH, SIGMOID, SOFTPLUS,
    SOFTMAX, LOG_SOFTMAX, GELU_TANH, RELU6, HARD_SIGMOID, HARD_SWISH,
    SQUARE, SAFE_LOG,
) = range(len(FUNCTIONS))  # fmt: skip

ADD, MULTIPLY, CONCAT = 0, 1, 2  # of a merge
DENSE, DEPTHWISE, GROUPED = 0, 1, 2  # of a convolution

# Klambauer et al. 2017, arXiv:1706.02515, equation 14.
SELU_ALPHA = np.float32(1.6732632423543772)
SELU_SCALE = np.float32(1.0507009873554805)
ZERO, ONE, HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)

# --- Compilation ----------------------------------------------------------------------------------

# Sums may be taken in any order, which is what lets them run in vector registers; NaN stays NaN.
FREELY = {"reassoc", "contract", "nsz"}
EXACTLY = {"contract"}


# numba's own annotation counts the typing context as an argument of the calls.
intrinsic: Any = typed_intrinsic


def _compiled(*signature: Any, fastmath: set[str] | bool = False) -> Callable[[F], F]:
    """Compile with numba; the machine code is kept beside this file, or in the user's cache."""

    def compiled(function: F) -> F:
        njit: Any = numba.njit
        options: dict[str, Any] = {
            "fastmath": fastmath, "nogil": True, "boundscheck": False,
            "error_model": "numpy",  # a check for zeros would keep divisions out of vectors
        }  # fmt: skip
        try:
            return cast(F, njit(*signature, cache=True, **options)(function))
        except RuntimeError:  # no folder to keep it in
            return cast(F, njit(*signature, **options)(function))

    return compiled


# --- Products -------------------------------------------------------------------------------------

_LANES = 16
_FLOAT = ir.FloatType().as_pointer()
_VECTOR = ir.VectorType(ir.FloatType(), _LANES)
_INDEX, _FLAG = ir.IntType(64), ir.IntType(32)


def _tile(rows: int, unrolled: int, fetched: int = 0) -> Any:
    """Make the product of `rows` rows with WIDTH outputs, y += x @ w.

    Args:
        rows: of the tile.
        unrolled: inputs that have sums of their own, so that additions need not wait.
        fetched: so many inputs ahead the weights are brought into the cache; 0 leaves that to the
            processor.
    """

    @intrinsic
    def tile(typing, w, w_at, x, x_at, x_stride, inputs, y, y_at, y_stride):  # type: ignore[no-untyped-def]
        whole = types.intp
        signature = types.void(w, whole, x, whole, whole, whole, y, whole, whole)

        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            data = [
                context.make_array(signature.args[index])(context, builder, args[index]).data
                for index in (0, 2, 6)
            ]
            _loop(builder, rows, unrolled, fetched, data, args)
            return context.get_dummy_value()

        return signature, generate

    return tile


def _spread(builder: Any, value: Any) -> Any:
    """A vector of one number."""
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    single = builder.insert_element(undefined, value, ir.IntType(32)(0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
    return builder.shuffle_vector(single, undefined, mask)


def _loop(builder: Any, rows: int, unrolled: int, fetched: int, data: Any, args: Any) -> None:
    """Write the loop of a tile: sums in registers, one pass over the inputs."""
    _, w_at, _, x_at, x_stride, inputs, _, y_at, y_stride = args
    weights, signal, output = data
    parts = range(WIDTH // _LANES)
    prefetch = builder.module.declare_intrinsic(
        "llvm.prefetch", [_FLOAT],
        ir.FunctionType(ir.VoidType(), [_FLOAT, _FLAG, _FLAG, _FLAG]),
    )  # fmt: skip
    starts = [builder.add(x_at, builder.mul(_INDEX(row), x_stride)) for row in range(rows)]
    ends = [builder.add(y_at, builder.mul(_INDEX(row), y_stride)) for row in range(rows)]

    def vector(base: Any, index: Any, part: int) -> Any:
        where = builder.gep(base, [builder.add(index, _INDEX(_LANES * part))])
        return builder.bitcast(where, _VECTOR.as_pointer())

    def added(sums: list[Any], index: Any, offset: int) -> list[Any]:
        """Sums after one more input."""
        index = builder.add(index, _INDEX(offset))
        at = builder.add(w_at, builder.mul(index, _INDEX(WIDTH)))
        columns = [builder.load(vector(weights, at, part), align=4) for part in parts]
        if fetched:
            for part in parts:
                later = builder.gep(
                    weights, [builder.add(at, _INDEX(fetched * WIDTH + _LANES * part))]
                )
                builder.call(prefetch, [later, _FLAG(0), _FLAG(3), _FLAG(1)])
        done = []
        for row in range(rows):
            value = builder.load(builder.gep(signal, [builder.add(starts[row], index)]))
            spread = _spread(builder, value)
            for part in parts:
                product = builder.fmul(spread, columns[part], flags=("contract",))
                before = sums[row * len(parts) + part]
                done.append(builder.fadd(before, product, flags=("contract",)))
        return done

    zero = ir.Constant(_VECTOR, [0.0] * _LANES)
    first = [builder.load(vector(output, at, part), align=4) for at in ends for part in parts]
    others = [zero] * (len(first) * (unrolled - 1))
    split = builder.sub(inputs, builder.srem(inputs, _INDEX(unrolled)))

    def run(begin: Any, end: Any, step: int, sums: list[Any]) -> list[Any]:
        """A loop over inputs; `step` groups of sums, one for each input of a pass."""
        before = builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(_INDEX)
        index.add_incoming(begin, before)
        current = [builder.phi(_VECTOR) for _ in sums]
        for phi, value in zip(current, sums, strict=True):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", index, end), body, after)
        builder.position_at_end(body)
        size, done = len(first), []
        for offset in range(step):
            done += added(current[offset * size : (offset + 1) * size], index, offset)
        index.add_incoming(builder.add(index, _INDEX(step)), builder.block)
        for phi, value in zip(current, done, strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return current

    sums = run(_INDEX(0), split, unrolled, first + others)
    size = len(first)
    total = sums[:size]
    for offset in range(1, unrolled):
        group = sums[offset * size : (offset + 1) * size]
        total = [builder.fadd(a, b) for a, b in zip(total, group, strict=True)]
    if unrolled > 1:
        total = run(split, inputs, 1, total)
    for row, at in enumerate(ends):
        for part in parts:
            builder.store(total[row * len(parts) + part], vector(output, at, part), align=4)


# As many rows as there are vector registers for: 2 registers of 16 floats for each, or 4 of 8.
_WIDE = bool(llvm.get_host_cpu_features().get("avx512f"))
ROWS = 12 if _WIDE else 3
FEW = 4 if _WIDE else 2
FETCHED = 32  # 4 KiB of weights
_many, _few, _one = _tile(ROWS, 1), _tile(FEW, 4 // FEW), _tile(1, 4 if _WIDE else 2, FETCHED)
# So many inputs of ROWS rows fit into the nearest cache, and of WIDTH outputs into the next.
DEPTH = 512


@_compiled(fastmath=FREELY)
def _multiply(
    weights: Array, kernel: int, bias: int, inputs: int, outputs: int,
    x: Array, x_at: int, x_stride: int, rows: int, y: Array, y_at: int, y_stride: int,
) -> None:  # fmt: skip
    """Y = bias + x @ kernel for some rows; the kernel lies (outputs / WIDTH, inputs, WIDTH)."""
    groups = (outputs + WIDTH - 1) // WIDTH
    for row in range(rows):
        at = y_at + row * y_stride
        _copy(y, at, weights, bias, groups * WIDTH)
    for first in range(0, inputs, DEPTH):
        depth = min(DEPTH, inputs - first)
        for group in range(groups):
            w_at = kernel + (group * inputs + first) * WIDTH
            from_at, to = x_at + first, y_at + group * WIDTH
            left = rows
            while left >= ROWS:
                _many(weights, w_at, x, from_at, x_stride, depth, y, to, y_stride)
                from_at, to, left = from_at + ROWS * x_stride, to + ROWS * y_stride, left - ROWS
            while left >= FEW:
                _few(weights, w_at, x, from_at, x_stride, depth, y, to, y_stride)
                from_at, to, left = from_at + FEW * x_stride, to + FEW * y_stride, left - FEW
            while left > 0:
                _one(weights, w_at, x, from_at, x_stride, depth, y, to, y_stride)
                from_at, to, left = from_at + x_stride, to + y_stride, left - 1


@intrinsic
def _copy(typing, to, to_at, source, source_at, floats):  # type: ignore[no-untyped-def]
    """Copy floats that do not overlap: a slice in numba looks at overlaps first, for 50 ns."""
    whole = types.intp

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        where = [
            builder.gep(
                context.make_array(signature.args[index])(context, builder, args[index]).data,
                [args[index + 1]],
            )
            for index in (0, 2)
        ]
        cgutils.raw_memcpy(builder, where[0], where[1], args[4], 4, 4)
        return context.get_dummy_value()

    return types.void(to, whole, source, whole, whole), generate


# --- Functions of single values -------------------------------------------------------------------


@_compiled(fastmath=EXACTLY)
def _exp(x: Any) -> Any:
    """Exponential of a float32 within 1e-7, relative: x = k log(2) + r, and a polynomial of r.

    Source:
        Cephes, expf (Moshier 1992): its constants and its bounds.
    """
    if x > np.float32(88.0):
        x = np.float32(88.0)
    if x < np.float32(-87.0):
        x = np.float32(-87.0)
    k = np.floor(x * np.float32(1.44269504) + HALF)
    r = x - k * np.float32(0.693359375)
    r = r + k * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4) * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + ONE
    return p * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)


@_compiled(fastmath=EXACTLY)
def _sigmoid(x: Any) -> Any:
    return ONE / (ONE + _exp(-x))


@_compiled(fastmath=EXACTLY)
def _tanh(x: Any) -> Any:
    """By an exponential, and a series where that would cancel."""
    if abs(x) < np.float32(0.1):
        s = x * x
        return x * (
            ONE - s * (np.float32(1 / 3) - s * (np.float32(2 / 15) - s * np.float32(17 / 315)))
        )
    return ONE - np.float32(2.0) / (_exp(np.float32(2.0) * x) + ONE)


@_compiled(fastmath=EXACTLY)
def _expm1(x: Any) -> Any:
    """Exp(x) - 1 below zero; a series where the difference would cancel."""
    if x > np.float32(-0.1):
        return x * (
            ONE
            + x
            * (HALF + x * (np.float32(1 / 6) + x * (np.float32(1 / 24) + x * np.float32(1 / 120))))
        )
    return _exp(x) - ONE


@_compiled(fastmath=EXACTLY)
def _softplus(x: Any) -> Any:
    """log(1 + exp(x)) without overflow."""
    return max(x, ZERO) + np.float32(math.log1p(_exp(-abs(x)))) if x == x else x


@_compiled(fastmath=EXACTLY)
def _over_channels(function: int, row: Array) -> None:
    """Softmax or its logarithm of one row."""
    top = row[0]
    for i in range(len(row)):
        top = max(top, row[i])
    total = ZERO
    for i in range(len(row)):
        total += _exp(row[i] - top)
    shift = top + np.float32(math.log(total))
    for i in range(len(row)):
        value = row[i] - shift
        row[i] = _exp(value) if function == SOFTMAX else value


@_compiled(fastmath=EXACTLY)
def _activate_row(function: int, slope: Any, row: Array) -> None:
    """Apply one function to the values of a row, in place."""
    if function == LINEAR:
        return
    if function == RELU:
        for i in range(len(row)):
            v = row[i]
            row[i] = ZERO if v < ZERO else v
    elif function == SILU:
        for i in range(len(row)):
            row[i] = row[i] * _sigmoid(row[i])
    elif function == TANH:
        for i in range(len(row)):
            row[i] = _tanh(row[i])
    elif function == SIGMOID:
        for i in range(len(row)):
            row[i] = _sigmoid(row[i])
    elif function == LEAKY_RELU:
        for i in range(len(row)):
            v = row[i]
            row[i] = slope * v if v < ZERO else v
    elif function == ELU:
        for i in range(len(row)):
            v = row[i]
            row[i] = slope * _expm1(v) if v < ZERO else v
    elif function == SELU:
        for i in range(len(row)):
            v = row[i]
            row[i] = SELU_SCALE * (SELU_ALPHA * _expm1(v) if v < ZERO else v)
    elif function == GELU:
        for i in range(len(row)):
            v = row[i]
            row[i] = HALF * v * (ONE + np.float32(math.erf(v * np.float32(math.sqrt(0.5)))))
    elif function == GELU_TANH:
        for i in range(len(row)):
            v = row[i]
            inner = np.float32(math.sqrt(2 / math.pi)) * (v + np.float32(0.044715) * v * v * v)
            row[i] = HALF * v * (ONE + _tanh(inner))
    elif function == SOFTPLUS:
        for i in range(len(row)):
            row[i] = _softplus(row[i])
    elif function == SQUARE:
        for i in range(len(row)):
            row[i] = row[i] * row[i]
    elif function == SAFE_LOG:
        for i in range(len(row)):
            v = row[i]
            row[i] = np.float32(math.log(slope if v < slope else v))
    elif function in (SOFTMAX, LOG_SOFTMAX):
        _over_channels(function, row)
    else:
        _clip_row(function, row)


@_compiled(fastmath=EXACTLY)
def _clip_row(function: int, row: Array) -> None:
    """The functions with two corners."""
    six = np.float32(6.0)
    for i in range(len(row)):
        v = row[i]
        inner = v if function == RELU6 else v + np.float32(3.0)
        clipped = ZERO if inner < ZERO else (six if inner > six else inner)
        if function == RELU6:
            row[i] = clipped
        elif function == HARD_SIGMOID:
            row[i] = clipped / six
        else:
            row[i] = v * clipped / six


@_compiled(fastmath=EXACTLY)
def _activate(
    function: int, slope: Any, y: Array, at: int, rows: int, channels: int, stride: int
) -> None:
    """Apply a function to some rows, in place."""
    if function == LINEAR:
        return
    if function not in (SOFTMAX, LOG_SOFTMAX) and stride < channels + WIDTH:
        # All at once; what fills the rows up to whole tiles is never read.
        _activate_row(function, slope, y[at : at + rows * stride])
        return
    for row in range(rows):
        start = at + row * stride
        _activate_row(function, slope, y[start : start + channels])


# --- What convolutions and pools have seen --------------------------------------------------------


@_compiled(fastmath=EXACTLY)
def _remember(
    rings: Array, ring: int, logs: Array, position: int, batch: int,
    x: Array, x_at: int, x_stride: int, steps: int,
) -> None:  # fmt: skip
    """Write the rows of a chunk into a ring, from row `position` on."""
    channels, rows = rings[ring, RING_CHANNELS], rings[ring, RING_ROWS]
    start = rings[ring, RING_START] * batch
    for t in range(steps):
        row = position + t
        if row >= rows:
            row -= rows
        to = start + row * batch * channels
        for b in range(batch):
            at = x_at + (t * batch + b) * x_stride
            _copy(logs, to + b * channels, x, at, channels)


@_compiled(fastmath=EXACTLY)
def _fill(
    rings: Array, ring: int, logs: Array, position: int, batch: int,
    x: Array, x_at: int, x_stride: int,
) -> None:  # fmt: skip
    """Write the first sample of each stream into all rows before `position` that are read."""
    channels, rows = rings[ring, RING_CHANNELS], rings[ring, RING_ROWS]
    start = rings[ring, RING_START] * batch
    for back in range(rings[ring, RING_REACH]):
        row = position - 1 - back
        if row < 0:
            row += rows
        to = start + row * batch * channels
        for b in range(batch):
            at = x_at + b * x_stride
            _copy(logs, to + b * channels, x, at, channels)


@_compiled(fastmath=EXACTLY)
def _gather(
    rings: Array, ring: int, logs: Array, begin: int, dilation: int, taps: int, batch: int,
    first: int, count: int, stride: int, out: Array,
) -> None:  # fmt: skip
    """Put the taps of some output rows side by side.

    Args:
        begin: row of the ring that output step 0 begins with, if it were due at input step 0.
        first, count: output rows, the steps of one time after the other.
        stride: input steps between output steps.
        out: (count, taps * channels), flat.
    """
    channels, rows = rings[ring, RING_CHANNELS], rings[ring, RING_ROWS]
    start = rings[ring, RING_START] * batch
    for tap in range(taps):
        done = 0
        while done < count:
            t, b = divmod(first + done, batch)
            row = (begin + t * stride + tap * dilation) % rows
            at = start + (row * batch + b) * channels
            for _ in range(min(batch - b, count - done)):
                to = (done * taps + tap) * channels
                _copy(out, to, logs, at, channels)
                at += channels
                done += 1


@_compiled(fastmath=EXACTLY)
def _due(skip: int, steps: int, stride: int) -> tuple[int, int]:
    """Output steps within a chunk, and input steps before the one after them is due."""
    outputs = max(0, -((skip - steps) // stride)) if steps > skip else 0
    return outputs, skip + outputs * stride - steps


# --- Operations -----------------------------------------------------------------------------------

# Own columns of a convolution.
TAPS, DILATION, HOP, GROUPS, RING, SKIP, STARTED, KERNEL, BIAS, FORM, BLOCK = range(OWN, OWN + 11)


@_compiled(fastmath=FREELY)
def _grouped(
    op: Array, weights: Array, taps: Array, rows: int, y: Array, y_at: int, y_stride: int
) -> None:
    """Products within groups, of gathered taps (rows, taps, channels)."""
    channels, outputs, groups = op[INSIDE], op[OUTSIDE], op[GROUPS]
    inside, share = channels // groups, outputs // groups
    for row in range(rows):
        at = y_at + row * y_stride
        to = y[at : at + outputs]
        _copy(y, at, weights, op[BIAS], outputs)
        for tap in range(op[TAPS]):
            start = (row * op[TAPS] + tap) * channels
            x = taps[start : start + channels]
            if op[FORM] == DEPTHWISE:
                start = op[KERNEL] + tap * outputs
                w = weights[start : start + outputs]
                for o in range(outputs):
                    to[o] += w[o] * x[o]
                continue
            for o in range(outputs):
                start = op[KERNEL] + (o * op[TAPS] + tap) * inside
                w = weights[start : start + inside]
                own = x[o // share * inside : (o // share + 1) * inside]
                total = ZERO
                for i in range(inside):
                    total += w[i] * own[i]
                to[o] += total


@_compiled(fastmath=EXACTLY)
def _conv(
    op: Array, slope: Any, batch: int, steps: int, weights: Array, rings: Array, logs: Array,
    numbers: Array, taps: Array, work: Array, x_at: int, x_stride: int, y_at: int, y_stride: int,
) -> int:  # fmt: skip
    """A convolution and its activation; return its output steps."""
    outputs, skip = steps, 0
    if op[SKIP] >= 0:
        skip = numbers[op[SKIP]]
        outputs, numbers[op[SKIP]] = _due(skip, steps, op[HOP])
    begin = 0
    if op[RING] >= 0:
        ring, position = op[RING], numbers[op[RING]]
        if op[STARTED] >= 0 and steps and numbers[op[STARTED]] == 0:
            _fill(rings, ring, logs, position, batch, work, x_at, x_stride)
            numbers[op[STARTED]] = 1
        _remember(rings, ring, logs, position, batch, work, x_at, x_stride, steps)
        numbers[ring] = (position + steps) % rings[ring, RING_ROWS]
        begin = position - rings[ring, RING_REACH] + rings[ring, RING_ROWS] + skip
    elif op[FORM] == DENSE and op[HOP] == 1:
        _multiply(
            weights, op[KERNEL], op[BIAS], op[INSIDE], op[OUTSIDE],
            work, x_at, x_stride, outputs * batch, work, y_at, y_stride,
        )  # fmt: skip
        _activate(op[FUNCTION], slope, work, y_at, outputs * batch, op[OUTSIDE], y_stride)
        return outputs
    inputs, total = op[TAPS] * op[INSIDE], outputs * batch
    for first in range(0, total, op[BLOCK]):
        count = min(op[BLOCK], total - first)
        if op[RING] >= 0:
            _gather(
                rings, op[RING], logs, begin, op[DILATION], op[TAPS], batch,
                first, count, op[HOP], taps,
            )  # fmt: skip
        else:
            for row in range(count):
                t, b = divmod(first + row, batch)
                at = x_at + ((skip + t * op[HOP]) * batch + b) * x_stride
                _copy(taps, row * inputs, work, at, inputs)
        to = y_at + first * y_stride
        if op[FORM] == DENSE:
            _multiply(
                weights, op[KERNEL], op[BIAS], inputs, op[OUTSIDE],
                taps, 0, inputs, count, work, to, y_stride,
            )  # fmt: skip
        else:
            _grouped(op, weights, taps, count, work, to, y_stride)
        _activate(op[FUNCTION], slope, work, to, count, op[OUTSIDE], y_stride)
    return outputs


# Own columns of a transposed convolution.
UP_TAPS, UP_DILATION, FACTOR, UP_KERNEL, UP_BIAS, PRODUCTS, AHEAD, TAIL, OVERLAP = range(
    OWN, OWN + 9
)


@_compiled(fastmath=EXACTLY)
def _conv_transpose(
    op: Array, batch: int, steps: int, weights: Array, before: Array, after: Array, work: Array,
    x_at: int, x_stride: int, y_at: int, y_stride: int,
    products: int, products_stride: int, ahead: int, ahead_stride: int,
) -> int:  # fmt: skip
    """Products of every tap, added where they belong; what lies ahead of the chunk is the tail."""
    factor, channels, overlap = op[FACTOR], op[OUTSIDE], op[OVERLAP]
    outputs = steps * factor
    _multiply(
        weights, op[UP_KERNEL], op[UP_BIAS], op[INSIDE], op[UP_TAPS] * channels,
        work, x_at, x_stride, steps * batch, work, products, products_stride,
    )  # fmt: skip
    bias = weights[op[UP_BIAS] + products_stride : op[UP_BIAS] + products_stride + channels]
    for b in range(batch):
        for t in range(outputs + overlap):
            at = ahead + t * ahead_stride
            row = work[at : at + channels]
            tail = op[TAIL] * batch + (b * overlap + t) * channels
            for c in range(channels):
                row[c] = before[tail + c] if t < overlap else ZERO
        for i in range(steps):
            for tap in range(op[UP_TAPS]):
                at = ahead + (i * factor + tap * op[UP_DILATION]) * ahead_stride
                row = work[at : at + channels]
                at = products + (i * batch + b) * products_stride + tap * channels
                product = work[at : at + channels]
                for c in range(channels):
                    row[c] += product[c]
        for t in range(outputs):
            at = ahead + t * ahead_stride
            row = work[at : at + channels]
            at = y_at + (t * batch + b) * y_stride
            y = work[at : at + channels]
            for c in range(channels):
                y[c] = row[c] + bias[c]
        for t in range(overlap):
            at = ahead + (outputs + t) * ahead_stride
            tail = op[TAIL] * batch + (b * overlap + t) * channels
            _copy(after, tail, work, at, channels)
    return int(outputs)


# Own columns of a merge.
MODE, OTHERS, COUNT = range(OWN, OWN + 3)


@_compiled(fastmath=EXACTLY)
def _merge(
    op: Array, slope: Any, rows: int, capacity: int, signals: Array, lists: Array, work: Array,
    x_at: int, x_stride: int, y_at: int, y_stride: int,
) -> None:  # fmt: skip
    """Add, multiply, or put side by side, then the activation."""
    for row in range(rows):
        at = y_at + row * y_stride
        y = work[at : at + op[OUTSIDE]]
        _copy(work, at, work, x_at + row * x_stride, op[INSIDE])
        done = op[INSIDE]
        for entry in range(op[OTHERS], op[OTHERS] + 2 * op[COUNT], 2):
            other, channels = lists[entry], lists[entry + 1]
            at = signals[other, UNIT] * capacity + signals[other, SHIFT]
            at += row * signals[other, STRIDE]
            x = work[at : at + channels]
            if op[MODE] == CONCAT:
                _copy(work, y_at + row * y_stride + done, work, at, channels)
                done += channels
            elif op[MODE] == ADD:
                for i in range(len(y)):
                    y[i] += x[i]
            else:
                for i in range(len(y)):
                    y[i] *= x[i]
        _activate_row(op[FUNCTION], slope, y)


# Own columns of norms and of an affine map.
SCALE, MOVED, NORM_GROUPS = range(OWN, OWN + 3)


@_compiled(fastmath=FREELY)
def _norm(op: Array, eps: Any, weights: Array, x: Array, y: Array) -> None:
    """An affine map, layer norm or root-mean-square norm of one row."""
    channels = len(y)
    scale = weights[op[SCALE] : op[SCALE] + channels]
    if op[KIND] == AFFINE:
        shift = weights[op[MOVED] : op[MOVED] + channels]
        for i in range(channels):
            y[i] = x[i] * scale[i] + shift[i]
    elif op[KIND] == LAYER_NORM:
        shift = weights[op[MOVED] : op[MOVED] + channels]
        mean, square = ZERO, ZERO
        for i in range(channels):
            mean += x[i]
        mean /= np.float32(channels)
        for i in range(channels):
            square += (x[i] - mean) * (x[i] - mean)
        size = ONE / np.sqrt(square / np.float32(channels) + eps)
        for i in range(channels):
            y[i] = (x[i] - mean) * size * scale[i] + shift[i]
    else:
        width = channels // op[NORM_GROUPS]
        for group in range(op[NORM_GROUPS]):
            own = x[group * width : (group + 1) * width]
            square = ZERO
            for i in range(width):
                square += own[i] * own[i]
            size = ONE / np.sqrt(square / np.float32(width) + eps)
            for i in range(width):
                y[group * width + i] = own[i] * size * scale[group * width + i]


# Own columns of squeeze-and-excitation.
(
    REDUCE, REDUCE_BIAS, HIDDEN, EXPAND, EXPAND_BIAS, RESIDUAL, MEAN, MEAN_LOW, SEEN,
    MEANS, INNER, GATES,
) = range(OWN, OWN + 12)  # fmt: skip


@_compiled(fastmath=EXACTLY)
def _means(
    op: Array, batch: int, steps: int, seen: int, before: Array, after: Array, work: Array,
    x_at: int, x_stride: int, means: int, means_stride: int,
) -> None:  # fmt: skip
    """The mean of each step and those before it, carried in float64 as two floats."""
    channels = op[INSIDE]
    for b in range(batch):
        at = op[MEAN] * batch + b * channels
        low_at = op[MEAN_LOW] * batch + b * channels
        high, low = after[at : at + channels], after[low_at : low_at + channels]
        for c in range(channels):
            high[c], low[c] = before[at + c], before[low_at + c]
        for t in range(steps):
            share = 1.0 / (seen + t + 1)
            at = x_at + (t * batch + b) * x_stride
            x = work[at : at + channels]
            at = means + (t * batch + b) * means_stride
            y = work[at : at + channels]
            for c in range(channels):
                mean = np.float64(high[c]) + np.float64(low[c])
                mean += (np.float64(x[c]) - mean) * share
                top = np.float32(mean)
                high[c], low[c], y[c] = top, np.float32(mean - np.float64(top)), top


@_compiled(fastmath=EXACTLY)
def _excite(
    op: Array, batch: int, steps: int, weights: Array, numbers: Array, before: Array, after: Array,
    work: Array, x_at: int, x_stride: int, y_at: int, y_stride: int,
    means: int, means_stride: int, inner: int, inner_stride: int, gates: int, gates_stride: int,
) -> None:  # fmt: skip
    """x * sigmoid(expand(relu(reduce(mean)))), plus x if asked for."""
    channels, rows = op[INSIDE], steps * batch
    _means(
        op, batch, steps, numbers[op[SEEN]], before, after, work,
        x_at, x_stride, means, means_stride,
    )  # fmt: skip
    numbers[op[SEEN]] += steps
    if op[REDUCE] >= 0:
        _multiply(
            weights, op[REDUCE], op[REDUCE_BIAS], channels, op[HIDDEN],
            work, means, means_stride, rows, work, inner, inner_stride,
        )  # fmt: skip
        _activate(RELU, ZERO, work, inner, rows, op[HIDDEN], inner_stride)
        means, means_stride = inner, inner_stride
    _multiply(
        weights, op[EXPAND], op[EXPAND_BIAS], op[HIDDEN], channels,
        work, means, means_stride, rows, work, gates, gates_stride,
    )  # fmt: skip
    for row in range(rows):
        at = x_at + row * x_stride
        x = work[at : at + channels]
        at = gates + row * gates_stride
        gate = work[at : at + channels]
        at = y_at + row * y_stride
        y = work[at : at + channels]
        for c in range(channels):
            value = x[c] * _sigmoid(gate[c])
            y[c] = value + x[c] if op[RESIDUAL] else value


# Own columns of a pool; HOP, RING and SKIP are those of a convolution.
SIZE, LARGEST = TAPS, GROUPS


@_compiled(fastmath=EXACTLY)
def _pool(
    op: Array, batch: int, steps: int, rings: Array, logs: Array, numbers: Array, work: Array,
    x_at: int, x_stride: int, y_at: int, y_stride: int,
) -> int:  # fmt: skip
    """Mean or maximum of windows; return the output steps."""
    skip, channels, ring = numbers[op[SKIP]], op[INSIDE], op[RING]
    outputs, numbers[op[SKIP]] = _due(skip, steps, op[HOP])
    begin, rows, start = 0, 1, 0
    if ring >= 0:
        position, rows = numbers[ring], rings[ring, RING_ROWS]
        start = rings[ring, RING_START] * batch
        _remember(rings, ring, logs, position, batch, work, x_at, x_stride, steps)
        numbers[ring] = (position + steps) % rows
        begin = position - rings[ring, RING_REACH] + rows + skip
    for row in range(outputs * batch):
        t, b = divmod(row, batch)
        at = y_at + row * y_stride
        y = work[at : at + channels]
        if ring < 0:
            at = x_at + ((skip + t * op[HOP]) * batch + b) * x_stride
            for c in range(channels):
                y[c] = work[at + c]
            continue
        for tap in range(op[SIZE]):
            at = start + ((begin + t * op[HOP] + tap) % rows * batch + b) * channels
            x = logs[at : at + channels]
            for c in range(channels):
                if tap == 0:
                    y[c] = x[c]
                elif not op[LARGEST]:
                    y[c] += x[c]
                elif x[c] > y[c] or x[c] != x[c]:
                    y[c] = x[c]
        if not op[LARGEST]:
            for c in range(channels):
                y[c] /= np.float32(op[SIZE])
    return outputs


# Own columns of a scan.
DT, DT_BIAS, DECAY, PASS, HEADS, HEAD_DIM, D_STATE, SCAN_GROUPS, MEMORY = range(OWN, OWN + 9)


@intrinsic
def _advance(typing, decay, u, b, b_at, c, c_at, old, old_at, new, new_at, size):  # type: ignore[no-untyped-def]
    """S = decay S + u B for one channel of a head, of `size` values; return S C."""
    whole, number = types.intp, types.float32
    signature = number(number, number, b, whole, c, whole, old, whole, new, whole, whole)

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        inward, outward, before, after = (
            context.make_array(signature.args[index])(context, builder, args[index]).data
            for index in (2, 4, 6, 8)
        )
        _, _, _, b_at, _, c_at, _, old_at, _, new_at, size = args
        starts = (inward, b_at), (outward, c_at), (before, old_at), (after, new_at)
        split = builder.sub(size, builder.srem(size, _INDEX(_LANES)))

        def run(begin: Any, end: Any, kind: Any, total: Any) -> Any:
            """A loop over values of one type: vectors, or what is left of them."""
            lanes = _LANES if kind is _VECTOR else 1
            scale, inflow = (
                _spread(builder, value) if kind is _VECTOR else value for value in args[:2]
            )
            entered = builder.block
            head, body, done = (builder.append_basic_block(name) for name in ("n", "body", "done"))
            builder.branch(head)
            builder.position_at_end(head)
            index, current = builder.phi(_INDEX), builder.phi(kind)
            index.add_incoming(begin, entered)
            current.add_incoming(total, entered)
            builder.cbranch(builder.icmp_signed("<", index, end), body, done)
            builder.position_at_end(body)
            places = [
                builder.bitcast(builder.gep(data, [builder.add(at, index)]), kind.as_pointer())
                for data, at in starts
            ]
            b_n, c_n, old_n = (builder.load(at, align=4) for at in places[:3])
            flow = builder.fmul(inflow, b_n, flags=("contract",))
            state = builder.fadd(
                builder.fmul(scale, old_n, flags=("contract",)), flow, flags=("contract",)
            )
            builder.store(state, places[3], align=4)
            product = builder.fmul(state, c_n, flags=("contract",))
            current.add_incoming(builder.fadd(current, product, flags=("contract",)), body)
            index.add_incoming(builder.add(index, _INDEX(lanes)), body)
            builder.branch(head)
            builder.position_at_end(done)
            return current

        zero = ir.Constant(ir.FloatType(), 0.0)
        sums = run(_INDEX(0), split, _VECTOR, ir.Constant(_VECTOR, [0.0] * _LANES))
        reduce = builder.module.declare_intrinsic(
            f"llvm.vector.reduce.fadd.v{_LANES}f32",
            fnty=ir.FunctionType(ir.FloatType(), [ir.FloatType(), _VECTOR]),
        )
        total = builder.call(reduce, [zero, sums], fastmath=("reassoc", "nsz"))
        return run(split, size, ir.FloatType(), total)

    return signature, generate


@_compiled(fastmath=EXACTLY)
def _scan(
    op: Array, low: Any, high: Any, batch: int, steps: int, weights: Array,
    before: Array, after: Array, work: Array,
    x_at: int, x_stride: int, y_at: int, y_stride: int, dt_at: int, dt_stride: int,
) -> None:  # fmt: skip
    """The recurrence of Mamba-2, one step after the other."""
    heads, head_dim, d_state = op[HEADS], op[HEAD_DIM], op[D_STATE]
    width, share = heads * head_dim, heads // op[SCAN_GROUPS]
    size = width * d_state
    for b in range(batch):
        memory = op[MEMORY] * batch + b * size
        if steps == 0:
            for n in range(memory, memory + size):
                after[n] = before[n]
        for t in range(steps):
            row = t * batch + b
            x, y = x_at + row * x_stride, y_at + row * y_stride
            old = before if t == 0 else after
            for h in range(heads):
                raw = work[dt_at + row * dt_stride + h] + weights[op[DT_BIAS] + h]
                dt = _softplus(raw)
                dt = low if dt < low else (high if dt > high else dt)
                decay = np.float32(math.exp(dt * weights[op[DECAY] + h]))
                inward = x + width + h // share * d_state
                outward = inward + op[SCAN_GROUPS] * d_state
                for p in range(h * head_dim, (h + 1) * head_dim):
                    at = memory + p * d_state
                    value = _advance(
                        decay,
                        dt * work[x + p],
                        work,
                        inward,
                        work,
                        outward,
                        old,
                        at,
                        after,
                        at,
                        d_state,
                    )
                    work[y + p] = value + weights[op[PASS] + p] * work[x + p]


@_compiled(fastmath=EXACTLY)
def _finite(values: Array) -> bool:
    """Whether none of them is NaN or infinite."""
    bad = 0
    for i in range(len(values)):
        bad |= not abs(values[i]) <= np.float32(3.4028234e38)
    return bad == 0


@_compiled(fastmath=EXACTLY)
def _plain(
    op: Array, slope: Any, eps: Any, batch: int, count: int, steps: Array, weights: Array,
    work: Array, x_at: int, x_stride: int, y_at: int, y_stride: int,
) -> int:  # fmt: skip
    """The operations on single rows that keep nothing; return the output steps."""
    kind, channels, outside = op[KIND], op[INSIDE], op[OUTSIDE]
    if kind in (SPREAD, REPEAT):
        factor = op[OWN] if kind == REPEAT else 1
        outputs = count * factor if kind == REPEAT else steps[op[OWN]]
        for t in range(outputs):
            for b in range(batch):
                row = t // factor * batch + b if kind == REPEAT else b
                at, to = x_at + row * x_stride, y_at + (t * batch + b) * y_stride
                _copy(work, to, work, at, channels)
        return outputs
    for row in range(count * batch):
        at = x_at + row * x_stride
        x = work[at : at + channels]
        at = y_at + row * y_stride
        y = work[at : at + outside]
        if kind == GATE:
            for i in range(outside):
                y[i] = x[i] * _sigmoid(x[outside + i])
        elif kind == ACTIVATE:
            _copy(work, y_at + row * y_stride, work, x_at + row * x_stride, channels)
            _activate_row(op[FUNCTION], slope, y)
        else:
            _norm(op, eps, weights, x, y)
    return count


# --- A whole step ---------------------------------------------------------------------------------


@_compiled(fastmath=EXACTLY)
def _run(
    batch: int, capacity: int, table: Array, constants: Array, lists: Array, signals: Array,
    weights: Array, rings: Array, logs: Array, numbers: Array, before: Array, after: Array,
    taps: Array, work: Array, steps: Array,
) -> None:  # fmt: skip
    """Run every operation on the rows that the inputs have in `work`."""
    for index in range(len(table)):
        op = table[index]
        kind, source, target = op[KIND], op[SOURCE], op[TARGET]
        slope, eps = constants[index, SLOPE], constants[index, EPS]
        count = steps[signals[source, ROOT]]
        x_at = signals[source, UNIT] * capacity + signals[source, SHIFT]
        y_at = signals[target, UNIT] * capacity + signals[target, SHIFT]
        x_stride, y_stride = signals[source, STRIDE], signals[target, STRIDE]
        rows, outputs = count * batch, count
        if kind == CONV:
            outputs = _conv(
                op, slope, batch, count, weights, rings, logs, numbers, taps, work,
                x_at, x_stride, y_at, y_stride,
            )  # fmt: skip
        elif kind == MERGE:
            _merge(
                op, slope, rows, capacity, signals, lists, work, x_at, x_stride, y_at, y_stride
            )  # fmt: skip
        elif kind == CONV_TRANSPOSE:
            products, ahead = op[PRODUCTS], op[AHEAD]
            outputs = _conv_transpose(
                op, batch, count, weights, before, after, work, x_at, x_stride, y_at, y_stride,
                signals[products, UNIT] * capacity, signals[products, STRIDE],
                signals[ahead, UNIT] * capacity, signals[ahead, STRIDE],
            )  # fmt: skip
        elif kind == SQUEEZE_EXCITATION:
            means, inner, gates = op[MEANS], op[INNER], op[GATES]
            _excite(
                op, batch, count, weights, numbers, before, after, work,
                x_at, x_stride, y_at, y_stride,
                signals[means, UNIT] * capacity, signals[means, STRIDE],
                signals[inner, UNIT] * capacity, signals[inner, STRIDE],
                signals[gates, UNIT] * capacity, signals[gates, STRIDE],
            )  # fmt: skip
        elif kind == SCAN:
            dt = op[DT]
            _scan(
                op, constants[index, LOW], constants[index, HIGH], batch, count, weights,
                before, after, work, x_at, x_stride, y_at, y_stride,
                signals[dt, UNIT] * capacity + signals[dt, SHIFT], signals[dt, STRIDE],
            )  # fmt: skip
        elif kind == WINDOW_POOL:
            outputs = _pool(
                op, batch, count, rings, logs, numbers, work, x_at, x_stride, y_at, y_stride
            )
        else:
            outputs = _plain(
                op, slope, eps, batch, count, steps, weights, work, x_at, x_stride, y_at, y_stride
            )  # fmt: skip
        steps[target] = outputs


@_compiled(fastmath=EXACTLY)
def _enter(
    batch: int, capacity: int, first: int, stop: int, inputs: Array, signals: Array,
    x: Array, at: int, length: int, index: int, work: Array, steps: Array,
) -> int:  # fmt: skip
    """Write one input into its rows, for some steps; return where the next one lies in `x`."""
    signal, channels, vector = inputs[index, 0], inputs[index, 1], inputs[index, 2]
    if vector:
        first, stop, length = 0, 1, 1
    steps[signal] = stop - first
    to, stride = signals[signal, UNIT] * capacity, signals[signal, STRIDE]
    for b in range(batch):
        for c in range(channels):
            start = at + (b * channels + c) * length
            for t in range(first, stop):
                work[to + ((t - first) * batch + b) * stride + c] = x[start + t]
    return int(at + batch * channels * length)


@_compiled(fastmath=EXACTLY)
def _leave(
    batch: int, capacity: int, output: int, channels: int, signals: Array, work: Array,
    steps: int, y: Array, done: int,
) -> None:  # fmt: skip
    """Write the rows of the output to (batch, channels, time), from step `done` on."""
    at = signals[output, UNIT] * capacity + signals[output, SHIFT]
    stride, length = signals[output, STRIDE], y.shape[2]
    for b in range(batch):
        for c in range(channels):
            for t in range(min(steps, length - done)):
                y[b, c, done + t] = work[at + (t * batch + b) * stride + c]


_f, _i = types.float32, types.int64
_ints, _floats = types.Array(_i, 2, "C"), types.Array(_f, 1, "C")


@_compiled(
    types.boolean(
        types.UniTuple(_i, 5), _ints, types.Array(_f, 2, "C"), types.Array(_i, 1, "C"), _ints,
        _ints, _floats, _ints, _floats, types.Array(_i, 1, "C"), _floats, _floats, _floats, _floats,
        types.Array(_i, 1, "C"), types.Array(_f, 3, "C", readonly=True),
        types.Array(_f, 1, "C", readonly=True), types.Array(_f, 3, "C"),
    ),
    fastmath=EXACTLY,
)  # fmt: skip
def run(
    sizes: tuple[int, int, int, int, int],
    table: Array,
    constants: Array,
    lists: Array,
    signals: Array,
    inputs: Array,
    weights: Array,
    rings: Array,
    logs: Array,
    numbers: Array,
    before: Array,
    after: Array,
    taps: Array,
    work: Array,
    steps: Array,
    chunk: Array,
    embeddings: Array,
    y: Array,
) -> bool:
    """One step of a stream.

    Args:
        sizes: rows that each unit of a signal has room for; input steps that are computed at once;
            the output and its channels; so many pairs at the start of `lists` that say where the
            lasting entries are in `after` (start and size for one stream).
        table, constants, lists, signals, inputs, weights: of the layout.
        rings, logs: what convolutions and pools have seen; `rings` says where.
        numbers: position in each ring, then counters; moved on.
        before, after: the entries of the state that are no rings.
        taps, work, steps: room.
        chunk: (batch, channels, time).
        embeddings: all of them, each as it is, one after the other.
        y: the output, (batch, channels, time'); `output_steps` says how long.
    Returns:
        Whether all lasting entries are finite.
    """
    capacity, block, output, channels, lasting = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
    batch, length = chunk.shape[0], chunk.shape[2]
    flat, done, first = chunk.reshape(chunk.size), 0, 0
    while True:
        stop = min(first + block, length)
        _enter(batch, capacity, first, stop, inputs, signals, flat, 0, length, 0, work, steps)
        at = 0
        for index in range(1, len(inputs)):
            at = _enter(
                batch, capacity, first, stop, inputs, signals, embeddings, at, length, index,
                work, steps,
            )  # fmt: skip
        _run(
            batch, capacity, table, constants, lists, signals, weights, rings, logs, numbers,
            before if first == 0 else after, after, taps, work, steps,
        )  # fmt: skip
        count = steps[signals[output, ROOT]]
        _leave(batch, capacity, output, channels, signals, work, count, y, done)
        done += count
        first = stop
        if first >= length:
            break
    finite = True
    for index in range(lasting):
        start, size = lists[2 * index] * batch, lists[2 * index + 1] * batch
        finite = finite and _finite(after[start : start + size])
    return finite


@_compiled(
    _i(_ints, _ints, types.Array(_i, 1, "C"), types.Array(_i, 1, "C"), _i, _i), fastmath=EXACTLY
)
def output_steps(
    table: Array, signals: Array, numbers: Array, steps: Array, length: int, output: int
) -> int:
    """Steps that the output has for a chunk of `length` input steps; `steps` is room."""
    steps[:] = length
    for index in range(len(table)):
        op = table[index]
        count = steps[signals[op[SOURCE], ROOT]]
        if (op[KIND] == CONV or op[KIND] == WINDOW_POOL) and op[SKIP] >= 0:
            count, _ = _due(numbers[op[SKIP]], count, op[HOP])
        elif op[KIND] == CONV_TRANSPOSE:
            count *= op[FACTOR]
        elif op[KIND] == REPEAT:
            count *= op[OWN]
        elif op[KIND] == SPREAD:
            count = length
        steps[op[TARGET]] = count
    return int(steps[signals[output, ROOT]])
