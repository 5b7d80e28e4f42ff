"""Hidden semi-Markov model: states that last, with a law of their own for how long."""

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.specs.activation import ActivationName, ActivationSpec
from tcnzoo.specs.base import (
    Positive,
    ReceptiveField,
    Shape,
    Spec,
    StateItem,
    Whole,
    require_channels,
)
from tcnzoo.specs.dense import DenseBlockSpec, DenseSpec
from tcnzoo.specs.params import Init, InitializerSpec, Param
from tcnzoo.specs.sequential import SequentialSpec

if TYPE_CHECKING:
    from tcnzoo.arrays import Array

DurationLaw = Literal["poisson", "negative_binomial", "gaussian", "categorical"]
Emission = Literal["gaussian", "categorical", "neural", "none"]

# Of a negative binomial law before training: between a geometric law (1) and a Poisson law.
SIZE = 2.0
# A logit at or below this is a probability of 0, as -inf is: so that masks of the least float do
# the same in every float type.
NEVER = -1e30
# 16-bit floats hold the whole numbers from 0 to these.
WHOLE = {"bfloat16": 2**8, "float16": 2**11}


def impossible(steps: int | None, is_nan: bool = False) -> InputError | WeightError:
    """The error for a signal of so many steps, or a stream (None), that has no segmentation.

    Args:
        steps: of the signal.
        is_nan: its likelihood is NaN and not 0, which finite signals do not come to.
    """
    if is_nan:
        return WeightError("the weights of the model hold NaN, so that no segments can be found")
    what = "the stream up to here" if steps is None else f"{steps} steps"
    return InputError(
        f"no segmentation of {what} is possible with these durations and transitions: "
        "check max_duration, which probabilities are 0, and states without a way out"
    )


class HsmmSpec(Spec):
    """A hidden semi-Markov model, (batch, channels, time) -> (batch, states, time), probabilities.

    The signal is cut into segments. A segment has one of K states and lasts d = 1 .. D steps; the
    next has another state. All tables are in logarithms, and each is normalised:

        pi(k)    log_softmax of `initial_logits` (K,)
        A(j, k)  log_softmax over k of `transition_logits` (K, K), row j before column k, with the
                 diagonal set to -inf first: what is stored on the diagonal has no effect
        p(k, d)  log_softmax over d = 1 .. D of the law's scores, below
        S(k, d)  log of the sum over d' >= d of exp p(k, d'), summed in the log domain; S(k, 1) = 0
        mu(k)    log of the mean duration, the log of the sum over d of exp S(k, d)

    A logit of -inf, or at most -1e30, is a probability of 0, which stays 0 in every step of EM and
    has a gradient of 0. A row of transitions that holds nothing else (off the diagonal) is a state
    without a way out: its segment is the last one, weighed like any last segment, so that its
    durations must reach the end of the signal. Two states that lead to each other only and have the
    same emission are one that is never left, in signals of any length.

    Scores of the duration laws, with n = d - 1:

        poisson            n * r - log(n!), r = `duration_log_rate` (K,): n is Poisson of mean e^r
        negative_binomial  sum over i = 0 .. n - 1 of log((s + i) / (i + 1)), + n * log q, with
                           s = exp `duration_log_size` (K,) and q = sigmoid `duration_logit` (K,)
        gaussian           -(d - exp `duration_log_mean`)^2 / (2 exp `duration_log_variance`)
        categorical        `duration_logits` (K, D)

    Log-likelihood l_t(k) of step t in state k, x_t the channels of that step:

        gaussian     sum over channels of -((x - m)^2 / v + log v + log 2 pi) / 2, with m = `means`
                     (K, channels) and v = variance_floor + exp `log_variances` (K, channels)
        categorical  log_softmax over codes of `code_logits` (K, codes), at the code x_t: one
                     channel that holds the code's number, rounded (below 0: missing, l_t = 0);
                     with encoding `one_hot` the sum over codes of x_t(code) times it, for any
                     weights x_t
        neural       log_softmax over states of the part `network`; this scores states, so a
                     log-likelihood made of it compares segmentations, not signals
        none         the input itself

    A step that is masked, or behind the end of its sequence, has l_t = 0 for all states.

    The recursion, which is also the streaming step. w(k, e) is the log weight of: the current
    segment has state k, began e - 1 steps ago, and x up to now is explained; how long the segment
    lasts is not in it yet.

        before the first step (count = 0):
            w(k, 1) = pi(k), w(k, e) = -inf for e > 1                      start: fresh
            w(k, e) = pi(k) - mu(k) for all e                              start: stationary
        before every other step, from the last w:
            ended(j)  = LSE over e of w(j, e) + p(j, e)
            w(k, 1)  <- LSE over j of ended(j) + A(j, k),   w(k, e) <- w(k, e - 1)
        then, at step t:
            w(k, e) += l_t(k);  m = max over (k, e) of w;  w -= m;  scale += m
            alive(k) = LSE over e of w(k, e) + S(k, e)
            filtered = softmax over k of alive
            log P(x up to t) = scale + LSE over k of alive

    At the end of the signal log P is this value with `end: censored` (the last segment may go on),
    and scale + LSE over k of ended with `end: none` (a segment must end with the signal). The
    stationary start is a signal that begins in the midst of a segment: its first segment has the
    residual law S(k, d) / mu(k).

    Streaming state: `ages` (states, max_duration), w after the last step, ages[k, e - 1] = w(k, e);
    `scale` (2,), the sum of all m as [s, c], of which s - c is meant: y = m - c, t = s + y,
    c = (t - s) - y, s = t; `count`, 0 before the first step and 1 after it.

    Matrices are labelled OI, so a backend whose dense kernels are transposed stores these
    transposed too.

    Attributes:
        states: K, at least 2: a state never follows itself.
        max_duration: D, in steps.
        duration: the law of durations, truncated to 1 .. D.
        emission: what a state says of the signal.
        channels: of the input, for gaussian and neural emissions.
        codes: how many codes there are, for categorical emissions.
        encoding: a code's number in one channel, or one channel for each code.
        hidden: widths of the network's hidden layers, for neural emissions.
        activation: of the hidden layers.
        variance_floor: added to each variance, in squared units of the input.
        start: the first segment begins with the signal, or the signal in the midst of it.
        end: the last segment may go on after the signal, or ends with it.
        output: `posterior` P(state | whole signal), or `filtered` P(state | signal so far), which
            can stream.
        expected_duration: about how long segments last before training; None for D / 4.
    Source:
        Yu 2010, Hidden semi-Markov models, Artificial Intelligence 174; stationary start: Guedon
        2003, J. Comput. Graph. Stat. 12(3).
    """

    finite: ClassVar[str | None] = "an hsmm"
    segments: ClassVar[bool] = True

    kind: Literal["hsmm"] = "hsmm"
    states: Annotated[Whole, Field(ge=2)]
    max_duration: Positive
    duration: DurationLaw = "poisson"
    emission: Emission = "gaussian"
    channels: Positive | None = None
    codes: Positive | None = None
    encoding: Literal["index", "one_hot"] = "index"
    hidden: tuple[Positive, ...] = ()
    activation: ActivationName = "relu"
    variance_floor: Annotated[float, Field(gt=0.0)] = 1e-4
    start: Literal["fresh", "stationary"] = "fresh"
    end: Literal["censored", "none"] = "censored"
    output: Literal["posterior", "filtered"] = "posterior"
    expected_duration: Annotated[float, Field(gt=0.0)] | None = None

    @model_validator(mode="after")
    def _emission_has_its_fields(self) -> Self:
        wanted = {"gaussian": "channels", "neural": "channels", "categorical": "codes"}
        for name in ("channels", "codes"):
            needed = wanted.get(self.emission) == name
            if needed and getattr(self, name) is None:
                raise ValueError(f"field {name!r} is missing: {self.emission} emissions need it")
            if not needed and getattr(self, name) is not None:
                raise ValueError(
                    f"field {name!r} means nothing for {self.emission} emissions, "
                    f"but is {getattr(self, name)}"
                )
        if self.hidden and self.emission != "neural":
            raise ValueError(f"field 'hidden' means nothing for {self.emission} emissions")
        return self

    @property
    def input_channels(self) -> int:
        """Channels of the input."""
        if self.emission == "categorical":
            return require_channels(self.kind, self.codes) if self.encoding == "one_hot" else 1
        return (
            self.states if self.emission == "none" else require_channels(self.kind, self.channels)
        )

    @property
    def typical(self) -> float:
        """Steps that a segment lasts before training, about."""
        return self.expected_duration or max(1.0, self.max_duration / 4)

    @property
    def engine_shape(self) -> str:
        """States and durations, rounded up to powers of 2."""
        states, durations = (
            1 << (size - 1).bit_length() for size in (self.states, self.max_duration)
        )
        return f"states {states}, durations {durations}"

    def own_params(self) -> dict[str, Param]:
        """`initial_logits`, `transition_logits`, those of the duration law, of the emission."""
        k = self.states
        return {
            "initial_logits": Param((k,), "C", Init("constant", 0.0), "bias"),
            "transition_logits": Param((k, k), "OI", Init("constant", 0.0)),
            **self._duration_params(),
            **self._emission_params(),
        }

    def _duration_params(self) -> dict[str, Param]:
        """Parameters of the duration law; states start with different means, where it has one."""
        k, steps = (self.states,), self.typical
        spread = Init("log_uniform", bounds=(0.5 * steps, 1.5 * steps))
        if self.duration == "poisson":
            return {"duration_log_rate": Param(k, "C", spread, "bias")}
        if self.duration == "negative_binomial":
            return {
                "duration_log_size": Param(k, "C", Init("constant", math.log(SIZE)), "bias"),
                "duration_logit": Param(k, "C", Init("constant", math.log(steps / SIZE)), "bias"),
            }
        if self.duration == "gaussian":
            wide = Init("constant", 2.0 * math.log(0.5 * steps + 0.5))
            return {
                "duration_log_mean": Param(k, "C", spread, "bias"),
                "duration_log_variance": Param(k, "C", wide, "bias"),
            }
        table = (self.states, self.max_duration)
        return {"duration_logits": Param(table, "OI", Init("normal", 0.1))}

    def _emission_params(self) -> dict[str, Param]:
        """Parameters of gaussian and categorical emissions; a network has its own."""
        if self.emission == "gaussian":
            shape = (self.states, self.input_channels)
            return {
                "means": Param(shape, "OI", Init("normal", 1.0)),
                "log_variances": Param(shape, "OI", Init("constant", 0.0)),
            }
        if self.emission == "categorical":
            shape = (self.states, require_channels(self.kind, self.codes))
            return {"code_logits": Param(shape, "OI", Init("normal", 1.0))}
        return {}

    def children(self) -> dict[str, Spec]:
        """`network`, of neural emissions: (batch, channels, time) -> (batch, states, time)."""
        if self.emission != "neural":
            return {}
        layers: dict[str, Spec] = {}
        width = self.input_channels
        for depth, wider in enumerate(self.hidden):
            layers[f"hidden_{depth}"] = DenseBlockSpec(
                in_features=width,
                out_features=wider,
                activation=ActivationSpec(name=self.activation),
            )
            width = wider
        plain = InitializerSpec(gain=1.0)
        score = DenseSpec(in_features=width, out_features=self.states, initializer=plain)
        return {"network": SequentialSpec(layers={**layers, "score": score})}

    def own_state(self) -> dict[str, StateItem]:
        """`ages`, `scale` and `count`; see above."""
        return {
            "ages": StateItem(
                (self.states, self.max_duration), summed=True, lasting=True, logarithms=True
            ),
            "scale": StateItem((2,), summed=True, lasting=True),
            "count": StateItem((), integer=True),
        }

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, time) -> (states, time)."""
        if len(input_shape) != 2:
            raise InputError(
                f"{self.kind} works along time and takes (batch, channels, time), but a vector "
                f"(batch, {input_shape[0]}) came"
            )
        self.check_channels(input_shape)
        if input_shape[1] < 1:
            raise InputError(f"{self.kind} needs at least 1 time step, but none came")
        return (self.states, input_shape[1])

    def check_values(self, x: "Array") -> None:
        """Only finite values, and only codes that there are."""
        super().check_values(x)
        if self.emission == "categorical" and self.encoding == "index":
            import numpy as np  # not needed to describe a model

            highest = np.rint(x).max(initial=-1.0)
            if highest >= require_channels(self.kind, self.codes):
                raise InputError(
                    f"a code must be below {self.codes}, the number of codes, "
                    f"but {highest:.0f} came"
                )

    def check_dtype(self, dtype: str, path: str = "") -> None:
        """Numbers of codes come as floats."""
        last = (self.codes or 1) - 1 if self.encoding == "index" else 0
        if last > WHOLE.get(dtype, last):
            raise SpecError(
                f"{path or self.kind}: codes up to {last} come as numbers in one channel, and "
                f"{dtype!r} holds whole numbers up to {WHOLE[dtype]} only; use float32, or "
                "encoding 'one_hot'"
            )

    def channels_after(self, channels: int | None) -> int:
        """One for each state."""
        return self.states

    def terms_per_step(self) -> int:
        """Durations of all states."""
        return self.states * self.max_duration

    def macs_of(self, input_shape: Shape) -> int:
        """Those of the emission, and of the windows and the transitions in both directions."""
        steps, k = input_shape[-1], self.states
        ways = 2 if self.output == "posterior" else 1
        emission = {"gaussian": 2 * k * self.input_channels, "categorical": 0}.get(self.emission, 0)
        if self.encoding == "one_hot" and self.emission == "categorical":
            emission = k * self.input_channels
        recursion = ways * k * (2 * self.max_duration + k)
        return steps * (emission + recursion) + sum(
            part.macs(steps) for part in self.children().values()
        )

    def field(self) -> ReceptiveField:
        """One step; the state remembers all of the past."""
        return ReceptiveField()

    @property
    def pools_all(self) -> bool:
        """Whether the whole signal is looked at."""
        return self.output == "posterior"

    def own_streaming_blocker(self) -> str | None:
        """Posteriors look back from the end."""
        if self.output == "posterior":
            return (
                "posteriors need the whole signal; with 'output: filtered' the states are told "
                "from the signal so far"
            )
        return None
