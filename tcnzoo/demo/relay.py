"""A stream in ragged chunks whose state is handed from one backend to another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.models.calls import init_state, step

# Chunks have 1 to this many samples: up to 1.2 s at 256 Hz.
LONGEST = 300


@dataclass(frozen=True)
class Relay:
    """A recording that was streamed.

    Attributes:
        output: of all chunks together, (batch, out, time).
        cuts: first sample of each chunk, and the end of the last.
        turns: backend of each chunk.
    """

    output: Array
    cuts: Array
    turns: tuple[str, ...]

    @property
    def stays(self) -> list[tuple[str, int, int]]:
        """Backend, first and past-the-last sample of each stay of the state."""
        stays: list[tuple[str, int, int]] = []
        for backend, first, last in zip(self.turns, self.cuts[:-1], self.cuts[1:], strict=True):
            if stays and stays[-1][0] == backend:
                first = stays.pop()[1]
            stays.append((backend, int(first), int(last)))
        return stays


def ragged(steps: int, seed: int) -> Array:
    """Cut a recording of `steps` samples into chunks of unequal lengths: see Relay.cuts."""
    generator = np.random.Generator(np.random.PCG64(seed))
    cuts = np.concatenate([[0], np.cumsum(generator.integers(1, LONGEST + 1, steps))])
    return np.append(cuts[cuts < steps], steps)


def relay(models: Mapping[str, Any], turns: Sequence[str], x: Array, cuts: Array) -> Relay:
    """Stream a recording, each chunk through the model whose turn it is, with one state for all.

    Args:
        models: by backend, all with the same weights.
        turns: backend of each chunk.
        x: (batch, channels, time).
        cuts: as `ragged` gives them.
    """
    state, pieces = init_state(models[turns[0]], x.shape[0]), []
    for backend, start, stop in zip(turns, cuts[:-1], cuts[1:], strict=True):
        piece, state = step(models[backend], x[:, :, start:stop], state)
        pieces.append(piece)
    return Relay(np.concatenate(pieces, axis=2), cuts, tuple(turns))
