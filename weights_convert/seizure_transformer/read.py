"""How a state_dict of SeizureTransformer is read."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Weights
from tcnzoo.errors import WeightError
from tcnzoo.formats.report import Converted
from tcnzoo.specs import Spec
from tcnzoo.specs.params import check_weights

from ..containers.own import embedded_spec
from ..containers.state_dicts import PREFIX, Net, net_in, open_state_dict
from ..hints import parse_hints
from .detect import NAME, ROOT
from .names import BIAS, COUNTER, POSITIONS, UNUSED, bias_rows, neutral_name
from .spec import HEADS, Sizes, graph_of

Shapes = Mapping[str, tuple[int, ...]]
# More layers than any net has, so that a damaged file is refused before it is built.
MOST_LAYERS = 64


def tensors(path: Path) -> Weights:
    """Every tensor of the file."""
    return open_state_dict(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a state_dict; hints are `heads` (4 where it is not given) and `prefix`.

    Raises:
        Undetermined: several such nets.
        InputError: an unknown hint.
        WeightError: tensors that are not those of the net.
        SpecError: heads that do not divide the width.
    """
    arrays, notes = open_state_dict(path)
    given = parse_hints(NAME, hints, ("heads", PREFIX))
    embedded = embedded_spec(NAME, path, notes)
    if embedded is not None:
        try:
            given.setdefault("heads", heads_of(embedded))
        except (AttributeError, KeyError):
            raise WeightError(
                f"the configuration in {str(path)!r} is of another model than a SeizureTransformer"
            ) from None
    net = net_in(path, arrays, ROOT, given)
    shapes = {name: tuple(array.shape) for name, array in net.tensors.items()}
    sizes = sizes_of(path, shapes, given.get("heads", HEADS))
    spec = graph_of(sizes)
    weights, used, dropped = _assigned(path, net, len(sizes.filters))
    check_weights(spec.params(), weights)
    ordered = {name: weights[name] for name in spec.params()}
    return Converted(spec, ordered, used, dropped, {} if "heads" in given else {"heads": HEADS})


def heads_of(spec: Spec) -> int:
    """Heads of the transformer in a graph.

    Raises:
        AttributeError, KeyError: another model.
    """
    transformer: Any = spec.nodes["transformer"].layer  # type: ignore[attr-defined]
    heads: int = transformer.block.attention.heads
    return heads


def sizes_of(path: Path, shapes: Shapes, heads: int) -> Sizes:
    """The sizes that the shapes of the tensors say.

    Raises:
        WeightError: a tensor is missing that would say one, or has other axes.
    """
    try:
        encoder = [shapes[name] for name in _numbered(shapes, "encoder.convs.{}.weight")]
        decoder = [shapes[name] for name in _numbered(shapes, "decoder_d.convs.{}.weight")]
        members = "res_cnn_stack.members.{}.conv1.weight"
        layer = "transformer_encoder.layers.{}.linear1.weight"
        layers = _numbered(shapes, layer)
        last = shapes["conv_d.weight"]
        return Sizes(
            in_channels=encoder[0][1],
            filters=tuple(shape[0] for shape in encoder),
            encoder=tuple(shape[2] for shape in encoder),
            residual=tuple(shapes[name][2] for name in _numbered(shapes, members)),
            decoder=tuple(shape[2] for shape in decoder),
            layers=len(layers),
            hidden=shapes[layers[0]][0],
            heads=heads,
            out_channels=last[0],
            last=last[2],
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
