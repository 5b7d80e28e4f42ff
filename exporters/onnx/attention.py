"""Attention of tokens to tokens: products, a softmax over the keys that may be attended."""

from dataclasses import replace

import numpy as np

from tcnzoo.specs import AttentionSpec, QkvSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("qkv")
def qkv(block: BlockWriter[QkvSpec], x: Value) -> Value:
    """(batch, C, N) -> (batch, 3 I, N)."""
    spec = block.spec
    name = block.op("MatMul", block.vector("weight"), x)
    if spec.bias != "none":
        zeros = np.zeros(spec.inner)
        bias = [block.weights.get(block.full(f"{letter}_bias"), zeros) for letter in "qkv"]
        name = block.op("Add", name, block.graph.constant(np.concatenate(bias)[:, None]))
    return replace(x, name=name, shape=(3 * spec.inner, *x.shape[1:]))


@writes("attention")
def attention(block: BlockWriter[AttentionSpec], x: Value) -> Value:
    """(batch, channels, N) and masks (batch, N) and (batch, N, N) -> (batch, channels, N)."""
    if block.wide:
        raise block.refuse("attention weighs tokens by one another, which rank 4 cannot hold")
    spec, graph = block.spec, block.graph
    masks = dict(
        zip((wanted.name for wanted in spec.embedding_specs), block.embeddings, strict=True)
    )
    seen = masks[spec.key_mask].name if spec.key_mask is not None else None
    pairs = masks[spec.pair_mask].name if spec.pair_mask is not None else None
    whole = block.apply("qkv", x, ())
    sizes = graph.integers(spec.inner, spec.inner, spec.inner)
    query, key, value = graph.add("Split", [whole.name, sizes], block.path, outputs=3, axis=1)
    query, key = _normed(block, "q_norm", query), _normed(block, "k_norm", key)
    if block.streaming and spec.reach:
        if seen is None:
            seen = block.op("Expand", graph.constant(1.0), _batch_and_tokens(block, x))
        key, value = _continued(block, "keys", key), _continued(block, "values", value)
        seen = _continued(block, "seen", seen)
    # (batch, heads, tokens, width), keys with their last axes turned.
    query, value = (_turned(block, _heads(block, name)) for name in (query, value))
    key = _heads(block, key)
    scaled = block.op("Mul", query, graph.constant(spec.factor))
    scores = block.op("MatMul", scaled, key)
    allowed = _allowed(block, query, value, seen, pairs)
    if allowed is not None:
        low = graph.constant(np.finfo(graph.dtype).min / 2)
        scores = block.op("Where", allowed, scores, low)
    shares = block.op("Softmax", scores, axis=-1)
    if allowed is not None:  # a query without keys has equal shares of what it may not attend
        shares = block.op("Where", allowed, shares, graph.constant(0.0))
    answers = _turned(block, block.op("MatMul", shares, value))
    flat = block.op("Reshape", answers, graph.integers(0, spec.inner, -1))
    return block.apply("proj", replace(x, name=flat, shape=(spec.inner, *x.shape[1:])), ())


def _heads(block: BlockWriter[AttentionSpec], name: str) -> str:
    """(batch, I, n) -> (batch, heads, width, n)."""
    return block.op(
        "Reshape", name, block.graph.integers(0, block.spec.heads, block.spec.width, -1)
    )


def _turned(block: BlockWriter[AttentionSpec], name: str) -> str:
    """The last two axes of four in the place of each other."""
    return block.op("Transpose", name, perm=[0, 1, 3, 2])


def _normed(block: BlockWriter[AttentionSpec], name: str, x: str) -> str:
    """The norm of each head's values, (batch, I, n) -> the same."""
    spec, graph = block.spec, block.graph
    if name not in spec.children():
        return x
    # Tokens and heads as steps of signals of `width` channels, (batch * heads, width, n).
    signals = Value(block.op("Reshape", x, _head_signals(block, x)), (spec.width, None))
    y = block.apply(name, signals, ())
    return block.op("Reshape", y, graph.integers(-1, spec.inner, 0))


def _head_signals(block: BlockWriter[AttentionSpec], x: str) -> str:
    """The shape (batch * heads, width, n), as a value: n is that of x."""
    length = block.op("Shape", x, start=2, end=3)
    lead = block.graph.integers(-1, block.spec.width)
    return block.op("Concat", lead, length, axis=0)


def _batch_and_tokens(block: BlockWriter[AttentionSpec], x: Value) -> str:
    """The shape (batch, N) as a value."""
    batch = block.op("Shape", x, start=0, end=1)
    return block.op("Concat", batch, block.length(x), axis=0)


def _continued(block: BlockWriter[AttentionSpec], name: str, x: str) -> str:
    """What earlier chunks left, then what this one has; the last of it is left for the next."""
    joined = block.op("Concat", block.read(name), x, axis=-1)
    ends = (-block.spec.reach, np.iinfo(np.int64).max, -1)
    block.leave(name, block.op("Slice", joined, *(block.graph.integers(n) for n in ends)))
    return joined


def _allowed(
    block: BlockWriter[AttentionSpec],
    query: str,
    value: str,
    seen: str | None,
    pairs: str | None,
) -> str | None:
    """Whether a query (row) may attend a key (column), (batch or 1, 1, rows, columns)."""
    spec, graph = block.spec, block.graph
    half = graph.constant(0.5)
    parts = []
    if spec.causal:
        rows, columns = (block.op("Shape", name, start=2, end=3) for name in (query, value))
        zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
        row, column = (
            block.op("Range", zero, block.op("Squeeze", count), one) for count in (rows, columns)
        )
        ends = block.op("Add", row, block.op("Sub", columns, rows))
        before = block.op("Sub", block.op("Unsqueeze", ends, graph.integers(1)), column)
        parts.append(block.op("GreaterOrEqual", before, zero))
        if spec.window is not None:
            parts.append(block.op("Less", before, graph.constant(spec.window, np.int64)))
    if seen is not None:
        keys = block.op("Greater", seen, half)
        parts.append(block.op("Unsqueeze", keys, graph.integers(1, 2)))
    if pairs is not None:
        parts.append(block.op("Unsqueeze", block.op("Greater", pairs, half), graph.integers(1)))
    if not parts:
        return None
    allowed = parts[0]
    for part in parts[1:]:
        allowed = block.op("And", allowed, part)
    return allowed
