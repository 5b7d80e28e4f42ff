"""Dense layers: on a vector, or on the channels of every time step."""

import math
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from tcnzoo.specs.activation import OptionalActivation, activation_child
from tcnzoo.specs.base import Positive, Rate, Shape, Spec
from tcnzoo.specs.norm import Norm, WeightNormSpec, norm_child
from tcnzoo.specs.params import Initializer, InitializerSpec, Param, kernel_rows


class DenseSpec(Spec):
    """An affine map of channels, y = W x + b, of (batch, in) or each step of (batch, in, time)."""

    is_kernel: ClassVar[bool] = True
    kind: Literal["dense"] = "dense"
    in_features: Positive
    out_features: Positive
    bias: bool = True
    initializer: Initializer = InitializerSpec()

    @property
    def takes_vectors(self) -> bool:
        """Always."""
        return True

    @property
    def input_channels(self) -> int:
        """Features of the input."""
        return self.in_features

    def own_params(self) -> dict[str, Param]:
        """`weight` (O, I) and `bias` (O,)."""
        shape, fans = (self.out_features, self.in_features), (self.in_features, self.out_features)
        return kernel_rows(self.initializer, shape, "OI", fans, bias=self.bias)

    def output_shape(self, input_shape: Shape) -> Shape:
        """(in, ...) -> (out, ...)."""
        self.check_channels(input_shape)
        return (self.out_features, *input_shape[1:])

    def channels_after(self, channels: int | None) -> int:
        """Features of the output."""
        return self.out_features

    def macs_of(self, input_shape: Shape) -> int:
        """in * out for each step."""
        return self.in_features * self.out_features * math.prod(input_shape[1:])


class DenseBlockSpec(Spec):
    """Dense -> norm -> activation -> dropout.

    Attributes:
        norm: `batch_norm`, `layer_norm` or none.
        activation: after the norm; none for a linear block.
        dropout: rate in training.
    """

    kind: Literal["dense_block"] = "dense_block"
    in_features: Positive
    out_features: Positive
    bias: bool = True
    norm: Norm = None
    activation: OptionalActivation = None
    dropout: Rate = 0.0
    initializer: Initializer = InitializerSpec()

    @property
    def takes_vectors(self) -> bool:
        """Always."""
        return True

    @property
    def input_channels(self) -> int:
        """Features of the input."""
        return self.in_features

    @model_validator(mode="after")
    def _norm_is_of_values(self) -> Self:
        if isinstance(self.norm, WeightNormSpec):
            raise ValueError(
                "norm of a dense_block must be batch_norm, layer_norm or none, but is weight_norm"
            )
        return self

    @property
    def dense(self) -> DenseSpec:
        """The dense layer inside."""
        return DenseSpec(
            in_features=self.in_features,
            out_features=self.out_features,
            bias=self.bias,
            initializer=self.initializer.for_activation(self.activation),
        )

    def children(self) -> dict[str, Spec]:
        """`dense`, `norm`, `activation`, `dropout`: those that exist."""
        return {
            "dense": self.dense,
            **norm_child(self.norm, self.out_features),
            **activation_child(self.activation, self.dropout),
        }

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape after the dense layer."""
        return self.dense.output_shape(input_shape)

    def channels_after(self, channels: int | None) -> int:
        """Features of the output."""
        return self.out_features

    def normed_kernels(self) -> dict[str, str]:
        """The dense layer before the norm."""
        return {"dense": "norm"} if self.norm else {}

    def macs_of(self, input_shape: Shape) -> int:
        """Those of the dense layer and the norm."""
        return sum(part.macs_of(input_shape) for part in self.children().values())
