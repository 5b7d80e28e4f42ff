"""How a state_dict of SeizureTransformer is written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Weights
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.files.atomic import replacing
from tcnzoo.files.lazy import Tensors
from tcnzoo.specs import GraphSpec, Spec

from ..containers.own import header
from ..containers.state_dicts import write_state_dict
from .detect import NAME
from .names import BIAS, BIASES, COUNTER, POSITIONS, UNUSED, bias_rows, foreign_name
from .read import said_by, sizes_of
from .spec import graph_of


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a state_dict that the project's class loads strictly.

    Raises:
        SpecError: a model that is not a SeizureTransformer.
    """
    try:
        stages = sum(name.startswith("pool") for name in spec.nodes)  # type: ignore[attr-defined]
        named = _named(weights, stages)
        positions: Any = spec.nodes["position"].layer  # type: ignore[attr-defined]
        table = positions.sines().astype(named["conv_d.weight"].dtype)
        named[POSITIONS] = np.ascontiguousarray(table[:, None, :])
        shapes = {name: tuple(array.shape) for name, array in named.items()}
        made = graph_of(sizes_of(path, shapes, said_by(spec)))
    except (AttributeError, InputError, KeyError, ValueError, WeightError):
        made = None
    if not isinstance(spec, GraphSpec) or made is None or made != spec:
        raise SpecError(
            f"format {NAME!r} holds the graph that is read from it, and this {spec.kind} is another"
        )
    first = "transformer_encoder.layers.0."
    named |= {
        UNUSED + name.removeprefix(first): array
        for name, array in named.items()
        if name.startswith(first)
    }
    named |= {
        name.replace("running_mean", COUNTER): np.zeros((), np.int64)
        for name in named
        if name.endswith("running_mean")
    }
    with replacing(path) as temporary:
        write_state_dict(temporary, named, header(NAME, spec))
    return {}


def _named(weights: Tensors, stages: int) -> Weights:
    """Tensors under the names of the project."""
    named: Weights = {}
    for name in weights:
        if not name.endswith(BIASES):
            named[foreign_name(name, stages)] = weights[name]
        elif name.endswith(BIASES[0]):
            level = name.split(".")[2]
            together = [weights[row] for row in bias_rows(int(level))]
            named[f"transformer_encoder.layers.{level}.{BIAS}"] = np.concatenate(together)
    return named
