"""How a chain of Keras layers is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError, WeightError
from tcnzoo.files.lazy import Tensors
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import Spec
from tcnzoo.zoo.catalog import load_spec

from ..containers.keras import (
    PLACED,
    SUFFIXES as SUFFIXES,
    KerasFile,
    hinted_document,
    read_document,
    read_keras,
)
from ..hints import parse_hints
from ..keras_chain.chain import chain_of
from ..keras_chain.plan import Plan, converted, plan_of
from ..keras_chain.write import planned_tensors
from .detect import NAME

HINTS = ("spec", "config")


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
