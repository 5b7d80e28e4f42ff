"""Activations, gated linear units and dropout, which is the identity."""

from collections.abc import Sequence

from tcnzoo.specs import ActivationSpec, DropoutSpec, GluSpec
from tcnzoo.streams.lowering.builder import Builder, lowers
from tcnzoo.streams.program import Activate, Gate, Signal


@lowers("activation")
def activation(
    build: Builder, spec: ActivationSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """One operation, or none for the linear one."""
    if spec.name == "linear":
        return x
    return build.emit(Activate, x, x.channels, activation=spec)


@lowers("glu")
def glu(
    build: Builder, spec: GluSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """Half as many channels."""
    return build.emit(Gate, x, x.channels // 2)


@lowers("dropout")
def dropout(
    build: Builder, spec: DropoutSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """The identity."""
    return x
