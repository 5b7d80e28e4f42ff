"""Attention of tokens to tokens, by MLX's fused operation."""

import functools
from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import AttentionSpec, QkvSpec

from .block import Block
from .dense import Dense
from .kernels.functions import softmax
from .kernels.taps import affine
from .types import multiplied


class Qkv(Block[QkvSpec], kind="qkv"):
    """Queries, keys and values in one map."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, N, C) -> (batch, N, 3 I)."""
        bias = None
        if self.spec.bias != "none":
            zeros = mx.zeros_like(self["q_bias"])
            bias = mx.concatenate([self.get(f"{letter}_bias", zeros) for letter in "qkv"])
        return multiplied(affine, x, self["weight"], bias)


class Attention(Block[AttentionSpec], kind="attention"):
    """Every token's weighted mean of the values of the tokens that it attends."""

    qkv: Qkv
    q_norm: Block[Any] | None
    k_norm: Block[Any] | None
    dropout: Block[Any] | None
    proj: Dense

    def forward(
        self, x: mx.array, stream: Stream | None = None, embeddings: Sequence[mx.array] = ()
    ) -> mx.array:
        """(batch, N, channels), masks (batch, N) and (batch, N, N) -> (batch, N, channels)."""
        spec, (batch, tokens, _) = self.spec, x.shape
        heads = self.qkv(x).reshape(batch, tokens, 3, spec.heads, spec.width)
        query, key, value = (heads[:, :, part].swapaxes(1, 2) for part in range(3))
        query = query if self.q_norm is None else self.q_norm(query)
        key = key if self.k_norm is None else self.k_norm(key)
        masks = dict(zip((wanted.name for wanted in spec.embedding_specs), embeddings, strict=True))
        seen = masks.get(spec.key_mask)
        if stream is not None and spec.reach:
            seen = mx.ones((batch, tokens), x.dtype) if seen is None else seen
            key, value = (
                self._continue("keys", key, stream),
                self._continue("values", value, stream),
            )
            seen = self._kept("seen", seen, stream)
        pairs = masks.get(spec.pair_mask)
        allowed = self._allowed(tokens, key.shape[2], seen, pairs)
        none = reached = None
        if allowed is not None:
            # A share of 0 of what is not finite is NaN: such keys are left out, and known.
            finite = mx.logical_and(mx.isfinite(key), mx.isfinite(value)).all(axis=3).all(axis=1)
            key, value = (mx.where(finite[:, None, :, None], array, 0.0) for array in (key, value))
            bad = mx.logical_not(finite)[:, None, None]
            reached = mx.logical_and(allowed, bad).any(axis=3, keepdims=True)
        if allowed is not None and not (seen is None and pairs is None):
            none = mx.logical_not(allowed.any(axis=3, keepdims=True))
            allowed = mx.logical_or(allowed, none)
        y = multiplied(functools.partial(self._attended, allowed=allowed), query, key, value)
        if none is not None:
            y = mx.where(none, mx.zeros_like(y), y)
        if reached is not None:
            y = mx.where(reached, mx.full(y.shape, mx.nan, dtype=y.dtype), y)
        answers: mx.array = self.proj(y.swapaxes(1, 2).reshape(batch, tokens, spec.inner))
        return answers

    def _attended(
        self, query: mx.array, key: mx.array, value: mx.array, allowed: mx.array | None
    ) -> mx.array:
        """The weighted means, (batch, heads, queries, head_dim)."""
        scale = self.spec.factor
        drops = self.dropout is not None and self.dropout.training
        if query.dtype != mx.float64 and not drops:
            attend = mx.fast.scaled_dot_product_attention
            y: mx.array = attend(query, key, value, scale=scale, mask=allowed)
            return y
        scores = (scale * query) @ key.swapaxes(2, 3)
        if allowed is not None:
            scores = mx.where(allowed, scores, mx.finfo(scores.dtype).min)
        shares = softmax(scores)
        return (shares if self.dropout is None else self.dropout(shares)) @ value

    def _allowed(
        self, rows: int, columns: int, seen: mx.array | None, pairs: mx.array | None
    ) -> mx.array | None:
        """Whether a query (row) may attend a key (column), of (batch or 1, 1, rows, columns)."""
        allowed = None
        if self.spec.causal:
            before = mx.arange(columns - rows, columns)[:, None] - mx.arange(columns)
            within = before < (columns if self.spec.window is None else self.spec.window)
            allowed = mx.logical_and(before >= 0, within)[None, None]
        elif seen is not None or pairs is not None:
            allowed = mx.ones((1, 1, rows, columns), dtype=mx.bool_)
        if allowed is not None and seen is not None:
            allowed = mx.logical_and(allowed, (seen == 1)[:, None, None])
        if allowed is not None and pairs is not None:
            allowed = mx.logical_and(allowed, (pairs == 1)[:, None])
        return allowed

    def _continue(self, name: str, x: mx.array, stream: Stream) -> mx.array:
        """Keys or values (batch, heads, n, head_dim) behind those of earlier chunks."""
        batch, heads, _, width = x.shape
        whole = self._kept(name, x.swapaxes(2, 3).reshape(batch, heads * width, -1), stream)
        return whole.reshape(batch, heads, width, -1).swapaxes(2, 3)

    def _kept(self, name: str, x: mx.array, stream: Stream) -> mx.array:
        """What earlier chunks left, then what this one has; the last of it is left for the next."""
        x = mx.concatenate([stream.read(self.path, name), x], axis=-1)
        stream.write(self.path, name, x[..., x.shape[-1] - self.spec.reach :])
        return x
