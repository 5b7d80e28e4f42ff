"""Hierarchical Dirichlet process, weak limit: a mixture, and rows that share its weights."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tcnzoo.errors import InputError
from tcnzoo.specs.base import Positive, Shape, Spec, Whole, require_channels
from tcnzoo.specs.params import Init, Param

Concentration = Annotated[float, Field(gt=0.0)]


class HdpSpec(Spec):
    """A mixture whose weights are a stick-breaking process, cut off after L clusters.

    The global weights are beta ~ GEM(gamma), with v = sigmoid `stick_logits` (L - 1,):

        beta_k = v_k (1 - v_1) ... (1 - v_{k-1}),    beta_L the rest,

    computed as logarithms, so that small ones do not vanish. Group rows pi_j ~ DP(alpha, beta) are
    then pi_j ~ Dir(alpha beta), and Dir(alpha beta + sticky e_j) for rows that may stay in their
    own cluster. Rows without a diagonal, those of a hidden semi-Markov model, are
    ~ Dir(alpha beta_{-j}).

    As a block it gives each step's probabilities of the clusters, (batch, channels, time) ->
    (batch, clusters, time): softmax over k of (log beta_k + evidence_k(x_t)) / temperature, with

        gaussian    evidence = sum over channels of -((x - m)^2 / v + log v + log 2 pi) / 2,
                    m = `means` (L, channels), v = variance_floor + exp `log_variances`
        codes       evidence = sum over codes of x(code) log_softmax(`code_logits`)(k, code); x has
                    a channel for each code, 1 at the one chosen

    The MAP penalty is minus the log density of sticks and rows in the basis of their logits:

        -sum over k of log v_k + gamma log(1 - v_k), - (L - 1) log gamma
        -sum over j of [log Gamma(sum a) - sum over k of log Gamma(a_k) - a_k log pi_jk]

    with a = alpha beta over the clusters that row j has (initial probabilities are one more row, of
    all clusters). The Jacobians of sigmoid and softmax are in it: without them the density of a row
    with some a_k < 1 has no upper bound, and its maximum is at zero weights.

    Attributes:
        clusters: L.
        components: `gaussian` over values, or `codes` over the codes of a vector quantiser.
        channels: of the input, for gaussian components.
        codes: how many codes there are.
        gamma: concentration of the global weights; more of it means more clusters.
        alpha: concentration of the rows around the global weights.
        sticky: kappa, added for a row's own cluster where it may stay there.
        temperature: at the start, kept as `log_temperature` (1,), a buffer that training may lower.
        variance_floor: added to each variance, in squared units of the input.
    Source:
        Teh et al. 2006, J. Am. Stat. Assoc. 101; sticky rows Fox et al. 2011, arXiv:0905.2592;
        weak limit and rows without diagonal Johnson & Willsky 2013, arXiv:1203.1365.
    """

    kind: Literal["hdp"] = "hdp"
    clusters: Annotated[Whole, Field(ge=2)]
    components: Literal["gaussian", "codes"] = "gaussian"
    channels: Positive | None = None
    codes: Positive | None = None
    gamma: Concentration = 2.0
    alpha: Concentration = 4.0
    sticky: Annotated[float, Field(ge=0.0)] = 0.0
    temperature: Concentration = 1.0
    variance_floor: Concentration = 1e-4

    @model_validator(mode="after")
    def _components_have_their_field(self) -> Self:
        wanted = {"gaussian": "channels", "codes": "codes"}[self.components]
        for name in ("channels", "codes"):
            given = getattr(self, name) is not None
            if name == wanted and not given:
                raise ValueError(f"field {name!r} is missing: {self.components} components need it")
            if name != wanted and given:
                raise ValueError(f"field {name!r} means nothing for {self.components} components")
        return self

    @property
    def input_channels(self) -> int:
        """Channels of the input."""
        return require_channels(
            self.kind, self.channels if self.components == "gaussian" else self.codes
        )

    def own_params(self) -> dict[str, Param]:
        """`stick_logits`, the buffer `log_temperature`, and those of the components."""
        start = Init("constant", -math.log(self.gamma))  # v = 1 / (1 + gamma), its prior mean
        cooled = Init("constant", math.log(self.temperature))
        shape = (self.clusters, self.input_channels)
        table = {
            "stick_logits": Param((self.clusters - 1,), "C", start, "bias"),
            "log_temperature": Param((1,), "C", cooled, "statistic"),
        }
        if self.components == "codes":
            return {**table, "code_logits": Param(shape, "OI", Init("normal", 1.0))}
        return {
            **table,
            "means": Param(shape, "OI", Init("normal", 1.0)),
            "log_variances": Param(shape, "OI", Init("constant", 0.0)),
        }

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, time) -> (clusters, time)."""
        self.check_channels(input_shape)
        if len(input_shape) != 2:
            came = ", ".join(map(str, input_shape))
            raise InputError(
                f"{self.kind} expects a signal (batch, channels, time), but (batch, {came}) came"
            )
        return self.clusters, input_shape[1]

    def channels_after(self, channels: int | None) -> int:
        """One for each cluster."""
        return self.clusters

    def macs_of(self, input_shape: Shape) -> int:
        """Two for each cluster and channel of a step; one with codes."""
        factor = 2 if self.components == "gaussian" else 1
        return factor * self.clusters * self.input_channels * input_shape[-1]


def annealed(step: int, steps: int, start: float, end: float) -> float:
    """The temperature at a step of training: it falls (or rises) by one factor a step.

    Args:
        step: from 0; from `steps` on it stays at `end`.
        steps: how long it takes.
        start, end: above 0.
    Raises:
        InputError: a temperature that is not above 0, or no steps.
    """
    if min(start, end) <= 0.0 or steps < 1 or step < 0:
        raise InputError(
            "annealing takes temperatures above 0, at least 1 step and no step before 0, but got "
            f"{start} to {end}, steps {steps}, step {step}"
        )
    return float(start * (end / start) ** min(1.0, step / steps))
