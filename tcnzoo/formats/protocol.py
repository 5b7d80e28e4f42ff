"""Checkpoint formats: how converters are found, and the conversion of one file into another."""

import functools
import importlib
import os
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, cast

from tcnzoo.arrays import DTYPES
from tcnzoo.checkpoints.directory import refuse_existing, write_checkpoint
from tcnzoo.errors import InputError, WeightError, suggestion
from tcnzoo.files.atomic import check_destination, settle_committed
from tcnzoo.files.lazy import Tensors, facts_of, picked
from tcnzoo.formats.report import ConversionReport, Converted, Inspection, TensorRow, Undetermined
from tcnzoo.models.backend import ALIASES
from tcnzoo.specs import Spec
from tcnzoo.specs.params import Param, check_weights

GROUP = "tcnzoo.formats"

# So that an uninstalled checkout works; entry points may add to it.
BUILT_IN = {
    "tcnzoo": "tcnzoo.weights_convert.tcnzoo",
    "torch": "tcnzoo.weights_convert.torch",
    "mlx": "tcnzoo.weights_convert.mlx",
    "keras": "tcnzoo.weights_convert.keras",
    "pytorch-tcn": "tcnzoo.weights_convert.pytorch_tcn",
    "osd-torch": "tcnzoo.weights_convert.osd_torch",
    "torch-sequential": "tcnzoo.weights_convert.torch_sequential",
    "locuslab-tcn": "tcnzoo.weights_convert.locuslab_tcn",
    "mlx-tcn": "tcnzoo.weights_convert.mlx_tcn",
    "keras-sequential": "tcnzoo.weights_convert.keras_sequential",
    "osd-keras": "tcnzoo.weights_convert.osd_keras",
    "keras-tcn": "tcnzoo.weights_convert.keras_tcn",
    "onnx": "tcnzoo.weights_convert.onnx",
    "mamba-ssm": "tcnzoo.weights_convert.mamba_ssm",
    "transformers-mamba2": "tcnzoo.weights_convert.transformers_mamba2",
    "brain-go-brr": "tcnzoo.weights_convert.brain_go_brr",
    "vector-quantize-pytorch": "tcnzoo.weights_convert.vector_quantize_pytorch",
    "braindecode": "tcnzoo.weights_convert.braindecode",
    "seizure-transformer": "tcnzoo.weights_convert.seizure_transformer",
    "labram": "tcnzoo.weights_convert.labram",
    "labram-vqnsp": "tcnzoo.weights_convert.labram_vqnsp",
}


class Format(Protocol):
    """The functions of a format module.

    Attributes:
        NAME: as in `from_format` and `to_format`.
        DESCRIPTION: one line.
        SUFFIXES: endings of its file names; none for a directory.
        FOREIGN: of another project, so that it is written only when it is asked for by name.
    """

    NAME: str
    DESCRIPTION: str
    SUFFIXES: tuple[str, ...]
    FOREIGN: bool

    def detect(self, path: Path) -> bool:
        """Tell from the content, without running any of it, whether a file is of this format."""

    def tensors(self, path: Path) -> Tensors:
        """Every tensor of a file under the names, and in the layout, that the file has."""

    def read(self, path: Path, hints: Mapping[str, Any]) -> Converted:
        """Read a file; `hints` say what the file does not."""

    def write(self, path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
        """Write a file, whole or not at all; return the neutral tensors left out, with reasons.

        The weights may be lazy: ask for one at a time.
        """


@functools.cache
def format_modules() -> dict[str, str]:
    """Module of each known format: built-in ones united with those of installed packages."""
    installed = {point.name: point.value for point in entry_points(group=GROUP)}
    return {**BUILT_IN, **installed, **BUILT_IN}  # in the built-in order, and the built-in ones win


def get_format(name: str) -> Format:
    """Import a format by name or by a backend's alias.

    Raises:
        InputError: nobody provides it; the nearest name is suggested.
    """
    lowered = str(name).lower().replace("_", "-")
    resolved, known = ALIASES.get(lowered, lowered), format_modules()
    if resolved not in known:
        raise InputError(f"unknown format {name!r}{suggestion(lowered, known)}")
    return cast(Format, importlib.import_module(known[resolved]))


def detect_format(path: Path) -> Format:
    """Find the one format that a file is of.

    Raises:
        InputError: nothing is there, or no format or several take it for theirs.
        WeightError: a file that is cut short.
    """
    if not path.exists():
        raise InputError(f"nothing at {str(path)!r}")
    known = [get_format(name) for name in format_modules()]
    matching = [candidate for candidate in known if candidate.detect(path)]
    if len(matching) == 1:
        return matching[0]
    names = _either([candidate.NAME for candidate in matching or known])
    what = "does not say whether it is" if matching else "is not recognised as any of"
    raise InputError(f"{str(path)!r} {what} {names}; name its format (from_format, --from)")


def destination_format(path: Path) -> Format:
    """Choose the format to write from the ending of a name; without one it is a tcnzoo directory.

    Raises:
        InputError: an ending that several formats use, or none.
    """
    if path.is_dir() or not path.suffix:
        return get_format("tcnzoo")
    known = [get_format(name) for name in format_modules()]
    matching = [
        candidate
        for candidate in known
        if not candidate.FOREIGN and _ends(path, candidate.SUFFIXES)
    ]
    if len(matching) == 1:
        return matching[0]
    names = _either([candidate.NAME for candidate in matching or known])
    what = "can be written as" if matching else "has an ending of no format; it can be"
    raise InputError(f"{str(path)!r} {what} {names}: name the format (to_format, --to)")


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    from_format: str | None = None,
    to_format: str | None = None,
    hints: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    max_shard_size: int | str | None = None,
) -> ConversionReport:
    """Convert a checkpoint; tensors keep their bits and their float types.

    Args:
        source: a file or checkpoint directory.
        destination: likewise; written whole or not at all.
        from_format: name of the source's format; None to tell it from the content.
        to_format: name of the destination's format; None to tell it from the ending.
        hints: fields of the spec that the source does not determine, such as
            `{"causal": True, "dilations": [1, 2, 4]}`, or text as on the command line: `"1,2,4"`.
        overwrite: replace what is at the destination.
        max_shard_size: of a checkpoint directory, as in `save`.
    Raises:
        InputError: nothing to read, something at the destination, a format that is unknown or not
            determined, or a hint that is missing, unknown or at odds with the file.
        WeightError: a broken or unsafe file, or tensors that do not fit.
        SpecError: a model that the destination's format cannot hold.
    """
    origin, target = Path(source), Path(destination)
    reader = _reader(origin, from_format)
    writer = get_format(to_format) if to_format else destination_format(target)
    _check_destination(target, writer, overwrite)
    if max_shard_size is not None and writer.SUFFIXES:
        raise InputError(
            f"format {writer.NAME!r} is one file; only checkpoint directories are split in shards"
        )
    converted = reader.read(origin, dict(hints or {}))
    table = converted.spec.params()
    check_weights(table, converted.weights)
    _check_types(converted.weights)
    weights = picked(converted.weights, {name: name for name in table})
    _check_destination(target, writer, overwrite)  # reading may have taken long
    if max_shard_size is None:
        left_out = writer.write(target, converted.spec, weights)
    else:
        left_out = {}
        write_checkpoint(
            target, converted.spec, weights, overwrite=True, max_shard_size=max_shard_size
        )
    return ConversionReport(
        source=str(origin),
        destination=str(target),
        from_format=reader.NAME,
        to_format=writer.NAME,
        assumed=converted.assumed,
        spec=converted.spec,
        tensors=len(weights) - len(left_out),
        used=converted.used,
        dropped=converted.dropped,
        left_out=left_out,
    )


def inspect(
    path: str | os.PathLike[str],
    *,
    from_format: str | None = None,
    hints: Mapping[str, Any] | None = None,
) -> Inspection:
    """Tell what a checkpoint is: its format, its model, and what becomes of each tensor.

    Args:
        path: a file or checkpoint directory.
        from_format, hints: as in `convert`; missing hints are no error here.
    Raises:
        InputError, WeightError: as `convert`.
    """
    origin = Path(path)
    reader = _reader(origin, from_format)
    try:
        converted = reader.read(origin, dict(hints or {}))
    except Undetermined as question:
        tensors = _rows(reader.tensors(origin), question.used, {}, {})
        known, sentence = question.known, str(question)
        return Inspection(str(origin), reader.NAME, {}, sentence, None, known, tensors)
    spec, assumed = converted.spec, converted.assumed
    tensors = _rows(reader.tensors(origin), converted.used, converted.dropped, spec.params())
    return Inspection(str(origin), reader.NAME, assumed, None, spec, {}, tensors)


def _rows(
    tensors: Tensors,
    used: Mapping[str, str],
    dropped: Mapping[str, str],
    table: Mapping[str, Param],
) -> tuple[TensorRow, ...]:
    """One row for each tensor of a file."""
    return tuple(
        TensorRow(
            name=name,
            shape=tuple(facts.shape),
            dtype=str(facts.dtype),
            used_as=used.get(name),
            role=table[used[name]].role if used.get(name) in table else None,
            dropped=dropped.get(name),
        )
        for name, facts in facts_of(tensors).items()
    )


def _reader(path: Path, name: str | None) -> Format:
    """The format that reads a path."""
    settle_committed(path if path.is_dir() else path.parent)
    if not path.exists():
        raise InputError(f"nothing at {str(path)!r}")
    return get_format(name) if name else detect_format(path)


def _check_destination(path: Path, writer: Format, overwrite: bool) -> None:
    """Raise InputError unless the format can be written under this name, now."""
    if not overwrite:
        refuse_existing(path)
    if not writer.SUFFIXES:
        if path.exists() and not path.is_dir():
            raise InputError(f"format {writer.NAME!r} is a directory, but {str(path)!r} is a file")
    elif path.is_dir():
        raise InputError(f"format {writer.NAME!r} is a file, but {str(path)!r} is a directory")
    elif not _ends(path, writer.SUFFIXES):
        raise InputError(
            f"format {writer.NAME!r} is written to a name in {_either(writer.SUFFIXES)}, "
            f"but got {str(path)!r}"
        )
    check_destination(path, folder=not writer.SUFFIXES)


def _check_types(weights: Tensors) -> None:
    """Raise WeightError unless every tensor is of a float type that weights may have."""
    for name, facts in facts_of(weights).items():
        if facts.dtype not in DTYPES.values():
            raise WeightError(
                f"tensor {name!r} must be of type {_either(list(DTYPES))}, but is {facts.dtype}"
            )


def _ends(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether a file name has one of the endings, in any case."""
    return path.name.lower().endswith(suffixes)


def _either(names: tuple[str, ...] | list[str]) -> str:
    """`a, b or c`."""
    return ", ".join(names[:-1]) + " or " * (len(names) > 1) + names[-1]
