"""Blocks that act on single values or channels and keep no state, written once for all backends.

Each is a function of the backend's array functions, so that a new one needs no file in any backend.
A backend gives `Functions`, and makes a block of its own of every entry of POINTWISE.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tcnzoo.specs.activation import ActivationSpec, GluSpec


class Functions(Protocol):
    """The array functions that a backend gives to pointwise blocks.

    Attributes:
        channels: axis of the channels in its native layout, 1 or -1.
    """

    channels: int

    def activate(self, x: Any, spec: ActivationSpec) -> Any:
        """Apply the activation that `spec` names."""

    def halves(self, x: Any) -> tuple[Any, Any]:
        """The first and the second half of the channels."""

    def per_channel(self, vector: Any, x: Any) -> Any:
        """A vector (channels,) shaped so that it meets the channels of x, of any rank."""


SIGMOID = ActivationSpec(name="sigmoid")

# (functions, input in native layout, spec, the block's own arrays by name) -> output
Formula = Callable[[Functions, Any, Any, Mapping[str, Any]], Any]


def activation(xp: Functions, x: Any, spec: ActivationSpec, weights: Mapping[str, Any]) -> Any:
    """An activation by name; a softmax is over channels."""
    return xp.activate(x, spec)


def glu(xp: Functions, x: Any, spec: GluSpec, weights: Mapping[str, Any]) -> Any:
    """First half of the channels * sigmoid(second half).

    Source: Dauphin et al. 2017, arXiv:1612.08083, equation 1.
    """
    values, gates = xp.halves(x)
    return values * xp.activate(gates, SIGMOID)


POINTWISE: dict[str, Formula] = {"activation": activation, "glu": glu}
