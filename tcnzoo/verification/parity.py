"""Proof that backends agree: outputs, layers, streaming, gradients against a float64 reference."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.checkpoints.parity_report import LayerRow, ParityReport, ParityRow
from tcnzoo.errors import InputError
from tcnzoo.models.backend import canonical, get_backend, handle_of, installed_backends
from tcnzoo.models.calls import (
    count_params,
    create,
    gradients as backend_gradients,
    init_state,
    predict,
    step,
)
from tcnzoo.models.outputs import Output, first
from tcnzoo.models.side_inputs import by_role, chunk_of, drawn
from tcnzoo.specs import Spec
from tcnzoo.specs.analysis import fitting_length
from tcnzoo.specs.params import varied_weights
from tcnzoo.verification.choices import array_error, outputs_error
from tcnzoo.zoo.catalog import input_facts, load_spec

# float32 against float64, relative to max(1, max|reference|). Deep stacks need 1.5e-6.
TOLERANCE = 1e-5
# A gradient sums many more roundings than an output; deep stacks need about 1e-5.
GRADIENT_TOLERANCE = 1e-4
REFERENCE = "numpy"

Subject = str | os.PathLike[str] | Mapping[str, Any] | Spec
Progress = Callable[[str], None]


def relative_error(
    output: Output, reference: Output, gaps: Mapping[str, Array] | None = None
) -> float:
    """max|output - reference| / max(1, max|reference|), the worst over the entries of a dictionary.

    Choices count as equal as in `tcnzoo.verification.choices`.

    Args:
        output, reference: of `predict`.
        gaps: how clear the choices of the reference are, by output.
    Raises:
        InputError: the two have different shapes or entries.
    """
    if isinstance(reference, dict):
        if not isinstance(output, dict) or output.keys() != reference.keys():
            raise InputError(f"expected the outputs {sorted(reference)}, but other ones came")
        return outputs_error(output, reference, gaps or {})
    if isinstance(output, dict) or output.shape != reference.shape:
        came = sorted(output) if isinstance(output, dict) else output.shape
        raise InputError(f"expected an output of shape {reference.shape}, but {came} came")
    return array_error(output, reference)


def parity(
    name_or_spec_or_directory: Subject,
    other: Subject | None = None,
    backends: Sequence[Any] | None = None,
    *,
    input_length: int | None = None,
    seed: int = 0,
    layers: bool = False,
    gradients: bool = False,
    progress: Progress | None = None,
) -> ParityReport:
    """Compare backends with the float64 numpy reference, on the same weights and input.

    Args:
        name_or_spec_or_directory: a preset, a spec, or a checkpoint directory with its weights;
            without a checkpoint the weights are seeded, norm statistics off their start values.
        other: a second model of the same input; the backends then run this one, against the
            reference run of the first. This is how two checkpoints are compared.
        backends: names, or native models made by `create`; default: all that are installed.
        input_length: time steps; default: the preset's, else enough for the receptive field.
        seed: of weights and input (noise).
        layers: compare after every layer, and find the first that diverges.
        gradients: check gradients of a mean squared error by central differences of the reference;
            not of models that quantise, whose gradient is not that of what they compute.
        progress: called with a line on what comes next.
    Returns:
        A report; `report.passed` is the verdict.
    Raises:
        InputError, SpecError, WeightError, BackendMissing: as `create` and `predict`.
    """
    spec, weights = _model(name_or_spec_or_directory, seed)
    tested = (spec, weights) if other is None else _model(other, seed)
    x, embeddings = _inputs(spec, _length(name_or_spec_or_directory, spec, input_length), seed)
    say = progress or (lambda line: None)
    say("reference in float64")
    reference = create(spec, REFERENCE, weights=weights, dtype="float64")
    expected = predict(reference, x, **by_role(spec, embeddings))
    gaps = reference.gaps(x) if spec.discrete_outputs else {}
    engine = get_backend(REFERENCE)
    expected_layers = engine.trace(reference, x, embeddings) if layers else {}
    case = _Case(spec, weights, x, embeddings, expected, gaps)
    rows: list[ParityRow] = []
    traces: dict[str, dict[str, Array]] = {}
    for subject in installed_backends() if backends is None else backends:
        backend = canonical(subject) if isinstance(subject, str) else handle_of(subject).backend
        label = backend
        say(f"{label}: outputs")
        model = subject
        if isinstance(subject, str):
            model = create(tested[0], backend, weights=tested[1])
        while any(row.backend == label for row in rows):
            label += "'"
        rows.append(_row(label, model, case, gradients and backend != REFERENCE, say))
        if layers:
            say(f"{label}: layers")
            traces[label] = get_backend(backend).trace(model, x, embeddings)
    return ParityReport(
        _title(name_or_spec_or_directory, other),
        x.shape,
        TOLERANCE,
        tuple(rows),
        _layer_rows(expected_layers, traces),
    )


@dataclass(frozen=True)
class _Case:
    """What every backend is compared with: the reference's outputs, and what gave them."""

    spec: Spec
    weights: Weights
    x: Array
    embeddings: list[Array]  # and masks, in the order of the model
    expected: Output
    gaps: Mapping[str, Array]


def _model(subject: Subject, seed: int) -> tuple[Spec, Weights]:
    """Spec and weights of a checkpoint, or of a spec with seeded weights."""
    if isinstance(subject, str | os.PathLike) and Path(subject).is_dir():
        return read_checkpoint(subject)
    spec = load_spec(subject)
    return spec, varied_weights(spec.params(), seed)


def _title(subject: Subject, other: Subject | None) -> str:
    """How the report names what was compared."""
    names = [
        str(source) if isinstance(source, str | os.PathLike) else load_spec(source).kind
        for source in (subject, other)
        if source is not None
    ]
    return " against ".join(reversed(names))


def _length(subject: Subject, spec: Spec, asked: int | None) -> int:
    """Time steps to compare on."""
    if asked is not None:
        if asked < 1:
            raise InputError(f"input_length must be at least 1, but is {asked}")
        return asked
    facts = input_facts(subject)
    if facts is not None:
        return facts.length
    return fitting_length(spec, 2 * spec.receptive_field() + 33)


def _inputs(spec: Spec, length: int, seed: int) -> tuple[Array, list[Array]]:
    """Seeded noise (signal, embeddings and masks): two signals, or one where two take long."""
    generator = np.random.Generator(np.random.PCG64([seed, 2]))
    shape = spec.signal_shape(length, 3)
    if spec.takes_vectors:
        shape = shape[:1]
    spec.output_shape(shape)
    batch = 2 if spec.macs(length) < 1_000_000_000 else 1
    embeddings = drawn(spec, (batch, *shape), generator)
    return generator.standard_normal((batch, *shape)), embeddings


def takes_vectors(spec: Spec) -> bool:
    """Whether a model is made for (batch, features)."""
    return spec.takes_vectors


def _row(label: str, model: Any, case: _Case, gradients: bool, say: Progress) -> ParityRow:
    """Compare one backend with the reference."""
    counted, wanted = count_params(model), count_params(case.spec)
    output = predict(model, case.x, **by_role(case.spec, case.embeddings))
    output_error = relative_error(output, case.expected, case.gaps)
    streamed = None
    if handle_of(model).obstacle is None and case.x.ndim > 2:
        say(f"{label}: streaming")
        streamed = relative_error(_stream(model, case.x, case.embeddings), first(case.expected))
    gradient = None
    # Differences do not show a gradient that is not that of what a part computes.
    if gradients and not any(part.surrogate_gradient for _, part in case.spec.walk()):
        say(f"{label}: gradients")
        gradient = gradient_error(model, case.weights, case.x, case.embeddings)
    passed = (
        counted == wanted
        and output_error <= TOLERANCE
        and (streamed is None or streamed <= TOLERANCE)
        and (gradient is None or gradient <= GRADIENT_TOLERANCE)
    )
    return ParityRow(label, *counted, output_error, streamed, gradient, bool(passed))


def _stream(model: Any, x: Array, embeddings: Sequence[Array]) -> Array:
    """Output for x in ragged chunks."""
    length = x.shape[-1]
    generator = np.random.Generator(np.random.PCG64(length))
    cuts = np.unique(np.r_[0, 1, generator.integers(0, length, 4), length])
    spec, state, pieces = handle_of(model).spec, init_state(model, x.shape[0]), []
    for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
        cut = chunk_of(spec, embeddings, start, stop)
        piece, state = step(model, x[..., start:stop], state, **by_role(spec, cut))
        pieces.append(piece)
    return np.concatenate(pieces, axis=-1)


def gradient_error(model: Any, weights: Weights, x: Array, embeddings: Sequence[Array]) -> float:
    """Worst relative error of a backend's gradients against central differences of the reference.

    For each parameter, and for the input, the reference is moved both ways along the backend's own
    gradient plus a random direction; the slope must be that which the gradient says.

    Returns:
        Largest |slope - gradient . direction|, relative to the norm of that gradient, or to a
        thousandth of the norm of all gradients for a parameter that hardly matters.
    """
    spec = handle_of(model).spec
    reference = create(spec, REFERENCE, weights=weights, dtype="float64")
    engine = get_backend(REFERENCE)
    values = {**{k: v.astype(np.float64) for k, v in weights.items()}, "input": x}
    beside = by_role(spec, embeddings)
    outputs = predict(reference, x, **beside)
    # Features of unit length are as far from zeros whatever the weights. A model of several
    # outputs: the sum of the losses of all of them.
    aim = 0.5 if any(part.unit_length for _, part in spec.walk()) else 0.0
    target: Any = np.full_like(first(outputs), aim)
    kinds: str | dict[str, str] = "mse"
    if spec.output_names:
        target = {name: np.full_like(y, aim) for name, y in dict(outputs).items()}
        kinds = dict.fromkeys(target, "mse")
    _, table = backend_gradients(model, x, target, kinds, **beside)
    generator = np.random.Generator(np.random.PCG64(5))
    floor = 1e-3 * float(np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in table.values())))

    def loss(name: str, value: Array) -> float:
        moved = {**values, name: value}
        signal = moved.pop("input")
        engine.set_weights(reference, moved)
        moved_outputs = predict(reference, signal, **beside)
        if spec.output_names and isinstance(moved_outputs, dict):
            pairs = [(y, target[name]) for name, y in moved_outputs.items()]
        else:
            pairs = [(first(moved_outputs), target)]
        return sum(float(np.mean(np.square(y - wanted))) for y, wanted in pairs)

    worst = 0.0
    for name, gradient in table.items():
        norm = float(np.linalg.norm(gradient.astype(np.float64)))
        noise = generator.standard_normal(gradient.shape)
        direction = gradient.astype(np.float64) / max(norm, 1e-30) + noise / np.linalg.norm(noise)
        size = 1e-6 * max(1.0, float(np.abs(values[name]).max()))
        ahead = loss(name, values[name] + size * direction)
        behind = loss(name, values[name] - size * direction)
        slope = (ahead - behind) / (2 * size)
        gap = abs(slope - float(np.sum(gradient.astype(np.float64) * direction)))
        worst = max(worst, gap / max(norm, floor, 1e-30))
    return worst


def _layer_rows(
    expected: Mapping[str, Array], traces: Mapping[str, Mapping[str, Array]]
) -> tuple[LayerRow, ...]:
    """Errors after each layer of the reference, in its order; inf where a shape differs."""
    rows = []
    for path, reference in expected.items():
        errors = {}
        for backend, outputs in traces.items():
            if path in outputs:
                same = outputs[path].shape == reference.shape
                errors[backend] = relative_error(outputs[path], reference) if same else float("inf")
        rows.append(LayerRow(path, errors))
    return tuple(rows)
