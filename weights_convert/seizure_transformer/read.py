"""How a state_dict of SeizureTransformer is read."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Weights
from tcnzoo.errors import InputError, WeightError
from tcnzoo.formats.report import Converted
from tcnzoo.specs import Spec
from tcnzoo.specs.params import check_weights

from ..containers.own import embedded_spec
from ..containers.state_dicts import PREFIX, Net, net_in, open_state_dict
from ..hints import parse_hints
from .detect import NAME, ROOT
from .names import BIAS, COUNTER, POSITIONS, UNUSED, bias_rows, neutral_name
from .spec import HEADS, ROWS, SIGMOID, SOFTMAX, Sizes, graph_of

Shapes = Mapping[str, tuple[int, ...]]
# More layers than any net has, so that a damaged file is refused before it is built.
MOST_LAYERS = 64
OUTPUT = "output"
# Of a table of positions: the project computes angles in float32, 4e-4 away at row 6000, and
# bfloat16 rounds by 2e-3; another formula is away by 1.
SAME_POSITIONS = 1e-2


def tensors(path: Path) -> Weights:
    """Every tensor of the file."""
    return open_state_dict(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a state_dict; hints are `heads` (4 where it is not given), `output` and `prefix`.

    `output` is `sigmoid` or `softmax`, which is assumed where there are several classes.

    Raises:
        Undetermined: several such nets.
        InputError: an unknown hint, or an output that is neither.
        WeightError: tensors that are not those of the net, or other positions than sinusoids.
        SpecError: heads that do not divide the width.
    """
    arrays, notes = open_state_dict(path)
    given = parse_hints(NAME, hints, ("heads", OUTPUT, PREFIX))
    embedded = embedded_spec(NAME, path, notes)
    if embedded is not None:
        try:
            given = said_by(embedded) | given
        except (AttributeError, KeyError):
            raise WeightError(
                f"the configuration in {str(path)!r} is of another model than a SeizureTransformer"
            ) from None
    net = net_in(path, arrays, ROOT, given)
    shapes = {name: tuple(array.shape) for name, array in net.tensors.items()}
    sizes = sizes_of(path, shapes, given)
    spec = graph_of(sizes)
    _check_positions(path, net, spec)
    weights, used, dropped = _assigned(path, net, len(sizes.filters))
    check_weights(spec.params(), weights)
    ordered = {name: weights[name] for name in spec.params()}
    assumed: dict[str, Any] = {"heads": sizes.heads}
    if sizes.out_channels > 1:
        assumed[OUTPUT] = sizes.output
    assumed = {name: value for name, value in assumed.items() if name not in given}
    return Converted(spec, ordered, used, dropped, assumed)


def said_by(spec: Spec) -> dict[str, Any]:
    """The hints that a graph makes needless.

    Raises:
        AttributeError, KeyError: another model.
    """
    nodes: Any = spec.nodes  # type: ignore[attr-defined]
    heads = nodes["transformer"].layer.block.attention.heads
    return {"heads": heads, OUTPUT: nodes["probability"].layer.name}


def sizes_of(path: Path, shapes: Shapes, hints: Mapping[str, Any]) -> Sizes:
    """The sizes that the shapes of the tensors say, and the hints.

    Raises:
        InputError: an output that is none.
        WeightError: a tensor is missing that would say a size, or has other axes.
    """
    try:
        encoder = [shapes[name] for name in _numbered(shapes, "encoder.convs.{}.weight")]
        decoder = [shapes[name] for name in _numbered(shapes, "decoder_d.convs.{}.weight")]
        members = "res_cnn_stack.members.{}.conv1.weight"
        layer = "transformer_encoder.layers.{}.linear1.weight"
        layers = _numbered(shapes, layer)
        last = shapes["conv_d.weight"]
        output = hints.get(OUTPUT, SOFTMAX if last[0] > 1 else SIGMOID)
        if output not in (SIGMOID, SOFTMAX):
            raise InputError(f"hint {OUTPUT!r} must be {SIGMOID} or {SOFTMAX}, but is {output!r}")
        return Sizes(
            in_channels=encoder[0][1],
            filters=tuple(shape[0] for shape in encoder),
            encoder=tuple(shape[2] for shape in encoder),
            residual=tuple(shapes[name][2] for name in _numbered(shapes, members)),
            decoder=tuple(shape[2] for shape in decoder),
            layers=len(layers),
            hidden=shapes[layers[0]][0],
            heads=hints.get("heads", HEADS),
            out_channels=last[0],
            last=last[2],
            output=output,
            rows=shapes.get(POSITIONS, (ROWS,))[0],
        )
    except (KeyError, IndexError):
        raise WeightError(
            f"{str(path)!r} lacks tensors of a SeizureTransformer, or has them with other axes"
        ) from None


def _numbered(shapes: Shapes, pattern: str) -> list[str]:
    """The names 0, 1, ... of a pattern that are there."""
    names = [pattern.format(number) for number in range(MOST_LAYERS)]
    there = [name for name in names if name in shapes]
    return names[: len(there)]


def _check_positions(path: Path, net: Net, spec: Spec) -> None:
    """The table of positions is left out because it is computed: it must be the computed one.

    Raises:
        WeightError: it is another.
    """
    if POSITIONS not in net.tensors:
        return
    table = np.asarray(net.tensors[POSITIONS], np.float64)
    computed = spec.nodes["position"].layer.sines()[:, None, :]  # type: ignore[attr-defined]
    if table.shape != computed.shape:
        away = f"but has the shape {table.shape}"
    elif np.allclose(table, computed, rtol=0.0, atol=SAME_POSITIONS):
        return
    else:
        away = f"but is away from them by up to {np.abs(table - computed).max():.3g}"
    raise WeightError(
        f"tensor {net.prefix + POSITIONS!r} of {str(path)!r} must be sinusoidal positions of the "
        f"shape {computed.shape}, {away}"
    )


def _assigned(path: Path, net: Net, stages: int) -> tuple[Weights, dict[str, str], dict[str, str]]:
    """Tensors by neutral names, what became of them, and why others were dropped.

    Raises:
        WeightError: a tensor that is no part of the net.
    """
    weights: Weights = {}
    used: dict[str, str] = {}
    dropped = dict(net.beside)
    for name, array in net.tensors.items():
        full, neutral = net.prefix + name, neutral_name(name, stages)
        level = re.fullmatch(rf"transformer_encoder\.layers\.(\d+)\.{re.escape(BIAS)}", name)
        if name.startswith(UNUSED):
            dropped[full] = "a layer that torch copied for each layer, and that no output reads"
        elif name == POSITIONS:
            dropped[full] = "the table of sinusoidal positions, which is computed"
        elif name.endswith(f".{COUNTER}"):
            dropped[full] = "a counter that no output depends on"
        elif level is not None:
            if array.ndim != 1 or len(array) % 3:
                raise WeightError(
                    f"tensor {full!r} of {str(path)!r} must be the biases of queries, keys and "
                    f"values in a row, but has the shape {array.shape}"
                )
            rows = list(bias_rows(int(level[1])))
            weights |= zip(rows, np.split(array, 3), strict=True)
            used[full] = ", ".join(rows)
        elif neutral is not None:
            weights[neutral], used[full] = array, neutral
        else:
            raise WeightError(f"tensor {full!r} of {str(path)!r} is no part of the net")
    return weights, used, dropped
