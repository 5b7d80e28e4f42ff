"""How a checkpoint of VQNSP is read."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import InputError, WeightError
from tcnzoo.formats.report import Converted
from tcnzoo.specs import Spec
from tcnzoo.zoo.foreign.labram import tokenizer_document
from tcnzoo.zoo.parse import parse_spec

from ..containers.own import embedded_spec
from ..containers.state_dicts import PREFIX, assign_tensors, net_in, open_state_dict
from ..hints import parse_hints
from ..labram.facts import DEFAULTS, Shapes, encoder_in
from ..torch import LAYOUT
from .detect import NAME, ROOT
from .names import PROJECTION, current_name, names_of, neutral_shape, reason_to_drop

HINTS = (*DEFAULTS, "patch", PREFIX)


def tensors(path: Path) -> Weights:
    """Every tensor of the file."""
    return open_state_dict(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a checkpoint.

    Raises:
        Undetermined: several tokenizers in one file.
        InputError: a hint that is unknown or contradicts the file.
        WeightError: tensors that are not those of a tokenizer, or rows of other electrodes.
        SpecError: an electrode that LaBraM has no row for; the nearest name is told.
    """
    arrays, notes = open_state_dict(path)
    embedded = embedded_spec(NAME, path, notes)
    given = parse_hints(NAME, hints, HINTS)
    net = net_in(path, arrays, ROOT, given)
    plain = {name: _neutral(name, array) for name, array in net.tensors.items()}
    assumed: Mapping[str, Any] = {}
    if embedded is not None:
        if given.keys() - {PREFIX}:
            raise InputError(f"{str(path)!r} says all of its model; leave the hints out")
        spec = embedded
    else:
        shapes = {current_name(name): tuple(array.shape) for name, array in plain.items()}
        spec, assumed = _inferred(path, shapes, given)
    neutral = {theirs: ours for ours, theirs in (names_of(spec) or {}).items()}
    return assign_tensors(
        path,
        replace(net, tensors=plain),
        spec,
        assumed,
        lambda name: neutral.get(current_name(name), name),
        reason_to_drop,
        LAYOUT,
    )


def _neutral(name: str, array: Array) -> Array:
    """A tensor without axes that we have not, and the flag as a number."""
    if name == "quantize.embedding.initted":
        return array.reshape(-1).astype(np.float32)
    return neutral_shape(name, array)


def _inferred(path: Path, shapes: Shapes, given: Mapping[str, Any]) -> tuple[Spec, dict[str, Any]]:
    """The spec that shapes and hints say, and what was assumed."""
    encoder, assumed = encoder_in(path, shapes, given, "encoder.")
    decoder, _ = encoder_in(path, shapes, given, "decoder.", stem=False)
    sizes = []
    for name in ("quantize.embedding.weight", PROJECTION, "decode_task_layer.2.weight"):
        if len(shapes.get(name, ())) != 2:
            raise WeightError(f"{str(path)!r} must hold {name!r} of two axes, but does not")
        sizes.append(shapes[name])
    (codes, width), _, (bins, _) = sizes
    document = tokenizer_document(encoder, decoder, codes=codes, code_channels=width, bins=bins)
    return parse_spec(document), assumed
