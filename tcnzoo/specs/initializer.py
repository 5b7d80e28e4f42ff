"""How kernels start, as a field of the blocks that have kernels."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tcnzoo.specs.activation import ActivationSpec
from tcnzoo.specs.params import Init, Param


class InitializerSpec(BaseModel):
    """An initialiser of kernels.

    Attributes:
        name: torch.nn.init's names; `normal` is N(0, gain^2) and `uniform` is U(-gain, gain).
        gain: factor on deviation or bound; None takes the gain of the activation that follows.
            It is applied for every name, and under weight norm too (v is drawn, g = ||v||).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Literal[
        "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "normal", "uniform"
    ] = "kaiming_uniform"
    gain: Annotated[float, Field(gt=0.0)] | None = None

    def for_activation(self, activation: ActivationSpec | None) -> "InitializerSpec":
        """The same with the gain that holds: the given one, else that of `activation`."""
        if self.gain is not None:
            return self
        gain = activation.gain() if activation is not None else 1.0
        return self.model_copy(update={"gain": gain})

    def init(self, fan_in: int, fan_out: int) -> Init:
        """The initialiser for a kernel of known fans."""
        return Init(self.name, 1.0 if self.gain is None else self.gain, fan_in, fan_out)


def _named(value: Any) -> Any:
    """Let a bare name stand for an initialiser with the activation's gain."""
    return {"name": value} if isinstance(value, str) else value


Initializer = Annotated[InitializerSpec, BeforeValidator(_named)]


def bias_param(channels: int, fan_in: int) -> Param:
    """A bias drawn from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), as torch's own layers do."""
    return Param((channels,), "C", Init("kaiming_uniform", 3.0**-0.5, fan_in, channels), "bias")
