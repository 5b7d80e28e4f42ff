"""Embeddings and masks that a model takes beside its signal: by name, in its order, checked, drawn.

Callers give embeddings in order and masks by name; backends take all of them as one list, in the
order of `Spec.embedding_specs`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, to_real
from tcnzoo.errors import InputError, suggestion
from tcnzoo.specs import EmbeddingSpec, MaskSpec, Shape, SideInput, Spec

# Share of ones in a mask that is drawn.
ONES = 0.7


def ordered(
    wanted: Sequence[SideInput], embeddings: Sequence[Any], masks: Mapping[str, Any]
) -> list[Any]:
    """The arrays of a call in the order of the model.

    Args:
        wanted: `embedding_specs` of the model.
        embeddings: those that are no masks, in order.
        masks: by name.
    Raises:
        InputError: another number of embeddings, or a mask that is missing or unknown.
    """
    names = [side.name for side in wanted if isinstance(side, MaskSpec)]
    for name in masks:
        if name not in names:
            known = f"its masks are {', '.join(names)}" if names else "it takes none"
            raise InputError(f"the model has no mask {name!r}; {known}{suggestion(name, names)}")
    for name in names:
        if name not in masks:
            came = f"only {', '.join(map(repr, masks))} came" if masks else "none came"
            raise InputError(f"the model takes the mask {name!r}, but {came}")
    expected = len(wanted) - len(names)
    if len(embeddings) != expected:
        raise InputError(f"the model takes {expected} embeddings, but {len(embeddings)} came")
    left = iter(embeddings)
    return [masks[side.name] if isinstance(side, MaskSpec) else next(left) for side in wanted]


def by_role(spec: Spec, arrays: Sequence[Any]) -> dict[str, Any]:
    """Arguments `embeddings` and `masks` of a call, from the arrays in the order of the model."""
    pairs = list(zip(spec.embedding_specs, arrays, strict=True))
    return {
        "embeddings": [array for side, array in pairs if not isinstance(side, MaskSpec)],
        "masks": {side.name: array for side, array in pairs if isinstance(side, MaskSpec)},
    }


def labels(wanted: Sequence[SideInput]) -> list[str]:
    """How error messages call each array of a model."""
    names, count = [], 0
    for side in wanted:
        if isinstance(side, MaskSpec):
            names.append(f"mask {side.name!r}")
        else:
            names.append(f"embedding {count}")
            count += 1
    return names


def to_floats(wanted: Sequence[SideInput], arrays: Sequence[Any], dtype: str) -> list[Array]:
    """Arrays of real numbers, in the order of the model, as floats."""
    return [
        to_real(array, dtype, label) for array, label in zip(arrays, labels(wanted), strict=True)
    ]


def check_embeddings(
    spec: Spec, shape: Shape, embeddings: Sequence[Any], *, chunk: bool = False
) -> None:
    """Raise InputError unless the arrays beside a signal are those that a model takes.

    Args:
        spec: of the model.
        shape: of the signal, with its batch axis.
        embeddings: in the order of the model; masks are numpy arrays.
        chunk: whether the signal is a chunk of a stream, whose steps are those of all arrays.
    """
    wanted = spec.embedding_specs
    if len(embeddings) != len(wanted):
        raise InputError(f"the model takes {len(wanted)} embeddings, but {len(embeddings)} came")
    inner = shape[1:]
    shapes = [side.shape(inner) for side in wanted] if chunk else spec.embedding_shapes(inner)
    for side, array, rest, label in zip(wanted, embeddings, shapes, labels(wanted), strict=True):
        expected = (shape[0], *rest)
        if tuple(array.shape) != expected:
            raise InputError(f"{label} must have shape {expected}, but has {tuple(array.shape)}")
        if isinstance(side, MaskSpec):
            odd = (array != 0) & (array != 1)
            if odd.any():
                raise InputError(f"{label} must hold 0 and 1 only, but holds {array[odd][0]:g}")


def drawn(spec: Spec, shape: Shape, generator: np.random.Generator) -> list[Array]:
    """Noise for each embedding of a model, and zeros and ones for each mask, in its order.

    Of a batch of several the last signal has a mask of zeros only, and so has one token of a mask
    of pairs.

    Args:
        spec: of the model.
        shape: of the signal, with its batch axis.
        generator: draws them.
    Returns:
        float64 arrays.
    """
    arrays = []
    shapes = spec.embedding_shapes(shape[1:])
    for side, rest in zip(spec.embedding_specs, shapes, strict=True):
        if isinstance(side, EmbeddingSpec):
            arrays.append(generator.standard_normal((shape[0], *rest)))
            continue
        mask = (generator.random((shape[0], *rest)) < ONES).astype(np.float64)
        if rest and len(rest) == 2:
            mask[:, -1] = 0.0
        elif shape[0] > 1:
            mask[-1] = 0.0
        arrays.append(mask)
    return arrays


def chunk_of(spec: Spec, arrays: Sequence[Array], start: int, stop: int) -> list[Array]:
    """The arrays of a model, in its order, that go with some steps of its signal."""
    return [
        array if isinstance(side, EmbeddingSpec) and not side.per_step else array[..., start:stop]
        for side, array in zip(spec.embedding_specs, arrays, strict=True)
    ]


def batch_keys(spec: Spec) -> list[str]:
    """Keys of a batch for training, in the order of the model: `embedding0`, ..., mask names."""
    keys, count = [], 0
    for side in spec.embedding_specs:
        if isinstance(side, MaskSpec):
            keys.append(side.name)
        else:
            keys.append(f"embedding{count}")
            count += 1
    return keys
