"""Where everything of a program lies: the tables and flat arrays that `kernels.run` works on."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.specs import ActivationSpec, StateItem
from tcnzoo.streams import kernels as k
from tcnzoo.streams.lowering.fusing import sources
from tcnzoo.streams.program import (
    Activate,
    Affine,
    Conv,
    ConvTranspose,
    Gate,
    LayerNorm,
    Merge,
    Operation,
    Program,
    Repeat,
    RmsNorm,
    Scan,
    Select,
    Signal,
    Spread,
    SqueezeExcitation,
    WindowPool,
)

LINE = 16  # floats of a cache line, at which kernels begin
# Floats of the gathered taps of a convolution that stay in the cache.
GATHERED = 1 << 17
MODES = {"add": k.ADD, "multiply": k.MULTIPLY, "concat": k.CONCAT}


@dataclass(frozen=True)
class Ring:
    """What a convolution or pool keeps: its last `reach` input steps.

    Attributes:
        name: entry of the state, (channels, reach).
    """

    name: str
    channels: int
    reach: int


@dataclass(frozen=True)
class Cell:
    """An entry of the state that lies in one array with others, one stream after the other.

    Attributes:
        start: of the entry, in floats of one stream.
        shape: without batch, as it lies.
        turned: whether the neutral shape has the axes in reverse.
    """

    start: int
    shape: tuple[int, ...]
    turned: bool = False


def padded(channels: int) -> int:
    """Floats of a row: whole tiles."""
    return -(-channels // k.WIDTH) * k.WIDTH


def aligned(floats: int) -> Array:
    """Zeros that begin at a cache line; numpy asks for large pages only where it does not clear."""
    room = np.empty(floats + LINE, np.float32)
    room.fill(0.0)
    start = (-room.ctypes.data // room.itemsize) % LINE
    return room[start : start + floats]


class Room:
    """Places for signals, each free again after its last reader.

    Attributes:
        unit: floats that all of them need, for each row of capacity.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.unit = 0
        self._free: list[tuple[int, int]] = []  # (size, start)

    def take(self, size: int) -> tuple[int, int]:
        """The smallest free place that is large enough, or a new one."""
        fitting = sorted(area for area in self._free if area[0] >= size)
        if fitting:
            self._free.remove(fitting[0])
            return fitting[0]
        self.unit += size
        return size, self.unit - size

    def give(self, area: tuple[int, int]) -> None:
        """Free a place."""
        self._free.append(area)


class Layout:
    """Tables and weights of one program; see `kernels`.

    Attributes:
        table, constants, lists, signals, inputs, weights: as `kernels.run` takes them.
        even: whether the output has a step for each step of the input.
        lasting: pairs at the start of `lists`.
        unit: floats of `work` for each row of capacity.
        rate: the most rows that a signal has for each step of the input, over many steps.
        period: steps of the input that give every signal a whole number of rows: a chunk gives no
            more than the next multiple of it would.
        gathered: the most floats that a convolution gathers, and for each row of capacity.
        rings, cells, counters: what the state has, by name.
        cell_floats: of one stream.
        fills: counters of rings that the first sample fills.
    """

    def __init__(self, program: Program) -> None:
        """Lay out a program."""
        self.program = program
        self.rings: dict[str, Ring] = {}
        self.cells: dict[str, Cell] = {}
        self.counters: dict[str, int] = {}
        self.cell_floats = 0
        self.rate = Fraction(1)
        self.period = 1
        self.gathered = 0, 0
        self.fills: list[int] = []
        self._weights: list[Array] = []
        self._floats = 0
        self._lists: list[int] = []
        self._signals: list[tuple[int, int, int, int]] = []
        self._rates: list[Fraction] = []
        self._areas: dict[int, tuple[int, int]] = {}
        self._room = Room()
        self._place_state()
        self._place_signals()
        rows = [self._row(op) for op in program.operations if not isinstance(op, Select)]
        self.table = np.array([row for row, _ in rows], np.int64).reshape(-1, k.COLUMNS)
        self.constants = np.array([values for _, values in rows], np.float32).reshape(-1, 4)
        self.lists = np.array(self._lists, np.int64)
        self.signals = np.array(self._signals, np.int64)
        self.inputs = np.array(
            [(op.index, op.channels, op.index in program.vectors) for op in program.inputs],
            np.int64,
        )
        # Whether the output has a step for each step of the input.
        self.even = not any(
            isinstance(op, ConvTranspose | Repeat)
            or (isinstance(op, Conv | WindowPool) and op.skip is not None)
            for op in program.operations
        )
        self.unit = self._room.unit
        self.weights = self._packed()

    def whole(self, steps: int) -> int:
        """Steps of the input, filled up to whole periods."""
        return -(-steps // self.period) * self.period

    def rows(self, steps: int) -> int:
        """The most rows that any signal has for so many steps of the input."""
        return math.ceil(self.whole(steps) * self.rate)

    # --- State ---

    def _place_state(self) -> None:
        """Rings, then counters, and the cells; the lasting ones come first in `lists`."""
        for op in self.program.operations:
            if isinstance(op, Conv | WindowPool) and op.context is not None:
                channels, reach = self.program.state[op.context].shape
                self.rings[op.context] = Ring(op.context, channels, reach)
        for name, item in self.program.state.items():
            if item.integer:
                self.counters[name] = len(self.rings) + len(self.counters)
            elif name not in self.rings:
                self._place_cell(name, item)
        self.lasting = len(self._lists) // 2

    def _place_cell(self, name: str, item: StateItem) -> None:
        """An entry that is no ring; a tail lies with its steps one after the other."""
        tail = any(
            isinstance(op, ConvTranspose) and op.tail == name for op in self.program.operations
        )
        shape = item.shape[::-1] if tail else item.shape
        self.cells[name] = Cell(self.cell_floats, shape, tail)
        size = int(np.prod(shape))
        if item.lasting:
            self._lists += [self.cell_floats, size]
        self.cell_floats += size

    def _number(self, name: str | None) -> int:
        """Index of a counter, -1 for none."""
        return -1 if name is None else self.counters[name]

    def ring_table(self, room: int) -> Array:
        """The `rings` of `kernels.run` for rings of `room` rows beyond their reach."""
        rows, start = [], 0
        for ring in self.rings.values():
            rows.append((start, ring.reach, ring.reach + room, ring.channels))
            start += (ring.reach + room) * ring.channels
        return np.array(rows, np.int64).reshape(-1, 4)

    # --- Signals ---

    def _place_signals(self) -> None:
        """A place for every signal, from its operation to its last reader."""
        program = self.program
        left = Counter(signal.index for op in program.operations for signal in sources(op))
        left[program.output.index] += 1
        for signal in program.inputs:
            self._add(signal.channels, Fraction(1))
        for op in program.operations:
            if isinstance(op, Select):
                self._add_view(op)
            else:
                self._add(
                    op.target.channels,
                    self._rates[op.source.index] * _factor(op),
                )
            for signal in sources(op):
                self._release(signal, left)

    def _add(self, channels: int, rate: Fraction) -> int:
        """A new signal; its index."""
        index, stride = len(self._signals), padded(channels)
        self._areas[index] = self._room.take(math.ceil(stride * rate))
        self._signals.append((self._areas[index][1], stride, 0, index))
        self._rates.append(rate)
        self.rate = max(self.rate, rate)
        self.period = math.lcm(self.period, rate.denominator)
        return index

    def _add_view(self, op: Select) -> None:
        """Some channels of a signal, where they lie."""
        start, stride, shift, root = self._signals[op.source.index]
        self._signals.append((start, stride, shift + op.first, root))
        self._rates.append(self._rates[op.source.index])

    def _release(self, signal: Signal, left: Counter[int]) -> None:
        """Count a reader of a signal as done; with the last one its place is free."""
        left[signal.index] -= 1
        root = self._signals[signal.index][k.ROOT]
        within = [index for index, row in enumerate(self._signals) if row[k.ROOT] == root]
        if root in self._areas and not any(left[index] for index in within):
            self._room.give(self._areas.pop(root))

    def _scratch(self, channels: int, rows: Fraction) -> int:
        """A signal that no operation makes, of so many rows for each row of capacity."""
        self._signals.append((self._room.unit, padded(channels), 0, len(self._signals)))
        self._room.unit += math.ceil(padded(channels) * rows)
        return len(self._signals) - 1

    # --- Operations ---

    def _row(self, op: Operation) -> tuple[list[int], tuple[float, ...]]:
        """The row of `table` and that of `constants`."""
        make: Callable[[Any], list[int]] = OWN_COLUMNS[type(op)].__get__(self)
        activation = getattr(op, "activation", None)
        function, slope = _function(activation)
        row = [
            k.KINDS.index(type(op).__name__), op.source.index, op.target.index,
            op.source.channels, op.target.channels, function, *make(op),
        ]  # fmt: skip
        low, high = getattr(op, "limit", (0.0, 0.0))
        return row + [0] * (k.COLUMNS - len(row)), (
            slope,
            getattr(op, "eps", 0.0),
            low,
            high,
        )

    def _put(self, values: Array) -> int:
        """Add weights, which begin at a cache line; where they begin."""
        start = self._floats
        flat = np.asarray(values, np.float32).ravel()
        self._weights.append(flat)
        self._floats += -(-flat.size // LINE) * LINE
        return start

    def _packed(self) -> Array:
        """All weights in one array."""
        array, start = aligned(self._floats + k.WIDTH), 0
        for values in self._weights:
            array[start : start + values.size] = values
            start += -(-values.size // LINE) * LINE
        self._weights = []
        return array

    def _put_kernel(self, matrix: Array) -> int:
        """A dense kernel (outputs, inputs) as tiles: (outputs / WIDTH, inputs, WIDTH)."""
        outputs, inputs = matrix.shape
        whole = np.zeros((padded(outputs), inputs), np.float32)
        whole[:outputs] = matrix
        return self._put(whole.reshape(-1, k.WIDTH, inputs).transpose(0, 2, 1))

    def _put_bias(self, bias: Array) -> int:
        """A bias, filled up to whole tiles."""
        return self._put(np.pad(bias, (0, padded(len(bias)) - len(bias))))

    def _conv(self, op: Conv) -> list[int]:
        outputs, taps, inside = op.weight.shape
        form = k.DENSE
        if op.groups > 1:
            form = k.DEPTHWISE if inside == 1 and outputs == op.groups else k.GROUPED
        if form == k.DENSE:
            kernel = self._put_kernel(op.weight.reshape(outputs, -1))
        else:
            turned = op.weight[:, :, 0].T if form == k.DEPTHWISE else op.weight
            kernel = self._put(turned)
        inputs = taps * op.source.channels
        block = max(k.ROWS, min(252, GATHERED // inputs) // k.ROWS * k.ROWS)
        most, each = self.gathered
        rate = self._rates[op.source.index]
        self.gathered = max(most, block * inputs), max(each, math.ceil(rate * inputs))
        started = self._number(op.started)
        if started >= 0:
            self.fills.append(started)
        return [
            taps, op.dilation, op.stride, op.groups, self._ring(op.context),
            self._number(op.skip), started, kernel, self._put_bias(op.bias), form, block,
        ]  # fmt: skip

    def _ring(self, name: str | None) -> int:
        """Index of a ring, -1 for none."""
        return -1 if name is None else list(self.rings).index(name)

    def _conv_transpose(self, op: ConvTranspose) -> list[int]:
        outputs, taps, inside = op.weight.shape
        products = taps * outputs
        kernel = self._put_kernel(op.weight.transpose(1, 0, 2).reshape(products, inside))
        bias = np.concatenate([np.zeros(padded(products), np.float32), op.bias])
        overlap = 0 if op.tail is None else self.program.state[op.tail].shape[1]
        reach = (taps - 1) * op.dilation + 1
        rate = self._rates[op.source.index]
        ahead = self._scratch(outputs, rate * op.stride + reach)
        each = self._scratch(products, rate)
        start = 0 if op.tail is None else self.cells[op.tail].start
        return [
            taps, op.dilation, op.stride, kernel, self._put(bias), each, ahead, start, overlap
        ]  # fmt: skip

    def _affine(self, op: Affine) -> list[int]:
        return [self._put(op.scale), self._put(op.shift)]

    def _layer_norm(self, op: LayerNorm) -> list[int]:
        return [self._put(op.weight), self._put(op.bias)]

    def _rms_norm(self, op: RmsNorm) -> list[int]:
        return [self._put(op.weight), 0, op.groups]

    def _nothing(self, op: Operation) -> list[int]:
        return []

    def _spread(self, op: Spread) -> list[int]:
        return [self._signals[op.like.index][k.ROOT]]

    def _repeat(self, op: Repeat) -> list[int]:
        return [op.factor]

    def _merge(self, op: Merge) -> list[int]:
        start = len(self._lists)
        for signal in op.others:
            self._lists += [signal.index, signal.channels]
        return [MODES[op.mode], start, len(op.others)]

    def _excite(self, op: SqueezeExcitation) -> list[int]:
        channels, hidden = op.source.channels, op.expand[0].shape[1]
        rate = self._rates[op.source.index]
        reduce, reduce_bias = -1, -1
        if op.reduce is not None:
            reduce, reduce_bias = (
                self._put_kernel(op.reduce[0]),
                self._put_bias(op.reduce[1]),
            )
        scratches = [self._scratch(width, rate) for width in (channels, hidden, channels)]
        return [
            reduce, reduce_bias, hidden,
            self._put_kernel(op.expand[0]), self._put_bias(op.expand[1]), int(op.residual),
            self.cells[op.mean].start, self.cells[op.mean_low].start, self.counters[op.count],
            *scratches,
        ]  # fmt: skip

    def _pool(self, op: WindowPool) -> list[int]:
        largest = int(op.mode == "max")
        return [
            op.size,
            1,
            op.step,
            largest,
            self._ring(op.context),
            self._number(op.skip),
        ]

    def _scan(self, op: Scan) -> list[int]:
        return [
            op.dt.index, self._put(op.dt_bias), self._put(op.decay), self._put(op.skip),
            op.heads, op.head_dim, op.d_state, op.groups, self.cells[op.state].start,
        ]  # fmt: skip


OWN_COLUMNS: dict[type[Operation], Any] = {
    Conv: Layout._conv,
    ConvTranspose: Layout._conv_transpose,
    Affine: Layout._affine,
    Activate: Layout._nothing,
    Gate: Layout._nothing,
    Spread: Layout._spread,
    Merge: Layout._merge,
    LayerNorm: Layout._layer_norm,
    RmsNorm: Layout._rms_norm,
    SqueezeExcitation: Layout._excite,
    WindowPool: Layout._pool,
    Repeat: Layout._repeat,
    Scan: Layout._scan,
}


def _factor(op: Operation) -> Fraction:
    """Output steps for each input step."""
    if isinstance(op, Repeat):
        return Fraction(op.factor)
    if isinstance(op, ConvTranspose):
        return Fraction(op.stride)
    if isinstance(op, Conv | WindowPool) and op.skip is not None:
        return Fraction(1, op.stride if isinstance(op, Conv) else op.step)
    return Fraction(1)


def _function(activation: ActivationSpec | None) -> tuple[int, float]:
    """Code of an activation, and its constant."""
    if activation is None:
        return k.LINEAR, 0.0
    constants = {"elu": activation.alpha, "safe_log": activation.floor}
    return k.FUNCTIONS.index(activation.name), constants.get(activation.name, activation.slope)
