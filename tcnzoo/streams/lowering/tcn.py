"""The temporal block and the stack of them."""

from collections.abc import Sequence

from tcnzoo.specs import TcnSpec, TemporalBlockSpec
from tcnzoo.streams.lowering.builder import Builder, join, lowers
from tcnzoo.streams.lowering.graph import merged
from tcnzoo.streams.program import Signal


def block(
    build: Builder,
    spec: TemporalBlockSpec,
    path: str,
    x: Signal,
    condition: Signal | None,
) -> tuple[Signal, Signal]:
    """(activation(residual + out), out); `condition` has the embeddings side by side."""
    parts = spec.children()
    out = build.maybe(parts, "norm1", path, build.maybe(parts, "conv1", path, x))
    if condition is not None:
        projected = build.maybe(parts, "embedding1", path, condition)
        mode = "add" if spec.embedding_mode == "add" else "concat"
        out = build.maybe(parts, "embedding2", path, merged(build, mode, [out, projected]))
    for name in ("activation1", "conv2", "norm2", "activation2", "se"):
        out = build.maybe(parts, name, path, out)
    residual = build.maybe(parts, "residual", path, x)
    total = merged(build, "add", [residual, out])
    return build.maybe(parts, "activation", path, total), out


def side_by_side(build: Builder, embeddings: Sequence[Signal]) -> Signal | None:
    """All embeddings as one signal, None where there are none."""
    if len(embeddings) < 2:
        return embeddings[0] if embeddings else None
    return merged(build, "concat", embeddings)


@lowers("temporal_block")
def temporal_block(
    build: Builder, spec: TemporalBlockSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """The first of its outputs."""
    return block(build, spec, path, x, side_by_side(build, embeddings))[0]


@lowers("tcn")
def tcn(
    build: Builder, spec: TcnSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """Temporal blocks, skip connections, output projection and activation."""
    parts = spec.children()
    condition = side_by_side(build, embeddings)
    skips: list[Signal] = []
    for level in range(len(spec.channels)):
        x, out = block(build, spec.block(level), join(path, f"blocks.{level}"), x, condition)
        if spec.skip_connections and level < len(spec.channels) - 1:
            skips.append(build.maybe(parts, f"skips.{level}", path, out))
    if skips:
        x = merged(build, "add", [*skips, x])
    for name in ("activation", "output", "output_activation"):
        x = build.maybe(parts, name, path, x)
    return x
