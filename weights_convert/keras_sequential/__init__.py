"""Keras models that are one chain of layers, both ways: .keras, .h5 and .weights.h5.

A file is read without Keras, and nothing that it holds is run. It is written by Keras itself.

Source: Keras 3.15.1 (Apache-2.0).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError, WeightError
from tcnzoo.files.lazy import Tensors
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import Spec
from tcnzoo.zoo.catalog import load_spec

from .. import keras_tcn, osd_keras
from ..containers.keras import (
    PLACED,
    SUFFIXES as SUFFIXES,
    KerasFile,
    hinted_document,
    read_document,
    read_keras,
    weight_groups,
)
from ..hints import parse_hints
from ..keras import detect as is_ours
from .chain import chain_of, is_model
from .plan import Plan, converted, plan_of
from .write import planned_tensors, write_model

NAME = "keras-sequential"
DESCRIPTION = "chain of Keras layers (.keras, .h5, or .weights.h5)"
FOREIGN = True
HINTS = ("spec", "config")


def detect(path: Path) -> bool:
    """Whether it is a Sequential or functional model of Keras, and not of a project that we know.

    A file of weights alone counts as well.
    """
    document = read_document(path)
    if document is None:
        groups = weight_groups(path)
        return groups is not None and not is_ours(path) and not keras_tcn.detect(path)
    if not is_model(document.model):
        return False
    return not keras_tcn.detect(path) and not osd_keras.detect(path)


def tensors(path: Path) -> Tensors:
    """Every tensor by its full path."""
    return read_keras(path).tensors


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a model; weights alone need its spec, or the file of its `to_json()`, as a hint.

    Raises:
        Undetermined: weights alone, and no hint.
        SpecError: a model that is no chain, or a layer that has no counterpart.
        WeightError: a damaged file, or tensors that do not fit.
        InputError: a hint that the file has no need of.
    """
    given = parse_hints(NAME, hints, HINTS)
    file = read_keras(path, hinted_document(path, given))
    if given and read_document(path) is not None:
        raise InputError(
            f"{str(path)!r} says what its model is; leave the hint {next(iter(given))} out"
        )
    if file.document is not None:
        return converted(file, plan_of(chain_of(file.document.model, file.document.old)))
    if "spec" not in given:
        raise Undetermined(
            f"{str(path)!r} holds weights alone; give their model, as in: --set spec=NAME_OR_FILE, "
            "or --set config=FILE.json with what model.to_json() gives"
        )
    return converted(file, _spec_plan(file, load_spec(given["spec"])))


def _spec_plan(file: KerasFile, spec: Spec) -> Plan:
    """The plan of a file that we would write for a spec."""
    if file.root != PLACED:
        raise WeightError(
            f"{str(file.path)!r} has weights by the names of layers, so it takes the hint config"
        )
    return Plan(spec, planned_tensors(spec), {}, {}, {})


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a Sequential of Keras layers: a model, or as .weights.h5 its weights.

    Blocks such as conv_block become the layers inside them.

    Raises:
        BackendMissing: Keras is not installed.
        SpecError: a model that no chain of Keras layers is.
    """
    return write_model(path, spec, weights)
