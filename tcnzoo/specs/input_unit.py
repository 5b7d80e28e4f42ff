"""The unit that a model's signal is in."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class InputUnit(BaseModel):
    """What the values of a model's signal mean: a value of 1 is 1 / `scale` of `unit`.

    Attributes:
        unit: microvolts.
        scale: factor from the unit to the values that the model takes: 0.01 for uV / 100.
    Source:
        LaBraM takes uV / 100: Jiang et al. 2024, arXiv:2405.18765, section 3.1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: Literal["uV"]
    scale: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
