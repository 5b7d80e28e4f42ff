"""What the tensors of a vector-quantize-pytorch codebook say of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import WeightError

# Codes are of length 1 to so much; 16-bit types round them.
ONE_LENGTH = 1e-5
_ROUNDED = 1e-2
# What every codebook holds; its flag `initted` may be missing and then says that it is set.
_TENSORS = ("embed", "embed_avg", "cluster_size")
Codebooks = Mapping[int | None, Mapping[str, Array]]


def lengths_of(codes: Array) -> Array:
    """Length of each code."""
    lengths: Array = np.linalg.norm(codes.astype(np.float64), axis=-1)
    return lengths


def length_errors(codes: Array) -> float:
    """Largest distance of a code's length from 1."""
    return float(np.abs(lengths_of(codes) - 1.0).max())


def _sizes(path: Path, level: int | None, codebook: Mapping[str, Array]) -> tuple[int, int]:
    """(codes, channels) of one codebook, all of whose tensors must agree."""
    prefix = "_codebook." if level is None else f"layers.{level}._codebook."
    missing = [name for name in _TENSORS if name not in codebook]
    if missing:
        raise WeightError(f"{str(path)!r} must hold {prefix + missing[0]!r} beside the others")
    shape = codebook["embed"].shape
    if len(shape) != 3 or 0 in shape:
        raise WeightError(
            f"{prefix + 'embed'!r} of {str(path)!r} must be (1, codes, channels), but has shape "
            f"{shape}"
        )
    if shape[0] != 1:
        raise WeightError(
            f"{str(path)!r} holds {shape[0]} heads with a codebook each; only one can be converted"
        )
    wanted = {"embed_avg": shape, "cluster_size": shape[:2], "initted": ()}
    for name, expected in wanted.items():
        actual = codebook[name].shape if name in codebook else expected
        if actual != expected:
            raise WeightError(
                f"{prefix + name!r} of {str(path)!r} must have shape {expected}, but has {actual}"
            )
    return shape[1], shape[2]


def _initialised(codebook: Mapping[str, Array]) -> bool:
    """Whether a codebook does not wait for k-means."""
    return bool(codebook.get("initted", True))


@dataclass(frozen=True)
class QuantizerFacts:
    """What a file says of its quantiser.

    Attributes:
        codes, channels: size of each codebook.
        levels: numbers of the levels; None for a single codebook.
        same: whether all levels, two at least, hold the same bits.
        initialised: whether no codebook waits for k-means.
        lengths: of all codes of all levels.
    """

    codes: int
    channels: int
    levels: list[int] | None
    same: bool
    initialised: bool
    lengths: Array

    @property
    def shorter(self) -> int:
        """How many codes are shorter than 1."""
        return int((self.lengths < 1.0 - _ROUNDED).sum())

    @property
    def not_cosine(self) -> bool:
        """Whether the lengths rule out that codes are compared by their angle.

        With use_cosine_sim the library keeps codes at length 1, but a code that no value falls on
        for some hundred steps shrinks to 0. So one must be longer, or none of length 1.
        """
        longest = self.lengths.max()
        return self.initialised and bool(longest > 1.0 + _ROUNDED or longest < 1.0 - _ROUNDED)


def facts_of(path: Path, codebooks: Codebooks) -> QuantizerFacts:
    """Read the facts of a quantiser off its tensors.

    Args:
        path: for the sentences of errors.
        codebooks: the tensors of each level (None: no levels), by their names in the library.
    Raises:
        WeightError: tensors that no such codebook has, or codebooks of several sizes.
    """
    sizes = {_sizes(path, level, codebook) for level, codebook in codebooks.items()}
    if len(sizes) != 1:
        raise WeightError(
            f"{str(path)!r} must hold codebooks of one size, but holds "
            f"{len(sizes)} sizes: {sorted(sizes)}"
        )
    codes, channels = sizes.pop()
    lengths = [lengths_of(codebook["embed"]).ravel() for codebook in codebooks.values()]
    return QuantizerFacts(
        codes=codes,
        channels=channels,
        levels=None if None in codebooks else [level or 0 for level in codebooks],
        same=_hold_the_same(list(codebooks.values())),
        initialised=all(map(_initialised, codebooks.values())),
        lengths=np.concatenate(lengths),
    )


def _hold_the_same(codebooks: list[Mapping[str, Array]]) -> bool:
    """Whether several codebooks hold the same bits."""
    first = codebooks[0]
    return len(codebooks) > 1 and all(
        _initialised(codebook) == _initialised(first)
        and all(codebook[name].tobytes() == first[name].tobytes() for name in _TENSORS)
        for codebook in codebooks
    )
