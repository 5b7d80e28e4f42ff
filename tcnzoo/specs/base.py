"""What every spec answers: its parameters, shapes, streaming state, receptive field and cost."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from tcnzoo.errors import InputError, SignalTooLong, SpecError
from tcnzoo.files.bounds import check_digits
from tcnzoo.specs.input_unit import InputUnit
from tcnzoo.specs.params import Param

if TYPE_CHECKING:
    from tcnzoo.arrays import Array

Shape = tuple[int, ...]


def _short(value: Any) -> Any:
    """Text that pydantic would read as a number, of no more digits than documents hold."""
    if isinstance(value, str):
        check_digits(value)
    return value


Whole = Annotated[int, BeforeValidator(_short)]
Positive = Annotated[Whole, Field(ge=1)]
Rate = Annotated[float, Field(ge=0.0, lt=1.0)]
# Parts of one stack: more than any network has, and few enough to be described in seconds.
MOST_PARTS = 4096
Depth = Annotated[int, Field(ge=1, le=MOST_PARTS)]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


def none_or(value: Any) -> Any:
    """Let YAML say `none` where a field takes null."""
    return None if value == "none" else value


NoneWord = BeforeValidator(none_or)

# Steps, and channels where any will do, that every layer takes: only how they change matters.
PROBE = 2**20


# Where a block may stand: anywhere, as a node of a graph only, or only in a field of some blocks.
Usage = Literal["model", "node", "field"]


def described(input_shape: Shape) -> str:
    """Name a shape that is not that of a signal (channels, time)."""
    what = "a vector" if len(input_shape) == 1 else "a signal with devices"
    return f"{what} (batch, {', '.join(map(str, input_shape))})"


@dataclass(frozen=True)
class StateItem:
    """One array of a streaming state, in neutral layout.

    Attributes:
        shape: size without the batch axis; `()` for a counter shared by the batch.
        integer: a counter instead of the model's float type.
        start: the value before the first sample.
        summed: a sum or a count over past steps: float32 at least, or int64 instead of int32.
        lasting: whether the part never forgets what the entry took in.
        logarithms: whether minus infinity is an ordinary value.
        added: whether states of earlier versions lack the entry, which then has its start value.
    """

    shape: tuple[int, ...]
    integer: bool = False
    start: int = 0
    summed: bool = False
    lasting: bool = False
    logarithms: bool = False
    added: bool = False

    @property
    def batched(self) -> bool:
        """Whether a batch axis comes first."""
        return not self.integer

    def dtype(self, model: str) -> str:
        """The type that the entry is kept in, in a model of some float type."""
        if self.integer:
            return "int64" if self.summed else "int32"
        return "float32" if self.summed and model in ("float16", "bfloat16") else model


@dataclass(frozen=True)
class Reach:
    """How one output step of a single layer relates to its input steps.

    Attributes:
        span: time, in input steps, from the first to the last input step that an output step sees.
        stride: input steps between output steps; below 1 where the signal is upsampled.
        delay: input steps that must have come after an output's first one before it is known.
    """

    span: Fraction
    stride: Fraction
    delay: int

    @property
    def is_whole(self) -> bool:
        """Whether its steps are whole input steps, as all but those of upsampled signals are."""
        return self.span.denominator == 1 and self.stride.denominator == 1

    def then(self, after: "Reach") -> "Reach":
        """One layer for two of whole steps, exactly."""
        return Reach(
            self.span + after.span * self.stride,
            self.stride * after.stride,
            self.delay + int(self.stride) * after.delay,
        )


@dataclass(frozen=True)
class ReceptiveField:
    """How one output step relates to input steps, through a chain of layers.

    Attributes:
        layers: those that relate more than each step to itself, from the input on; neighbours of
            whole steps are one.
    """

    layers: tuple[Reach, ...] = ()

    @classmethod
    def of(
        cls, span: int | Fraction, stride: int | Fraction = 1, delay: int = 0
    ) -> "ReceptiveField":
        """That of a single layer; see Reach."""
        return cls((Reach(Fraction(span), Fraction(stride), delay),))

    @property
    def size(self) -> int:
        """Input steps that convolutions let one output step see, at most.

        Counted from the output back: steps are whole in every layer, spans need not be.
        """
        steps = 1
        for layer in reversed(self.layers):
            steps = math.floor(layer.span + (steps - 1) * layer.stride) + 1
        return steps

    @property
    def stride(self) -> Fraction:
        """Input steps between output steps; below 1 where the signal is upsampled."""
        return math.prod((layer.stride for layer in self.layers), start=Fraction(1))

    @property
    def delay(self) -> int:
        """Input steps that must come after an output's first one before it is known, at most."""
        steps = 0
        for layer in reversed(self.layers):
            steps = layer.delay + math.ceil(steps * layer.stride)
        return steps

    def then(self, after: "ReceptiveField") -> "ReceptiveField":
        """Compose with the field of what follows."""
        layers = list(self.layers)
        for layer in after.layers:
            if layers and layers[-1].is_whole and layer.is_whole:
                layers[-1] = layers[-1].then(layer)
            else:
                layers.append(layer)
        return ReceptiveField(tuple(layers))

    def union(self, beside: "ReceptiveField") -> "ReceptiveField":
        """Field of an output that sees what either of two of the same stride sees."""
        delay = max(self.delay, beside.delay)
        before = max(field._span - field.delay for field in (self, beside))
        return ReceptiveField((Reach(before + delay, self.stride, delay),))

    @property
    def _span(self) -> Fraction:
        """Input steps from the first to the last that one output step sees."""
        span, stride = Fraction(0), Fraction(1)
        for layer in self.layers:
            span, stride = span + layer.span * stride, stride * layer.stride
        return span


def require_channels(kind: str, channels: int | None) -> int:
    """The width of a block that its owner usually knows.

    Raises:
        SpecError: the block stands alone and names none.
    """
    if channels is None:
        raise SpecError(
            f"field 'channels' is missing: a {kind} outside a block must name its width"
        )
    return channels


SideName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


class SideInput(BaseModel):
    """An array that a block takes beside its signal.

    Attributes:
        role: what it is: an embedding, or a mask of 0 and 1.
        name: layers of one model that name the same array share it; None for an array of one layer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    role: ClassVar[Literal["embedding", "mask"]]

    name: SideName | None = None

    def shape(self, input_shape: Shape) -> Shape:
        """Its shape without batch, for the shape of the signal that reaches the block."""
        raise TypeError(f"{type(self).__name__} has no shape")


class EmbeddingSpec(SideInput):
    """An embedding that conditions a temporal block.

    Attributes:
        channels: its width.
        per_step: (batch, channels, time), one vector a step, instead of (batch, channels) for all.
    """

    role = "embedding"

    channels: Positive
    per_step: bool = False

    def shape(self, input_shape: Shape) -> Shape:
        """(channels,), or (channels, time)."""
        return (self.channels, *input_shape[-1:]) if self.per_step else (self.channels,)


class MaskSpec(SideInput):
    """A mask of the tokens, or steps, that reach a block: 0 or 1 for each.

    Attributes:
        name: what `masks` of `tcnzoo.predict` calls it.
        pairs: (batch, tokens, tokens), one value for each pair, instead of (batch, tokens).
    """

    role = "mask"

    name: SideName
    pairs: bool = False

    def shape(self, input_shape: Shape) -> Shape:
        """(tokens,), or (tokens, tokens)."""
        return input_shape[-1:] * (2 if self.pairs else 1)


@dataclass(frozen=True)
class Tables:
    """What one walk over a model finds.

    Attributes:
        parts: dotted path -> block, the model itself first.
        params, state: dotted name -> row, in order.
        blocker: why the model cannot stream, or None.
    """

    parts: dict[str, "Spec"]
    params: dict[str, Param]
    state: dict[str, StateItem]
    blocker: str | None


# Class of each kind, registered as classes are made.
KINDS: dict[str, type["Spec"]] = {}


class Spec(BaseModel):
    """Base of every model description: frozen, with unknown fields refused.

    Composite specs name their parts in `children()`; parameters and state follow from that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # Where the block may stand.
    usage: ClassVar[Usage] = "model"
    # Whether a block acts on single values or on channels, so that it takes signals of any rank.
    any_rank: ClassVar[bool] = False
    # Whether the output has no devices although the input has.
    ends_devices: ClassVar[bool] = False
    # Whether the block is a linear map with a kernel and nothing else.
    is_kernel: ClassVar[bool] = False
    # Whether the block normalises channels, such as those that a kernel before it gives.
    is_norm: ClassVar[bool] = False
    # What a block that has no answer to NaN and infinity is called in the error message; else None.
    finite: ClassVar[str | None] = None
    # Whether the block cuts signals into segments, which may be impossible.
    segments: ClassVar[bool] = False
    # Whether the gradient handed on is another than that of what the block computes, which is flat.
    surrogate_gradient: ClassVar[bool] = False

    kind: str

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Register the class for its kind, where it names one of its own."""
        if "kind" in cls.__dict__.get("__annotations__", ()):
            kind = cls.model_fields["kind"].default
            if isinstance(kind, str):
                KINDS[kind] = cls

    def children(self) -> dict[str, "Spec"]:
        """Parts of this block by attribute name, in order of computation."""
        return {}

    def own_params(self) -> dict[str, Param]:
        """Parameters that belong to this block itself, not to a child."""
        return {}

    def own_state(self) -> dict[str, StateItem]:
        """Streaming state that belongs to this block itself."""
        return {}

    def own_streaming_blocker(self) -> str | None:
        """Say what in this block itself stands against streaming."""
        return None

    def _refuse_zeros(self, zeros: int) -> None:
        """Raise ValueError, for a block with statistics over all channels, if some are zero."""
        if zeros:
            raise ValueError(
                f"{self.kind} takes statistics over all channels, but {zeros} of them would be "
                "zero, which changes what it makes of all others (19 electrodes among 109 zeros "
                "moved the tokens of LaBraM by 1.5 of their maximum); take only the electrodes "
                "that are there, or set allow_zero_channels"
            )

    def walk(self, path: str = "") -> Iterator[tuple[str, "Spec"]]:
        """Yield (dotted path, spec) for this block and every part below it."""
        yield path, self
        for name, child in self.children().items():
            yield from child.walk(f"{path}.{name}" if path else name)

    def tables(self) -> Tables:
        """Collect the parts, their parameters and state, and what stands against streaming."""
        parts: dict[str, Spec] = {}
        params: dict[str, Param] = {}
        state: dict[str, StateItem] = {}
        blocker = None
        for path, part in self.walk():
            prefix = f"{path}." if path else ""
            parts[path] = part
            params.update({prefix + name: row for name, row in part.own_params().items()})
            state.update({prefix + name: item for name, item in part.own_state().items()})
            if blocker is None and (reason := part.own_streaming_blocker()) is not None:
                blocker = f"{path or part.kind}: {reason}"
        return Tables(parts, params, state, blocker)

    def params(self) -> dict[str, Param]:
        """Ordered table of all parameters: dotted name -> Param."""
        return self.tables().params

    def state(self) -> dict[str, StateItem]:
        """Ordered table of all streaming state: dotted name -> StateItem."""
        return self.tables().state

    def streaming_blocker(self) -> str | None:
        """Say why this block cannot stream, or None where it can."""
        return self.tables().blocker

    def map(self, change: Callable[["Spec"], "Spec"]) -> "Spec":
        """The model with every layer of a composition replaced by what `change` makes of it.

        Layers are changed before what they stand in. Parts that follow from a block's own fields,
        such as the convolution of a conv_block, are no layers.
        """
        return change(self)

    def normed_kernels(self) -> dict[str, str]:
        """Parts that are kernels -> the norm of this block that alone reads what they give."""
        return {}

    @property
    def input_channels(self) -> int | None:
        """Channels that the input must have, or None where any number will do."""
        return None

    @property
    def channel_multiple(self) -> int:
        """What the channels of the input must be a multiple of, where any number will do else."""
        return 1

    def channels_before(self, channels: int) -> int:
        """Channels of the input that give so many, of a block that takes any number."""
        return channels

    def channels_after(self, channels: int | None) -> int | None:
        """Channels of the output; None where those of the input would have to be known."""
        return self.input_channels or channels

    @property
    def squares_length(self) -> bool:
        """Whether the cost of this block itself grows with the square of the length."""
        return False

    @property
    def input_unit(self) -> InputUnit | None:
        """The unit of the model's signal, where it says one."""
        return None

    def zeros_after(self, zeros: int) -> int:
        """Channels of the output that say nothing, where so many of the input are zero.

        They stay apart through norms of single steps and what has no parameters; anything else
        mixes channels.

        Raises:
            ValueError: the block takes statistics over all channels, which the zeros would change.
        """
        mixes = any(part.own_params() and not part.is_norm for _, part in self.walk())
        return 0 if mixes else zeros

    @property
    def unit_length(self) -> bool:
        """Whether the output always has the same length, the root of its sum of squares."""
        return False

    @property
    def engine_shape(self) -> str | None:
        """How the shapes of this block begin in the table of `tcnzoo.engines`."""
        return None

    def remark(self) -> str | None:
        """What `tcnzoo describe` says of this block beside its sizes."""
        return None

    @property
    def token_electrodes(self) -> int | None:
        """Electrodes whose tokens the block makes or takes, 0 for any number.

        None for a block that does not care.
        """
        return None

    @property
    def takes_vectors(self) -> bool:
        """Whether the block is made for (batch, features)."""
        return False

    @property
    def signal_rank(self) -> int:
        """Axes of a signal: 3 for (batch, channels, time), 4 with devices before time."""
        return 3

    @property
    def input_devices(self) -> int | None:
        """Devices that a signal of rank 4 must have, or None where any number will do."""
        return None

    def signal_shape(self, length: int, channels: int | None = None) -> Shape:
        """Shape of a signal that the model takes, without batch.

        Args:
            length: time steps.
            channels: where the model takes any number; None for 2. If the number must be a
                multiple of another, the next one that is.
        """
        width = self.input_channels
        if width is None:
            multiple = self.channel_multiple
            width = -(-(channels or 2) // multiple) * multiple
        if self.signal_rank == 4:
            return width, self.input_devices or 2, length
        return width, length

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, without batch: (channels, time) or (channels,).

        With devices a signal is (channels, devices, time).

        Raises:
            InputError: wrong channels, or a signal shorter than the block needs.
        """
        self.check_channels(input_shape)
        return input_shape

    def check_values(self, x: "Array") -> None:
        """Raise InputError for the first value that this block has no answer to.

        Args:
            x: input with its batch axis.
        """
        if self.finite is None:
            return
        import numpy as np  # not needed to describe a model

        if np.isfinite(x).all():
            return
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise InputError(
            f"{self.finite} takes finite values only, but the input holds {x[index]} at "
            f"{list(index)}"
        )

    def check_dtype(self, dtype: str, path: str = "") -> None:
        """Raise SpecError where a float type does not hold the numbers that a part reads.

        Args:
            dtype: of the model.
            path: of this block in the model, for the error message.
        """
        for name, child in self.children().items():
            child.check_dtype(dtype, f"{path}.{name}" if path else name)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs of a model that gives a dictionary of them; else none."""
        return ()

    def output_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Shape of each named output that has a batch axis, without it; scalars are left out."""
        return {}

    @property
    def discrete_outputs(self) -> tuple[str, ...]:
        """Those of the outputs that are choices, such as codes, and not values."""
        return ()

    def check_channels(self, input_shape: Shape) -> None:
        """Raise InputError unless the first axis of `input_shape` is what this block takes."""
        wanted = self.input_channels
        if wanted is not None and input_shape[0] != wanted:
            raise InputError(
                f"{self.kind} expects {wanted} channels on axis 1 of (batch, channels, time), "
                f"but {input_shape[0]} came"
            )

    def min_length(self) -> int:
        """Find the fewest time steps that the model takes, by doubling and bisection.

        Raises:
            InputError: it takes no length at all.
        """
        fits = 1
        while self._is_too_short(fits):
            fits *= 2
        too_short = fits // 2
        while fits - too_short > 1:
            middle = (fits + too_short) // 2
            if self._is_too_short(middle):
                too_short = middle
            else:
                fits = middle
        self.output_shape(self.signal_shape(fits))
        return fits

    def _is_too_short(self, length: int) -> bool:
        """Whether the model wants a longer signal."""
        try:
            self.output_shape(self.signal_shape(length))
        except SignalTooLong:
            return False
        except InputError:
            if length > PROBE:
                raise
            return True
        return False

    def macs(self, length: int | None) -> int:
        """Multiply-accumulates for one input of `length` steps (None: a vector)."""
        return self.macs_of(self.signal_shape(length or 1))

    def macs_of(self, input_shape: Shape) -> int:
        """Multiply-accumulates for one input of a shape without batch."""
        return 0

    def field(self) -> ReceptiveField:
        """Receptive field, stride and delay of this block."""
        return ReceptiveField()

    def receptive_field(self) -> int:
        """Input steps that convolutions let one output step see.

        Blocks that pool over the whole signal are not counted; `whole_signal()` names them.
        """
        return self.field().size

    def terms_per_step(self) -> int:
        """Steps that one output step of this block sees, or durations that it weighs."""
        return self.field().size

    @property
    def pools_all(self) -> bool:
        """Whether this block itself looks at the whole signal at once."""
        return False

    def whole_signal(self) -> list[str]:
        """Paths of the parts whose output depends on all of the signal (global pools)."""
        return [path or part.kind for path, part in self.walk() if part.pools_all]

    @property
    def embedding_specs(self) -> tuple["SideInput", ...]:
        """Embeddings and masks that the model takes beside its signal."""
        return ()

    def embedding_shapes(self, input_shape: Shape) -> list[Shape]:
        """Shape of each of `embedding_specs`, without batch, for a signal of a shape.

        Raises:
            InputError: the model does not take such a signal.
        """
        return [wanted.shape(input_shape) for wanted in self.embedding_specs]


class DeviceSpec(Spec):
    """Base of blocks that take a signal of several devices, (batch, channels, devices, time)."""

    @property
    def signal_rank(self) -> int:
        """Always 4."""
        return 4

    @property
    def input_devices(self) -> int | None:
        """The field `devices`, where there is one."""
        devices: int | None = getattr(self, "devices", None)
        return devices

    def device_shape(self, input_shape: Shape) -> tuple[int, int]:
        """Devices and time steps of an input.

        Raises:
            InputError: no signal of devices, or not the channels or devices that the block takes.
        """
        self.check_channels(input_shape)
        wanted = self.input_devices
        if len(input_shape) != 3 or (wanted is not None and input_shape[1] != wanted):
            came = ", ".join(map(str, input_shape))
            raise InputError(
                f"{self.kind} expects a signal (batch, channels, {wanted or 'devices'}, time), "
                f"but (batch, {came}) came"
            )
        return input_shape[1], input_shape[2]


if TYPE_CHECKING:
    # Any spec by its kind: the unions of `union`, which know all classes, in fields of their own.
    AnySpec: TypeAlias = Spec
    NodeLayer: TypeAlias = Spec
