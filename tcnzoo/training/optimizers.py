"""Optimisers: their fields, with the meaning of torch.optim in every backend.

For the gradient g of a parameter w at its n-th step, with the rate r that the schedule gives:

```
sgd     g += weight_decay * w;  m = momentum * m + g, from m = 0
        w -= r * m, or with nesterov w -= r * (g + momentum * m)
adam    g += weight_decay * w
adamw   w -= r * weight_decay * w, before all else
both    m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g^2
        w -= r / (1 - beta1^n) * m / (sqrt(v) / sqrt(1 - beta2^n) + eps)
```
"""

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tcnzoo.arrays import Array
from tcnzoo.errors import WeightError, suggestion
from tcnzoo.specs.params import Param

NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Fading = Annotated[float, Field(ge=0.0, lt=1.0)]

STEP = "step"


class Factors(NamedTuple):
    """The scalars of one step of one parameter, computed in float64.

    Attributes:
        rate: factor of the direction: r, or r / (1 - beta1^n).
        root: sqrt(1 - beta2^n); 1 for sgd.
        kept: factor of the weight if decay is decoupled: 1 - r * weight_decay; else 1.
    """

    rate: float
    root: float
    kept: float


class _Optimizer(BaseModel):
    """Fields of every optimiser.

    Attributes:
        lr: learning rate at the schedule's peak.
        weight_decay: strength of the decay; coupled (a part of the gradient) but for adamw.
        no_decay: patterns of parameter names that do not decay, as `*.bias`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lr: NotNegative = 1e-3
    weight_decay: NotNegative = 0.0
    no_decay: tuple[str, ...] = ()

    @property
    def slots(self) -> tuple[str, ...]:
        """The moments of each parameter, by torch.optim's names."""
        return ()

    def decays(self, name: str) -> bool:
        """Whether a parameter decays."""
        patterned = any(fnmatchcase(name, pattern) for pattern in self.no_decay)
        return self.weight_decay > 0.0 and not patterned

    def factors(self, rate: float, count: int) -> Factors:
        """The scalars of the step number `count`, from 1, of a parameter."""
        return Factors(rate, 1.0, 1.0)


class Sgd(_Optimizer):
    """Stochastic gradient descent.

    Attributes:
        momentum: factor of the last direction.
        nesterov: look ahead along the momentum.
    """

    kind: Literal["sgd"] = "sgd"
    momentum: Fading = 0.0
    nesterov: bool = False

    @model_validator(mode="after")
    def _momentum(self) -> Self:
        """Nesterov looks ahead along a momentum."""
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    @property
    def slots(self) -> tuple[str, ...]:
        """The direction, where it is kept."""
        return ("momentum",) if self.momentum else ()


class Adam(_Optimizer):
    """Adam, its decay coupled.

    Attributes:
        betas: decay of the mean and of the mean square of the gradient.
        eps: added to the root, outside it and after bias correction.
    Source:
        Kingma & Ba 2015, arXiv:1412.6980, algorithm 1.
    """

    kind: Literal["adam"] = "adam"
    betas: tuple[Fading, Fading] = (0.9, 0.999)
    eps: Positive = 1e-8

    @property
    def slots(self) -> tuple[str, ...]:
        """Mean and mean square of the gradient."""
        return ("exp_avg", "exp_avg_sq")

    def factors(self, rate: float, count: int) -> Factors:
        """The scalars of the step number `count`, from 1, of a parameter."""
        first, second = (1.0 - beta**count for beta in self.betas)
        return Factors(rate / first, float(np.sqrt(second)), 1.0)


class AdamW(Adam):
    """Adam, its decay decoupled.

    Source:
        Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2, the decay scaled by the rate.
    """

    kind: Literal["adamw"] = "adamw"  # type: ignore[assignment]
    weight_decay: NotNegative = 1e-2

    def factors(self, rate: float, count: int) -> Factors:
        """The scalars of the step number `count`, from 1, of a parameter."""
        return super().factors(rate, count)._replace(kept=1.0 - rate * self.weight_decay)


Optimizer = Annotated[Sgd | Adam | AdamW, Field(discriminator="kind")]


def updated(
    optimizer: Sgd | Adam,
    decays: bool,
    weight: Any,
    gradient: Any,
    slots: Mapping[str, Any],
    factors: Any,
    sqrt: Callable[[Any], Any],
) -> tuple[Any, dict[str, Any]]:
    """One parameter after one step, by the formulas above.

    Args:
        optimizer: whose formula.
        decays: whether this parameter decays.
        weight, gradient: arrays of one shape, of any framework whose arrays take + - * /.
        slots: moments of the parameter, zeros before its first step.
        factors: the three scalars of `Factors`.
        sqrt: the framework's root.
    Returns:
        (weight, slots), new arrays.
    """
    rate, root, kept = factors
    decoupled = isinstance(optimizer, AdamW)
    if decays and decoupled:
        weight = weight * kept
    elif decays:
        gradient = gradient + optimizer.weight_decay * weight
    if isinstance(optimizer, Adam):
        first, second = optimizer.betas
        mean = first * slots["exp_avg"] + (1.0 - first) * gradient
        square = second * slots["exp_avg_sq"] + (1.0 - second) * (gradient * gradient)
        direction = mean / (sqrt(square) / root + optimizer.eps)
        return weight - rate * direction, {"exp_avg": mean, "exp_avg_sq": square}
    if not optimizer.momentum:
        return weight - rate * gradient, {}
    kept_direction = optimizer.momentum * slots["momentum"] + gradient
    ahead = gradient + optimizer.momentum * kept_direction
    direction = ahead if optimizer.nesterov else kept_direction
    return weight - rate * direction, {"momentum": kept_direction}


def trained_names(table: Mapping[str, Param], frozen: Iterable[str] = ()) -> tuple[str, ...]:
    """Names of the parameters that an optimiser moves, in table order."""
    left_out = set(frozen)
    return tuple(name for name, row in table.items() if row.trainable and name not in left_out)


def counts_to_state(counts: Mapping[str, int]) -> dict[str, Array]:
    """How often each parameter has moved, as entries of a neutral state.

    Most have moved equally often: that number is `step`. One that was frozen for a while has its
    own, `step.<name>`.
    """
    most = max(counts.values(), default=0)
    state = {STEP: np.array(most, dtype=np.int64)}
    for name, count in counts.items():
        if count != most:
            state[f"{STEP}.{name}"] = np.array(count, dtype=np.int64)
    return state


def counts_of_state(state: Mapping[str, Array], table: Mapping[str, Param]) -> dict[str, int]:
    """How often each trained parameter has moved, from a neutral state."""
    step = int(state[STEP])
    return {name: int(state.get(f"{STEP}.{name}", step)) for name in trained_names(table)}


def check_state(
    optimizer: Sgd | Adam, table: Mapping[str, Param], state: Mapping[str, Array]
) -> None:
    """Check a neutral optimiser state, before any of it is used.

    Raises:
        WeightError: no `step`, an entry of another optimiser or model, one that is missing, or a
            shape that differs.
    """
    if STEP not in state:
        raise WeightError(f"an optimiser state must have {STEP!r}, but this one has none")
    names = trained_names(table)
    slots = {f"{slot}.{name}": table[name].shape for slot in optimizer.slots for name in names}
    shapes = {**dict.fromkeys((STEP, *(f"{STEP}.{name}" for name in names)), ()), **slots}
    for entry, array in state.items():
        if entry not in shapes:
            raise WeightError(
                f"{optimizer.kind} keeps no state {entry!r} for this model"
                f"{suggestion(entry, shapes)}"
            )
        if tuple(array.shape) != shapes[entry]:
            raise WeightError(
                f"optimiser state {entry!r} must have shape {shapes[entry]}, "
                f"but has {tuple(array.shape)}"
            )
    counts = counts_of_state(state, table)
    for entry in slots:
        if entry not in state and counts[entry.partition(".")[2]]:
            raise WeightError(f"the optimiser state lacks {entry!r}, which {optimizer.kind} keeps")
