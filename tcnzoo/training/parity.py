"""Whether backends train alike: the same steps in turns, from the same weights and data."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any, Literal

import numpy as np

from tcnzoo.arrays import Weights
from tcnzoo.errors import InputError
from tcnzoo.models.backend import backend_modules, canonical, get_backend, installed_backends
from tcnzoo.models.calls import create, get_weights
from tcnzoo.specs import Spec
from tcnzoo.training.losses import Loss
from tcnzoo.training.optimizers import Optimizer
from tcnzoo.training.schedule import Schedule
from tcnzoo.training.stepper import Batch, Plan, Stepper
from tcnzoo.training.trials import (
    Subject,
    input_shape,
    loss_of,
    random_batches,
    rates_of,
    read,
    starting_point,
)
from tcnzoo.verification.parity import REFERENCE, relative_error

# Of losses relative to each other, and of weights and statistics relative to max(1, max|value|).
TOLERANCE = {"32-true": 1e-4, "64-true": 1e-8}
# Of the way that all parameters went, which is what shows at rates at which they hardly move.
WAY_TOLERANCE = {"32-true": 5e-2, "64-true": 1e-4}
# In float32 a ReLU next to zero, or under Adam the sign of a gradient next to zero, falls this way
# in one backend and that way in another: at the rates of real training the same backend ends
# elsewhere after 50 steps if its weights are off by one rounding. At these rates it does not; and
# in float64 hardly anything is so near to zero, so that the rates can be real.
RATES = {
    "32-true": {"sgd": 1e-4, "adam": 1e-6, "adamw": 1e-6},
    "64-true": {"sgd": 1e-2, "adam": 1e-3, "adamw": 1e-3},
}
TINY = 1e-30

Progress = Callable[[str], None]


@dataclass
class TrainingRow:
    """How the training of one backend compares with that of the first.

    Attributes:
        backend: its name.
        precision: of the training; it decides the tolerances.
        losses: of every step.
        loss_error: largest relative difference of a step's loss.
        weight_error: largest error of a trained parameter after the last step, relative to
            max(1, max|value|).
        way_error: Euclidean distance of all trained parameters, as a part of the way that they
            went.
        statistic_error: as weight_error, of running statistics; None for a model without.
        parameter: the first to differ beyond tolerance, or None.
        step: after which it did, from 1.
    """

    backend: str
    precision: str
    losses: list[float] = field(default_factory=list)
    loss_error: float = 0.0
    weight_error: float = 0.0
    way_error: float = 0.0
    statistic_error: float | None = None
    parameter: str | None = None
    step: int | None = None

    @property
    def passed(self) -> bool:
        """Whether everything is within tolerance."""
        errors = (self.loss_error, self.weight_error, self.statistic_error or 0.0)
        near = all(error <= TOLERANCE[self.precision] for error in errors)
        return near and self.way_error <= WAY_TOLERANCE[self.precision]


@dataclass(frozen=True)
class TrainingReport:
    """The result of `training_parity`; `passed` is the verdict.

    Attributes:
        rows: of each backend; the others are compared with the first.
        yardstick: the effect of rounding alone: the first backend again, from weights that differ
            by one rounding. If it drifts, training at this rate is chaotic.
    """

    subject: str
    input_shape: tuple[int, ...]
    steps: int
    precision: str
    optimizer: dict[str, Any]
    tolerance: float
    rows: tuple[TrainingRow, ...]
    yardstick: TrainingRow

    @property
    def passed(self) -> bool:
        """Whether every backend trains as the first does."""
        return all(row.passed for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        documents = [{**asdict(row), "passed": row.passed} for row in self.rows]
        return {**asdict(self), "rows": documents, "passed": self.passed}


def training_parity(
    subject: Subject,
    steps: int,
    backends: Sequence[str] | None = None,
    *,
    optimizer: Optimizer | Mapping[str, Any] | str = "adamw",
    schedule: Schedule | Mapping[str, Any] | str = "constant",
    loss: Loss | Mapping[str, Any] | str | None = None,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    precision: Literal["32-true", "64-true"] = "32-true",
    batch_size: int = 8,
    input_length: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> TrainingReport:
    """Train a model in several backends, from the same weights on the same random batches.

    The backends take their steps in turns, so that the first parameter to differ is seen when it
    does. Dropout is off, because its masks are each framework's own.

    Args:
        subject: a preset, a spec, or a checkpoint directory with its weights; without a checkpoint
            the weights are the initial ones.
        steps: of the optimiser.
        backends: names of two or more; default: all that are installed and can train.
        optimizer, schedule: as in the configuration of a training, or a kind alone; an optimiser
            without `lr` has a small one, see `RATES`.
        loss: the same; None for cross-entropy where a model gives one vector of two or more values,
            and mean squared error elsewhere.
        clip_norm, clip_value: limits of the gradients.
        precision: of weights and arithmetic.
        batch_size: random signals in a batch.
        input_length: time steps; default: the preset's, else enough for the receptive field.
        seed: of weights and batches.
        progress: called with a line on what comes next.
    Returns:
        A report, whose first row is what the others are compared with.
    Raises:
        InputError, SpecError, WeightError, BackendMissing: as `create`, or nothing to compare.
    """
    names = _backends(backends)
    if steps < 1 or batch_size < 1:
        raise InputError(
            f"training parity needs 1 step and 1 signal or more, but got {steps} and {batch_size}"
        )
    spec, weights = starting_point(subject, seed)
    shape = input_shape(subject, spec, input_length)
    if precision not in RATES:
        raise InputError(f"precision must be {' or '.join(RATES)}, but is {precision!r}")
    _check_clip(clip_norm, clip_value)
    optimiser = _optimizer(optimizer, RATES[precision])
    objective = loss_of(loss, spec, shape)
    plan = Plan(optimiser, (objective,), clip_norm, clip_value, precision)
    rates = rates_of(read(Schedule, schedule, "schedule"), optimiser.lr, steps)
    say = progress or (lambda line: None)
    batches = random_batches(spec, objective, (batch_size, *shape), steps, seed)
    contest = _Contest(spec, weights, plan, names)
    for number, batch in enumerate(batches):
        say(f"step {number + 1} of {steps}")
        contest.step(number, batch, rates[number])
    title = str(subject) if isinstance(subject, str | os.PathLike) else spec.kind
    document = optimiser.model_dump(mode="json")
    *measured, yardstick = contest.rows
    sizes = (batch_size, *shape)
    return TrainingReport(
        title, sizes, steps, precision, document, TOLERANCE[precision], tuple(measured), yardstick
    )


def check_options(
    optimizer: Optimizer | Mapping[str, Any] | str,
    schedule: Schedule | Mapping[str, Any] | str,
    steps: int,
    clip_norm: float | None = None,
    clip_value: float | None = None,
) -> None:
    """Raise InputError for options that `training_parity` would refuse."""
    _check_clip(clip_norm, clip_value)
    rate = _optimizer(optimizer, RATES["32-true"]).lr
    rates_of(read(Schedule, schedule, "schedule"), rate, steps)


def _check_clip(clip_norm: float | None, clip_value: float | None) -> None:
    """Refuse invalid limits of the gradients."""
    for name, limit in (("clip_norm", clip_norm), ("clip_value", clip_value)):
        if limit is not None and not 0.0 < limit < math.inf:
            raise InputError(f"{name} must be a finite number above 0, but is {limit:g}")


class _Contest:
    """Models of several backends that take the same steps, and the yardstick."""

    def __init__(self, spec: Spec, weights: Weights, plan: Plan, names: Sequence[str]) -> None:
        """Make the models."""
        self.table = spec.params()
        self.start = {name: array.astype(plan.dtype) for name, array in weights.items()}
        starts = [self.start] * len(names) + [_nudged(self.start)]
        self.rows = [TrainingRow(name, plan.precision) for name in [*names, names[0]]]
        self.models = [
            create(spec, row.backend, weights=start, dtype=plan.dtype)
            for row, start in zip(self.rows, starts, strict=True)
        ]
        self.steppers: list[Stepper] = [
            import_module(f"{backend_modules()[row.backend]}.training").stepper(model, plan)
            for row, model in zip(self.rows, self.models, strict=True)
        ]

    def step(self, number: int, batch: Batch, rate: float) -> None:
        """Take a step in every backend, and compare."""
        for row, stepper in zip(self.rows, self.steppers, strict=True):
            row.losses.append(float(stepper.step([batch], rate, number)["loss"]))
        reference = get_weights(self.models[0])
        for row, model in zip(self.rows, self.models, strict=True):
            expected, actual = self.rows[0].losses[-1], row.losses[-1]
            gap = abs(actual - expected) / max(abs(expected), TINY)
            row.loss_error = float(np.max([row.loss_error, gap]))
            self._compare(row, number, reference, get_weights(model))

    def _compare(self, row: TrainingRow, number: int, reference: Weights, weights: Weights) -> None:
        """Errors of all arrays after a step, and which is the first beyond tolerance."""
        errors = {
            name: relative_error(weights[name], expected) for name, expected in reference.items()
        }
        trained = [name for name in errors if self.table[name].trainable]
        others = [errors[name] for name in errors if not self.table[name].trainable]
        row.weight_error = float(np.max([errors[name] for name in trained]))
        row.statistic_error = float(np.max(others)) if others else None
        gap = _length({name: weights[name] - reference[name] for name in trained})
        way = _length({name: reference[name] - self.start[name] for name in trained})
        row.way_error = gap / way if way else float(gap > 0.0)
        allowed = TOLERANCE[row.precision]
        beyond = [name for name, error in errors.items() if not error <= allowed]
        if beyond and row.parameter is None:
            row.parameter, row.step = beyond[0], number + 1


def _optimizer(settings: Any, rates: Mapping[str, float]) -> Any:
    """The optimiser of the options, with a small rate if they name none."""
    if isinstance(settings, str):
        settings = {"kind": settings}
    if isinstance(settings, Mapping) and "lr" not in settings:
        settings = {**settings, "lr": rates.get(str(settings.get("kind")), 0.0)}
    return read(Optimizer, settings, "optimizer")


def _nudged(weights: Weights) -> Weights:
    """Every weight moved by one rounding, up or down by chance."""
    generator = np.random.Generator(np.random.PCG64(1))
    ends = np.array([-np.inf, np.inf])
    return {
        name: np.nextafter(array, ends[generator.integers(0, 2, array.shape)].astype(array.dtype))
        for name, array in weights.items()
    }


def _length(arrays: Weights) -> float:
    """Euclidean norm of all arrays together."""
    return float(
        np.sqrt(sum(np.square(array, dtype=np.float64).sum() for array in arrays.values()))
    )


def _backends(names: Sequence[str] | None) -> list[str]:
    """The backends to compare."""
    if names is None:
        chosen = [name for name in installed_backends() if name != REFERENCE]
    else:
        chosen = list(dict.fromkeys(canonical(name) for name in names))
    if REFERENCE in chosen:
        raise InputError("backend 'numpy' is the reference of outputs, and does not train")
    if len(chosen) < 2:
        raise InputError(f"training parity compares two backends or more, but got {chosen}")
    for name in chosen:
        get_backend(name)
    return chosen
