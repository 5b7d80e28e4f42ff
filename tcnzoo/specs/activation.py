"""Activations, gated linear units, dropout, and the initial gain that goes with an activation."""

import math
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from tcnzoo.errors import InputError
from tcnzoo.specs.base import NoneWord, Rate, Shape, Spec
from tcnzoo.specs.params import by_name

ActivationName = Literal[
    "linear", "relu", "leaky_relu", "elu", "selu", "gelu", "silu",
    "tanh", "sigmoid", "softplus", "softmax", "log_softmax", "gelu_tanh", "relu6", "hard_sigmoid",
    "hard_swish", "square", "safe_log",
]  # fmt: skip


class ActivationSpec(Spec):
    """A pointwise activation, or a softmax over channels.

    Attributes:
        name: which one; `gelu` is the exact form (erf) and `gelu_tanh` its approximation,
            `hard_sigmoid` is relu6(x + 3) / 6 and `hard_swish` x times that, `safe_log` is the
            natural logarithm of max(x, floor), `softmax` and `log_softmax` act over channels.
        slope: of `leaky_relu` below zero (torch's 0.01; Keras's own default is 0.3).
        alpha: of `elu` below zero.
        floor: of `safe_log`, above zero (braindecode's 1e-6).
    """

    any_rank: ClassVar[bool] = True
    kind: Literal["activation"] = "activation"
    name: ActivationName
    slope: float = 0.01
    alpha: float = 1.0
    floor: Annotated[float, Field(gt=0.0)] = 1e-6

    def gain(self) -> float:
        """Initial gain that keeps variance through this activation.

        Source: torch.nn.init.calculate_gain; sqrt(2) where it has none, as pytorch-tcn does.
        """
        return {
            "linear": 1.0,
            "sigmoid": 1.0,
            "tanh": 5.0 / 3.0,
            "selu": 0.75,
            "leaky_relu": math.sqrt(2.0 / (1.0 + self.slope**2)),
        }.get(self.name, math.sqrt(2.0))


Activation = Annotated[ActivationSpec, BeforeValidator(by_name)]
OptionalActivation = Annotated[Activation | None, NoneWord]


class GluSpec(Spec):
    """Gated linear unit over channels: first half * sigmoid(second half); the width is halved.

    Source: Dauphin et al. 2017, arXiv:1612.08083.
    """

    any_rank: ClassVar[bool] = True
    kind: Literal["glu"] = "glu"

    @property
    def channel_multiple(self) -> int:
        """Two halves."""
        return 2

    def channels_before(self, channels: int) -> int:
        """Twice as many."""
        return 2 * channels

    def channels_after(self, channels: int | None) -> int | None:
        """Half as many."""
        return None if channels is None else channels // 2

    def output_shape(self, input_shape: Shape) -> Shape:
        """(2 C, ...) -> (C, ...)."""
        if input_shape[0] % 2:
            raise InputError(f"glu expects an even number of channels, but {input_shape[0]} came")
        return (input_shape[0] // 2, *input_shape[1:])


class DropoutSpec(Spec):
    """Dropout of single values in training; the identity in evaluation.

    Attributes:
        rate: probability that a value is set to zero; the others grow by 1 / (1 - rate).
    """

    any_rank: ClassVar[bool] = True
    kind: Literal["dropout"] = "dropout"
    rate: Rate


def activation_child(activation: ActivationSpec | None, dropout: float = 0.0) -> dict[str, Spec]:
    """The children `activation` and `dropout` that end a block, those that exist."""
    parts: dict[str, Spec] = {}
    if activation is not None:
        parts["activation"] = activation
    if dropout > 0.0:
        parts["dropout"] = DropoutSpec(rate=dropout)
    return parts
