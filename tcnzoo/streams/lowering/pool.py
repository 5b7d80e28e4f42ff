"""Pools over windows, and upsampling by repetition."""

from collections.abc import Sequence

from tcnzoo.specs import UpsampleSpec, WindowPoolSpec
from tcnzoo.streams.lowering.builder import Builder, join, lowers
from tcnzoo.streams.program import Repeat, Signal, WindowPool


@lowers("window_pool")
def window_pool(
    build: Builder, spec: WindowPoolSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """One operation, or none for windows of one step that follow each other."""
    state = {name: join(path, name) for name in spec.own_state()}
    if not state:
        return x
    return build.emit(
        WindowPool,
        x,
        x.channels,
        mode=spec.mode,
        size=spec.size,
        step=spec.step,
        context=state.get("context"),
        skip=state.get("skip"),
    )


@lowers("upsample")
def upsample(
    build: Builder, spec: UpsampleSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """Repetition; of a factor of 1 nothing is left."""
    return x if spec.factor == 1 else build.emit(Repeat, x, x.channels, factor=spec.factor)
