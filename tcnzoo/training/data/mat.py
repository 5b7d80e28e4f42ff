"""Sequences of a MATLAB file, each step to be predicted from those before it."""

from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError, suggestion
from tcnzoo.training.data.augment import (
    Augment,
    augmenter,
    largest_transposition,
    refuse,
    transposed,
)
from tcnzoo.training.data.config import MatData, Part
from tcnzoo.training.data.dataset import Batch, Dataset
from tcnzoo.training.needs import needed


class SequenceDataset:
    """Sequences of different lengths, predicted one step ahead."""

    classes: tuple[str, ...] | None = None
    seconds: float | None = None

    def __init__(
        self,
        sequences: list[Array],
        pad_to: int = 1,
        augment: Augment | None = None,
        transpose: int = 0,
    ) -> None:
        """Keep the sequences.

        Args:
            sequences: (steps, channels) each, of two steps or more.
            pad_to: batches are as long as their longest sequence, in multiples of this.
            augment: of training inputs.
            transpose: channels by which training sequences may move.
        """
        self._sequences, self._pad_to = sequences, pad_to
        self._augment, self._transpose = augment, transpose

    def __len__(self) -> int:
        """How many sequences there are."""
        return len(self._sequences)

    def batch(self, indices: Array, rng: np.random.Generator | None = None) -> Batch:
        """Take `x` all steps but the last, `y` all but the first, both (batch, channels, time).

        `mask` (batch, time) is 1 where a sequence has a step, and 0 after its end.
        """
        chosen = [self._sequences[int(index)] for index in indices]
        if rng is not None and self._transpose:
            chosen = [transposed(sequence, self._transpose, rng) for sequence in chosen]
        longest = max(len(sequence) - 1 for sequence in chosen)
        steps = -(-longest // self._pad_to) * self._pad_to
        shape = (len(chosen), chosen[0].shape[1], steps)
        x, y = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        mask = np.zeros((shape[0], steps), np.float32)
        for row, sequence in enumerate(chosen):
            length = len(sequence) - 1
            x[row, :, :length], y[row, :, :length] = sequence[:-1].T, sequence[1:].T
            mask[row, :length] = 1.0
        if rng is not None and self._augment is not None:
            x = self._augment(x, rng)
        return {"x": x, "y": y, "mask": mask}

    @property
    def groups(self) -> Array | None:
        """None: the file has train, val and test already."""
        return None

    @property
    def labels(self) -> Array | None:
        """None: the target is a sequence."""
        return None

    def describe(self) -> dict[str, Any]:
        """How many sequences, and their steps to predict."""
        lengths = [len(sequence) - 1 for sequence in self._sequences]
        return {
            "examples": len(self),
            "steps": int(sum(lengths)),
            "shortest": int(min(lengths)),
            "longest": int(max(lengths)),
        }


def mat_datasets(config: MatData) -> dict[Part, Dataset]:
    """The three parts of a .mat file.

    Raises:
        InputError: no such file, no MATLAB file, or a variable that is missing or no cell array of
            (steps, channels) sequences.
        BackendMissing: scipy is not installed.
    """
    refuse(config.augment, config.kind, "phase")
    path = Path(config.path)
    if not path.is_file():
        raise InputError(f"no file at {config.path!r}")
    reader = needed("scipy.io", "reading a .mat file")
    try:
        variables = reader.loadmat(path)
    except (
        *(ValueError, TypeError, NotImplementedError, OSError, EOFError),
        reader.matlab.MatReadError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else "it ends too early"
        raise InputError(f"{config.path!r} is not a MATLAB 5 file: {reason}") from None
    augment, move = augmenter(config.augment), largest_transposition(config.augment)
    names: dict[Part, str] = {"train": config.train, "val": config.val, "test": config.test}
    return {
        part: SequenceDataset(
            _sequences(config.path, variables, name), config.pad_to, augment, move
        )
        for part, name in names.items()
    }


def _sequences(path: str, variables: dict[str, Any], name: str) -> list[Array]:
    """The sequences of a cell array."""
    known = [key for key in variables if not key.startswith("__")]
    if name not in known:
        raise InputError(f"{path!r} has no variable {name!r}{suggestion(name, known)}")
    cells = variables[name]
    sequences = [np.asarray(cell) for cell in cells.ravel()] if cells.dtype == object else []
    widths = {sequence.shape[1:] for sequence in sequences}
    if (
        not sequences
        or any(sequence.ndim != 2 or len(sequence) < 2 for sequence in sequences)
        or len(widths) > 1
    ):
        raise InputError(
            f"variable {name!r} of {path!r} must be a cell array of (steps, channels) sequences of "
            "two steps or more, all of one width"
        )
    if any(sequence.dtype.kind not in "fiub" for sequence in sequences):
        raise InputError(f"variable {name!r} of {path!r} holds something other than numbers")
    return sequences
