"""Dense layers, and features of unit length."""

import torch
from torch import Tensor, nn

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ProjectionHeadSpec

from .block import Block
from .dense import Dense
from .types import wide


class ProjectionHead(Block[ProjectionHeadSpec], kind="projection_head"):
    """Dense blocks, a dense layer, and division by the length of the features."""

    levels: nn.ModuleDict
    output: Dense

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, in_features, ...) -> (batch, out_features, ...)."""
        for level in self.levels.values() if self.levels is not None else ():
            x = level(x, stream)
        x = self.output(x, stream)
        if not self.spec.normalize:
            return x
        values = wide(x)
        size = torch.rsqrt(values.square().sum(dim=1, keepdim=True) + self.spec.eps)
        return (values * size).to(x.dtype)
