"""Layers in order."""

from collections.abc import Sequence

from tcnzoo.specs import SequentialSpec
from tcnzoo.specs.side_inputs import Routes
from tcnzoo.streams.lowering.builder import Builder, join, lowers
from tcnzoo.streams.program import Signal


@lowers("sequential")
def sequential(
    build: Builder, spec: SequentialSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """Every layer on the output of the one before, with the embeddings that it takes."""
    routes = Routes.of(spec.layers)
    for name, layer in spec.layers.items():
        x = build.part(layer, join(path, name), x, routes.taken(name, embeddings))
    return x
