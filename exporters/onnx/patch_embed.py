"""Patches of each electrode as tokens."""

from tcnzoo.specs import Conv1dSpec, PatchEmbedSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("patch_embed")
def patch_embed(block: BlockWriter[PatchEmbedSpec], x: Value) -> Value:
    """(batch, E, A * patch) -> (batch, channels, E * A)."""
    if block.wide:
        raise block.refuse("patch_embed makes tokens of patches, which rank 4 cannot hold")
    graph, spec = block.graph, block.spec
    count = None if x.time is None else x.channels * (x.time // spec.patch)
    if spec.stem == "linear":
        tokens = block.op("Reshape", x, graph.integers(0, -1, spec.patch))
        width = spec.patch
    else:
        # (batch, channels, tokens, steps), as a signal with devices.
        rows = block.op("Reshape", x, graph.integers(0, 1, -1, spec.patch))
        for place in (1, 2, 3):
            rows = _along_rows(block.part(f"conv{place}"), rows)
            image = Value(rows, (spec.out_channels, 1, spec.stem_steps))
            rows = block.apply("activation", block.apply(f"norm{place}", image)).name
        last = block.op("Transpose", rows, perm=[0, 2, 3, 1])
        width = spec.stem_width
        tokens = block.op("Reshape", last, graph.integers(0, -1, width))
    y = Value(block.op("Transpose", tokens, perm=[0, 2, 1]), (width, count))
    return block.optional("proj", y)


def _along_rows(block: BlockWriter[Conv1dSpec], x: str) -> str:
    """A convolution over time of each row of (batch, channels, rows, time)."""
    spec = block.spec
    left, right = spec.pads(0)
    kernel = block.graph.weight(
        block.full("weight"), block.weights[block.full("weight")][:, :, None]
    )
    return block.op(
        "Conv", x, kernel, block.vector("bias"), strides=[1, spec.stride], pads=[0, left, 0, right]
    )
