"""Squeeze-and-excitation by the mean so far."""

from collections.abc import Sequence

from tcnzoo.arrays import Array
from tcnzoo.specs import SqueezeExcitationSpec
from tcnzoo.streams.lowering.builder import Builder, join, lowers, rounded
from tcnzoo.streams.program import Signal, SqueezeExcitation


@lowers("squeeze_excitation")
def squeeze_excitation(
    build: Builder, spec: SqueezeExcitationSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """One operation."""

    def dense(name: str) -> tuple[Array, Array]:
        inside = join(path, name)
        return rounded(build.array(inside, "weight")), rounded(build.array(inside, "bias"))

    return build.emit(
        SqueezeExcitation,
        x,
        x.channels,
        reduce=dense("reduce") if spec.reduction else None,
        expand=dense("expand"),
        residual=spec.residual,
        **{name: join(path, name) for name in spec.own_state()},
    )
