"""Shapes, counts, cost, receptive field and latency of a model: from its spec alone."""

import hashlib
import math
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tcnzoo.errors import InputError, SignalTooLong
from tcnzoo.specs import (
    GraphSpec,
    HeadsSpec,
    MergeSpec,
    ReceptiveField,
    SequentialSpec,
    Shape,
    Spec,
    TcnSpec,
    VqHdpHsmmSpec,
)
from tcnzoo.specs.implementations import implementations
from tcnzoo.specs.params import count


@dataclass(frozen=True)
class Layer:
    """One row of a model's table.

    Attributes:
        path: dotted name in the model; `output` for a model of one block.
        output_shape: (channels, time) or (channels,).
        trainable, buffers: values that training changes, and running statistics.
        macs: multiply-accumulates for one signal.
        receptive_field: input steps of the model that one output step of this layer sees.
        stride: input steps of the model between two of its output steps, as text (`16`, `1/2`).
    """

    path: str
    kind: str
    output_shape: Shape
    trainable: int
    buffers: int
    macs: int
    receptive_field: int
    stride: str


@dataclass(frozen=True)
class Description:
    """What `describe` says of a model.

    Attributes:
        input_shape, output_shape: without batch.
        layers: in order of computation; the parts of sequentials and TCNs are rows of their own.
        macs: multiply-accumulates for one signal.
        receptive_field: input steps that convolutions let one output step see.
        stride: input steps between two output steps, as text.
        whole_signal: parts that look at all of the signal at once.
        obstacle: why the model cannot stream, or None.
        latency: input steps that must follow before an output is known; None without streaming.
        state_values: values of the streaming state for each signal.
        remarks: what single parts say of themselves, by path.
        mamba2: what its Mamba-2 layers ask for and what they run in here; see mamba_choice.
    """

    input_shape: Shape
    output_shape: Shape
    layers: tuple[Layer, ...]
    trainable: int
    buffers: int
    macs: int
    receptive_field: int
    stride: str
    whole_signal: tuple[str, ...]
    obstacle: str | None
    latency: int | None
    state_values: int
    remarks: dict[str, str]
    mamba2: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Position:
    """Where a signal has come to: its shape and its relation to the model's input."""

    shape: Shape
    field: ReceptiveField

    def after(self, spec: Spec) -> "_Position":
        return _Position(spec.output_shape(self.shape), self.field.then(spec.field()))


def describe(spec: Spec, input_length: int | None = None) -> Description:
    """Tabulate a model without building it.

    Args:
        spec: any model.
        input_length: time steps of the signal; None for as many as the model needs and sees.
    Raises:
        InputError: the signal is too short.
    """
    length = default_length(spec) if input_length is None else input_length
    if length < 1:
        raise InputError(f"input_length must be at least 1, but is {length}")
    shape = spec.signal_shape(length)
    layers = tuple(_rows("", spec, _Position(shape, ReceptiveField())))
    field, obstacle = spec.field(), spec.streaming_blocker()
    return Description(
        input_shape=shape,
        output_shape=spec.output_shape(shape),
        layers=layers,
        **count(spec.params())._asdict(),
        macs=spec.macs(length),
        receptive_field=field.size,
        stride=str(field.stride),
        whole_signal=tuple(spec.whole_signal()),
        obstacle=obstacle,
        latency=None if obstacle else field.delay,
        state_values=0 if obstacle else _state_values(spec),
        remarks=_remarks(spec, layers),
        mamba2=implementations(spec),
    )


# Tokens from which attention of each to all takes more time than the layers around it.
MANY_TOKENS = 1024


def _remarks(spec: Spec, layers: Sequence[Layer]) -> dict[str, str]:
    """What parts say of themselves, and the price of attention to very many tokens."""
    parts = dict(spec.walk())
    remarks = {
        path or part.kind: remark
        for path, part in parts.items()
        if (remark := part.remark()) is not None
    }
    for layer in layers:
        part = parts.get(layer.path, spec)
        attends = any(inner.squares_length for _, inner in part.walk())
        tokens = layer.output_shape[-1]
        if attends and len(layer.output_shape) == 2 and tokens > MANY_TOKENS:
            remarks[layer.path] = (
                f"{tokens:,} tokens attend to one another: {layer.macs / 1e9:.3g} G "
                f"multiply-accumulates, which grow with the square of the tokens (LaBraM-base took "
                "14.6 s for a signal of 1,921 tokens on one processor); take shorter signals"
            )
    return remarks


def default_length(spec: Spec) -> int:
    """Fewest time steps that a model takes and that fill its receptive field, if it takes them."""
    return fitting_length(spec, spec.receptive_field())


def fitting_length(spec: Spec, wanted: int) -> int:
    """So many time steps, or the next length that a model takes, or the only one.

    A graph whose branches are downsampled and meet again may take multiples of a number only.
    """
    least = spec.min_length()
    wanted = max(wanted, least)
    for length in range(wanted, 2 * wanted):
        try:
            spec.output_shape(spec.signal_shape(length))
        except SignalTooLong:
            break
        except InputError:
            continue
        return length
    return least


def _rows(path: str, spec: Spec, position: _Position) -> Generator[Layer, None, _Position]:
    """Yield the row of each part; return where the signal has come to after the last."""
    if isinstance(spec, TcnSpec):
        return (yield from _tcn_rows(path, spec, position))
    if isinstance(spec, GraphSpec):
        return (yield from _graph_rows(path, spec, position))
    if isinstance(spec, VqHdpHsmmSpec):
        return (yield from _branch_rows(path, spec, position))
    if isinstance(spec, HeadsSpec):
        for name, part in spec.heads.items():
            yield from _rows(_join(path, name), part, position)
        return position.after(spec)
    if not isinstance(spec, SequentialSpec):
        yield _row(path or "output", spec, position)
        return position.after(spec)
    for name, part in spec.layers.items():
        position = yield from _rows(_join(path, name), part, position)
    return position


def _tcn_rows(path: str, spec: TcnSpec, position: _Position) -> Generator[Layer, None, _Position]:
    """Rows of a TCN, whose skip projections stand beside the way from input to output."""
    blocks: dict[str, _Position] = {}
    for name, part in spec.children().items():
        family, _, level = name.partition(".")
        if family == "skips":
            yield from _rows(_join(path, name), part, blocks[level])
            continue
        position = yield from _rows(_join(path, name), part, position)
        if family == "blocks":
            blocks[level] = position
    return position


def _graph_rows(
    path: str, spec: GraphSpec, position: _Position
) -> Generator[Layer, None, _Position]:
    """Rows of a graph's nodes, merges left out."""
    shapes, fields = spec.shapes(position.shape), spec.fields()
    positions = {
        name: _Position(shape, position.field.then(fields[name])) for name, shape in shapes.items()
    }
    for name, node in spec.nodes.items():
        if not isinstance(node.layer, MergeSpec):
            yield from _rows(_join(path, name), node.layer, positions.get(node.inputs[0], position))
    return positions[name]


def _branch_rows(
    path: str, spec: VqHdpHsmmSpec, position: _Position
) -> Generator[Layer, None, _Position]:
    """Rows of the parts that read from the projection, one after the other."""
    shapes, origin = spec.shapes(position.shape), position
    for name, part in spec.children().items():
        if name in ("hdp", "hsmm"):  # what they see is not always what another part gives
            channels = part.input_channels or shapes["hdp"][0]
            seen = replace(position, shape=(channels, shapes[name][1]))
            yield _row(_join(path, name), part, seen)
            continue
        end = yield from _rows(_join(path, name), part, position)
        if name in ("encoder", "projection"):
            position = end
    return origin.after(spec)


def _join(path: str, name: str) -> str:
    """Dotted name below a path."""
    return f"{path}.{name}" if path else name


def _row(path: str, spec: Spec, before: _Position) -> Layer:
    """The row of one part whose input is at `before`."""
    after = before.after(spec)
    return Layer(
        path=path,
        kind=spec.kind,
        output_shape=after.shape,
        **count(spec.params())._asdict(),
        macs=spec.macs_of(before.shape),
        receptive_field=after.field.size,
        stride=str(after.field.stride),
    )


def stream_name(spec: Spec) -> str:
    """What the streams of a model are called in the table of engines: its kind, and a digest."""
    return f"{spec.kind} {hashlib.sha256(spec.model_dump_json().encode()).hexdigest()[:8]}"


def _state_values(spec: Spec) -> int:
    """Values of the streaming state of one signal."""
    return sum(math.prod(item.shape) for item in spec.state().values())
