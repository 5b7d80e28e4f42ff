"""Numbers that are not finite end a run; the error names their cause, and the batch is saved."""

import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.files.safetensors import write_safetensors
from tcnzoo.training.batches import Step
from tcnzoo.training.data.finite import first_not_finite, largest

FAILED = "failed_batch.safetensors"
MOST = 8


def check_finite(
    values: Mapping[str, Any],
    step: Step,
    number: int,
    epoch: int,
    folder: Path,
    rank: int = 0,
    precision: str = "32-true",
) -> dict[str, float]:
    """Fetch the scalars of a step.

    A gradient norm counts as too large from the square root of the largest number of the moments'
    type on: a second moment, which is of squares, would be infinite for the rest of the run. In
    `16-mixed` the loss is scaled, and the framework leaves out steps whose gradients overflow.

    Args:
        values: native scalars.
        step: its batches.
        number: of the step, from 1.
        epoch: from 0.
        folder: of the run.
        rank: of this process among those that train together.
        precision: of the run.
    Returns:
        the scalars as floats.
    Raises:
        InputError: a loss that is NaN or infinite, or gradients too large for the moments; the
            batch is in `failed_batch.safetensors`, and the parts of further processes in
            `failed_batch-1.safetensors` and so on.
    """
    scalars = {name: float(value) for name, value in values.items()}
    wrong = _wrong(scalars, precision)
    if wrong is None:
        return scalars
    path = folder / (FAILED if rank == 0 else FAILED.replace(".", f"-{rank}.", 1))
    arrays = {
        f"{index}.{name}": array
        for index, batch in enumerate(step.batches)
        for name, array in batch.items()
        if array.dtype.kind in "fiub"
    }
    numbers = [int(index) for part in step.indices for index in part]
    facts = {"step": number, "epoch": epoch, "examples": numbers, "values": repr(scalars)}
    write_safetensors(path, arrays, {"format": "pt", "failure": json.dumps(facts)})
    named = ", ".join(map(str, numbers[:MOST])) + (", ..." if len(numbers) > MOST else "")
    raise InputError(
        f"{wrong} at step {number} (epoch {epoch}, examples {named} of train); {_cause(step)}; "
        f"the batch is in {str(path)!r}, and the last checkpoint is as it was"
    )


def check_tensors(
    weights: Mapping[str, Array], state: Mapping[str, Array], number: int, allowed: Collection[str]
) -> None:
    """Refuse to save what is not finite.

    Args:
        weights: of the model, running statistics among them.
        state: of the optimiser.
        number: steps that have been taken.
        allowed: weights that were not finite when the session began, such as the logarithm of a
            probability of 0.
    Raises:
        InputError: a tensor with a value that is NaN or infinite.
    """
    for kind, tensors in (("weight", weights), ("moment", state)):
        for name, array in tensors.items():
            if name not in allowed and not np.isfinite(np.asarray(array)).all():
                raise InputError(
                    f"{kind} {name!r} is not finite after step {number}, so no checkpoint of it is "
                    "saved; the last one is as it was: lower the rate, or set training.clip_norm"
                )


def check_losses(values: Mapping[str, float], number: int) -> None:
    """Check the losses of an evaluation, whose data are finite.

    Raises:
        InputError: a loss that is NaN or infinite.
    """
    for name, value in values.items():
        if name.startswith("val_") and not math.isfinite(value):
            raise InputError(
                f"{name} is {value:g} after step {number}, although the validation data are "
                "finite: the model's outputs are not; the last checkpoint is as it was"
            )


def not_finite(weights: Mapping[str, Array]) -> frozenset[str]:
    """Names of the tensors that hold NaN or infinite values."""
    return frozenset(
        name for name, array in weights.items() if not np.isfinite(np.asarray(array)).all()
    )


def _wrong(scalars: Mapping[str, float], precision: str) -> str | None:
    """The scalar of a step that is not finite or too large, as a clause; None without one."""
    if not math.isfinite(scalars["loss"]):
        return f"the loss is {scalars['loss']}"
    dtype = np.float64 if precision == "64-true" else np.float32
    most = float(np.sqrt(np.finfo(dtype).max))
    norm = scalars.get("gradient_norm", 0.0)
    if precision == "16-mixed" or norm < most:
        return None
    return f"the norm of the gradients is {norm:g}, where less than {most:.2g} is needed,"


def _cause(step: Step) -> str:
    """The first value of the examples that is not finite, or else the largest."""
    parts = list(zip(step.batches, step.indices, strict=True))
    for batch, indices in parts:
        value = first_not_finite(batch, indices)
        if value is not None:
            return str(value)
    worst = max((largest(*part) for part in parts), key=lambda value: abs(value.value))
    return f"all examples are finite, and the largest: {worst}"
