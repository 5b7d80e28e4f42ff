"""One session of a training run, from its configuration to its report."""

import contextlib
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Weights
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.errors import InputError
from tcnzoo.files.atomic import check_destination
from tcnzoo.inference.hsmm.floors import warn_of_large_floor
from tcnzoo.models.backend import get_backend, stepper_of
from tcnzoo.models.calls import create, predict, set_weights
from tcnzoo.models.side_inputs import batch_keys, by_role
from tcnzoo.specs import BatchNormSpec, Shape
from tcnzoo.specs.params import check_weights, initial_weights
from tcnzoo.training.batches import Batches
from tcnzoo.training.checkpoints import BEST, LAST
from tcnzoo.training.config import TrainConfig, load_config
from tcnzoo.training.curves import draw_curves
from tcnzoo.training.data import Dataset, Part, load as load_data
from tcnzoo.training.data.dataset import Subset, check_labels
from tcnzoo.training.data.finite import check_finite_examples
from tcnzoo.training.data.left_out import use_of
from tcnzoo.training.display import Display
from tcnzoo.training.evaluation import Evaluation, evaluate
from tcnzoo.training.freezing import frozen_in, frozen_parts
from tcnzoo.training.logs import open_logs
from tcnzoo.training.loop import Loop
from tcnzoo.training.losses import CrossEntropy, Focal, takes_classes
from tcnzoo.training.metric_names import check_metrics
from tcnzoo.training.outcome import Outcome
from tcnzoo.training.progress import Progress
from tcnzoo.training.report import write_report
from tcnzoo.training.run_directory import RunDirectory
from tcnzoo.training.stepper import Plan, Stepper
from tcnzoo.training.targets import Targets

# Steps of a trial run: enough for two in a row, an evaluation and a checkpoint.
TRIAL_STEPS = 2


@dataclass(frozen=True)
class Start:
    """The start of a session.

    Attributes:
        weights, state, progress: of the checkpoint, or of the beginning.
        checkpoint: its directory, or None.
    """

    weights: Weights
    state: Weights | None
    progress: Progress
    checkpoint: Path | None = None


def train(
    config: str | os.PathLike[str] | Mapping[str, Any] | TrainConfig,
    *,
    resume: bool = False,
    fast_dev_run: bool = False,
    progress: bool = False,
    **overrides: Any,
) -> Outcome:
    """Train a model.

    Args:
        config: a YAML or JSON file, the directory of a run, or a dictionary; see `TrainConfig`.
        resume: continue from the last checkpoint in the run's directory, in this or another
            backend; start if there is none yet.
        fast_dev_run: take two steps and one batch of each evaluation in a temporary directory:
            a trial of everything, of which nothing is kept.
        progress: show a bar on stderr.
        overrides: fields to change, dotted for inner ones: `backend="mlx"`,
            `**{"training.epochs": 3}`.
    Returns:
        the result of the run, with the native module, which has the weights of the best checkpoint.
    Raises:
        InputError: an invalid configuration, invalid data, a directory that exists already, or a
            loss that is not finite.
        SpecError: an invalid model.
        BackendMissing: the framework, or a package of the extra `train`, is not installed.
        OSError: no room to write; what was written before stays whole.
    """
    settings = load_config(config, **overrides)
    if not fast_dev_run:
        return _train(settings, resume, None, progress)
    with tempfile.TemporaryDirectory() as folder:
        trial = settings.model_copy(update={"output": str(Path(folder) / "run")})
        return _train(trial, False, TRIAL_STEPS, progress)


def _train(config: TrainConfig, resume: bool, trial: int | None, shown: bool) -> Outcome:
    """Train in this process: with others the examples are shared, and the first one writes."""
    directory = RunDirectory(config)
    start = _start(config, directory, resume)
    parts = load_data(config.data, config.seed)
    validation = parts.get("val")
    if trial is not None:
        parts = {name: _tried(name, part, config) for name, part in parts.items()}
    size = config.data.eval_batch_size or config.data.batch_size
    for name, part in parts.items():
        if name != "train":  # training examples are checked where a step fails
            check_finite_examples(part, name, size)
    model, stepper = _ready(config, start, parts, validation)
    world, progress = stepper.world, start.progress
    accumulate, devices = config.training.accumulate, config.training.devices
    batches = Batches(parts["train"], config.data, config.seed, accumulate, world, devices)
    _check_batch_norms(config, model, batches)

    def evaluated(part: Part) -> Evaluation:
        return evaluate(stepper, parts[part], config.losses, size)

    validate = (lambda: evaluated("val").result()) if "val" in parts else None
    loop = Loop(config, directory, model, stepper, batches, validate, progress, trial)
    if world.rank:
        _run(loop, stepper)
        return Outcome.of(directory, model, progress, {})
    with directory.claimed(start.checkpoint):
        described = {name: part.describe() for name, part in parts.items()}
        facts = {"processes": world.size, "step": progress.step, "data": described}
        directory.begin(config, facts)
        used = {name: use_of(description) for name, description in described.items()}
        notes = dict.fromkeys(f"data: {text}" for text in used.values() if text)
        with contextlib.ExitStack() as stack:
            logs = [*open_logs(config.loggers, directory.folder, progress.step)]
            logs += [Display(loop.end, progress.step, notes)] if shown else []
            for log in logs:
                stack.callback(log.close)
            loop.logs = logs
            _run(loop, stepper)
        draw_curves(directory.folder)
        _take_best(directory, model)
        report = {}
        if "test" in parts:
            facts = _facts(config, progress) | ({"data": used["test"]} if used["test"] else {})
            report = write_report(directory.folder, evaluated("test"), facts=facts)
        return Outcome.of(directory, model, progress, report)


def _start(config: TrainConfig, directory: RunDirectory, resume: bool) -> Start:
    """Weights, optimiser state and progress: of the last checkpoint, or of the beginning."""
    check_destination(directory.folder, folder=True)
    if not resume:
        directory.check_new()
        return Start(_first_weights(config), None, Progress())
    directory.check_same(config)
    newest = directory.checkpoints.newest()
    if newest is not None:
        if not directory.checkpoints.has(LAST):
            missing = str(directory.checkpoints.folder / LAST)
            warnings.warn(
                f"{missing!r} is missing; the run goes on from {newest.name!r}", stacklevel=4
            )
        _, weights, state, progress = directory.checkpoints.load(newest)
        return Start(weights, state, progress, newest)
    directory.check_traces()
    return Start(_first_weights(config), None, Progress())


def _first_weights(config: TrainConfig) -> Weights:
    """Initial weights of the seed, and those of `init` over them.

    Raises:
        InputError: `init` shares no tensor with the model.
        WeightError: a tensor of another shape.
    """
    table = config.spec.params()
    weights = initial_weights(table, config.seed)
    if config.init is None:
        return weights
    source = Path(config.init)
    within = source / "checkpoints" / BEST
    _, saved = read_checkpoint(within if within.is_dir() else source)
    shared = [name for name in table if name in saved]
    if not shared:
        raise InputError(f"init: {config.init!r} has no tensor of this model")
    check_weights({name: table[name] for name in shared}, {name: saved[name] for name in shared})
    for text, rest in (
        (f"{config.init!r} lacks", [name for name in table if name not in saved]),
        (f"this model does not have what {config.init!r} has:", [*(saved.keys() - table.keys())]),
    ):
        if rest:
            warnings.warn(
                f"init: {text} {len(rest)} tensors, as {min(rest)!r}; the others are taken",
                stacklevel=4,
            )
    return weights | {name: saved[name] for name in shared}


def _ready(
    config: TrainConfig, start: Start, parts: Mapping[Part, Dataset], validation: Dataset | None
) -> tuple[Any, Stepper]:
    """The model with its weights, checked with the first examples, and its stepper."""
    make = stepper_of(get_backend(config.backend))
    training, spec = config.training, config.spec
    plan = Plan(
        config.optimizer,
        config.losses,
        clip_norm=training.clip_norm,
        clip_value=training.clip_value,
        precision=training.precision,
        frozen=frozen_in(training, spec.params(), start.progress.epoch),
        strategy=training.strategy,
        devices=training.devices,
    )
    model = create(
        spec, config.backend, weights=start.weights, device=config.device, dtype=plan.dtype
    )
    examples = parts["train"]
    first = examples.batch(np.arange(min(config.data.batch_size, len(examples))), None)
    shape = first["x"].shape[1:]
    warn_of_large_floor(spec, np.moveaxis(first["x"], 1, 0).reshape(shape[0], -1))
    targets = Targets(
        spec, config.losses, lambda x, beside: predict(model, x, **by_role(spec, beside))
    )
    targets.of(first)
    _check_classes(config, parts, shape)
    check_metrics(training, config.losses, targets.known[shape], validation)
    stepper: Stepper = make(model, plan)
    if training.strategy == "fsdp" and stepper.world.size == 1:
        raise InputError("strategy 'fsdp' needs several processes, as torchrun starts for torch")
    if start.state is not None:
        stepper.load_state(start.state)
    return model, stepper


def _check_classes(config: TrainConfig, parts: Mapping[Part, Dataset], shape: Shape) -> None:
    """Check every label of every part, before the first step.

    Raises:
        InputError: a label outside the model's classes; the sentence names the example.
    """
    for loss in config.losses:
        if not isinstance(loss, CrossEntropy | Focal) or not takes_classes(loss):
            continue
        if loss.output is None and loss.target == "y" and loss.ignore is None:
            for name, part in parts.items():
                check_labels(part, config.spec.output_shape(shape)[0], name)


def _check_batch_norms(config: TrainConfig, model: Any, batches: Batches) -> None:
    """Refuse micro-batches of one value a channel for a batch norm, since that has no variance.

    A frozen norm counts if it is trained again before the last such batch.

    Raises:
        InputError: the norm, and what to change.
    """
    training = config.training
    steps = training.steps or (training.epochs or 0) * batches.in_epoch
    # The last epoch that reaches such a batch: its first one, or its last one.
    epoch = (steps - 1 if batches.size == 1 else steps - batches.in_epoch) // batches.in_epoch
    if batches.smallest > 1 or epoch < 0:
        return
    spec, first = config.spec, batches.dataset.batch(np.arange(1), None)
    frozen = frozen_parts(spec, frozen_in(training, spec.params(), epoch))
    embeddings = [first[key] for key in batch_keys(spec)]
    outputs = get_backend(config.backend).trace(model, first["x"], embeddings)
    for path, part in spec.walk():
        if not isinstance(part, BatchNormSpec) or path in frozen or path not in outputs:
            continue
        if outputs[path].size == part.channels:
            last = "the last batch of an epoch" if batches.size > 1 else "each batch"
            change = "data.drop_last=true or another" if batches.size > 1 else "a larger"
            raise InputError(
                f"{last} has 1 example, of which batch norm {path!r} sees one value a channel, "
                f"and that has no variance; set {change} data.batch_size"
            )


def _run(loop: Loop, stepper: Stepper) -> None:
    """Train to the end, and leave an ordinary module: nothing frozen, nothing shared."""
    loop.run()
    stepper.freeze(frozenset())
    stepper.world.leave()


def _tried(name: Part, part: Dataset, config: TrainConfig) -> Dataset:
    """The part for a trial run: all of `train`, of which it takes few steps, else one batch."""
    wanted = config.data.eval_batch_size or config.data.batch_size
    return part if name == "train" else Subset(part, np.arange(min(wanted, len(part))))


def _take_best(directory: RunDirectory, model: Any) -> None:
    """Give the model the weights of the best checkpoint."""
    if directory.checkpoints.has(BEST):
        set_weights(model, directory.checkpoints.load(BEST)[1])


def _facts(config: TrainConfig, progress: Progress) -> dict[str, Any]:
    """Facts of the run, for its report."""
    return {
        "backend": config.backend,
        "checkpoint_step": progress.best.step or progress.step,
        "steps": progress.step,
        "epochs": progress.epoch,
        "seconds": progress.seconds,
    }
