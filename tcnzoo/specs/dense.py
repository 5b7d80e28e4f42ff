"""Dense layers: on a vector, or on the channels of every time step."""

from typing import Literal, Self

from pydantic import model_validator

from tcnzoo.specs.activation import OptionalActivation, activation_child
from tcnzoo.specs.base import Positive, Rate, Shape, Spec
from tcnzoo.specs.initializer import Initializer, InitializerSpec, bias_param
from tcnzoo.specs.norm import Norm, WeightNormSpec, norm_child
from tcnzoo.specs.params import Param


class DenseSpec(Spec):
    """An affine map of channels, y = W x + b, of (batch, in) or each step of (batch, in, time)."""

    kind: Literal["dense"] = "dense"
    in_features: Positive
    out_features: Positive
    bias: bool = True
    initializer: Initializer = InitializerSpec()

    @property
    def input_channels(self) -> int:
        """Features of the input."""
        return self.in_features

    def own_params(self) -> dict[str, Param]:
        """`weight` (O, I) and `bias` (O,)."""
        init = self.initializer.init(self.in_features, self.out_features)
        table = {"weight": Param((self.out_features, self.in_features), "OI", init)}
        if self.bias:
            table["bias"] = bias_param(self.out_features, self.in_features)
        return table

    def output_shape(self, input_shape: Shape) -> Shape:
        """(in, ...) -> (out, ...)."""
        self.check_channels(input_shape)
        return (self.out_features, *input_shape[1:])

    def macs(self, length: int | None) -> int:
        """in * out for each step."""
        return self.in_features * self.out_features * (length or 1)


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

    def macs(self, length: int | None) -> int:
        """Those of the dense layer and the norm."""
        return sum(part.macs(length) for part in self.children().values())
