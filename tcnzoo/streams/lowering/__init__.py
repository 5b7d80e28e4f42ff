"""From a spec and its weights to a Program; one file a family, named as in `specs/`."""

from collections.abc import Mapping

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import SpecError
from tcnzoo.specs import EmbeddingSpec, Spec
from tcnzoo.specs.folding import fold
from tcnzoo.streams.lowering import (  # noqa: F401 - each registers what it lowers
    activation,
    channel_adapter,
    conv,
    dense,
    graph,
    mamba,
    norm,
    pool,
    reshape,
    sequential,
    squeeze_excitation,
    tcn,
)
from tcnzoo.streams.lowering.builder import Builder
from tcnzoo.streams.lowering.fusing import fused, renumbered
from tcnzoo.streams.program import Program, Spread

__all__ = ["lower"]


def lower(spec: Spec, weights: Mapping[str, Array]) -> Program:
    """One step of a stream of a model as a list of operations.

    Args:
        spec: of a model that can stream and takes a known number of channels.
        weights: neutral, of any float type; norms are folded in float64.
    Raises:
        SpecError: a model that cannot stream or takes any number of channels, or a part that has
            no step as a list of operations; the sentence names it.
        WeightError: weights that do not fit the spec.
    """
    _check(spec)
    wide = {name: np.asarray(array, dtype=np.float64) for name, array in weights.items()}
    folded, wide = fold(spec, wide)
    build = Builder(wide)
    inputs = [build.signal(spec.input_channels or 0)]
    embeddings = _embeddings(spec)
    inputs += [build.signal(embedding.channels) for embedding in embeddings]
    vectors = frozenset(
        signal.index
        for signal, embedding in zip(inputs[1:], embeddings, strict=True)
        if not embedding.per_step
    )
    rows = [
        build.emit(Spread, signal, signal.channels, like=inputs[0])
        if signal.index in vectors
        else signal
        for signal in inputs[1:]
    ]
    output = build.part(folded, "", inputs[0], rows)
    kept, stands_for = fused(build.operations, output)
    operations, new = renumbered(kept, len(inputs), stands_for)
    output = stands_for.get(output.index, output)
    return Program(
        tuple(inputs),
        vectors,
        tuple(operations),
        new.get(output.index, output),
        spec.state(),
    )


def _check(spec: Spec) -> None:
    """Raise SpecError for a model that has no program whatever its parts are."""
    blocker = spec.streaming_blocker()
    if blocker is not None:
        raise SpecError(f"this model cannot stream: {blocker}")
    if spec.input_channels is None:
        raise SpecError(
            f"the {spec.kind} takes signals of any number of channels, but a list of operations "
            "needs a known number; put it behind a layer that names its channels"
        )


def _embeddings(spec: Spec) -> list[EmbeddingSpec]:
    """What a model takes beside its signal; SpecError where a mask is among it."""
    embeddings = []
    for side in spec.embedding_specs:
        if not isinstance(side, EmbeddingSpec):
            raise SpecError(
                f"the model takes the mask {side.name!r}, which a list of operations has no place "
                "for; leave the mask out"
            )
        embeddings.append(side)
    return embeddings
