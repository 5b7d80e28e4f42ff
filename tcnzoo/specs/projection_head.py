"""The head of contrastive training: dense layers, and features of unit length."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tcnzoo.specs.activation import OptionalActivation
from tcnzoo.specs.base import Depth, Positive, Shape, Spec
from tcnzoo.specs.dense import DenseBlockSpec, DenseSpec
from tcnzoo.specs.norm import Norm


class ProjectionHeadSpec(Spec):
    """(dense, norm, activation) x (layers - 1), a dense layer, and features of unit length.

    Acts on (batch, in_features), or on each step of (batch, in_features, time).

    Attributes:
        in_features: of the input.
        hidden: features of all layers but the last.
        out_features: of the output.
        layers: dense layers.
        norm: after each of them but the last; as in DenseBlockSpec.
        activation: after each of them but the last.
        normalize: divide by the length, x / sqrt(sum of x^2 + eps).
        eps: of `normalize`, so that zeros stay zeros, with finite gradients.
    Source:
        Chen et al. 2020 (SimCLR), arXiv:2002.05709, section 2.1; batch norm as in its appendix.
    """

    any_rank: ClassVar[bool] = True

    kind: Literal["projection_head"] = "projection_head"
    in_features: Positive
    hidden: Positive = 512
    out_features: Positive = 128
    layers: Depth = 2
    norm: Norm = Field(default="batch_norm", validate_default=True)
    activation: OptionalActivation = Field(default="relu", validate_default=True)
    normalize: bool = True
    eps: Annotated[float, Field(gt=0.0)] = 1e-12

    @property
    def input_channels(self) -> int:
        """Features of the input."""
        return self.in_features

    @property
    def takes_vectors(self) -> bool:
        """Always."""
        return True

    @property
    def unit_length(self) -> bool:
        """With `normalize`."""
        return self.normalize

    def channels_after(self, channels: int | None) -> int:
        """Features of the output."""
        return self.out_features

    def children(self) -> dict[str, Spec]:
        """`levels.0`, `levels.1`, ... and `output`."""
        parts: dict[str, Spec] = {}
        width = self.in_features
        for level in range(self.layers - 1):
            parts[f"levels.{level}"] = DenseBlockSpec(
                in_features=width,
                out_features=self.hidden,
                norm=self.norm,
                activation=self.activation,
            )
            width = self.hidden
        parts["output"] = DenseSpec(in_features=width, out_features=self.out_features)
        return parts

    def output_shape(self, input_shape: Shape) -> Shape:
        """(in_features, ...) -> (out_features, ...)."""
        self.check_channels(input_shape)
        return self.out_features, *input_shape[1:]

    def macs_of(self, input_shape: Shape) -> int:
        """All layers."""
        total, shape = 0, input_shape
        for part in self.children().values():
            total += part.macs_of(shape)
            shape = part.output_shape(shape)
        return total
