"""Layers in order."""

from collections.abc import Sequence

from tcnzoo.specs import SequentialSpec
from tcnzoo.streams.lowering.builder import Builder, join, lowers
from tcnzoo.streams.program import Signal


@lowers("sequential")
def sequential(
    build: Builder, spec: SequentialSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """Every layer on the output of the one before; one of them may take the embeddings."""
    for name, layer in spec.layers.items():
        x = build.part(layer, join(path, name), x, embeddings if layer.embedding_specs else ())
    return x
