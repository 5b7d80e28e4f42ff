"""How a checkpoint of LaBraM is written."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import SpecError
from tcnzoo.files.lazy import Tensors
from tcnzoo.specs import Spec

from ..containers.own import header, to_stored
from ..containers.state_dicts import write_state_dict
from ..torch import LAYOUT
from .detect import NAME
from .names import STUDENT, names_of, stored_shape
from .spec import last_of


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a state_dict that LaBraM's own classes load strictly.

    A classifier has the bare names. The masked model has the prefix `student.`, and what the
    original makes and never reads, zero: a head of the student's own and a projection head.

    Raises:
        SpecError: a model that is none of them.
    """
    last, masked = last_of(spec), "mask_token" in spec.children()
    names = names_of(spec, last) if last is not None else None
    if names is None:
        raise SpecError(
            f"{NAME} holds the classifiers and masked models that zoo.foreign.labram describes, "
            f"but this is another {spec.kind}"
        )
    named = stored_tensors(spec, weights, names)
    if masked:
        heads = ("lm_head.weight", "lm_head.bias")
        named = {name if name in heads else STUDENT + name: one for name, one in named.items()}
        named |= _fillers(named)
    write_state_dict(path, named, header(NAME, spec))
    return {}


def stored_tensors(spec: Spec, weights: Tensors, names: Mapping[str, str]) -> Weights:
    """Tensors under LaBraM's names, with its axes."""
    named: dict[str, Array] = {}
    for name, array in to_stored(spec.params(), weights, LAYOUT).items():
        shape = stored_shape(names[name], array.shape)
        named[names[name]] = np.ascontiguousarray(array).reshape(shape)
    return named


def _fillers(named: Weights) -> dict[str, Array]:
    """What the original's masked model has beside its live tensors, zero."""
    head, norm = named["lm_head.weight"], named[STUDENT + "norm.weight"]
    width = len(norm)
    return {
        STUDENT + "lm_head.weight": np.zeros_like(head),
        STUDENT + "lm_head.bias": np.zeros(len(head), head.dtype),
        "projection_head.0.weight": np.zeros((width, width), head.dtype),
        "projection_head.0.bias": np.zeros(width, head.dtype),
    }
