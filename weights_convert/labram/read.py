"""How a checkpoint of LaBraM is read."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Weights
from tcnzoo.errors import InputError, WeightError
from tcnzoo.formats.report import Converted
from tcnzoo.specs import Spec
from tcnzoo.zoo.foreign.labram import classifier_document, mem_document
from tcnzoo.zoo.parse import parse_spec

from ..containers.own import embedded_spec
from ..containers.state_dicts import PREFIX, Net, assign_tensors, net_in, open_state_dict
from ..hints import parse_hints
from ..torch import LAYOUT
from .detect import NAME, ROOT
from .facts import DEFAULTS, Shapes, encoder_in
from .names import STUDENT, names_of, squeezed
from .spec import last_of

CLS = "cls"
HINTS = (*DEFAULTS, "patch", CLS, PREFIX)
_DEAD = (
    (
        re.compile(r"student\.lm_head\.(weight|bias)"),
        "dead: pre-training computes with the head beside the student, 'lm_head'",
    ),
    (
        re.compile(r"projection_head\.0\.(weight|bias)"),
        "dead: LaBraM makes a projection head and never calls it",
    ),
)
_LOSS = re.compile(r"(loss|teacher|scaling|logit_laplace)\b.*")


def tensors(path: Path) -> Weights:
    """Every tensor of the file."""
    return open_state_dict(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a checkpoint: of masked pre-training where it has a token for masks, else a classifier.

    Raises:
        Undetermined: several such models in one file.
        InputError: a hint that is unknown or contradicts the file.
        WeightError: tensors that are not those of such a model, or rows of other electrodes.
        SpecError: an electrode that LaBraM has no row for; the nearest name is told.
    """
    arrays, notes = open_state_dict(path)
    given = parse_hints(NAME, hints, HINTS)
    net = _whole(net_in(path, arrays, ROOT, given), arrays)
    embedded = embedded_spec(NAME, path, notes)
    tensors_of = {name: squeezed(name, array) for name, array in net.tensors.items()}
    shapes = {_bare(name): tuple(array.shape) for name, array in tensors_of.items()}
    if embedded is not None:
        if given.keys() - {PREFIX}:
            raise InputError(f"{str(path)!r} says all of its model; leave the hints out")
        spec = embedded
        assumed: dict[str, Any] = {}
    else:
        spec, assumed = _inferred(path, shapes, given)
    last = last_of(spec) or {}
    neutral = {theirs: ours for ours, theirs in (names_of(spec, last) or {}).items()}
    return assign_tensors(
        path,
        replace(net, tensors=tensors_of),
        spec,
        assumed,
        lambda name: neutral.get(_bare(name), name) if _reason(name) is None else name,
        _reason,
        LAYOUT,
    )


def _inferred(path: Path, shapes: Shapes, given: Mapping[str, Any]) -> tuple[Spec, dict[str, Any]]:
    """The spec that shapes and hints say, and what was assumed."""
    encoder, assumed = encoder_in(path, shapes, given)
    if "mask_token" not in shapes:
        if CLS in given:
            raise InputError(f"the hint {CLS} is of pre-trained models, which {str(path)!r} is not")
        pooling = "mean" if "fc_norm.weight" in shapes else "cls"
        outputs = shapes["head.weight"][0] if "head.weight" in shapes else None
        return parse_spec(classifier_document(encoder, outputs, pooling)), assumed
    cls = _cls(given)
    if CLS not in given:
        assumed[CLS] = cls
    if not shapes.get("lm_head.weight"):
        raise WeightError(
            f"{str(path)!r} has a token for masks but no head of codes, 'lm_head.weight'"
        )
    return parse_spec(mem_document(encoder, shapes["lm_head.weight"][0], cls)), assumed


def _whole(net: Net, arrays: Weights) -> Net:
    """The student together with the heads that stand beside it."""
    if not net.prefix.endswith(STUDENT):
        return net
    prefix = net.prefix.removesuffix(STUDENT)
    inside = {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith((net.prefix, prefix + "lm_head.", prefix + "projection_head."))
    }
    beside = {name: why for name, why in net.beside.items() if name[len(prefix) :] not in inside}
    return Net(inside, prefix, beside)


def _bare(name: str) -> str:
    """A name of the transformer without what marks the student; its dead head is none of it."""
    return name if _reason(name) is not None else name.removeprefix(STUDENT)


def _reason(name: str) -> str | None:
    """Why a tensor that is no part of the model may be left out; None where it may not."""
    for pattern, why in _DEAD:
        if pattern.fullmatch(name):
            return why
    return "of the loss, not of the model" if _LOSS.fullmatch(name) else None


def _cls(given: Mapping[str, Any]) -> str:
    """Whose row the leading token has."""
    cls = given.get(CLS, "first_electrode")
    if cls not in ("own", "first_electrode"):
        raise InputError(f"hint {CLS!r} must be own or first_electrode, but is {cls!r}")
    return str(cls)
