"""Attention of tokens to tokens."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import AttentionSpec, QkvSpec

from .activation import Dropout
from .block import Array, Block, maybe
from .dense import Dense


class Qkv(Block[QkvSpec], kind="qkv"):
    """Queries, keys and values in one map."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, C, N) -> (batch, 3 I, N)."""
        zeros = np.zeros(self.spec.inner, x.dtype)
        bias = np.concatenate([self.arrays.get(f"{letter}_bias", zeros) for letter in "qkv"])
        return np.asarray(self.arrays["weight"] @ x + bias[:, None])


class Attention(Block[AttentionSpec], kind="attention"):
    """Every token's weighted mean of the values of the tokens that it attends."""

    qkv: Qkv
    q_norm: Block[Any] | None
    k_norm: Block[Any] | None
    dropout: Dropout | None
    proj: Dense

    def forward(
        self, x: Array, stream: Stream | None = None, embeddings: Sequence[Array] = ()
    ) -> Array:
        """(batch, channels, N), masks (batch, N) and (batch, N, N) -> (batch, channels, N)."""
        spec, (batch, _, tokens) = self.spec, x.shape
        query, key, value = np.split(self.qkv(x), 3, axis=1)
        query, key = self._normed(self.q_norm, query), self._normed(self.k_norm, key)
        masks = dict(zip((wanted.name for wanted in spec.embedding_specs), embeddings, strict=True))
        seen = masks.get(spec.key_mask, np.ones((batch, tokens), x.dtype))
        if stream is not None and spec.reach:
            key, value, seen = (
                self._continue(name, array, stream)
                for name, array in (("keys", key), ("values", value), ("seen", seen))
            )
        keys = key.shape[2]
        apart = (batch, spec.heads, spec.width)
        query, key, value = (
            query.reshape(*apart, tokens), key.reshape(*apart, keys), value.reshape(*apart, keys)
        )  # fmt: skip
        allowed = self._in_reach(tokens, keys) & (seen[:, None] == 1)
        if spec.pair_mask is not None:
            allowed = allowed & (masks[spec.pair_mask] == 1)
        # A share of 0 of what is not finite is NaN: such keys are left out, and known to be there.
        bad = ~(np.isfinite(key) & np.isfinite(value)).all(axis=(1, 2))
        key, value = (np.where(bad[:, None, None], 0.0, array) for array in (key, value))
        scores = spec.factor * np.einsum("bhdq,bhdk->bhqk", query, key)
        scores = np.where(allowed[:, None], scores, -np.inf)
        top = scores.max(axis=3, keepdims=True, initial=-np.inf)
        shares = np.exp(scores - np.where(np.isfinite(top), top, 0.0))
        total = shares.sum(axis=3, keepdims=True)
        shares = maybe(self.dropout, shares / np.where(total == 0.0, 1.0, total))
        answers = np.einsum("bhqk,bhdk->bhdq", shares, value)
        reached = (allowed & bad[:, None]).any(axis=2)
        answers = np.where(reached[:, None, None], np.nan, answers)
        return self.proj(answers.reshape(batch, spec.inner, tokens).astype(x.dtype))

    def _normed(self, norm: Block[Any] | None, x: Array) -> Array:
        """The norm of each head's values."""
        if norm is None:
            return x
        heads = x.reshape(len(x), self.spec.heads, self.spec.width, x.shape[2])
        return np.asarray(norm(heads.swapaxes(1, 2))).swapaxes(1, 2).reshape(x.shape)

    def _continue(self, name: str, x: Array, stream: Stream) -> Array:
        """What earlier chunks left, then what this one has; the last of it is left for the next."""
        x = np.concatenate([stream.read(self.path, name), x], axis=-1)
        stream.write(self.path, name, x[..., x.shape[-1] - self.spec.reach :])
        return x

    def _in_reach(self, queries: int, keys: int) -> Array:
        """Whether a query (row) may attend a key (column) by its place; both end with one token."""
        if not self.spec.causal:
            return np.ones((queries, keys), bool)
        before = np.arange(queries)[:, None] + keys - queries - np.arange(keys)
        return (before >= 0) & (before < (self.spec.window or np.inf))
