"""What exporting a model gives: how far the written file is from its source, and reports of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import InputError
from tcnzoo.models.calls import create, predict
from tcnzoo.models.outputs import Output
from tcnzoo.models.side_inputs import by_role, drawn
from tcnzoo.runtimes.protocol import Exporter, ExportOptions
from tcnzoo.specs import Spec

# Largest difference, relative to max(1, max|reference|), that a float type explains on signals
# around 0. int8 has none: what it loses depends on the model and on the representative signals.
TOLERANCES = {"float32": 1e-4, "float16": 5e-3}
# Where a model takes differences of large numbers, the float type explains more: so many times what
# it costs the reference itself. Sums in another order cost up to 3 times as much; a norm in one
# pass costs hundreds.
ROOM = 10.0
# A limit from here on would let any output pass.
MEANINGLESS = 1.0
# int8 has to keep within this share of the spread of the outputs, on its representative signals.
INT8 = 0.5

# Signals that the reference computes at a time.
BATCH = 16

Run = Callable[[Array, list[Array]], Output]


@dataclass(frozen=True)
class Comparison:
    """How an exported file answers one input, beside the float64 reference.

    Attributes:
        input: what it was fed: `random`, `representative`, or the name of a file.
        shape: of that input.
        absolute: largest |found - reference|.
        relative: that over max(1, max|reference|).
        agreement: share of the outputs (of each step, where there is time) whose largest channel is
            the reference's too; None where there is only one channel.
        limit: of `relative`; None where there is none.
    """

    input: str
    shape: tuple[int, ...]
    absolute: float
    relative: float
    agreement: float | None
    limit: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the difference is within the limit; a NaN never is."""
        return self.limit is None or self.relative <= self.limit


@dataclass(frozen=True)
class ExportReport:
    """What `export` did.

    Attributes:
        source, destination: the model and the path.
        format: name of the exporter.
        size: of the written file or directory, in bytes.
        precision: of the written weights.
        comparisons: one for each input; none where this machine cannot run the file.
        command: shell command that runs the file.
        notes: what else there is to know, one sentence each.
    """

    source: str
    destination: str
    format: str
    size: int
    precision: str
    comparisons: tuple[Comparison, ...]
    command: str
    notes: tuple[str, ...]

    @property
    def tolerance(self) -> float | None:
        """Largest relative difference allowed on signals around 0; None for int8."""
        return TOLERANCES.get(self.precision)

    @property
    def passed(self) -> bool:
        """Whether every comparison is within its limit."""
        return all(comparison.passed for comparison in self.comparisons)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return {**asdict(self), "tolerance": self.tolerance, "passed": self.passed}


def compare(
    exporter: Exporter,
    path: Path,
    spec: Spec,
    weights: Weights,
    options: ExportOptions,
    cases: Mapping[str, Array],
) -> tuple[tuple[Comparison, ...], tuple[str, ...]]:
    """Run a written file on some inputs beside the float64 reference.

    Args:
        exporter: wrote the file.
        path: of the file.
        spec, weights: of the source.
        options: that it was written with.
        cases: label -> (batch, channels[, time]).
    Returns:
        (one comparison a case, notes); no comparison where the file cannot be run here, or where
        the float type does not tell what the model makes of a signal.
    Raises:
        InputError: an input that the file does not take, or outputs of other shapes.
    """
    reason = exporter.can_run() if hasattr(exporter, "can_run") else None
    if reason is not None:
        return (), (f"not compared: {reason}",)
    model = create(spec, "numpy", weights=weights, dtype="float64")

    def reference_of(model: Any, x: Array, embeddings: list[Array]) -> Output:
        y = predict(model, x, **by_role(spec, embeddings))
        return y["output"] if options.streaming and isinstance(y, dict) else y

    def reference(x: Array, embeddings: list[Array]) -> Output:
        return reference_of(model, x, embeddings)

    def written(x: Array, embeddings: list[Array]) -> Output:
        return exporter.run(path, x, options, *([embeddings] if embeddings else []))

    def rounded(x: Array, embeddings: list[Array]) -> Output:
        if options.precision == "float16":
            y = reference(x.astype(np.float16).astype(np.float64), embeddings)
            with np.errstate(over="ignore"):
                return _each(y, lambda array: array.astype(np.float16))
        with np.errstate(over="ignore", invalid="ignore"):
            return reference_of(create(spec, "numpy", weights=weights), x, embeddings)

    comparisons, notes = [], []
    for label, x in cases.items():
        _check_static(label, x, options)
        embeddings = _embeddings(spec, x, options.seed)
        size = len(x) if options.dynamic else options.batch_size
        y = in_batches(written, x, embeddings, size)
        expected = in_batches(reference, x, embeddings, BATCH)
        comparison = compared(label, x, y, expected)
        limit = TOLERANCES.get(options.precision)
        if limit is None:
            ranged = label == "representative" or not getattr(exporter, "RANGES", True)
            limit = _int8_limit(expected) if ranged else None
        elif not comparison.relative <= limit:
            cost = compared(label, x, in_batches(rounded, x, embeddings, BATCH), expected).relative
            limit = max(limit, ROOM * cost)
            reason = _not_told(options.precision, cost, comparison)
            if reason is not None:
                notes.append(f"not compared on {label!r}: {reason}")
                continue
        comparisons.append(replace(comparison, limit=limit))
    return tuple(comparisons), tuple(notes)


def _not_told(kind: str, cost: float, comparison: Comparison) -> str | None:
    """Why a signal on which the float type costs so much tells nothing about a file; or None."""
    if not np.isfinite(cost):
        return f"{kind} cannot hold what comes of it"
    if ROOM * cost >= MEANINGLESS and np.isfinite(comparison.relative):
        return f"{kind} itself is off by {cost:.2g} there"
    return None


def _each(y: Output, change: Callable[[Array], Array]) -> Output:
    """Change every array of an output."""
    return {k: change(array) for k, array in y.items()} if isinstance(y, dict) else change(y)


def _int8_limit(expected: Output) -> float:
    """What int8 may be off by, relative to max(1, max|reference|), of the narrowest output."""
    return min(
        INT8 * float(np.ptp(array)) / max(1.0, float(np.abs(array).max()))
        for array in (expected.values() if isinstance(expected, dict) else [expected])
    )


def _check_static(label: str, x: Array, options: ExportOptions) -> None:
    """Raise InputError unless a graph of one shape takes the input."""
    if options.dynamic:
        return
    batch, *shape = options.shape
    if list(x.shape[1:]) != shape or len(x) % batch:
        raise InputError(
            f"the exported graph takes signals of shape {tuple(options.shape)} only, but "
            f"{label!r} has shape {x.shape}"
        )


def _embeddings(spec: Spec, x: Array, seed: int) -> list[Array]:
    """Random embeddings and masks for a batch of signals, in the order of the model."""
    generator = np.random.default_rng([seed, 3])
    return [array.astype(np.float32) for array in drawn(spec, x.shape, generator)]


def in_batches(run: Run, x: Array, embeddings: list[Array], size: int) -> Output:
    """Run `size` signals at a time, with their embeddings, and put the outputs together."""
    outputs = [
        run(x[start : start + size], [embedding[start : start + size] for embedding in embeddings])
        for start in range(0, len(x), size)
    ]
    if isinstance(outputs[0], dict):
        names = list(outputs[0])
        return {name: np.concatenate([dict(output)[name] for output in outputs]) for name in names}
    return np.concatenate([np.asarray(output) for output in outputs])


def compared(label: str, x: Array, output: Output, reference: Output) -> Comparison:
    """Measure the difference of two outputs, the worst over the entries of a dictionary.

    Raises:
        InputError: the two have different entries or shapes.
    """
    absolute = relative = 0.0
    agreement = None
    for number, (array, expected) in enumerate(_pairs(output, reference)):
        if array.shape != expected.shape:
            raise InputError(
                f"the exported file must give an output of shape {expected.shape}, "
                f"but gives {array.shape}"
            )
        if expected.size:
            # `np.maximum` keeps a NaN, which `max` may drop.
            worst = np.abs(array.astype(np.float64) - expected).max()
            absolute = float(np.maximum(absolute, worst))
            relative = float(np.maximum(relative, worst / max(1.0, np.abs(expected).max())))
        if number == 0:
            agreement = _agreement(array, expected)
    return Comparison(label, x.shape, absolute, relative, agreement)


def _pairs(output: Output, reference: Output) -> Iterator[tuple[Array, Array]]:
    """Matching outputs, the main one first."""
    outputs = output if isinstance(output, dict) else {"output": output}
    expected = reference if isinstance(reference, dict) else {"output": reference}
    if outputs.keys() != expected.keys():
        raise InputError(f"the exported file must give {list(expected)}, but gives {list(outputs)}")
    return ((outputs[name], expected[name]) for name in expected)


def _agreement(output: Array, reference: Array) -> float | None:
    """Share of equal largest channels."""
    if reference.ndim < 2 or reference.shape[1] < 2 or not reference.size:
        return None
    return float((output.argmax(axis=1) == reference.argmax(axis=1)).mean())
