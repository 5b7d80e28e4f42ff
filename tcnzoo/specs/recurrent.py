"""Recurrent layers: LSTM and GRU, with torch.nn's gates, names and initial values."""

from typing import ClassVar, Literal

from tcnzoo.specs.activation import DropoutSpec
from tcnzoo.specs.base import Depth, Positive, Rate, Shape, Spec, StateItem
from tcnzoo.specs.params import Init, Param
from tcnzoo.specs.pool import steps_of


class RecurrentSpec(Spec):
    """Base of recurrent layers; see LstmSpec."""

    gates: ClassVar[int]
    states: ClassVar[tuple[str, ...]]

    in_channels: Positive
    hidden: Positive
    layers: Depth = 1
    bidirectional: bool = False
    bias: bool = True
    dropout: Rate = 0.0

    @property
    def directions(self) -> tuple[str, ...]:
        """Endings of the names of each direction's parameters."""
        return ("", "_reverse") if self.bidirectional else ("",)

    @property
    def width(self) -> int:
        """Channels of the output."""
        return self.hidden * len(self.directions)

    @property
    def input_channels(self) -> int:
        """Channels of the input."""
        return self.in_channels

    def channels_after(self, channels: int | None) -> int:
        """Those of all directions."""
        return self.width

    def suffixes(self) -> list[str]:
        """Ending of the names of each layer and direction, as torch has them: `l0_reverse`."""
        return [f"l{layer}{way}" for layer in range(self.layers) for way in self.directions]

    def own_params(self) -> dict[str, Param]:
        """`weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, as torch.nn has them."""
        start, rows = Init("uniform", self.hidden**-0.5), self.gates * self.hidden
        table: dict[str, Param] = {}
        for suffix in self.suffixes():
            width = self.in_channels if suffix.startswith("l0") else self.width
            table[f"weight_ih_{suffix}"] = Param((rows, width), "OI", start)
            table[f"weight_hh_{suffix}"] = Param((rows, self.hidden), "OI", start)
            if self.bias:
                table[f"bias_ih_{suffix}"] = Param((rows,), "C", start, "bias")
                table[f"bias_hh_{suffix}"] = Param((rows,), "C", start, "bias")
        return table

    def children(self) -> dict[str, Spec]:
        """`dropout` between layers."""
        between = self.dropout and self.layers > 1
        return {"dropout": DropoutSpec(rate=self.dropout)} if between else {}

    def own_state(self) -> dict[str, StateItem]:
        """Of each layer, what it gave last, and the cell of an LSTM."""
        if self.bidirectional:
            return {}
        shape = self.layers, self.hidden
        return {name: StateItem(shape, lasting=True) for name in self.states}

    def output_shape(self, input_shape: Shape) -> Shape:
        """(in_channels, time) -> (hidden * directions, time)."""
        self.check_channels(input_shape)
        return self.width, steps_of(self, input_shape)

    def macs_of(self, input_shape: Shape) -> int:
        """Both products of each gate at each step."""
        weights = [row for name, row in self.own_params().items() if name.startswith("weight")]
        return input_shape[-1] * sum(row.size for row in weights)

    @property
    def pools_all(self) -> bool:
        """The backward direction sees all that follows."""
        return self.bidirectional

    def own_streaming_blocker(self) -> str | None:
        """The backward direction begins at the end."""
        if self.bidirectional:
            return f"a bidirectional {self.kind} begins at the end, too, so it cannot stream"
        return None


class LstmSpec(RecurrentSpec):
    """Long short-term memory, (batch, in_channels, time) -> (batch, hidden * directions, time).

    i, f, o = sigmoid(W x + b + U h + d), g = tanh(W x + b + U h + d), c = f c + i g, h = o tanh(c);
    the rows of the kernels are those of i, f, g, o.

    Attributes:
        in_channels: of the input.
        hidden: channels of each direction.
        layers: each on the output of the one before.
        bidirectional: a second set of weights reads from the end; both outputs side by side.
        bias: both biases, as torch.nn has them.
        dropout: rate between layers, in training.
    Source:
        Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; gates and names of
        torch.nn.LSTM 2.13.
    """

    gates = 4
    states = ("h", "c")

    kind: Literal["lstm"] = "lstm"


class GruSpec(RecurrentSpec):
    """Gated recurrent unit, (batch, in_channels, time) -> (batch, hidden * directions, time).

    r, z = sigmoid(W x + b + U h + d), n = tanh(W x + b + r (U h + d)), h = (1 - z) n + z h; rows of
    the kernels are those of r, z, n. The reset gate acts after the product (Keras's
    `reset_after`, ONNX's `linear_before_reset`).

    Attributes:
        in_channels, hidden, layers, bidirectional, bias, dropout: as in LstmSpec.
    Source:
        Cho et al. 2014, arXiv:1406.1078; gates and names of torch.nn.GRU 2.13.
    """

    gates = 3
    states = ("h",)

    kind: Literal["gru"] = "gru"
