"""Where a token comes from: learned rows of its electrode, and of its place in time.

Tokens lie on the time axis, electrode-major: token e * A + a is patch a of electrode e, after a
leading token where there is one.
"""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tcnzoo.errors import InputError, SignalTooLong
from tcnzoo.specs.base import Positive, Shape, Spec
from tcnzoo.specs.electrodes import rows_of, table_of
from tcnzoo.specs.params import Init, Param
from tcnzoo.specs.pool import steps_of
from tcnzoo.specs.tokens import TOKEN_DEVIATION

if TYPE_CHECKING:
    from tcnzoo.arrays import Array

# More electrodes than any recording has.
MOST_ELECTRODES = 65536

ElectrodeName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
ElectrodeNames = Annotated[tuple[ElectrodeName, ...], Field(max_length=MOST_ELECTRODES)]


def patches_of(spec: Spec, input_shape: Shape, electrodes: int, leading: bool) -> int:
    """How many tokens each electrode has.

    Raises:
        InputError: no tokens (channels, N), or not as many for each electrode.
    """
    spec.check_channels(input_shape)
    tokens = steps_of(spec, input_shape)
    rest = tokens - leading
    if rest < 1 or rest % electrodes:
        first = "a leading token and " if leading else ""
        error = InputError if rest < electrodes else SignalTooLong
        raise error(
            f"{spec.kind} takes {first}as many tokens for each of {electrodes} electrodes, but "
            f"{tokens} came"
        )
    return rest // electrodes


class ElectrodeEmbeddingSpec(Spec):
    """Adds to each token the learned row of its electrode, found by name.

    Attributes:
        channels: width of the tokens.
        electrodes: names of those that the tokens come from, in order, in upper or lower case; None
            for all of the table.
        table: those that have rows, in order: names; `labram-128`, the list of LaBraM; or
            `labram-129`, the same after a row `CLS`, which its pre-training code keeps unused.
        cls: of a leading token: there is none (`none`), it has a row of its own (`own`, row 0 of
            `weight`), or that of the first electrode (`first_electrode`, as in the pre-training
            code of LaBraM).
    Source:
        Jiang et al. 2024 (LaBraM), arXiv:2405.18765, section 2.2, "Temporal & Spatial Embedding".
    """

    kind: Literal["electrode_embedding"] = "electrode_embedding"
    channels: Positive
    electrodes: ElectrodeNames | None = None
    table: ElectrodeName | ElectrodeNames = "labram-128"
    cls: Literal["none", "own", "first_electrode"] = "none"

    @model_validator(mode="after")
    def _electrodes_are_known(self) -> Self:
        self.rows()
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The electrodes that the tokens come from."""
        return table_of(self.table) if self.electrodes is None else self.electrodes

    def rows(self) -> list[int]:
        """Rows of `weight`: that of the leading token, where there is one, then the electrodes'."""
        own = int(self.cls == "own")
        rows = [own + row for row in rows_of(self.names, table_of(self.table))]
        leading = {"none": [], "own": [0], "first_electrode": rows[:1]}[self.cls]
        return leading + rows

    @property
    def token_electrodes(self) -> int:
        """How many electrodes the tokens come from."""
        return len(self.names)

    @property
    def leads(self) -> bool:
        """Whether a token comes before those of the electrodes."""
        return self.cls != "none"

    @property
    def input_channels(self) -> int:
        """Width of the tokens."""
        return self.channels

    def own_params(self) -> dict[str, Param]:
        """`weight` (rows, C): the row of the leading token, of `own`, then one for each name."""
        rows = len(table_of(self.table)) + (self.cls == "own")
        return {"weight": Param((rows, self.channels), "OI", Init("normal", TOKEN_DEVIATION))}

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, N) -> the same."""
        patches_of(self, input_shape, len(self.names), self.leads)
        return input_shape

    def own_streaming_blocker(self) -> str | None:
        """Tokens are counted from the first electrode on."""
        return "tokens are counted over the whole signal, so it cannot stream"


class TimeEmbeddingSpec(Spec):
    """Adds to each token the row of its place in time, learned or of sines.

    Attributes:
        channels: width of the tokens.
        form: `learned`, or `sinusoidal`: channels 2i and 2i + 1 of row t are the sine and cosine of
            t / 10000^(2i / channels).
        rows: the most patches that an electrode may have.
        electrodes: how many runs of patches there are, one after the other.
        cls: whether a leading token comes first, which is left as it is.
    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.5; learned as in LaBraM, see
        ElectrodeEmbeddingSpec.
    """

    kind: Literal["time_embedding"] = "time_embedding"
    channels: Positive
    form: Literal["learned", "sinusoidal"] = "learned"
    rows: Positive
    electrodes: Positive = 1
    cls: bool = False

    @property
    def input_channels(self) -> int:
        """Width of the tokens."""
        return self.channels

    @property
    def token_electrodes(self) -> int | None:
        """How many electrodes the tokens come from; of a single run that is not known."""
        return None if self.electrodes == 1 else self.electrodes

    def own_params(self) -> dict[str, Param]:
        """`weight` (rows, C) of a learned embedding."""
        if self.form == "sinusoidal":
            return {}
        return {"weight": Param((self.rows, self.channels), "OI", Init("normal", TOKEN_DEVIATION))}

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, N) -> the same."""
        patches = patches_of(self, input_shape, self.electrodes, self.cls)
        if patches > self.rows:
            raise SignalTooLong(
                f"time_embedding has {self.rows} rows, one for each patch of an electrode, but "
                f"{patches} patches came; shorten the signal, or use a model of more rows"
            )
        return input_shape

    def own_streaming_blocker(self) -> str | None:
        """Tokens are counted from the first on."""
        return "tokens are counted over the whole signal, so it cannot stream"

    def sines(self) -> "Array":
        """The rows of a sinusoidal embedding, (rows, C), float64."""
        import numpy as np  # not needed to describe a model

        pairs = np.arange(self.channels) // 2
        angles = np.arange(self.rows)[:, None] / 10000.0 ** (2.0 * pairs / self.channels)
        return np.where(np.arange(self.channels) % 2, np.cos(angles), np.sin(angles))
