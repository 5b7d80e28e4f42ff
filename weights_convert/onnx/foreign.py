"""A foreign graph as a spec: every reading of its input's axes is tried, and one must remain."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError, WeightError, suggestion
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.zoo.parse import parse_spec

from . import operators as operators
from .graph.nodes import Graph, Node
from .operators.reader import PRECISION, Walk
from .program.patterns import put_together
from .program.refused import Refused
from .program.signal import BATCH, CHANNELS, INPUT, TIME, UNIT, Const, Roles, Signal
from .program.spec import Named, named

HINTS = ("length", "channels", "layout", "output", "momentum", "squeeze")
Axes = tuple[int | None, ...]
# Sizes that stand for axes that are left open. No file names them, and nothing that is read may
# depend on them: three lengths are tried, of which two pass any stack of strides and one is odd.
SOME_BATCH = 7919
SOME_LENGTHS = (1024 * 1009, 1024 * 1013, 1_000_003)
WORDS = {BATCH: "batch", CHANNELS: "channels", TIME: "time", UNIT: "1"}


def read_graph(path: Path, graph: Graph, hints: Mapping[str, Any]) -> Converted:
    """Read a graph that some other project made.

    Args:
        path: for the sentences of errors.
        graph: checked.
        hints: `length` and `channels` of the signal, `layout` of the input (such as NTC),
            `output` by name, `momentum` of batch norms, `squeeze` of axes of size 1 at the end.
    Raises:
        Undetermined: several outputs or readings, or a model that depends on an unknown length.
        WeightError: an operator that is not supported.
    """
    output = _output(path, graph, hints.get("output"))
    nodes = graph.needed(output)
    name, axes = _input(path, graph, nodes)
    readings: list[tuple[Roles, Named]] = []
    refused: list[Refused] = []
    for roles in _layouts(path, axes, hints):
        try:
            model = _read(path, graph, nodes, output, (name, axes, roles), hints)
        except Refused as error:
            refused.append(error)
            continue
        if not any(model.same(other) for _, other in readings):
            readings.append((roles, model))
        if len(axes) == 2:
            break  # a vector, unless the graph itself puts channels in
    if not readings:
        raise WeightError(f"{str(path)!r}: {max(refused, key=lambda error: error.nodes_read)}")
    if len(readings) > 1:
        texts = " or ".join("".join(roles) for roles, _ in readings)
        raise Undetermined(
            f"{str(path)!r} does not say what the axes of its input are; give them: "
            f"--set layout={texts}"
        )
    return _converted(path, graph, nodes, hints, *readings[0])


def _converted(
    path: Path,
    graph: Graph,
    nodes: tuple[Node, ...],
    hints: Mapping[str, Any],
    roles: Roles,
    model: Named,
) -> Converted:
    """A reading as what a format gives."""
    if model.document.get("in_channels", 0) is None:
        raise Undetermined(
            f"{str(path)!r} does not say how many channels its input has; give them: "
            "--set channels=NUMBER"
        )
    if model.drops and not hints.get("squeeze"):
        raise Undetermined(
            f"{str(path)!r} has an output {model.drops[0]}, but here it is {model.drops[1]}; to "
            "have it so: --set squeeze=true"
        )
    spec = parse_spec(model.document)
    if roles not in ((BATCH, CHANNELS), (BATCH, CHANNELS, TIME)):
        model.assumed["input"] = f"given as (batch, channels, time) instead of {_words(roles)}"
    read = {name for node in nodes for name in node.inputs}
    dropped = {
        name: "a number of the graph, which is in the spec"
        if name in read
        else "nothing that the output depends on reads it"
        for name in graph.initializers
        if name not in model.used
    }
    return Converted(spec, model.weights, model.used, dropped, model.assumed)


def _words(roles: Roles) -> str:
    """Axes as a sentence names them."""
    return f"({', '.join(WORDS.get(role, role) for role in roles)})"


def _output(path: Path, graph: Graph, wanted: Any) -> str:
    """The output that is read."""
    if wanted is not None and str(wanted) not in graph.outputs:
        raise InputError(
            f"{str(path)!r} has no output {wanted!r}{suggestion(str(wanted), graph.outputs)}"
        )
    if wanted is None and len(graph.outputs) > 1:
        raise Undetermined(
            f"{str(path)!r} has {len(graph.outputs)} outputs {list(graph.outputs)}; choose "
            "one: --set output=NAME"
        )
    return graph.outputs[0] if wanted is None else str(wanted)


def _input(path: Path, graph: Graph, nodes: tuple[Node, ...]) -> tuple[str, Axes]:
    """Name and axes of the one input that the output depends on."""
    read = {name for node in nodes for name in node.inputs}
    inputs = [name for name in graph.inputs if name in read]
    if len(inputs) != 1:
        raise WeightError(
            f"{str(path)!r} is not supported: the output depends on {len(inputs)} inputs "
            f"{inputs}, where one signal is expected"
        )
    axes = graph.inputs[inputs[0]]
    if not 2 <= len(axes) <= 4:
        raise WeightError(
            f"{str(path)!r} is not supported: its input {inputs[0]!r} has {len(axes)} axes, where "
            "2 to 4 are expected"
        )
    return inputs[0], axes


def _layouts(path: Path, axes: Axes, hints: Mapping[str, Any]) -> list[Roles]:
    """The ways to read the axes of the input that the hints leave, a neutral input's first."""
    rest: list[Roles] = [(CHANNELS,), (TIME,)]
    if len(axes) > 2:
        behind = (CHANNELS, TIME) if len(axes) == 3 else (CHANNELS, UNIT, TIME)
        rest = list(itertools.permutations(behind))
    ones = [axis for axis, size in enumerate(axes) if axis and size == 1]
    left_open = [axis for axis, size in enumerate(axes) if size is None]
    known = [
        (BATCH, *roles)
        for roles in rest
        if UNIT not in roles or roles.index(UNIT) + 1 in (ones or left_open)
    ]
    if not known:
        raise WeightError(
            f"{str(path)!r} is not supported: its input has axes {axes}, where batch, channels, "
            "time and one of size 1 are expected"
        )
    agreeing = [roles for roles in known if _agrees(roles, axes, hints)]
    if not agreeing:
        given = {name: hints[name] for name in ("layout", "length", "channels") if name in hints}
        choices = ", ".join("".join(roles) for roles in known)
        raise InputError(
            f"the input of {str(path)!r} has axes {axes}, which may be {choices}; {given} does not "
            "go with it"
        )
    return agreeing


def _agrees(roles: Roles, axes: Axes, hints: Mapping[str, Any]) -> bool:
    """Whether a reading of the axes is what the caller says."""
    sizes = dict(zip(roles, axes, strict=True))
    for name, role in (("length", TIME), ("channels", CHANNELS)):
        wanted = hints.get(name)
        whole = isinstance(wanted, int) and wanted > 0 and role in sizes
        if wanted is not None and not (whole and sizes[role] in (None, wanted)):
            return False
    return hints.get("layout") in (None, "".join(roles))


def _read(
    path: Path,
    graph: Graph,
    nodes: tuple[Node, ...],
    output: str,
    reading: tuple[str, Axes, Roles],
    hints: Mapping[str, Any],
) -> Named:
    """One reading of the input's axes, at the file's length or at several made-up ones."""
    name, axes, roles = reading
    sizes = dict(zip(roles, axes, strict=True))
    length = hints.get("length") or sizes.get(TIME)
    width = hints.get("channels") or sizes.get(CHANNELS)
    lengths: tuple[int | None, ...] = SOME_LENGTHS
    if TIME not in roles or length is not None:
        lengths = (length if TIME in roles else None,)
    models = []
    for steps in lengths:
        channels = width if CHANNELS in roles else 1
        batch, kind = sizes[BATCH] or SOME_BATCH, graph.types[name]
        x = Signal(INPUT, roles, channels, steps, batch, type=kind)
        try:
            models.append(_named(graph, nodes, output, name, x, len(lengths) == 1, hints))
        except Refused:
            if len(models) < 2:
                raise
    if any(not model.same(models[0]) for model in models) or _open(models[0].document):
        raise Undetermined(
            f"{str(path)!r} is a model for signals of one length, which it does not say; give it: "
            "--set length=STEPS"
        )
    return models[0]


def _open(document: Mapping[str, Any]) -> bool:
    """Whether a flatten is left without its length."""
    inner = document.get("layers") or {
        name: node["layer"] for name, node in document["nodes"].items()
    }
    return any(layer["kind"] == "flatten" and layer["length"] is None for layer in inner.values())


def _named(
    graph: Graph,
    nodes: tuple[Node, ...],
    output: str,
    name: str,
    x: Signal,
    fixed: bool,
    hints: Mapping[str, Any],
) -> Named:
    """Read the graph for one input."""
    constants = {
        name: Const(array, frozenset([name])) for name, array in graph.initializers.items()
    }
    walk = Walk(graph, fixed, {**constants, name: x})
    walk.run(nodes)
    y = walk.values[output]
    if not isinstance(y, Signal):
        raise Refused("the output does not depend on the input", len(nodes))
    walk.program.output = y.layer
    put_together(walk.program)
    channels = walk.assumed.get("in_channels", x.channels)
    wants_axis = y.is_vector and _extra(y.roles, x.roles) > 0
    model = named(walk.program, channels, fixed, hints.get("momentum"), wants_axis)
    if PRECISION in walk.assumed:
        model.assumed[PRECISION] = walk.assumed[PRECISION]
    given = _with_time(y) if model.keeps_axis else y
    if given.roles != _usual(given.roles):
        words = f"given as {_words(_usual(given.roles))} instead of {_words(given.roles)}"
        model.assumed["output"] = words
    if _extra(given.roles, x.roles) > 0:
        model.drops = (_words(y.roles), _words(_usual(given.roles)))
    return model


def _extra(roles: Roles, read: Roles) -> int:
    """Axes of size 1 in an output that the model's does not have.

    One stands for the channels where there is but one, and one is that of an input of four axes.
    """
    channel = CHANNELS not in roles and UNIT in roles
    return roles.count(UNIT) - channel - (len(roles) == len(read) == 4)


def _with_time(y: Signal) -> Signal:
    """A vector whose last axis of size 1 has become that of time."""
    axis = len(y.roles) - 1 - y.roles[::-1].index(UNIT)
    return replace(y, length=1, roles=(*y.roles[:axis], TIME, *y.roles[axis + 1 :]))


def _usual(roles: Roles) -> Roles:
    """The axes that an output has here."""
    return (BATCH, CHANNELS, TIME) if TIME in roles else (BATCH, CHANNELS)
