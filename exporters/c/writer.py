"""What operations write into: constants, fields of the state, statements of a step, and sizes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.specs import ActivationSpec
from tcnzoo.streams.program import (
    Merge,
    Operation,
    Program,
    Repeat,
    Select,
    Signal,
    Spread,
    WindowPool,
)

from . import plan
from .functions import panels
from .numbers import WIDEST, floats, in_panels, integers, quantised

# Bytes of a C type.
BYTES = {"double": 8, "int64_t": 8, "float": 4, "int32_t": 4, "int8_t": 1}
# Operations whose output has the offset and unit of their input.
SAME_VALUES = (WindowPool, Repeat, Select, Spread)


@dataclass(frozen=True)
class Field:
    """A field of the state.

    Attributes:
        kind: C type.
        name: of the field.
        shape: of the array; empty for a number.
        meaning: one line.
        entry: name in the state of tcnzoo, "" for what it has no entry of.
    """

    kind: str
    name: str
    shape: tuple[int, ...]
    meaning: str
    entry: str = ""

    @property
    def size(self) -> int:
        """Bytes."""
        return BYTES[self.kind] * prod(self.shape)


@dataclass(frozen=True)
class Cost:
    """What one operation costs.

    Attributes:
        label: what it is.
        flash: bytes of constants.
        ram: bytes of the state.
        products: multiply-adds of one sample, in the mean.
        most: multiply-adds of one sample, at most.
    """

    label: str
    flash: int
    ram: int
    products: Fraction
    most: int


@dataclass(frozen=True)
class Kernel:
    """A convolution's kernel.

    Attributes:
        weight: (out, taps, in / groups), float32.
        bias: (out,), or None.
        dilation, stride, groups: as in a Conv.
    """

    weight: Array
    bias: Array | None
    dilation: int = 1
    stride: int = 1
    groups: int = 1


class Writer:
    """The C code of one program as it is written.

    Attributes:
        program: whose code it is.
        rows: of every signal.
        constants: definitions, in order.
        fields: of the state.
        statements: of a step.
        starts: statements of a reset, after all is zero.
        used: names of the functions that are called.
        widths, widths8: panels of the kernels.
        costs: of every operation.
        taps: of the longest kernel.
        kernels8: how many kernels are in int8.
    """

    def __init__(self, program: Program, int8: bool) -> None:
        """Begin with nothing.

        Args:
            program: to be written.
            int8: whether kernels are stored in int8.
        """
        self.program = program
        self.rows = plan.rows_of(program)
        self.memory = plan.memory_of(program, self.rows)
        self.constants: list[str] = []
        self.fields: list[Field] = []
        self.statements: list[str] = []
        self.starts: list[str] = []
        self.used: set[str] = set()
        self.widths: set[int] = set()
        self.widths8: set[int] = set()
        self.costs: list[Cost] = []
        self.taps = 1
        self.kernels8 = 0
        self.int8 = int8
        self.flash = 0
        self.number = 0
        self._counted: dict[int, str] = {}
        self._raw = {signal.index for signal in program.inputs}

    # --- One operation after the other ------------------------------------------------------------

    def begin(self, number: int, operation: Operation) -> None:
        """Go to the next operation."""
        self.number = number
        self._before = self.flash, self.ram
        if operation.source.index in self._counted:
            self._counted[operation.target.index] = self._counted[operation.source.index]
        same = isinstance(operation, SAME_VALUES) or (
            isinstance(operation, Merge) and operation.mode == "concat"
        )
        if same and any(one.index in self._raw for one in plan.read_by(operation)):
            self._raw.add(operation.target.index)

    def end(self, label: str, products: int, signal: Signal) -> None:
        """Note what the operation costs, which multiplies so often for each row of a signal."""
        flash, ram = self._before
        rows = self.rows[signal.index]
        sizes = self.flash - flash, self.ram - ram
        self.costs.append(Cost(label, *sizes, products * rows.mean, products * rows.most))

    @property
    def ram(self) -> int:
        """Bytes of all fields so far."""
        return sum(field.size for field in self.fields)

    # --- Signals ----------------------------------------------------------------------------------

    def pointer(self, signal: Signal) -> str:
        """Where the rows of a signal are, a C expression."""
        inputs = self.program.inputs
        if signal in inputs:
            return self.input_names()[inputs.index(signal)]
        if signal == self.program.output:
            return "y"
        return _sum("s->work", self.memory.signals[signal.index])

    def input_names(self) -> list[str]:
        """Arguments of a step that are read: `x`, and one for each embedding."""
        return ["x", *(f"embedding{index}" for index in range(len(self.program.inputs) - 1))]

    def scratch(self) -> str:
        """Where the operation may work."""
        return _sum("s->work", self.memory.scratch[self.number])

    def count(self, signal: Signal, times: int = 1) -> str:
        """So many times the rows of a signal, a C expression."""
        rows = self.rows[signal.index]
        if rows.fixed:
            return str(rows.most * times)
        name = self._counted[signal.index]
        return name if times == 1 else f"{name} * {times}"

    def counted(self, signal: Signal, rows: str) -> None:
        """Keep how many rows of a signal there are; a C expression that is evaluated now.

        Of a signal of fixed rows it is evaluated all the same, for what it does.
        """
        if self.rows[signal.index].fixed:
            self.say(f"{rows};")
            return
        self._counted[signal.index] = f"n{signal.index}"
        self.say(f"const int n{signal.index} = {rows};")

    # --- What is written --------------------------------------------------------------------------

    def say(self, statement: str) -> None:
        """Add a statement to the step."""
        self.statements.append(statement)

    def call(self, function: str, *arguments: str | int | float) -> None:
        """Call a function of FUNCTIONS, which gives as many rows as it takes."""
        self.say(f"{self.called(function, *arguments)};")

    def called(self, function: str, *arguments: str | int | float) -> str:
        """The expression of such a call."""
        self.used.add(function)
        return f"NAME_{function}({', '.join(map(literal, arguments))})"

    def activate(self, activation: ActivationSpec | None, signal: Signal) -> None:
        """Apply an activation to a signal in its place."""
        if activation is None or activation.name == "linear":
            return
        name, at = activation.name, self.pointer(signal)
        if name in ("softmax", "log_softmax"):
            self.call(name, at, self.count(signal), signal.channels)
            return
        constants = {
            "leaky_relu": activation.slope, "elu": activation.alpha, "safe_log": activation.floor,
        }  # fmt: skip
        extra = [constants[name]] if name in constants else []
        self.call(name, at, self.count(signal, signal.channels), *extra)

    def constant(self, name: str, array: Array) -> str:
        """Define an array, and return its name."""
        name = f"NAME_{name}_{self.number}"
        kind, numbers = ("int8_t", integers) if array.dtype == np.int8 else ("float", floats)
        text = "\n    ".join(numbers(array))
        self.constants.append(f"static const {kind} {name}[{array.size}] = {{\n    {text}\n}};")
        self.flash += array.nbytes
        return name

    def field(
        self, kind: str, name: str, shape: Sequence[int], meaning: str, entry: str | None = None
    ) -> str:
        """Add a field to the state; return the C expression of it (an array) or of its address."""
        name = f"{name}{self.number}"
        self.fields.append(Field(kind, name, tuple(shape), meaning, entry or ""))
        return f"s->{name}" if shape else f"&s->{name}"

    def kernel(self, kernel: Kernel, name: str = "kernel") -> str:
        """Define a float32 kernel; return the C expression of its address.

        Args:
            kernel: to be defined.
            name: in its operation.
        """
        self.widths |= set(panels(len(kernel.weight) // kernel.groups))
        w = self.constant(f"{name}_w", in_panels(kernel.weight, kernel.groups))
        return self._defined("kernel", name, [w], kernel, [kernel.groups])

    def depthwise(self, kernel: Kernel) -> str:
        """As `kernel`, for a kernel (channels, taps, 1) with a group for each channel."""
        w = self.constant("kernel_w", kernel.weight[:, :, 0].T)
        return self._defined("kernel", "kernel", [w], kernel, [kernel.groups])

    def kernel8(self, kernel: Kernel) -> str:
        """As `kernel`, in int8."""
        whole, scale = quantised(kernel.weight)
        self.kernels8 += 1
        self.widths8 |= set(panels(len(whole)))
        arrays = [self.constant("kernel_w", in_panels(whole)), self.constant("kernel_scale", scale)]
        return self._defined("kernel8", "kernel", arrays, kernel, [])

    def _defined(
        self, kind: str, name: str, arrays: list[str], kernel: Kernel, groups: list[int]
    ) -> str:
        """Define what a kernel's arrays belong to."""
        out, taps, share = kernel.weight.shape
        bias = "NULL" if kernel.bias is None else self.constant(f"{name}_b", kernel.bias)
        numbers = [share * kernel.groups, out, taps, kernel.dilation, kernel.stride, *groups]
        values = ", ".join([*arrays, bias, *map(str, numbers)])
        self.used.add(kind)
        self.taps = max(self.taps, taps)
        name = f"NAME_{name}_{self.number}"
        self.constants.append(f"static const NAME_{kind} {name} = {{{values}}};")
        return f"&{name}"

    def ring(self, width: int, size: int, entry: str | None, kind: str = "float") -> list[str]:
        """Fields of the last rows of a signal; return the C expressions that a function takes."""
        arrays = [self.field(kind, "ring", (size, width), "a ring of rows", entry)]
        if kind == "int8_t":
            arrays.append(self.field("float", "scales", (size,), "of its rows"))
        return [*arrays, self.field("int32_t", "at", (), "the oldest row of that ring")]

    def counter(self, name: str, entry: str | None, meaning: str) -> str:
        """A counter of the state, or the null pointer."""
        if entry is None:
            return "NULL"
        address = self.field("int32_t", name, (), meaning, entry)
        start = self.program.state[entry].start
        if start:
            self.starts.append(f"s->{name}{self.number} = {start};")
        return address

    def takes_int8(self, signal: Signal, width: int) -> bool:
        """Whether a kernel that reads a signal is stored in int8.

        Signals that come from a sensor may lie far from zero, and would lose what they say there.
        """
        return self.int8 and signal.index not in self._raw and width <= WIDEST


def literal(value: str | int | float) -> str:
    """A C expression; numbers are int or float."""
    if not isinstance(value, float):
        return str(value)
    if math.isinf(value):
        return "HUGE_VALF" if value > 0 else "-HUGE_VALF"
    return next(floats(np.array([value], np.float32))).rstrip(",")


def _sum(base: str, offset: int) -> str:
    """A pointer and an offset."""
    return f"{base} + {offset}" if offset else base
