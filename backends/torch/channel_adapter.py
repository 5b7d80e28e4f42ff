"""Channel adapters: mixtures of electrodes, fixed, learned, or attended to."""

import math
from typing import Any

import torch
from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ChannelAdapterSpec

from .block import Block
from .dense import Dense
from .norm import LayerNorm


class ChannelAdapter(Block[ChannelAdapterSpec], kind="channel_adapter"):
    """Electrodes of one montage to those of another."""

    query: Dense | None
    key: Dense | None
    value: Dense | None
    direction: Dense | None
    content: Dense | None
    norm: LayerNorm | None
    output: Dense | None
    queries: Tensor | None

    def __init__(self, spec: ChannelAdapterSpec, path: str = "") -> None:
        """Work out the fixed matrix, or the directions of the electrodes."""
        super().__init__(spec, path)
        if spec.mixes:
            self.matrix = torch.from_numpy(spec.matrix())
        else:
            self.sources = torch.from_numpy(spec.source_directions())
            self.targets = torch.from_numpy(spec.target_directions())

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, sources, ...) -> (batch, targets, ...)."""
        if self.spec.method == "perceiver":
            return self._attended(x)
        weights = self.matrix.to(x) if self.spec.mixes else self._weights(x)
        return (weights @ x.flatten(2)).unflatten(2, x.shape[2:]) if x.ndim > 2 else x @ weights.T

    def _weights(self, x: Tensor) -> Tensor:
        """Of `attend`: what each source counts for each target."""
        query, key = self._parts("query", "key")
        scores = query(self.targets.to(x)) @ key(self.sources.to(x)).T
        return torch.softmax(scores / math.sqrt(self.spec.inner), dim=-1)

    def _attended(self, x: Tensor) -> Tensor:
        """Of `perceiver`: queries of the targets attend to the tokens of each patch."""
        value, direction, key, content, norm, output = self._parts(
            "value", "direction", "key", "content", "norm", "output"
        )
        batch, sources, length = x.shape
        patch, heads, width = self.spec.patch, self.spec.heads, self.spec.inner
        count, each = length // patch, self.spec.inner // self.spec.heads
        patches = x.unflatten(2, (count, patch)).transpose(1, 2).reshape(-1, patch)
        tokens = value(patches).unflatten(0, (-1, sources)) + direction(self.sources.to(x))
        flat = tokens.flatten(0, 1)
        # (batch * patches, heads, sources, each), as torch's own attention has it.
        shape = (batch * count, sources, heads, each)
        keys = key(flat).view(shape).transpose(1, 2)
        contents = content(flat).view(shape).transpose(1, 2)
        learned: Any = self.queries
        queries = learned.view(-1, heads, each).transpose(0, 1) / math.sqrt(each)
        powers = torch.softmax(queries @ keys.transpose(2, 3), dim=-1)
        taken = (powers @ contents).transpose(1, 2).reshape(batch * count, -1, width)
        made = output(norm((taken + learned).flatten(0, 1)))
        answer: Tensor = (
            made.view(batch, count, -1, patch).transpose(1, 2).reshape(batch, -1, length)
        )
        return answer

    def _parts(self, *names: str) -> list[Any]:
        """The parts that a method has."""
        return [getattr(self, name) for name in names]
