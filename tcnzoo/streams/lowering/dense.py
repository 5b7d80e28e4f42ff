"""A dense layer: a convolution of one tap."""

from collections.abc import Sequence

from tcnzoo.specs import DenseSpec
from tcnzoo.streams.lowering.builder import Builder, lowers, rounded
from tcnzoo.streams.program import Conv, Signal


@lowers("dense")
def dense(
    build: Builder, spec: DenseSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """One operation."""
    return build.emit(
        Conv,
        x,
        spec.out_features,
        weight=rounded(build.array(path, "weight")[:, None]),
        bias=build.bias(path, spec.out_features),
    )
