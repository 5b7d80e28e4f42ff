"""Pooling over time, and its opposite, upsampling."""

from fractions import Fraction
from typing import Literal, Self

from pydantic import model_validator

from tcnzoo.errors import InputError
from tcnzoo.specs.base import Positive, ReceptiveField, Shape, Spec, StateItem, described
from tcnzoo.specs.conv import window_delay, window_pads


def steps_of(spec: Spec, input_shape: Shape) -> int:
    """Time steps of a (channels, time) shape, or InputError for a vector."""
    if len(input_shape) != 2:
        raise InputError(
            f"{spec.kind} expects a signal (batch, channels, time), but "
            f"{described(input_shape)} came"
        )
    return input_shape[1]


class PoolSpec(Spec):
    """A pool over all of the signal.

    Attributes:
        mode: `global_average` and `global_max` over time, the `first` step, the `last`, or the
            `middle` one (step L // 2 of L, counted from 0) -> (batch, channels);
            `adaptive_average` and `adaptive_max` -> (batch, channels, output_size), output step i
            over input steps floor(i L / n) .. ceil((i + 1) L / n) - 1.
        output_size: n, for the adaptive modes only.
    Source:
        torch.nn.AdaptiveAvgPool1d, torch.nn.AdaptiveMaxPool1d; `last` and `middle` are what
        keras-tcn returns without sequences.
    """

    kind: Literal["pool"] = "pool"
    mode: Literal[
        "global_average",
        "global_max",
        "first",
        "last",
        "middle",
        "adaptive_average",
        "adaptive_max",
    ] = "global_average"
    output_size: Positive | None = None

    @model_validator(mode="after")
    def _size_goes_with_mode(self) -> Self:
        adaptive = self.mode.startswith("adaptive")
        if (self.output_size is None) == adaptive:
            wanted = "an output_size" if adaptive else "no output_size"
            raise ValueError(f"mode {self.mode!r} takes {wanted}, but got {self.output_size}")
        return self

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, time) -> (channels,) or (channels, output_size)."""
        steps_of(self, input_shape)
        return (input_shape[0],) if self.output_size is None else (input_shape[0], self.output_size)

    def windows(self, length: int) -> list[tuple[int, int]]:
        """Start and end of the input steps of each output step of an adaptive pool."""
        n = self.output_size or 1
        return [(i * length // n, -(-(i + 1) * length // n)) for i in range(n)]

    @property
    def pools_all(self) -> bool:
        """Whether more than one step is looked at."""
        return self.mode not in ("first", "last", "middle")

    def own_streaming_blocker(self) -> str | None:
        """A pool over the whole signal never has its input complete."""
        return f"mode {self.mode!r} needs the whole signal, so it cannot stream"


class WindowPoolSpec(Spec):
    """A pool over a window that moves along the signal.

    Attributes:
        mode: `average` or `max`.
        size: steps of the window.
        stride: steps between windows; None for `size`.
        padding: `valid`, `same` or `same_upper`, as in Conv1dSpec; a maximum passes over the added
            steps.
        count_padding: whether an average counts the added steps, as zeros (torch's
            `count_include_pad`); Keras, TensorFlow and ONNX by default do not.
        channels: width of the signal; needed only to stream.
    Source:
        torch.nn.MaxPool1d, torch.nn.AvgPool1d, keras.layers.MaxPooling1D.
    """

    kind: Literal["window_pool"] = "window_pool"
    mode: Literal["average", "max"]
    size: Positive
    stride: Positive | None = None
    padding: Literal["valid", "same", "same_upper"] = "valid"
    count_padding: bool = False
    channels: Positive | None = None

    @property
    def input_channels(self) -> int | None:
        """Channels of the input, where the spec names them."""
        return self.channels

    @property
    def reach(self) -> int:
        """Steps between the first and the last of a window."""
        return self.size - 1

    @property
    def step(self) -> int:
        """Steps between windows."""
        return self.stride or self.size

    def pads(self, length: int) -> tuple[int, int]:
        """Steps added on the left and on the right of a signal of `length` steps."""
        return window_pads(self.padding, length, self.reach, self.step)

    def own_state(self) -> dict[str, StateItem]:
        """The last `size - 1` steps, and how many come before the next window's end."""
        state: dict[str, StateItem] = {}
        if self.reach:
            state["context"] = StateItem((self.channels or 0, self.reach))
        if self.reach or self.step > 1:
            state["skip"] = StateItem((), integer=True, start=self.reach)
        return state

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, time) -> (channels, time')."""
        self.check_channels(input_shape)
        length = steps_of(self, input_shape)
        steps = length + sum(self.pads(length)) - self.reach
        if steps < 1:
            raise InputError(
                f"window_pool of size {self.size} with padding {self.padding!r} needs at least "
                f"{length - steps + 1} steps, but {length} came"
            )
        return input_shape[0], (steps - 1) // self.step + 1

    def field(self) -> ReceptiveField:
        """`size` steps."""
        delay = window_delay(self.padding, self.reach, self.step)
        return ReceptiveField.of(self.reach, self.step, delay)

    def own_streaming_blocker(self) -> str | None:
        """Streaming needs windows within the past, and a state of known width."""
        if self.padding != "valid" and self.reach:
            return f"padding {self.padding!r} looks ahead, so it cannot stream; use 'valid'"
        if self.channels is None and self.reach:
            return "window_pool must name its channels to stream"
        return None


class UpsampleSpec(Spec):
    """Repetition or linear interpolation of time steps.

    Attributes:
        factor: output steps for each input step.
        mode: `nearest` repeats each step; `linear` interpolates between step centres and holds the
            ends (torch's `align_corners=False`).
    """

    kind: Literal["upsample"] = "upsample"
    factor: Positive
    mode: Literal["nearest", "linear"] = "nearest"

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, time) -> (channels, time * factor)."""
        return input_shape[0], steps_of(self, input_shape) * self.factor

    def field(self) -> ReceptiveField:
        """One step, or the two that are interpolated, less than a step away on either side."""
        stride = Fraction(1, self.factor)
        if self.mode == "nearest" or self.factor == 1:
            return ReceptiveField.of(1 - stride, stride)
        return ReceptiveField.of(2 - stride * (1 + self.factor % 2), stride, 1)

    def own_streaming_blocker(self) -> str | None:
        """Interpolation needs the next step."""
        if self.mode == "linear" and self.factor > 1:
            return "mode 'linear' needs the next step, so it cannot stream; use 'nearest'"
        return None
