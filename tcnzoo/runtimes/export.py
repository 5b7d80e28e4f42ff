"""Exporting a model: the file is written, run in its own runtime, and compared with its source."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.checkpoints.directory import refuse_existing
from tcnzoo.errors import InputError, SpecError
from tcnzoo.files import signals
from tcnzoo.files.atomic import check_destination, replacing, replacing_pair, settle_committed
from tcnzoo.formats.protocol import detect_format, get_format
from tcnzoo.models.backend import Handle
from tcnzoo.models.calls import get_weights
from tcnzoo.runtimes.protocol import (
    Exporter,
    ExportOptions,
    check_installed,
    check_options,
    exporter_for,
    get_exporter,
)
from tcnzoo.runtimes.report import ExportReport, compare
from tcnzoo.specs import Spec, analysis
from tcnzoo.specs.folding import fold as fold_norms
from tcnzoo.specs.params import check_weights, initial_weights
from tcnzoo.zoo.catalog import input_facts, load_spec

# Signals (batch, channels[, devices][, time]) by their name in the report.
Cases = Mapping[str, Array]

# Random signals on which int8 is compared: enough for a share of equal answers. Where those are
# more than WORK multiply-adds (several seconds in float64) it is fewer and shorter ones, and of a
# model that answers at every step FEW are enough.
SAMPLES, FEW, WORK = 500, 8, 6 * 10**10

# Normal signals that every file is compared on: (label, what they lie around, their deviation).
# Raw sensors have offsets and units that networks are not trained on, and what a runtime does with
# these shows on no signal around 0. int8 has the ranges of its representative signals alone.
CHECKS: dict[str, tuple[tuple[str, float, float], ...]] = {
    "float32": (("random", 0.0, 1.0), ("around 1000", 1e3, 1.0), ("times 10000", 0.0, 1e4)),
    "float16": (("random", 0.0, 1.0), ("around 10", 10.0, 1.0), ("times 10", 0.0, 10.0)),
    "int8": (("random", 0.0, 1.0),),
}


@dataclass(frozen=True)
class _Model:
    """What is exported.

    Attributes:
        name: for the report.
        spec, weights: of the model.
        length: time steps that it is meant for, where that is known.
    """

    name: str
    spec: Spec
    weights: Weights
    length: int | None = None


def export(
    source: Any,
    destination: str | os.PathLike[str],
    *,
    to: str | None = None,
    from_format: str | None = None,
    hints: Mapping[str, Any] | None = None,
    input_length: int | None = None,
    batch_size: int = 1,
    vectors: bool = False,
    dynamic: bool = True,
    streaming: bool = False,
    rank: int = 3,
    precision: str = "float32",
    representative: Any = None,
    inputs: Any = None,
    samples: int | None = None,
    fold: bool | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> ExportReport:
    """Write a model for another runtime, run what was written, and compare it with its source.

    Args:
        source: a checkpoint directory, a file of any format that can be read, a model made by
            `create`, or a preset, spec file, dictionary or Spec with initial weights.
        destination: written whole or not at all.
        to: `onnx`, `litert`, `coreml`, `executorch`, `aotinductor` or `c`; None to tell it from
            the ending.
        from_format, hints: of a source file, as in `convert`.
        input_length: time steps of the compared signals, and of a graph that is not dynamic;
            default: those of `inputs`, else the preset's, else enough for the receptive field.
        batch_size: signals of a call, where the graph is not dynamic.
        vectors: the model is fed (batch, channels) and not signals.
        dynamic: leave the batch and time axes open where the runtime can.
        streaming: write one step of a stream, with the state as inputs and outputs; `c` always
            does.
        rank: 4 writes 1-d convolutions as 1 x k 2-d ones, in a graph of one shape.
        precision: `float32`, `float16` or `int8`.
        representative: signals (batch, channels, time), or the name of a file of them, to choose
            the ranges of int8 by; compared as well. `c` needs none.
        inputs: signals, or the name of a file, to compare on beside random ones.
        samples: how many signals of each kind in CHECKS are compared; default `batch_size`, and 500
            for int8, or what WORK allows.
        fold: fold batch norms into the kernels before them; default for rank 4, float16 and int8.
        seed: of initial weights and random signals.
        overwrite: replace what is at the destination.
    Returns:
        Sizes, differences from the float64 reference of the same weights, and the command that
        runs the file; `report.passed` is the verdict.
    Raises:
        InputError: nothing to read, something at the destination, or an option that does not fit.
        SpecError: a model that the runtime cannot hold.
        WeightError: a broken or unsafe source.
        BackendMissing: a package that is not installed.
    """
    path = Path(destination)
    exporter = get_exporter(to) if to else exporter_for(path)
    _check_destination(path, exporter, overwrite)
    check_installed(exporter)
    model = _read(source, from_format, hints, seed)
    rank_of = 2 if vectors else model.spec.signal_rank
    cases = _cases(inputs, representative, rank_of)
    options = ExportOptions(
        channels=_channels(model.spec, cases),
        input_length=None if vectors else _length(model, input_length, cases),
        batch_size=batch_size,
        dynamic=dynamic and rank == 3 and getattr(exporter, "DYNAMIC", False),
        streaming=streaming or getattr(exporter, "ALWAYS_STREAMING", False),
        rank=rank,  # type: ignore[arg-type] # held against the exporter's by the next line
        precision=precision,  # type: ignore[arg-type] # likewise
        representative=cases.get("representative"),
        seed=seed,
        devices=_devices(model.spec, cases) if rank_of == 4 else None,
    )
    check_options(exporter, options)
    _check_model(model.spec, options, cases)
    fed, bounds = _all_cases(model.spec, options, cases, samples, fixed=input_length is not None)
    written = _written_weights(model, _folds(options) if fold is None else fold)
    with _replacing(path, _beside(path, exporter)) as temporary:
        notes = exporter.export(*written, temporary, options)
        size = sum(map(_size, filter(None, (temporary, _beside(temporary, exporter)))))
        comparisons, more = compare(exporter, temporary, model.spec, model.weights, options, fed)
    command = exporter.command(path, options)
    return ExportReport(
        model.name,
        str(path),
        exporter.NAME,
        size,
        precision,
        comparisons,
        command,
        (*notes, *more, *(bounds if comparisons else ())),
    )


def _read(
    source: Any, from_format: str | None, hints: Mapping[str, Any] | None, seed: int
) -> _Model:
    """The model behind a source."""
    handle = getattr(source, "tcnzoo", None)
    if isinstance(handle, Handle):
        return _Model(f"a {handle.backend} model", handle.spec, get_weights(source))
    if isinstance(source, str | os.PathLike) and (from_format or _is_checkpoint(Path(source))):
        path = Path(source)
        settle_committed(path if path.is_dir() else path.parent)
        reader = get_format(from_format) if from_format else detect_format(path)
        converted = reader.read(path, dict(hints or {}))
        check_weights(converted.spec.params(), converted.weights)
        return _Model(str(source), converted.spec, dict(converted.weights))
    if hints:
        raise InputError(f"hints are for files, but {source!r} is none")
    spec = load_spec(source)
    facts = input_facts(source)
    length = facts.length if facts else None
    name = str(source) if isinstance(source, str | os.PathLike) else f"a {spec.kind}"
    return _Model(name, spec, initial_weights(spec.params(), seed), length)


def _is_checkpoint(path: Path) -> bool:
    """Whether something is there that is not a spec file."""
    return path.exists() and path.suffix not in (".yaml", ".yml", ".json")


def _written_weights(model: _Model, fold: bool) -> tuple[Spec, Weights]:
    """Spec and float32 weights for the exporter."""
    weights = {name: array.astype(np.float32) for name, array in model.weights.items()}
    return fold_norms(model.spec, weights) if fold else (model.spec, weights)


def _folds(options: ExportOptions) -> bool:
    """Whether batch norms are folded without being asked for: runtimes round them in 16 bits."""
    return options.rank == 4 or options.precision != "float32"


def _cases(inputs: Any, representative: Any, rank: int) -> dict[str, Array]:
    """The signals that were given, by the name that they have in the report."""
    cases: dict[str, Array] = {}
    if inputs is not None:
        label = str(inputs) if isinstance(inputs, str | os.PathLike) else "input"
        cases[label] = _signals(inputs, rank)
    if representative is not None:
        cases["representative"] = _signals(representative, rank)
    return cases


# Axes of what is exported, by their number.
AXES = {
    2: "(channels,) or (batch, channels)",
    3: "(batch, channels, time)",
    4: "(batch, channels, devices, time)",
}


def _signals(given: Any, rank: int) -> Array:
    """Signals of a file or array, of so many axes, or of one less where there is only one."""
    array = signals.read_signal(Path(given)) if isinstance(given, str | os.PathLike) else given
    array = np.asarray(array, dtype=np.float32)
    if array.ndim not in (rank - 1, rank):
        raise InputError(f"the input must be {AXES[rank]}, but has shape {array.shape}")
    return array[None] if array.ndim == rank - 1 else array


def _channels(spec: Spec, cases: Mapping[str, Array]) -> int:
    """Channels of the input: the model's, else those of what was given, else any that will do."""
    given = [array.shape[1] for array in cases.values()]
    return spec.input_channels or (given[0] if given else 2)


def _devices(spec: Spec, cases: Mapping[str, Array]) -> int:
    """Devices of the input: the model's, else those of what was given, else two."""
    given = [array.shape[2] for array in cases.values()]
    return spec.input_devices or (given[0] if given else 2)


def _length(model: _Model, asked: int | None, cases: Mapping[str, Array]) -> int:
    """Time steps: those asked for, given, meant by the preset, or enough to fill the field."""
    if asked is not None:
        return asked
    given = [array.shape[-1] for array in cases.values()]
    return given[0] if given else model.length or analysis.default_length(model.spec)


def _check_model(spec: Spec, options: ExportOptions, cases: Mapping[str, Array]) -> None:
    """Raise InputError unless the model takes the signals, and can stream where it shall."""
    if spec.output_names and any(part.segments for _, part in spec.walk()):
        raise SpecError(
            f"a {spec.kind} gives several outputs, of which no exporter writes those over "
            "segments; export the part that scores codes (tcnzoo.runtimes.code_scores)"
        )
    if options.batch_size < 1:
        raise InputError(f"batch_size must be at least 1, but is {options.batch_size}")
    for shape in (options.shape, *(array.shape for array in cases.values())):
        spec.output_shape(shape[1:])
        if shape[1] != options.channels:
            raise InputError(f"the inputs have {options.channels} and {shape[1]} channels")
    if options.streaming and options.input_length is None:
        raise InputError("a stream is of signals, but the model shall take vectors; choose one")
    obstacle = spec.streaming_blocker() if options.streaming else None
    if obstacle:
        raise InputError(f"this model cannot stream: {obstacle}")


def _all_cases(
    spec: Spec, options: ExportOptions, given: Cases, samples: int | None, fixed: bool
) -> tuple[Cases, list[str]]:
    """The normal signals of CHECKS and those that were given, and notes on what was left out.

    Args:
        spec: of the model.
        options: of the export.
        given: signals by their name in the report.
        samples: how many normal signals, or None.
        fixed: their length was asked for.
    """
    batch, *shape = options.shape
    if options.precision != "int8":
        return {**_checks(options, samples or batch, shape), **given}, []
    cases, notes = dict(given), []
    count, few = samples or SAMPLES, shape
    if samples is None:
        count, few = _extent(spec, options, fixed or not options.dynamic)
    if (count, few) != (samples or SAMPLES, shape):
        notes.append(
            f"int8 was compared on {_sized(count, few)} and not {_sized(SAMPLES, shape)}, "
            "which would take long; --samples names another number, of full length"
        )
    chosen = cases.get("representative")
    if chosen is None:  # where a runtime chooses its ranges from what comes
        return {**_checks(options, count, few), **cases}, notes
    most = _whole(max(1, WORK // max(1, spec.macs_of(chosen.shape[1:]))), options)
    if len(chosen) > most:
        cases["representative"] = chosen[:most]
        notes.append(f"of {len(chosen)} representative signals the first {most} were compared")
    return {**_checks(options, count, few), **cases}, notes


def _extent(spec: Spec, options: ExportOptions, fixed: bool) -> tuple[int, list[int]]:
    """How many signals int8 is compared on, and their shape, so that it is about WORK at most.

    Args:
        spec: of the model.
        options: of the export.
        fixed: the length is to stay as it is.
    """
    _, *shape = options.shape
    work = max(1, spec.macs_of(tuple(shape)))
    if work * SAMPLES <= WORK:
        return SAMPLES, shape
    answers = spec.output_shape(tuple(shape))[1:] or (1,)
    many = answers[-1] > 1
    least = FEW if many else SAMPLES
    if not fixed and options.input_length is not None:
        wanted = options.input_length * WORK // (least * work)
        length = max(wanted, min(options.input_length, analysis.default_length(spec)))
        shape[-1] = min(options.input_length, analysis.fitting_length(spec, length))
        work = max(1, spec.macs_of(tuple(shape)))
    return _whole(min(SAMPLES, max(1 if fixed and many else FEW, WORK // work)), options), shape


def _whole(count: int, options: ExportOptions) -> int:
    """So many signals, or as many as fill the batches of a graph of one shape."""
    return count if options.dynamic else -(-count // options.batch_size) * options.batch_size


def _sized(count: int, shape: Sequence[int]) -> str:
    """Number and length of signals, as words."""
    many = f"{count} random signal{'s' if count > 1 else ''}"
    return many if len(shape) == 1 else f"{many} of {shape[-1]:,} steps"


def _checks(options: ExportOptions, count: int, shape: Sequence[int]) -> Cases:
    """So many of each of the normal signals of CHECKS, of a shape without batch."""
    noise = np.random.default_rng([options.seed, 2]).standard_normal((count, *shape))
    return {
        label: (level + deviation * noise).astype(np.float32)
        for label, level, deviation in CHECKS[options.precision]
    }


def _check_destination(path: Path, exporter: Exporter, overwrite: bool) -> None:
    """Raise InputError unless the name can be written to."""
    if not overwrite:
        refuse_existing(path)
    if not path.name.lower().endswith(exporter.SUFFIX):
        raise InputError(
            f"export to {exporter.NAME!r} is written to a name in {exporter.SUFFIX}, "
            f"but got {str(path)!r}"
        )
    check_destination(path, folder=path.is_dir())
    beside = _beside(path, exporter)
    if beside is not None:
        if not overwrite:
            refuse_existing(beside)
        check_destination(beside)


def _beside(path: Path, exporter: Exporter) -> Path | None:
    """The second file of an export, where it has one."""
    ending = getattr(exporter, "BESIDE", None)
    return None if ending is None else path.with_suffix(ending)


@contextlib.contextmanager
def _replacing(path: Path, beside: Path | None) -> Iterator[Path]:
    """A temporary path; its file, and the one beside it, take their places at the end."""
    if beside is None:
        with replacing(path) as temporary:
            yield temporary
    else:
        with replacing_pair(path, beside) as (temporary, _):
            yield temporary


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a directory."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
