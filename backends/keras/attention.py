"""Attention of tokens to tokens, by Keras's fused operation."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import AttentionSpec, QkvSpec

from .block import Block, Tensor
from .dense import Dense, affine
from .types import multiplied


class Qkv(Block[QkvSpec], kind="qkv"):
    """Queries, keys and values in one map."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, N, C) -> (batch, N, 3 I)."""
        bias = None
        if self.spec.bias != "none":
            zeros = ops.zeros_like(self.arrays["q_bias"])
            bias = ops.concatenate([self.arrays.get(f"{letter}_bias", zeros) for letter in "qkv"])
        return multiplied(affine, x, self.arrays["weight"], bias)


class Attention(Block[AttentionSpec], kind="attention"):
    """Every token's weighted mean of the values of the tokens that it attends."""

    qkv: Qkv
    q_norm: Block[Any] | None
    k_norm: Block[Any] | None
    dropout: Block[Any] | None
    proj: Dense

    def call(
        self,
        x: Tensor,
        stream: Stream | None = None,
        embeddings: Sequence[Tensor] = (),
        training: bool | None = None,
    ) -> Tensor:
        """(batch, N, channels), masks (batch, N) and (batch, N, N) -> (batch, N, channels)."""
        spec, (batch, tokens, _) = self.spec, ops.shape(x)
        heads = ops.reshape(self.qkv(x), (batch, tokens, 3, spec.heads, spec.width))
        query, key, value = (heads[:, :, part] for part in range(3))
        query = query if self.q_norm is None else self.q_norm(query)
        key = key if self.k_norm is None else self.k_norm(key)
        masks = dict(zip((wanted.name for wanted in spec.embedding_specs), embeddings, strict=True))
        seen = masks.get(spec.key_mask)
        if stream is not None and spec.reach:
            seen = ops.ones((batch, tokens), dtype=x.dtype) if seen is None else seen
            key, value = (
                self._continue("keys", key, stream),
                self._continue("values", value, stream),
            )
            seen = self._kept("seen", seen, stream)
        pairs = masks.get(spec.pair_mask)
        allowed = self._allowed(tokens, ops.shape(key)[1], seen, pairs)
        none = reached = None
        if allowed is not None:
            # A share of 0 of what is not finite is NaN: such keys are left out, and known.
            both = ops.logical_and(ops.isfinite(key), ops.isfinite(value))
            finite = ops.all(both, axis=(2, 3))
            key, value = (
                ops.where(finite[:, :, None, None], array, ops.zeros_like(array))
                for array in (key, value)
            )
            bad = ops.logical_not(finite)[:, None, None]
            reached = ops.any(ops.logical_and(allowed, bad), axis=3, keepdims=True)
        if seen is not None or pairs is not None:
            none = ops.logical_not(ops.any(allowed, axis=3, keepdims=True))
            allowed = ops.logical_or(allowed, none)
        drops = bool(training) and self.dropout is not None
        attend = functools.partial(self._attended, allowed=allowed, drops=drops)
        y = multiplied(attend, query, key, value)
        if none is not None:  # (batch, 1, queries, 1) to (batch, queries, 1, 1)
            y = ops.where(ops.swapaxes(none, 1, 2), ops.zeros_like(y), y)
        if reached is not None:
            y = ops.where(ops.swapaxes(reached, 1, 2), ops.full_like(y, float("nan")), y)
        return self.proj(ops.reshape(y, (batch, tokens, spec.inner)))

    def _attended(
        self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None, drops: bool
    ) -> Tensor:
        """The weighted means, (batch, queries, heads, head_dim)."""
        dtype = keras.backend.standardize_dtype(query.dtype)
        if not drops and dtype != "float64":  # of which JAX's takes the softmax in float32
            return ops.dot_product_attention(
                query, key, value, mask=allowed, scale=self.spec.factor, flash_attention=False
            )
        scores = ops.einsum("bqhd,bkhd->bhqk", query * self.spec.factor, key)
        if allowed is not None:
            scores = ops.where(allowed, scores, ops.cast(float("-1e30"), scores.dtype))
        shares = ops.softmax(scores, axis=-1)
        shares = shares if self.dropout is None else self.dropout(shares)
        return ops.einsum("bhqk,bkhd->bqhd", shares, value)

    def _allowed(
        self, rows: Any, columns: Any, seen: Tensor | None, pairs: Tensor | None
    ) -> Tensor | None:
        """Whether a query (row) may attend a key (column), of (batch or 1, 1, rows, columns)."""
        allowed = None
        if self.spec.causal:
            ends = ops.arange(rows, dtype="int32")[:, None] + (columns - rows)
            before = ends - ops.arange(columns, dtype="int32")
            allowed = before >= 0
            if self.spec.window is not None:
                allowed = ops.logical_and(allowed, before < self.spec.window)
            allowed = allowed[None, None]
        if seen is not None:
            keys = (seen == 1)[:, None, None]
            allowed = keys if allowed is None else ops.logical_and(allowed, keys)
        if pairs is not None:
            both = (pairs == 1)[:, None]
            allowed = both if allowed is None else ops.logical_and(allowed, both)
        return allowed

    def _continue(self, name: str, x: Tensor, stream: Stream) -> Tensor:
        """Keys or values (batch, n, heads, head_dim) behind those of earlier chunks."""
        batch, tokens, heads, width = ops.shape(x)
        whole = self._kept(name, ops.reshape(x, (batch, tokens, heads * width)), stream)
        return ops.reshape(whole, (batch, ops.shape(whole)[1], heads, width))

    def _kept(self, name: str, x: Tensor, stream: Stream) -> Tensor:
        """What earlier chunks left, then what this one has; the last of it is left for the next."""
        x = ops.concatenate([stream.read(self.path, name), x], axis=1)
        stream.write(self.path, name, x[:, ops.shape(x)[1] - self.spec.reach :])
        return x
