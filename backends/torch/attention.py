"""Attention of tokens to tokens, by torch's fused operation."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import AttentionSpec, QkvSpec

from .activation import Dropout
from .block import Block
from .dense import Dense


class Qkv(Block[QkvSpec], kind="qkv"):
    """Queries, keys and values in one map."""

    weight: Tensor
    q_bias: Tensor | None
    k_bias: Tensor | None
    v_bias: Tensor | None

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, C, N) -> (batch, 3 I, N), tokens contiguous in memory."""
        return F.linear(x.transpose(1, 2), self.weight, self._bias()).transpose(1, 2)

    def _bias(self) -> Tensor | None:
        """Of all three, zeros for keys without one."""
        if self.q_bias is None or self.v_bias is None:
            return None
        keys = torch.zeros_like(self.q_bias) if self.k_bias is None else self.k_bias
        return torch.cat([self.q_bias, keys, self.v_bias])


class Attention(Block[AttentionSpec], kind="attention"):
    """Every token's weighted mean of the values of the tokens that it attends."""

    qkv: Qkv
    q_norm: Block[Any] | None
    k_norm: Block[Any] | None
    dropout: Dropout | None
    proj: Dense

    def forward(
        self,
        x: Tensor,
        stream: Stream | None = None,
        embeddings: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """(batch, channels, N), masks (batch, N) and (batch, N, N) -> (batch, channels, N)."""
        spec = self.spec
        # (3, batch, heads, N, head_dim)
        heads = self.qkv(x).transpose(1, 2).unflatten(2, (3, spec.heads, spec.width))
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        query, key = _normed(self.q_norm, query), _normed(self.k_norm, key)
        names = (wanted.name for wanted in spec.embedding_specs)
        masks = dict(zip(names, embeddings or (), strict=True))
        seen = None if spec.key_mask is None else masks[spec.key_mask]
        if stream is not None and spec.reach:
            seen = x.new_ones(x.shape[0], x.shape[2]) if seen is None else seen
            key, value = (
                self._continue("keys", key, stream),
                self._continue("values", value, stream),
            )
            seen = self._kept("seen", seen, stream)
        pairs = None if spec.pair_mask is None else masks[spec.pair_mask]
        answers = self._attended(query, key, value, seen, pairs)
        y: Tensor = self.proj(answers.transpose(1, 2).flatten(2).transpose(1, 2))
        return y

    def _attended(
        self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, pairs: Tensor | None
    ) -> Tensor:
        """The weighted means, (batch, heads, queries, head_dim); zeros for queries without keys."""
        spec = self.spec
        if not spec.causal and seen is None and pairs is None:
            return self._shared(query, key, value, None)
        # A share of 0 of what is not finite is NaN: such keys are left out, and known to be there.
        bad = ~(key.isfinite() & value.isfinite()).all(dim=3).all(dim=1)
        key, value = (x.masked_fill(bad[:, None, :, None], 0.0) for x in (key, value))
        alone = seen is None and pairs is None and spec.window is None
        allowed = None if alone else self._allowed(query, key, seen, pairs)
        if allowed is None:  # causal, and nothing else
            reached = (bad.cumsum(1) > 0)[:, None, :, None]
        else:
            reached = (allowed & bad[:, None, None]).any(dim=3, keepdim=True)
        none = None
        if allowed is not None and not (seen is None and pairs is None):
            none = ~allowed.any(dim=3, keepdim=True)
            allowed = allowed | none
        y = self._shared(query, key, value, allowed)
        y = y if none is None else y.masked_fill(none, 0.0)
        return y.masked_fill(reached, torch.nan)

    def _shared(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None) -> Tensor:
        """The weighted means over the keys that are allowed, or that come no later."""
        return F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=allowed,
            is_causal=allowed is None and self.spec.causal,
            dropout_p=self.spec.dropout
            if self.dropout is not None and self.dropout.training
            else 0.0,
            scale=self.spec.factor,
        )

    def _allowed(
        self, query: Tensor, key: Tensor, seen: Tensor | None, pairs: Tensor | None
    ) -> Tensor:
        """Whether a query (row) may attend a key (column), of (batch or 1, 1, rows, columns)."""
        rows, columns = query.shape[2], key.shape[2]
        if self.spec.causal:
            ends = torch.arange(columns - rows, columns, device=query.device).unsqueeze(1)
            before = ends - torch.arange(columns, device=query.device)
            allowed = before >= 0
            if self.spec.window is not None:
                allowed = allowed & (before < self.spec.window)
        else:
            allowed = torch.ones((rows, columns), dtype=torch.bool, device=query.device)
        allowed = allowed[None, None]
        if seen is not None:
            allowed = allowed & (seen == 1)[:, None, None]
        if pairs is not None:
            allowed = allowed & (pairs == 1)[:, None]
        return allowed

    def _continue(self, name: str, x: Tensor, stream: Stream) -> Tensor:
        """Keys or values (batch, heads, n, head_dim) behind those of earlier chunks."""
        flat = x.transpose(2, 3).flatten(1, 2)
        apart: Tensor = self._kept(name, flat, stream).unflatten(1, x.shape[1::2])
        return apart.transpose(2, 3)

    def _kept(self, name: str, x: Tensor, stream: Stream) -> Tensor:
        """What earlier chunks left, then what this one has; the last of it is left for the next."""
        x = torch.cat([stream.read(self.path, name), x], dim=-1)
        stream.write(self.path, name, x[..., x.shape[-1] - self.spec.reach :].clone())
        return x


def _normed(norm: Block[Any] | None, x: Tensor) -> Tensor:
    """A norm of the last axis, of any axes before it."""
    return x if norm is None else norm(x.movedim(-1, 1)).movedim(1, -1)
