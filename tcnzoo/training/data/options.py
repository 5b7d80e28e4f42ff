"""Fields of every kind of data: how it is split, drawn, batched and augmented."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tcnzoo.specs.base import Positive

Part = Literal["train", "val", "test"]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class Options(BaseModel):
    """Frozen, with unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitConfig(Options):
    """How examples are split into train, val and test.

    Attributes:
        by: `group` keeps every group (a user, an event, a recording) in one part; `example` splits
            examples without regard to groups.
        val: share of the groups of each label.
        test: as `val`.
        folds: number of folds of cross-validation instead of shares: fold `fold` is test, the one
            after it val, all others train.
        fold: counted from 0.
        assign: names of groups for each part, instead of a draw.
    """

    by: Literal["group", "example"] = "group"
    val: Share = 0.15
    test: Share = 0.15
    folds: Annotated[int, Field(ge=3)] | None = None
    fold: Annotated[int, Field(ge=0)] = 0
    assign: dict[Part, tuple[str, ...]] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.folds is not None and self.assign is not None:
            raise ValueError("give folds or assign, not both")
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} is none of 0 to {self.folds - 1}")
        if self.val + self.test >= 1.0:
            raise ValueError(f"val {self.val} and test {self.test} leave nothing for train")
        return self


class NoiseConfig(Options):
    """Gaussian noise added to training examples.

    Attributes:
        deviation: in the unit of the recording, which is milli-g for accelerometer events.
        share: of the examples that get it.
    """

    kind: Literal["noise"] = "noise"
    deviation: Annotated[float, Field(gt=0.0)]
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0


class PhaseConfig(Options):
    """Training windows that begin earlier in their recording than they do without it.

    Attributes:
        steps: the most that they are moved by, in time steps; each move from 0 on is as likely.
    """

    kind: Literal["phase"] = "phase"
    steps: Positive


class GainConfig(Options):
    """Training examples multiplied by a factor.

    Attributes:
        spread: the factor is drawn evenly from 1 - spread to 1 + spread.
    """

    kind: Literal["gain"] = "gain"
    spread: Annotated[float, Field(gt=0.0, lt=1.0)]


class TransposeConfig(Options):
    """Training sequences, inputs and targets alike, moved along the channels: keys of a piano.

    Attributes:
        channels: the most that they are moved by, up or down; less where a one would fall off.
    """

    kind: Literal["transpose"] = "transpose"
    channels: Positive


Augmentation = Annotated[
    NoiseConfig | PhaseConfig | GainConfig | TransposeConfig, Field(discriminator="kind")
]


class DataConfig(Options):
    """Fields of every kind of data.

    Attributes:
        batch_size: examples of a micro-batch in training.
        eval_batch_size: examples of a batch in evaluation; None for `batch_size`.
        shuffle: a new order in each epoch.
        drop_last: leave out a last batch that is not full.
        balance: draw examples with replacement, so that each label, each group (a user), or each
            label within each group comes as often as any other.
        epoch_size: examples of one epoch; None for as many as there are.
        augment: changes to training examples, in this order.
    """

    kind: str
    batch_size: Positive = 32
    eval_batch_size: Positive | None = None
    shuffle: bool = True
    drop_last: bool = False
    balance: Literal["none", "label", "group", "both"] = "none"
    epoch_size: Positive | None = None
    augment: tuple[Augmentation, ...] = ()
