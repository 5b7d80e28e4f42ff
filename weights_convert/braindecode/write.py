"""How a net of braindecode is written."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Weights
from tcnzoo.checkpoints.directory import TENSORS
from tcnzoo.errors import SpecError
from tcnzoo.files.atomic import replacing_directory
from tcnzoo.files.lazy import Tensors
from tcnzoo.files.safetensors import put_safetensors
from tcnzoo.specs import SequentialSpec, Spec

from .detect import CONFIG, NAME
from .nets import NETS, NetKind
from .nets.plan import Plan, Source
from .nets.views import VIEWS


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write config.json and model.safetensors, both or neither.

    `CLASS(**config)` of braindecode then loads the tensors strictly; `n_times` is the fewest steps
    that make such a net.

    Raises:
        SpecError: a model that is none of braindecode's nets.
    """
    kind, arguments, plan = _net(spec)
    raised = {
        source.limited_by: source.limit.needed(weights[neutral])
        for neutral, source in plan.sources.items()
        if source.limit is not None
    }
    arguments = {**arguments, **raised}
    plan = kind.plan_of({**kind.defaults, **arguments})
    named: Weights = {
        source.name: _stored(source, weights[neutral]) for neutral, source in plan.sources.items()
    }
    named |= {name: np.zeros((), np.int64) for name in plan.counters}
    said = {name: value for name, value in arguments.items() if name not in ("electrodes", "rows")}
    text = json.dumps(said, indent=2) + "\n"
    with replacing_directory(path) as files:
        put_safetensors(files / TENSORS, named, {"format": "pt"})
        (files / CONFIG).write_text(text, encoding="utf-8")
    return {}


def _stored(source: Source, array: Any) -> Any:
    """A tensor as braindecode keeps it."""
    stored = VIEWS[source.view].stored(array)
    return np.ascontiguousarray(stored if source.limit is None else source.limit.kept(stored))


def _net(spec: Spec) -> tuple[NetKind, dict[str, Any], Plan]:
    """The net that a model is, its arguments, and its layers.

    Raises:
        SpecError: none.
    """
    layers = dict(spec.layers) if isinstance(spec, SequentialSpec) else {}
    wanted = _plain(spec.model_dump(mode="json"))
    nearest = ""
    for kind in NETS.values():
        try:
            arguments = kind.arguments_of(layers)
            plan = kind.plan_of({**kind.defaults, **arguments})
            made = plan.spec()
        except (KeyError, AttributeError, IndexError, ZeroDivisionError, SpecError):
            continue  # it has not the layers of this net
        if _plain(made.model_dump(mode="json")) == wanted:
            return kind, arguments, plan
        nearest = nearest or _difference(kind, made, layers)
    names = ", ".join(NETS)
    raise SpecError(
        f"format {NAME!r} holds the layers of {names}, as they are read from there, and this "
        f"{spec.kind} is none of them{nearest}"
    )


def _difference(kind: NetKind, made: Spec, layers: Mapping[str, Any]) -> str:
    """Where a model that resembles a net is not one."""
    theirs = made.children()
    for name in [*layers, *theirs]:
        ours, there = layers.get(name), theirs.get(name)
        if ours is None or there is None or _plain(ours.model_dump()) != _plain(there.model_dump()):
            return f"; it differs from {kind.name} in layer {name!r}"
    return ""


def _plain(document: Any) -> Any:
    """A spec's fields without how weights are drawn, which no trained net depends on."""
    if isinstance(document, dict):
        return {key: _plain(value) for key, value in document.items() if key != "initializer"}
    if isinstance(document, list | tuple):
        return [_plain(value) for value in document]
    return document
