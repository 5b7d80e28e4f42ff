"""How a model of keras-tcn is read."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.errors import InputError, WeightError
from tcnzoo.files.lazy import Tensors
from tcnzoo.formats.report import Converted

from ..containers.keras import (
    SUFFIXES as SUFFIXES,
    KerasFile,
    hinted_document,
    read_document,
    read_keras,
)
from ..hints import parse_hints
from ..keras_chain.chain import chain_of
from ..keras_chain.plan import converted, plan_of
from .blocks import tcn_pieces
from .config import HINTS, document_of
from .detect import NAME

_SET_BY_DATA = re.compile(r".*/weight_normalization(_\d+)?/vars/2|.*/initialized(:0)?")


def tensors(path: Path) -> Tensors:
    """Every tensor by its full path."""
    return read_keras(path).tensors


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a model.

    Weights alone need the file of the model's `to_json()` as the hint `config`, or, where they are
    those of one TCN and dense layers after it, the arguments that no shape says.

    Raises:
        Undetermined: weights alone, and hints are missing; the sentence names them.
        SpecError: a model that is no chain, or a layer or an option that has no counterpart.
        WeightError: a damaged file, or tensors that do not fit.
        InputError: a hint that is unknown, or contradicts the file.
    """
    given = parse_hints(NAME, hints, HINTS)
    document = read_document(path)
    if document is not None and given:
        raise InputError(
            f"{str(path)!r} says what its model is; leave the hint {next(iter(given))} out"
        )
    file = read_keras(path, hinted_document(path, given))
    _check_run(file)
    assumed: dict[str, Any] = {}
    document = file.document
    if document is None:
        document, assumed = document_of(file, given)
    model = converted(file, plan_of(chain_of(document.model, document.old), tcn_pieces))
    return replace(model, assumed={**assumed, **model.assumed})


def _check_run(file: KerasFile) -> None:
    """Refuse a weight norm that the first batch is still to set."""
    for name in filter(_SET_BY_DATA.fullmatch, file.tensors):
        if not np.all(file.tensors[name]):
            raise WeightError(
                f"the weight norm at {name!r} of {str(file.path)!r} has never seen data, which "
                "sets its gain; call the model once and save it again"
            )
