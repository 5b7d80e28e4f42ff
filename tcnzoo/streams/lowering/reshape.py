"""Padding that adds nothing: the only one that can stream."""

from collections.abc import Sequence

from tcnzoo.specs import PadSpec
from tcnzoo.streams.lowering.builder import Builder, lowers
from tcnzoo.streams.program import Signal


@lowers("pad")
def pad(
    build: Builder, spec: PadSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """The identity."""
    return x
