"""A loss that is no number ends a run, and what led to it is kept."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError
from tcnzoo.safetensors_files import write_safetensors
from tcnzoo.training.batches import Step

FAILED = "failed_batch.safetensors"
MOST = 8


def check_finite(
    values: Mapping[str, Any], step: Step, number: int, epoch: int, folder: Path, rank: int = 0
) -> dict[str, float]:
    """Fetch the scalars of a step.

    Args:
        values: native scalars.
        step: what it was taken on.
        number: of the step, from 1.
        epoch: from 0.
        folder: of the run.
        rank: of this process among those that train together.
    Returns:
        the scalars as floats.
    Raises:
        InputError: a loss that is NaN or infinite; the batch is in `failed_batch.safetensors`, and
            what further processes had of it in `failed_batch-1.safetensors` and so on.
    """
    found = {name: float(value) for name, value in values.items()}
    wrong = [name for name, value in found.items() if not math.isfinite(value)]
    if "loss" not in wrong:
        return found
    path = folder / (FAILED if rank == 0 else FAILED.replace(".", f"-{rank}.", 1))
    arrays = {
        f"{place}.{name}": array
        for place, batch in enumerate(step.batches)
        for name, array in batch.items()
        if array.dtype.kind in "fiub"
    }
    numbers = [int(index) for part in step.indices for index in part]
    facts = {"step": number, "epoch": epoch, "examples": numbers, "values": repr(found)}
    write_safetensors(path, arrays, {"format": "pt", "failure": json.dumps(facts)})
    named = ", ".join(map(str, numbers[:MOST])) + (", ..." if len(numbers) > MOST else "")
    raise InputError(
        f"the loss is {found['loss']} at step {number} (epoch {epoch}, examples {named} of train); "
        f"the batch is in {str(path)!r}, and the last checkpoint is as it was"
    )
