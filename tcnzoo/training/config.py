"""The configuration of a training run: one YAML file, or the same as a dictionary."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tcnzoo.errors import InputError, SpecError, suggestion
from tcnzoo.files.documents import read_mapping
from tcnzoo.models.backend import canonical
from tcnzoo.specs import Spec
from tcnzoo.specs.base import Positive
from tcnzoo.training.data.config import AnyData
from tcnzoo.training.losses import Loss, loss_names
from tcnzoo.training.messages import sentence
from tcnzoo.training.optimizers import AdamW, Optimizer
from tcnzoo.training.recipes import read_recipe, recipe_names
from tcnzoo.training.schedule import Constant, Mode, Schedule
from tcnzoo.training.stopping import EarlyStopping
from tcnzoo.zoo.catalog import load_spec

CONFIG = "config.yaml"

Kept = Literal["best", "last", "every"]
Logger = Literal["jsonl", "tensorboard"]
Precision = Literal["32-true", "64-true", "16-mixed", "bf16-mixed"]
Strategy = Literal["ddp", "fsdp"]
Clip = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


def _words(value: Any) -> Any:
    """Let YAML write a list of words as `best,last`."""
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


def _kind(value: Any) -> Any:
    """Let YAML give an entry without options as its kind alone."""
    return {"kind": value} if isinstance(value, str) else value


class _Config(BaseModel):
    """Frozen, with unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Checkpointing(_Config):
    """When checkpoints are written, and which of them stay.

    Attributes:
        every: epochs between them; the last epoch has one in any case.
        every_steps: optimiser steps between further ones.
        keep: `last` and `best` are links to one checkpoint each; `every` keeps all.
        metric: of `best`; None for that of early stopping, else the loss in validation, or in
            training without validation data.
        mode: whether less or more of it is better.
    """

    every: Positive = 1
    every_steps: Positive | None = None
    keep: Annotated[tuple[Kept, ...], BeforeValidator(_words)] = ("best", "last")
    metric: str | None = None
    mode: Mode = "min"

    @model_validator(mode="after")
    def _can_resume(self) -> Self:
        """Refuse to keep no last checkpoint, which resuming needs."""
        if "last" not in self.keep:
            raise ValueError("keep must name 'last', which a run is resumed from")
        return self


class Training(_Config):
    """How long, how fast and how carefully.

    Attributes:
        epochs: passes over the data; or `steps`.
        steps: optimiser steps, over any number of epochs.
        accumulate: micro-batches of one optimiser step.
        devices: of this machine that one process trains with, each of which takes `batch_size`
            examples; in Keras on TensorFlow. Elsewhere several processes do that.
        precision: `32-true`, `64-true` (twice the bits, on a CPU in MLX), or `16-mixed` or
            `bf16-mixed` where the backend has it.
        strategy: of several processes: `ddp` (each holds the whole model) or `fsdp` (its part).
        clip_norm: largest Euclidean norm of all gradients together.
        clip_value: largest size of each gradient value.
        schedule: of the learning rate.
        early_stopping: None to go on to the end.
        freeze: patterns of parameter names that are not trained, as `encoder.*`.
        freeze_epochs: epochs that they stay so; None for all.
        checkpoint: when and which.
        evaluate_every: optimiser steps between evaluations; None for each epoch's end.
        log_every: optimiser steps between lines of the log.
    """

    epochs: Positive | None = None
    steps: Positive | None = None
    accumulate: Positive = 1
    devices: Positive = 1
    precision: Precision = "32-true"
    strategy: Strategy = "ddp"
    clip_norm: Clip | None = None
    clip_value: Clip | None = None
    schedule: Annotated[Schedule, BeforeValidator(_kind)] = Constant()
    early_stopping: EarlyStopping | None = None
    freeze: tuple[str, ...] = ()
    freeze_epochs: Positive | None = None
    checkpoint: Checkpointing = Checkpointing()
    evaluate_every: Positive | None = None
    log_every: Positive = 10

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        """Check fields that depend on each other."""
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give one of epochs and steps")
        if self.freeze_epochs is not None and not self.freeze:
            raise ValueError("freeze_epochs needs patterns in freeze")
        return self


class TrainConfig(_Config):
    """A training run.

    Attributes:
        model: a preset, a spec file, or a spec; resolved to a spec.
        init: checkpoint directory whose weights to start from; None for initial ones of `seed`.
        backend: which framework trains.
        device: the framework's own name; None for its default.
        seed: of initial weights, data order, augmentation and dropout.
        data: see `tcnzoo.training.data.config`.
        losses: whose weighted sum is trained on.
        optimizer: with its rate at the peak of the schedule.
        training: see `Training`.
        output: run directory.
        loggers: `jsonl` is written in any case.
    """

    model: Annotated[dict[str, Any], BeforeValidator(lambda source: _spec(source))]
    init: str | None = None
    backend: Annotated[str, BeforeValidator(lambda name: canonical(str(name)))] = "torch"
    device: str | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    data: AnyData
    losses: Annotated[tuple[Loss, ...], Field(min_length=1)]
    optimizer: Annotated[Optimizer, BeforeValidator(_kind)] = AdamW()
    training: Training
    output: str
    loggers: Annotated[tuple[Logger, ...], BeforeValidator(_words)] = ("jsonl", "tensorboard")

    @property
    def spec(self) -> Spec:
        """The model's spec."""
        return load_spec(self.model)


def _spec(source: Any) -> dict[str, Any]:
    """The whole document of the spec of a model, defaults and all."""
    return load_spec(source).model_dump(mode="json")


def load_config(
    source: str | os.PathLike[str] | Mapping[str, Any] | TrainConfig, **overrides: Any
) -> TrainConfig:
    """Read the configuration of a run.

    Args:
        source: a YAML or JSON file, the name of a configuration that comes with the package, the
            directory of a run, or a dictionary.
        overrides: fields to change, dotted for inner ones: `**{"training.epochs": 3}`.
    Raises:
        InputError: a field that is unknown, missing or of the wrong kind; one sentence.
        SpecError: an invalid model.
        BackendMissing: an unknown backend.
    """
    document = _document(source)
    for dotted, value in overrides.items():
        document = _changed(document, dotted, value)
    if "model" not in document:
        raise InputError("the configuration lacks 'model': a preset, a spec file or a spec")
    try:
        config = TrainConfig.model_validate(document)
    except ValidationError as error:
        raise InputError(f"configuration: {sentence(error, TrainConfig)}") from None
    loss_names(config.losses)
    return config


def _document(source: str | os.PathLike[str] | Mapping[str, Any] | TrainConfig) -> dict[str, Any]:
    """The mapping behind a source."""
    if isinstance(source, TrainConfig):
        return source.model_dump(mode="json")
    if isinstance(source, Mapping):
        return dict(source)
    path = Path(source)
    if path.is_dir():
        path = path / CONFIG
    elif str(source) in recipe_names():
        return read_recipe(str(source))
    if path.suffix not in (".yaml", ".yml", ".json") or not path.is_file():
        near = suggestion(str(source), recipe_names())
        raise InputError(f"no configuration (.yaml or .json) at {str(path)!r}{near}")
    try:
        return read_mapping(path)
    except SpecError as error:
        raise InputError(str(error)) from None


def _changed(document: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    """Copy a document with one field set; the field may be inside of a model given by name."""
    head, _, rest = dotted.partition(".")
    if head == "model" and rest and "model" in document:
        return {**document, "model": _spec(load_spec(document["model"], **{rest: value}))}
    changed: dict[str, Any] = _set(document, dotted.split("."), value, dotted)
    return changed


def _set(document: Any, path: list[str], value: Any, dotted: str) -> Any:
    """Copy part of a document with one value set; a missing mapping is created."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(document, list | tuple):
        if not head.isdecimal() or int(head) >= len(document):
            raise InputError(
                f"cannot set {dotted!r}: {head!r} is not one of 0..{len(document) - 1}"
            )
        index = int(head)
        return [
            *document[:index],
            _set(document[index], rest, value, dotted),
            *document[index + 1 :],
        ]
    if isinstance(document, str):
        document = {"kind": document}
    if document is not None and not isinstance(document, Mapping):
        raise InputError(f"cannot set {dotted!r}: {head!r} is below a plain value")
    inner = {} if document is None else dict(document)
    return {**inner, head: _set(inner.get(head), rest, value, dotted)}
