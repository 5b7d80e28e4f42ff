"""What the files of our own backends share: the mark, the spec beside the tensors, the layout."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tcnzoo.checkpoints.directory import config_document, read_config
from tcnzoo.errors import InputError, WeightError
from tcnzoo.files.lazy import Facts, LazyTensors, Tensors, facts_of
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import Spec
from tcnzoo.specs.params import Param, check_weights, permute
from tcnzoo.zoo.catalog import load_spec

from ..hints import parse_hints

# Stored order of each labelled kind of tensor.
Layout = Mapping[str, str]
# What the mark of every file of ours starts with.
MARK = "tcnzoo-"


def mark(name: str) -> str:
    """What a file of ours says that it is, under `format`."""
    return MARK + name


def header(name: str, spec: Spec) -> dict[str, str]:
    """The mark and the configuration, to be kept in a file beside its tensors."""
    return {"format": mark(name), "config": json.dumps(config_document(spec))}


def check_mark(name: str, path: Path, beside: Mapping[str, Any]) -> None:
    """Raise WeightError if a file says that it is of another format of ours."""
    said = str(beside.get("made_by", beside.get("format", "")))
    if said.startswith("tcnzoo") and said != mark(name):
        said = said.removeprefix("tcnzoo-")
        raise WeightError(f"{str(path)!r} says that it is of format {said!r}, not {name!r}")


def embedded_spec(name: str, path: Path, beside: Mapping[str, Any]) -> Spec | None:
    """The spec that a file of our making carries.

    Args:
        name: of the format.
        path: of the file.
        beside: what stands beside the tensors.
    Returns:
        None where there is none.
    Raises:
        WeightError: another format's mark, or a damaged configuration.
        SpecError: a configuration whose spec is malformed.
    """
    check_mark(name, path, beside)
    config = beside.get("config")
    if beside.get("format") != mark(name) or not isinstance(config, str):
        return None
    return read_config(config, f"the configuration in {str(path)!r}")


def read_own(
    name: str,
    path: Path,
    tensors: Tensors,
    beside: Mapping[str, Any],
    hints: Mapping[str, Any],
    layout: Layout,
) -> Converted:
    """Turn the tensors of a file of ours into neutral weights.

    Args:
        name: of the format.
        path: for the sentences of errors.
        tensors: neutral names, stored layout.
        beside: the file's `format` and `config`, where it has them.
        hints: `spec` (a preset's name, a file, a dictionary) where it has none.
        layout: stored order of each kind of tensor.
    Raises:
        WeightError: another format's mark, or tensors that do not fit the spec.
        Undetermined: no spec, neither in the file nor in the hints.
        InputError: a spec in the hints that is not the file's.
    """
    check_mark(name, path, beside)
    spec = _spec(name, path, beside.get("config"), parse_hints(name, hints, ["spec"]))
    weights = to_neutral(spec.params(), tensors, layout)
    return Converted(spec, weights, {tensor: tensor for tensor in tensors})


def _spec(name: str, path: Path, config: Any, hints: Mapping[str, Any]) -> Spec:
    """The spec of a file, from the file or from the caller."""
    given = load_spec(hints["spec"]) if "spec" in hints else None
    if not isinstance(config, str):
        if given is None:
            raise Undetermined(
                f"{str(path)!r} holds tensors of format {name!r} without their spec; give it: "
                "--set spec=NAME_OR_FILE"
            )
        return given
    embedded = read_config(config, f"the configuration in {str(path)!r}")
    if given is not None and given != embedded:
        raise InputError(f"the spec that was given is not the one in {str(path)!r}; leave it out")
    return embedded


def to_stored(table: Mapping[str, Param], weights: Tensors, layout: Layout) -> LazyTensors:
    """Neutral weights in a stored layout, each a view that is made when it is asked for."""
    stored = {name: _stored(param, layout) for name, param in table.items()}
    return _permuted(weights, table, stored)


def to_neutral(table: Mapping[str, Param], tensors: Tensors, layout: Layout) -> LazyTensors:
    """Tensors of a stored layout in the neutral one, in table order, each a view made when asked.

    Raises:
        WeightError: a missing or extra tensor, or a shape that differs from the stored one.
    """
    stored = {name: _stored(param, layout) for name, param in table.items()}
    check_weights(stored, tensors)
    return _permuted(tensors, stored, table)


def _permuted(
    tensors: Tensors, now: Mapping[str, Param], wanted: Mapping[str, Param]
) -> LazyTensors:
    """Tensors with the axes of one table in the order of another."""
    known = facts_of(tensors)
    facts = {name: Facts(param.shape, known[name].dtype) for name, param in wanted.items()}
    return LazyTensors(
        facts, lambda name: permute(tensors[name], now[name].axes, wanted[name].axes)
    )


def _stored(param: Param, layout: Layout) -> Param:
    """A row as the file has it."""
    axes = layout[param.axes]
    shape = tuple(param.shape[param.axes.index(letter)] for letter in axes)
    return replace(param, shape=shape, axes=axes)
