"""Checkpoint directories: config.json, model.safetensors and README.md, whole or not there."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.checkpoints.card import CARD, card_text
from tcnzoo.checkpoints.parity_report import ParityReport
from tcnzoo.files.atomic import refuse_existing, replacing, replacing_directory
from tcnzoo.files.lazy import LazyTensors, picked
from tcnzoo.files.safetensors import (
    open_safetensors,
    read_safetensors,
    safetensors_metadata,
    write_safetensors,
)
from tcnzoo.files.shards import (
    INDEX,
    LARGEST_SHARD,
    TENSORS,
    has_tensors,
    open_tensors,
    put_tensors,
    size_in_bytes,
    superseded,
)
from tcnzoo.specs import Spec
from tcnzoo.specs.params import check_weights
from tcnzoo.zoo.configuration import CONFIG, FORMAT, HEADER, VERSION, configuration, is_own, spec_in
from tcnzoo.zoo.parse import parse_spec

__all__ = [
    "CONFIG",
    "FORMAT",
    "INDEX",
    "LARGEST_SHARD",
    "TENSORS",
    "VERSION",
    "config_document",
    "has_tensors",
    "is_own",
    "open_checkpoint",
    "open_safetensors",
    "open_tensors",
    "read_checkpoint",
    "read_config",
    "read_safetensors",
    "refuse_existing",
    "replacing",
    "safetensors_metadata",
    "write_checkpoint",
    "write_safetensors",
]


def config_document(spec: Spec) -> dict[str, Any]:
    """What config.json holds, and the header of its tensors under `config`."""
    return {"format": FORMAT, "version": VERSION, "spec": spec.model_dump(mode="json")}


def read_config(text: str, origin: str) -> Spec:
    """Read the text of a `config_document` back.

    Args:
        text: JSON.
        origin: where it comes from, for the sentence of an error.
    Raises:
        WeightError: no configuration, or one of a later version.
        SpecError: its spec is malformed.
    """
    return parse_spec(spec_in(text, origin))


def write_checkpoint(
    directory: str | os.PathLike[str],
    spec: Spec,
    weights: Mapping[str, Array],
    *,
    overwrite: bool = False,
    licence: str | None = None,
    parity: ParityReport | None = None,
    max_shard_size: int | str = LARGEST_SHARD,
) -> None:
    """Write a checkpoint directory.

    All its files take their places together: a crash leaves the old checkpoint or the new one. The
    header of the tensors repeats the configuration.

    Args:
        directory: made if it is not there.
        spec: of the model.
        weights: every tensor of the spec's param table, lazy or not; one is read at a time.
        overwrite: replace the checkpoint that is there; of its README.md only our section.
        licence: of the weights, as in the model card: `apache-2.0`, `cc-by-4.0`.
        parity: a report to be shown in the model card.
        max_shard_size: tensors above it, in all, are spread over several files; bytes, or text such
            as `500MB`.
    Raises:
        InputError: something is there already and `overwrite` is not set, another process is
            writing there, or a size or licence that is none.
        WeightError: the weights do not fit the spec.
    """
    target, largest = Path(directory), size_in_bytes(max_shard_size)
    if not overwrite:
        refuse_existing(target)
    check_weights(spec.params(), weights)
    with replacing_directory(target, lambda fresh: superseded(target, fresh)) as files:
        if not overwrite:
            refuse_existing(target)  # another process may have written it meanwhile
        card = card_text(target / CARD, spec, licence, parity)
        put_checkpoint(files, target, spec, weights, card, largest)


def put_checkpoint(
    files: Path,
    directory: Path,
    spec: Spec,
    weights: Mapping[str, Array],
    card: str | None,
    largest: int,
) -> None:
    """Write the files of a checkpoint under names that are temporary.

    Args:
        files: an empty directory.
        directory: that they are meant for.
        spec, weights: of the model, which fit each other.
        card: text of the model card; None where one is there that stays.
        largest: bytes of one file of tensors.
    """
    text = json.dumps(config_document(spec), indent=2) + "\n"
    ordered = picked(weights, {name: name for name in spec.params()})
    put_tensors(files, directory, ordered, {**HEADER, "config": text}, largest)
    (files / CONFIG).write_text(text, encoding="utf-8")
    if card is not None:
        (files / CARD).write_text(card, encoding="utf-8")


def open_checkpoint(directory: str | os.PathLike[str]) -> tuple[Spec, LazyTensors]:
    """Read the spec of a checkpoint directory, and map its tensors as they are asked for.

    Returns:
        (spec, tensors in table order); each array is a read-only view of a file.
    Raises:
        InputError: there is no checkpoint.
        SpecError: the configuration is not a spec.
        WeightError: a broken file, or tensors that do not fit the spec.
    """
    source = Path(directory)
    tensors, metadata = open_tensors(source)
    spec = parse_spec(configuration(source, metadata))
    table = spec.params()
    check_weights(table, tensors)
    return spec, picked(tensors, {name: name for name in table})


def read_checkpoint(directory: str | os.PathLike[str]) -> tuple[Spec, Weights]:
    """Read a checkpoint directory into memory, as `open_checkpoint`."""
    spec, tensors = open_checkpoint(directory)
    return spec, {name: np.array(array) for name, array in tensors.items()}
