"""Rows of electrodes and of places in time, added to tokens."""

from dataclasses import replace
from typing import Any

import numpy as np

from tcnzoo.specs import ElectrodeEmbeddingSpec, TimeEmbeddingSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("electrode_embedding")
def electrode_embedding(block: BlockWriter[ElectrodeEmbeddingSpec], x: Value) -> Value:
    """(batch, channels, N) -> the same."""
    if block.wide:
        raise block.refuse(
            "electrode_embedding looks up rows of a table, which rank 4 cannot hold; use rank 3"
        )
    spec, graph = block.spec, block.graph
    places, leading = spec.rows(), int(spec.leads)
    electrodes = len(places) - leading
    table = block.op("Transpose", block.initializer("weight"), perm=[1, 0])
    rows = block.op("Gather", table, graph.constant(places, np.int64), axis=1)
    each = block.op("Slice", rows, *(graph.integers(n) for n in (leading, len(places), 1)))
    apart = block.op("Unsqueeze", each, graph.integers(2))
    patches = _patches(block, x, electrodes, leading)
    wide = graph.constant([spec.channels, electrodes], np.int64)
    shape = block.op("Concat", wide, patches, axis=0)
    added = block.op("Reshape", block.op("Expand", apart, shape), graph.integers(spec.channels, -1))
    if leading:
        first = block.op("Slice", rows, *(graph.integers(n) for n in (0, 1, 1)))
        added = block.op("Concat", first, added, axis=1)
    return replace(x, name=block.op("Add", x, added))


@writes("time_embedding")
def time_embedding(block: BlockWriter[TimeEmbeddingSpec], x: Value) -> Value:
    """(batch, channels, N) -> the same."""
    spec, graph, leading = block.spec, block.graph, int(block.spec.cls)
    if spec.form == "learned":
        table = block.op("Transpose", block.initializer("weight"), perm=[1, 0])
    else:
        table = graph.constant(spec.sines().T)
    patches = _patches(block, x, spec.electrodes, leading)
    rows = block.op("Slice", table, graph.integers(0), patches, graph.integers(1))
    added = block.op("Tile", rows, graph.integers(1, spec.electrodes))
    if leading:
        zeros = graph.constant(np.zeros((spec.channels, 1)))
        added = block.op("Concat", zeros, added, axis=1)
    added = block.op("Unsqueeze", added, graph.integers(1)) if block.wide else added
    return replace(x, name=block.op("Add", x, added))


def _patches(block: BlockWriter[Any], x: Value, electrodes: int, leading: int) -> str:
    """Tokens of each electrode, as an int64 vector of one number."""
    graph = block.graph
    if x.time is not None:
        return graph.integers((x.time - leading) // electrodes)
    rest = block.op("Sub", block.length(x), graph.integers(leading)) if leading else block.length(x)
    return block.op("Div", rest, graph.integers(electrodes))
