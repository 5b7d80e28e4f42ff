"""Losses: their fields and their meaning.

Every loss has one value for each example and step, its mean over channels where it has one for each
of these. The loss is their mean, weighted by mask and class weight: sum(m * l) / sum(m), and 0
if all weights are 0. Outputs are logits wherever probabilities are meant.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tcnzoo.errors import SpecError

NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
EachClass = tuple[NotNegative, ...]


class _Loss(BaseModel):
    """Fields of every loss.

    Attributes:
        name: in logs; by default its kind.
        weight: its factor in the sum.
        output: which entry of a model's dictionary of outputs; None for a model of one output.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = Field(default=None, min_length=1)
    weight: float = Field(default=1.0, allow_inf_nan=False)
    output: str | None = None


class _Targeted(_Loss):
    """A loss that compares an output with a target.

    Attributes:
        target: key of the batch.
        mask: key of the batch, 0 or 1 (or a weight) for each example, or each example and step;
            None where everything counts.
    """

    target: str = "y"
    mask: str | None = None


class CrossEntropy(_Targeted):
    """-log softmax(output)[class], over channels; targets are classes, (batch[, time]).

    Attributes:
        class_weights: one for each class; the mean is divided by the sum of those that count.
        label_smoothing: share s of the target that is spread evenly over all C classes: the loss is
            (1 - s) w[y] l[y] + s / C * sum of w[c] l[c].
        ignore: class that does not count.
    Source:
        torch.nn.CrossEntropyLoss.
    """

    kind: Literal["cross_entropy"] = "cross_entropy"
    class_weights: EachClass | None = None
    label_smoothing: Share = 0.0
    ignore: int | None = None


class Bce(_Targeted):
    """-pos_weight * y log sigmoid(z) - (1 - y) log sigmoid(-z) of logits z and targets y in 0..1.

    Attributes:
        pos_weight: of the positive part, for all channels or for each.
    """

    kind: Literal["bce"] = "bce"
    pos_weight: NotNegative | EachClass = 1.0


class Focal(_Targeted):
    """alpha * (1 - p)^gamma * -log p, with p the probability of what is true.

    Attributes:
        activation: `sigmoid` of each logit, with targets 0 or 1 of the output's shape;
            `softmax` over channels, with classes as targets.
        gamma: how much easy examples are down-weighted.
        alpha: for `sigmoid` the weight of ones, 1 - alpha that of zeros; for `softmax` one for each
            class; None for no weights.
        pos_weight: `sigmoid` only: as in `bce`.
        ignore: `softmax` only: class that does not count.
    Source:
        Lin et al. 2017, arXiv:1708.02002, equation 5.
    """

    kind: Literal["focal"] = "focal"
    activation: Literal["sigmoid", "softmax"] = "sigmoid"
    gamma: NotNegative = 2.0
    alpha: Share | EachClass | None = None
    pos_weight: NotNegative = 1.0
    ignore: int | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Check the fields that depend on the activation."""
        single = isinstance(self.alpha, float)
        if self.alpha is not None and single != (self.activation == "sigmoid"):
            wanted = "one number" if self.activation == "sigmoid" else "one for each class"
            raise ValueError(f"alpha of a {self.activation} focal loss is {wanted}")
        if self.activation == "sigmoid" and self.ignore is not None:
            raise ValueError("ignore is for classes; a sigmoid focal loss has a mask")
        if self.activation == "softmax" and self.pos_weight != 1.0:
            raise ValueError("pos_weight is for a sigmoid focal loss; a softmax one has alpha")
        return self


class Mse(_Targeted):
    """(output - target)^2."""

    kind: Literal["mse"] = "mse"


class Mae(_Targeted):
    """|output - target|."""

    kind: Literal["mae"] = "mae"


class Huber(_Targeted):
    """Half the square of the gap up to `delta`, delta * (gap - delta / 2) beyond it.

    Attributes:
        delta: where the parabola ends.
    Source:
        Huber 1964, doi:10.1214/aoms/1177703732; torch.nn.HuberLoss.
    """

    kind: Literal["huber"] = "huber"
    delta: Positive = 1.0


class Term(_Loss):
    """A scalar that the model itself computes, the entry `output` of its outputs."""

    kind: Literal["term"] = "term"
    output: str


TargetLoss = CrossEntropy | Bce | Focal | Mse | Mae | Huber
AnyLoss = TargetLoss | Term
Loss = Annotated[
    AnyLoss,
    Field(discriminator="kind"),
    BeforeValidator(lambda value: {"kind": value} if isinstance(value, str) else value),
]


def takes_classes(loss: AnyLoss) -> bool:
    """Whether the targets are classes, not values."""
    return isinstance(loss, CrossEntropy) or (
        isinstance(loss, Focal) and loss.activation == "softmax"
    )


def leading_loss(losses: Sequence[AnyLoss]) -> AnyLoss | None:
    """The loss that decides what targets are: the first one of classes, else of a target."""
    targeted = [loss for loss in losses if not isinstance(loss, Term)]
    classes = [loss for loss in targeted if takes_classes(loss)]
    return next(iter([*classes, *targeted]), None)


def loss_names(losses: Sequence[AnyLoss]) -> tuple[str, ...]:
    """The name of each loss in logs: its name, the entry of a `term`, else its kind.

    Raises:
        SpecError: two equal names, or one that is the name of the sum.
    """
    names = [loss.name or (loss.output if isinstance(loss, Term) else loss.kind) for loss in losses]
    taken = {"loss", "gradient_norm"}
    for name in names:
        if name in taken:
            raise SpecError(f"two losses would be logged as {name!r}; give one of them a `name`")
        taken.add(name)
    return tuple(names)
