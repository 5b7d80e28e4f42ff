"""Convolutions, plain and transposed, and the block with norm and activation."""

from collections.abc import Sequence

from tcnzoo.specs import Conv1dSpec, ConvBlockSpec, ConvTranspose1dSpec, DenseBlockSpec
from tcnzoo.streams.lowering.builder import Builder, join, lowers, rounded
from tcnzoo.streams.program import Conv, ConvTranspose, Signal


@lowers("conv1d")
def conv1d(
    build: Builder, spec: Conv1dSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """One operation, with the entries of the state that the spec has."""
    state = {name: join(path, name) for name in spec.own_state()}
    return build.emit(
        Conv,
        x,
        spec.out_channels,
        weight=rounded(build.array(path, "weight").transpose(0, 2, 1)),
        bias=build.bias(path, spec.out_channels),
        dilation=spec.dilation,
        stride=spec.stride,
        groups=spec.groups,
        **{name: state.get(name) for name in ("context", "skip", "started")},
    )


@lowers("conv_transpose1d")
def conv_transpose1d(
    build: Builder, spec: ConvTranspose1dSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """One operation."""
    return build.emit(
        ConvTranspose,
        x,
        spec.out_channels,
        weight=rounded(build.array(path, "weight").transpose(1, 2, 0)),
        bias=build.bias(path, spec.out_channels),
        stride=spec.stride,
        dilation=spec.dilation,
        tail=join(path, "tail") if spec.own_state() else None,
    )


@lowers("conv_block", "dense_block")
def in_order(
    build: Builder,
    spec: ConvBlockSpec | DenseBlockSpec,
    path: str,
    x: Signal,
    embeddings: Sequence[Signal],
) -> Signal:
    """The parts, one after the other."""
    for name, part in spec.children().items():
        x = build.part(part, join(path, name), x)
    return x
