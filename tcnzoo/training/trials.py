"""Inputs of a training parity: a model without dropout, random batches, rates."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from tcnzoo.arrays import Array, Weights
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.errors import InputError, SpecError
from tcnzoo.models.side_inputs import batch_keys, drawn
from tcnzoo.specs import Shape, Spec
from tcnzoo.specs.analysis import fitting_length
from tcnzoo.specs.params import initial_weights
from tcnzoo.training.losses import AnyLoss, Loss, Term, takes_classes
from tcnzoo.training.stepper import Batch
from tcnzoo.verification.parity import takes_vectors
from tcnzoo.zoo.catalog import input_facts, load_spec
from tcnzoo.zoo.parse import parse_spec

Subject = str | os.PathLike[str] | Mapping[str, Any] | Spec


def starting_point(subject: Subject, seed: int) -> tuple[Spec, Weights]:
    """Spec without dropout, and weights to start from."""
    if isinstance(subject, str | os.PathLike) and Path(subject).is_dir():
        spec, weights = read_checkpoint(subject)
        return without_dropout(spec), weights
    spec = without_dropout(load_spec(subject))
    return spec, initial_weights(spec.params(), seed)


def without_dropout(spec: Spec) -> Spec:
    """The same model, every rate of dropout zero."""

    def quiet(value: Any) -> Any:
        if isinstance(value, list):
            return [quiet(item) for item in value]
        if not isinstance(value, dict):
            return value
        zeros = {"dropout": 0.0} if "dropout" in value else {}
        zeros |= {"rate": 0.0} if value.get("kind") == "dropout" else {}
        return {name: quiet(item) for name, item in value.items()} | zeros

    return parse_spec(quiet(spec.model_dump(mode="json")))


def input_shape(subject: Subject, spec: Spec, asked: int | None) -> Shape:
    """Shape of one signal."""
    channels = spec.input_channels or 3
    if takes_vectors(spec):
        return (channels,)
    facts = input_facts(subject)
    if asked is None and facts is not None:
        asked = facts.length
    return (channels, asked or fitting_length(spec, 2 * spec.receptive_field() + 33))


def loss_of(loss: Any, spec: Spec, shape: Shape) -> AnyLoss:
    """The loss that was asked for, or the one that fits the output.

    Raises:
        SpecError, InputError: no such loss, or one that needs more than a target.
    """
    if loss is None:
        output = spec.output_shape(shape)
        loss = "cross_entropy" if len(output) == 1 and output[0] > 1 else "mse"
    objective: AnyLoss = read(Loss, loss, "loss")
    if objective.kind == "term" or objective.output or objective.mask:
        raise InputError("training parity makes its own batches: no mask, no term, and one output")
    return objective


def read(kind: Any, settings: Any, what: str) -> Any:
    """One part of a configuration, from its fields or its kind alone.

    Raises:
        SpecError: an unknown kind, or an invalid field.
    """
    if isinstance(settings, str):
        settings = {"kind": settings}
    try:
        return TypeAdapter(kind).validate_python(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (what, *first["loc"]))
        raise SpecError(f"{where}: {first['msg']}") from None


def rates_of(schedule: Any, rate: float, steps: int) -> list[float]:
    """The learning rate of each step.

    Raises:
        InputError: a schedule that does not fit so few steps, or that needs evaluations.
    """
    if schedule.kind == "plateau":
        raise InputError("training parity has no evaluations, so it takes no plateau schedule")
    schedule.check(steps)
    return [rate * schedule.at(step, steps) for step in range(steps)]


def random_batches(
    spec: Spec, loss: AnyLoss, shape: Shape, steps: int, seed: int
) -> Iterator[Batch]:
    """Random signals of a shape with random targets, a batch for each step."""
    generator = np.random.Generator(np.random.PCG64([seed, 3]))
    output = (shape[0], *spec.output_shape(shape[1:]))
    keys = batch_keys(spec)
    for _ in range(steps):
        batch = {"x": _signals(shape, generator)}
        for key, array in zip(keys, drawn(spec, shape, generator), strict=True):
            batch[key] = array.astype(np.float32)
        if not isinstance(loss, Term):
            batch[loss.target] = _target(loss, output, generator)
        yield batch


def _signals(shape: Shape, generator: np.random.Generator) -> Array:
    """Waves in noise, each example of its own strength, frequency, offset and noise.

    Of plain noise a long mean is nearly the same for every example, and a batch norm behind it
    would divide rounding by rounding.
    """
    noise = generator.standard_normal(shape)
    if len(shape) < 3:
        return noise.astype(np.float32)
    each = (shape[0], *[1] * (len(shape) - 1))
    strength, frequency = np.exp(
        generator.uniform([[-1.0], [-5.0]], [[1.0], [-1.5]], (2, shape[0]))
    )
    phase = generator.uniform(0.0, 2.0 * np.pi, (*shape[:2], *[1] * (len(shape) - 2)))
    angle = 2.0 * np.pi * frequency.reshape(each) * np.arange(shape[-1]) + phase
    wave = strength.reshape(each) * np.sin(angle) + generator.standard_normal(phase.shape)
    signal: Array = wave + generator.uniform(0.05, 1.0, each) * noise
    return signal.astype(np.float32)


def _target(loss: AnyLoss, shape: Shape, generator: np.random.Generator) -> Array:
    """Random classes, zeros and ones, or values."""
    if takes_classes(loss):
        return generator.integers(0, shape[1], (shape[0], *shape[2:]))
    if loss.kind in ("bce", "focal"):
        return generator.integers(0, 2, shape).astype(np.float32)
    return generator.standard_normal(shape).astype(np.float32)
