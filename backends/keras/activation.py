"""Pointwise blocks, made from the formulas of `tcnzoo.models.pointwise`, and dropout."""

import math
from collections.abc import Callable
from types import new_class
from typing import Any

import keras
from keras import ops

from tcnzoo.models.pointwise import POINTWISE
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ActivationSpec, DropoutSpec

from .block import Block, Tensor
from .types import reduced

# Hendrycks & Gimpel 2016, arXiv:1606.08415, the form with tanh.
_GELU = math.sqrt(2.0 / math.pi)
# From here on softplus(x) is x to the last bit of float64.
LINEAR = 40.0


def _leaky_relu(x: Tensor, slope: float) -> Tensor:
    """x, or slope * x below zero; TensorFlow's own rounds the slope to float32."""
    if keras.backend.standardize_dtype(x.dtype) == "float64":
        return ops.where(x > 0.0, x, slope * x)
    return ops.leaky_relu(x, negative_slope=slope)


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), x itself from 40 on, where LiteRT's e^x may overflow."""
    return ops.where(x > LINEAR, x, ops.softplus(ops.minimum(x, LINEAR)))


def silu(x: Tensor) -> Tensor:
    """x sigmoid(x); TensorFlow's own keeps every graph that it was traced in for ever."""
    return x * ops.sigmoid(x)


def _softmax(x: Tensor) -> Tensor:
    """Shares over the last axis; Keras warns of a softmax over one channel."""
    return ops.softmax(x, axis=-1) if x.shape[-1] > 1 else x * 0 + 1


# Each takes the spec and x; softmax acts over channels, the last axis.
ACTIVATIONS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "linear": lambda spec, x: x,
    "relu": lambda spec, x: ops.relu(x),
    "leaky_relu": lambda spec, x: _leaky_relu(x, spec.slope),
    "elu": lambda spec, x: ops.elu(x, alpha=spec.alpha),
    "selu": lambda spec, x: ops.selu(x),
    # Not ops.gelu, which under TensorFlow rounds its constants to float32.
    "gelu": lambda spec, x: 0.5 * x * (1.0 + ops.erf(x * math.sqrt(0.5))),
    "silu": lambda spec, x: silu(x),
    "tanh": lambda spec, x: ops.tanh(x),
    "sigmoid": lambda spec, x: ops.sigmoid(x),
    "softplus": lambda spec, x: softplus(x),
    "softmax": lambda spec, x: _softmax(x),
    "log_softmax": lambda spec, x: ops.log_softmax(x, axis=-1),
    "gelu_tanh": lambda spec, x: 0.5 * x * (1.0 + ops.tanh(_GELU * (x + 0.044715 * x * x * x))),
    "relu6": lambda spec, x: ops.relu6(x),
    "hard_sigmoid": lambda spec, x: ops.relu6(x + 3.0) / 6.0,
    "hard_swish": lambda spec, x: x * ops.relu6(x + 3.0) / 6.0,
    "square": lambda spec, x: x * x,
    "safe_log": lambda spec, x: ops.log(ops.maximum(x, spec.floor)),
}
# What 16-bit types need no float32 for: one operation, which is rounded once.
SINGLE = ("linear", "relu", "leaky_relu", "tanh", "relu6", "square")


def gated(x: Tensor, gate: Tensor) -> Tensor:
    """x * sigmoid(gate)."""
    return reduced(lambda x, gate: x * ops.sigmoid(gate), x, gate)


class ArrayFunctions:
    """What pointwise blocks need of Keras; see `tcnzoo.models.pointwise.Functions`."""

    channels = -1

    def activate(self, x: Tensor, spec: ActivationSpec) -> Tensor:
        """Apply the activation that `spec` names."""
        return ACTIVATIONS[spec.name](spec, x)

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The first and the second half of the channels."""
        first, second = ops.split(x, 2, axis=-1)
        return first, second

    def per_channel(self, vector: Tensor, x: Tensor) -> Tensor:
        """The vector itself: channels are the last axis of x."""
        return vector


FUNCTIONS = ArrayFunctions()


class Pointwise(Block[Any]):
    """Base of the kinds of `tcnzoo.models.pointwise`; 16-bit inputs are computed in float32."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Apply the formula of the kind."""
        if isinstance(self.spec, ActivationSpec) and self.spec.name in SINGLE:
            return self._formula(x)
        return reduced(self._formula, x, *self.arrays.values())

    def _formula(self, x: Tensor, *arrays: Tensor) -> Tensor:
        own = dict(zip(self.arrays, arrays, strict=True))
        return POINTWISE[self.spec.kind](FUNCTIONS, x, self.spec, own)


for _kind in POINTWISE:
    # A class for each: Keras saves and finds blocks by the names of their classes, as `Glu`.
    new_class(
        _kind.title().replace("_", ""),
        (Pointwise,),
        {"kind": _kind},
        lambda body: body.update(__module__=__name__),
    )


class Dropout(Block[DropoutSpec], kind="dropout"):
    """Zero single values in training, and scale the others up; the identity in evaluation."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Make the generator of the masks, with the arguments of `Block`."""
        super().__init__(*arguments, **options)
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, x: Tensor, stream: Stream | None = None, training: bool | None = None) -> Tensor:
        """Drop values of x if `training`."""
        if not training or self.spec.rate == 0.0:
            return x
        return keras.random.dropout(x, self.spec.rate, seed=self.seed_generator)
