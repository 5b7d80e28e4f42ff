"""Pooling over time, and its opposite, upsampling."""

from fractions import Fraction
from typing import Literal, Self

from pydantic import model_validator

from tcnzoo.errors import InputError
from tcnzoo.specs.base import Field1d, Positive, Shape, Spec


def _length(spec: Spec, input_shape: Shape) -> int:
    """Time steps of a (channels, time) shape."""
    if len(input_shape) != 2:
        raise InputError(
            f"{spec.kind} expects a signal (batch, channels, time), but a vector "
            f"(batch, {input_shape[0]}) came"
        )
    return input_shape[1]


class PoolSpec(Spec):
    """A pool over all of the signal.

    Attributes:
        mode: `global_average` -> (batch, channels); `adaptive_average` and `adaptive_max` ->
            (batch, channels, output_size), output step i over input steps
            floor(i L / n) .. ceil((i + 1) L / n) - 1.
        output_size: n, for the adaptive modes only.
    Source:
        torch.nn.AdaptiveAvgPool1d, torch.nn.AdaptiveMaxPool1d.
    """

    kind: Literal["pool"] = "pool"
    mode: Literal["global_average", "adaptive_average", "adaptive_max"] = "global_average"
    output_size: Positive | None = None

    @model_validator(mode="after")
    def _size_goes_with_mode(self) -> Self:
        if (self.output_size is None) != (self.mode == "global_average"):
            wanted = "no output_size" if self.mode == "global_average" else "an output_size"
            raise ValueError(f"mode {self.mode!r} takes {wanted}, but got {self.output_size}")
        return self

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, time) -> (channels,) or (channels, output_size)."""
        _length(self, input_shape)
        return (input_shape[0],) if self.output_size is None else (input_shape[0], self.output_size)

    def windows(self, length: int) -> list[tuple[int, int]]:
        """Start and end of the input steps of each output step of an adaptive pool."""
        n = self.output_size or 1
        return [(i * length // n, -(-(i + 1) * length // n)) for i in range(n)]

    @property
    def pools_all(self) -> bool:
        """Always."""
        return True

    def own_obstacle(self) -> str | None:
        """A pool over the whole signal never has its input complete."""
        return f"mode {self.mode!r} needs the whole signal, so it cannot stream"


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
        return input_shape[0], _length(self, input_shape) * self.factor

    def field(self) -> Field1d:
        """One step, or the two that are interpolated, less than a step away on either side."""
        stride = Fraction(1, self.factor)
        if self.mode == "nearest" or self.factor == 1:
            return Field1d.of(1 - stride, stride)
        return Field1d.of(2 - stride * (1 + self.factor % 2), stride, 1)

    def own_obstacle(self) -> str | None:
        """Interpolation needs the next step."""
        if self.mode == "linear" and self.factor > 1:
            return "mode 'linear' needs the next step, so it cannot stream; use 'nearest'"
        return None
