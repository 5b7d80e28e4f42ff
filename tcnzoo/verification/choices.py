"""Models whose outputs hold choices, codes and states, beside values: how far two runs agree.

Two right computations may round a tie to different sides, and what follows from a choice differs
then too. So a choice must be the same where it is clear, that is, where the second best lacks at
least CLEAR of the score (relative to the best score, or to 1). A signal in which an unclear choice
fell differently is left out of the comparison of values, and so are numbers that are over the whole
batch. Where no signal is left, the two do not agree.
"""

from collections.abc import Mapping

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError

# Ten times what float32 costs an output, and so more than the scores of two choices can err.
CLEAR = 1e-4


def array_error(actual: Array, reference: Array) -> float:
    """max|found - reference| / max(1, max|reference|), for arrays of one shape."""
    if reference.size == 0:
        return 0.0
    gap = np.abs(actual.astype(np.float64) - reference).max()
    return float(gap / max(1.0, np.abs(reference).max()))


def same_choices(actual: Array, reference: Array, gaps: Array) -> Array | None:
    """Compare two arrays of choices, (batch, time).

    Args:
        found, reference: integers.
        gaps: what the second best choice lacks, (batch, time).
    Returns:
        (batch,), whether all choices of a signal are the same; None where a clear one differs.
    """
    differs = actual != reference
    if np.any(differs & (gaps >= CLEAR)):
        return None
    same: Array = ~differs.reshape(len(differs), -1).any(axis=1)
    return same


def outputs_error(
    actual: Mapping[str, Array], reference: Mapping[str, Array], gaps: Mapping[str, Array]
) -> float:
    """The worst relative error over the outputs of a model, by the rule above.

    Args:
        found, reference: outputs by name.
        gaps: for each output that holds choices, how clear they are in the reference.
    Returns:
        inf where a clear choice differs, or where unclear ones differ in every signal.
    Raises:
        InputError: the two have different outputs or shapes.
    """
    if actual.keys() != reference.keys():
        raise InputError(f"expected the outputs {sorted(reference)}, but {sorted(actual)} came")
    kept: Array | None = None
    for name, wanted in reference.items():
        if actual[name].shape != wanted.shape:
            raise InputError(
                f"expected an output {name!r} of shape {wanted.shape}, "
                f"but one of {actual[name].shape} came"
            )
    for name, gap in gaps.items():
        same = same_choices(actual[name], reference[name], gap)
        if same is None:
            return float("inf")
        kept = same if kept is None else kept & same
    if kept is None or kept.all():
        return max(array_error(actual[name], reference[name]) for name in reference)
    if not kept.any():
        return float("inf")
    return max(
        array_error(actual[name][kept], wanted[kept])
        for name, wanted in reference.items()
        if wanted.ndim > 0
    )
