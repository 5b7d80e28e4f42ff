"""Changes to training examples to which a model should be invariant."""

from collections.abc import Callable, Sequence

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.training.data.config import (
    Augmentation,
    GainConfig,
    NoiseConfig,
    PhaseConfig,
    TransposeConfig,
)

Augment = Callable[[Array, np.random.Generator], Array]


def augmenter(config: Sequence[Augmentation]) -> Augment:
    """One function for all changes to the values of a batch, in their order.

    Without phase, which takes other samples of the recording, see `shifts`, and without
    transposition, which changes targets too, see `transposed`.
    """
    steps = [step for step in config if isinstance(step, NoiseConfig | GainConfig)]

    def changed(x: Array, rng: np.random.Generator) -> Array:
        for step in steps:
            x = _noise(x, step, rng) if isinstance(step, NoiseConfig) else _gain(x, step, rng)
        return x

    return changed


def largest_shift(config: Sequence[Augmentation]) -> int:
    """Steps by which a window may begin earlier: the sum over all phase entries."""
    return sum(step.steps for step in config if isinstance(step, PhaseConfig))


def largest_transposition(config: Sequence[Augmentation]) -> int:
    """Channels by which a sequence may move: the sum over all transpose entries."""
    return sum(step.channels for step in config if isinstance(step, TransposeConfig))


def refuse(config: Sequence[Augmentation], kind: str, *refused: str) -> None:
    """Raise InputError for augmentation that a kind of data does not have.

    Args:
        config: of the data.
        kind: of the data.
        refused: `phase`, if examples are not cut from longer recordings; `transpose`, if
            channels have no order.
    """
    for augmentation in config:
        if augmentation.kind in refused:
            raise InputError(f"data of kind {kind!r} have no augmentation {augmentation.kind!r}")


def transposed(sequence: Array, channels: int, rng: np.random.Generator) -> Array:
    """A sequence (steps, channels) moved up or down, without a one falling off."""
    used = np.flatnonzero(sequence.any(axis=0))
    lowest, highest = (used[0], used[-1]) if used.size else (0, sequence.shape[1] - 1)
    down, up = min(channels, lowest), min(channels, sequence.shape[1] - 1 - highest)
    return np.roll(sequence, rng.integers(-down, up + 1), axis=1)


def shifts(steps: int, room: Array, rng: np.random.Generator) -> Array:
    """How many steps earlier each window begins.

    Args:
        steps: the most.
        room: (batch,), steps that the recording has before each window.
        rng: of this batch.
    """
    moves: Array = rng.integers(0, np.minimum(steps, room) + 1)
    return moves


def _noise(x: Array, config: NoiseConfig, rng: np.random.Generator) -> Array:
    """Independent normal noise on the examples that are chosen."""
    noise = rng.standard_normal(x.shape, dtype=np.float32) * np.float32(config.deviation)
    chosen = rng.random(len(x)) < config.share
    kept = chosen.reshape(-1, *(1,) * (x.ndim - 1)).astype(np.float32)
    return np.asarray(x + noise * kept)


def _gain(x: Array, config: GainConfig, rng: np.random.Generator) -> Array:
    """One factor for each example."""
    factor = rng.uniform(1.0 - config.spread, 1.0 + config.spread, len(x)).astype(np.float32)
    return x * factor.reshape(-1, *(1,) * (x.ndim - 1))
