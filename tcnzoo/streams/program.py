"""One step of a stream as a list of operations on rows: what a compiled engine runs and C code is.

A signal of a step is a table of rows, (batch * steps, channels): the steps of the first stream,
then those of the second. Every operation reads signals that are there and makes one new one. Norms
are folded, so weights are plain kernels. What an operation keeps from step to step has the name,
shape and start that the spec's `state()` says, so that a state goes on in any engine or backend.

Operations say what is computed, and `backends/numpy` is their definition.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tcnzoo.arrays import Array
from tcnzoo.specs import ActivationSpec, StateItem


@dataclass(frozen=True)
class Signal:
    """What an operation makes; `index` counts them, the inputs first."""

    index: int
    channels: int


@dataclass(frozen=True)
class Operation:
    """Base of all operations: `source` -> `target`, of as many steps unless its class says else."""

    source: Signal
    target: Signal


@dataclass(frozen=True)
class Conv(Operation):
    """A convolution, then the activation.

    y[o, t] = b[o] + sum over i, j of w[o, j, i] x[i, t * stride + j * dilation]; x starts
    with the context. A dense layer is a kernel of one tap.

    Attributes:
        weight: (out, taps, in / groups), float32.
        bias: (out,), float32.
        context: entry of the state, (in, (taps - 1) * dilation); None for one tap.
        skip: entry that counts input steps before the next output is due; None where every input
            step gives one. Only then does the target have other steps than the source:
            `models.streaming.strided_steps`.
        started: entry of `padding_mode: replicate`: 0 until the first sample, which then fills the
            context.
    """

    weight: Array
    bias: Array
    dilation: int = 1
    stride: int = 1
    groups: int = 1
    context: str | None = None
    skip: str | None = None
    started: str | None = None
    activation: ActivationSpec | None = None


@dataclass(frozen=True)
class ConvTranspose(Operation):
    """Input step i adds w[o, j, i] x[i] to output step i * stride + j * dilation.

    The target has `stride` times as many steps.

    Attributes:
        weight: (out, taps, in), float32.
        bias: (out,), float32.
        tail: entry of the state, (out, overlap): what past steps still add; None without overlap.
    """

    weight: Array
    bias: Array
    stride: int
    dilation: int
    tail: str | None


@dataclass(frozen=True)
class Affine(Operation):
    """X * scale + shift, each (channels,), float32: a batch norm that no kernel took up."""

    scale: Array
    shift: Array


@dataclass(frozen=True)
class Activate(Operation):
    """An activation; a softmax is over channels."""

    activation: ActivationSpec


@dataclass(frozen=True)
class Gate(Operation):
    """First half of the channels * sigmoid(second half)."""


@dataclass(frozen=True)
class Select(Operation):
    """The channels from `first` on, as many as the target has."""

    first: int


@dataclass(frozen=True)
class Spread(Operation):
    """A vector (batch, channels) as a signal of as many steps as `like`."""

    like: Signal


@dataclass(frozen=True)
class Merge(Operation):
    """`source` and `others` added, multiplied, or side by side, then the activation.

    Attributes:
        mode: `add`, `multiply` or `concat`.
    """

    others: tuple[Signal, ...]
    mode: str
    activation: ActivationSpec | None = None


@dataclass(frozen=True)
class LayerNorm(Operation):
    """Zero mean and unit (biased) variance over channels, then weight and bias (channels,)."""

    weight: Array
    bias: Array
    eps: float


@dataclass(frozen=True)
class RmsNorm(Operation):
    """x / sqrt(mean(x^2) + eps) * weight, the mean over the channels of each of `groups` groups."""

    weight: Array
    groups: int
    eps: float


@dataclass(frozen=True)
class SqueezeExcitation(Operation):
    """x * sigmoid(expand(relu(reduce(mean of x so far)))), plus x if `residual`.

    The mean is carried in float64, as two float32 entries of the state.

    Attributes:
        reduce: (hidden, channels) and (hidden,), or None where there is no hidden layer.
        expand: (channels, hidden) and (channels,).
        mean, mean_low, count: entries of the state.
    """

    reduce: tuple[Array, Array] | None
    expand: tuple[Array, Array]
    residual: bool
    mean: str
    mean_low: str
    count: str


@dataclass(frozen=True)
class WindowPool(Operation):
    """Average or maximum (`mode`, `average` or `max`) of `size` steps every `step` steps.

    `context` and `skip` are as in Conv.
    """

    mode: str
    size: int
    step: int
    context: str | None
    skip: str | None


@dataclass(frozen=True)
class Repeat(Operation):
    """Every step `factor` times."""

    factor: int


@dataclass(frozen=True)
class Scan(Operation):
    """The recurrence of Mamba-2: `specs.mamba.Mamba2Spec` has its formula.

    `source` holds x, B and C side by side after their convolution, (heads * head_dim + 2 * groups *
    d_state) channels; the target y with the skip D x in it, heads * head_dim channels.

    Attributes:
        dt: the raw steps, `heads` channels, before bias and softplus.
        dt_bias: (heads,).
        decay: A = -exp(A_log), (heads,).
        skip: D for each channel, (heads * head_dim,).
        limit: smallest and largest dt after softplus.
        state: entry of the state, (heads, head_dim, d_state).
    """

    dt: Signal
    dt_bias: Array
    decay: Array
    skip: Array
    limit: tuple[float, float]
    heads: int
    head_dim: int
    d_state: int
    groups: int
    state: str


@dataclass(frozen=True)
class Program:
    """A whole model.

    Attributes:
        inputs: the signal, then the embeddings.
        vectors: those of the inputs that are (batch, channels) and not signals.
        operations: in order of computation.
        output: what a step gives.
        state: the spec's table.
    """

    inputs: tuple[Signal, ...]
    vectors: frozenset[int]
    operations: tuple[Operation, ...]
    output: Signal
    state: Mapping[str, StateItem]
