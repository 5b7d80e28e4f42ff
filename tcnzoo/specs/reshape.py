"""Layers that only move values: signals made vectors, and steps added or dropped at the ends."""

from typing import Literal

from tcnzoo.errors import InputError, SignalTooLong
from tcnzoo.specs.base import PaddingMode, Positive, ReceptiveField, Shape, Spec
from tcnzoo.specs.conv import check_padding
from tcnzoo.specs.pool import steps_of


class FlattenSpec(Spec):
    """A signal of fixed length as one vector, (batch, channels, length) -> (batch, width).

    Attributes:
        length: time steps of the signal, no more and no fewer: a vector has one width.
        order: which index moves slowly: `channels` gives value (c, t) the place c * length + t, as
            torch.nn.Flatten; `time` the place t * channels + c, as keras.layers.Flatten.
    """

    kind: Literal["flatten"] = "flatten"
    length: Positive
    order: Literal["channels", "time"] = "channels"

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, length) -> (channels * length,)."""
        steps = steps_of(self, input_shape)
        if steps != self.length:
            error = SignalTooLong if steps > self.length else InputError
            raise error(f"flatten expects {self.length} time steps, but {steps} came")
        return (input_shape[0] * self.length,)

    def channels_before(self, channels: int) -> int:
        """Those of one step."""
        return channels // self.length

    def channels_after(self, channels: int | None) -> int | None:
        """Those of all steps."""
        return None if channels is None else channels * self.length

    @property
    def pools_all(self) -> bool:
        """Always."""
        return True

    def own_streaming_blocker(self) -> str | None:
        """A vector of the whole signal is never complete before its end."""
        return "flatten needs the whole signal, so it cannot stream"


class PadSpec(Spec):
    """Time steps added (or, where negative, dropped) at the two ends of a signal.

    Attributes:
        left, right: how many.
        mode: what added steps hold, as in Conv1dSpec's `padding_mode`.
    """

    kind: Literal["pad"] = "pad"
    left: int = 0
    right: int = 0
    mode: PaddingMode = "zeros"

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, time) -> (channels, time + left + right)."""
        steps = steps_of(self, input_shape)
        kept = steps + min(0, self.left) + min(0, self.right)
        if kept < 1:
            raise InputError(
                f"pad drops {-min(0, self.left) - min(0, self.right)} steps, so it needs a signal "
                f"of more, but {steps} came"
            )
        check_padding(self.mode, max(self.left, self.right), kept)
        return input_shape[0], steps + self.left + self.right

    def field(self) -> ReceptiveField:
        """One step, `left` earlier."""
        return ReceptiveField.of(0, 1, -self.left)

    def own_streaming_blocker(self) -> str | None:
        """The ends of a stream are not known."""
        if self.left or self.right:
            return (
                "pad works on the ends of a whole signal, so it cannot stream; "
                "use padding 'causal' of the convolution"
            )
        return None
