"""Param tables, how their rows start, and the numpy code that fills them for every backend."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tcnzoo.errors import SpecError, WeightError, suggestion
from tcnzoo.memory import check_fits

if TYPE_CHECKING:
    import numpy as np

    from tcnzoo.arrays import Array, Weights

Role = Literal["weight", "bias", "scale", "statistic"]


@dataclass(frozen=True)
class Init:
    """How a parameter is filled before training.

    Attributes:
        name: `constant`, `normal`, `uniform`, `xavier_normal`, `xavier_uniform`, `kaiming_normal`,
            `kaiming_uniform`, `norm_of` (the weight-norm gain: norm of the sibling `sibling`),
            `copy_of` (the sibling's values), `log_uniform` (logarithm of a value uniform within
            `bounds`), `softplus_inverse` (x with softplus(x) log-uniform within `bounds`, and at
            least `floor`), or `trunc_normal` (normal of deviation `gain`, within `bounds`).
        gain: factor on the standard deviation or bound; the value itself for `constant`.
        fan_in: inputs that one output sums over.
        fan_out: outputs that one input feeds.
        sibling: for `norm_of` and `copy_of`, the last part of the other parameter's name.
        bounds, floor: of the last three laws.
    Source:
        Glorot & Bengio 2010 (xavier), He et al. 2015 (kaiming, fan-in mode), as torch.nn.init.
    """

    name: str
    gain: float = 1.0
    fan_in: int = 1
    fan_out: int = 1
    sibling: str = ""
    bounds: tuple[float, float] = (0.0, 0.0)
    floor: float = 0.0


@dataclass(frozen=True)
class Param:
    """One row of a param table.

    Attributes:
        shape: size in neutral (torch) layout.
        axes: one letter an axis: `O` out, `I` in, `K` tap, `C` channel.
        init: how it starts.
        role: `weight`, `bias` and `scale` are trained; `statistic` is a buffer (running mean or
            variance).
    """

    shape: tuple[int, ...]
    axes: str
    init: Init
    role: Role = "weight"

    @property
    def trainable(self) -> bool:
        """Whether an optimiser changes it."""
        return self.role != "statistic"

    @property
    def size(self) -> int:
        """How many values it holds."""
        return math.prod(self.shape)


class HasGain(Protocol):
    """An activation, as far as an initialiser asks."""

    def gain(self) -> float:
        """Initial gain that keeps variance through it."""


class InitializerSpec(BaseModel):
    """An initialiser of kernels.

    Attributes:
        name: torch.nn.init's names; `normal` is N(0, gain^2), `trunc_normal` the same within `cut`,
            and `uniform` is U(-gain, gain). A layer whose kernel is `trunc_normal` has biases that
            start at zero, as ViT, BEiT and LaBraM have it.
        gain: factor on deviation or bound; None takes the gain of the activation that follows.
            It is applied for every name, and under weight norm too (v is drawn, g = ||v||).
        cut: of `trunc_normal`: no value is further from 0 than so many times the gain.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Literal[
        "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "normal", "uniform",
        "trunc_normal",
    ] = "kaiming_uniform"  # fmt: skip
    gain: Annotated[float, Field(gt=0.0)] | None = None
    cut: Annotated[float, Field(ge=0.1)] = 2.0

    def for_activation(self, activation: HasGain | None) -> "InitializerSpec":
        """The same with the gain that holds: the given one, else that of `activation`."""
        if self.gain is not None:
            return self
        gain = activation.gain() if activation is not None else 1.0
        return self.model_copy(update={"gain": gain})

    def init(self, fan_in: int, fan_out: int) -> Init:
        """The initialiser for a kernel of known fans."""
        gain = 1.0 if self.gain is None else self.gain
        bounds = (-self.cut * gain, self.cut * gain) if self.name == "trunc_normal" else (0.0, 0.0)
        return Init(self.name, gain, fan_in, fan_out, bounds=bounds)


def by_name(value: Any) -> Any:
    """Let a bare name stand for what it names, with default constants."""
    return {"name": value} if isinstance(value, str) else value


Initializer = Annotated[InitializerSpec, BeforeValidator(by_name)]


def kernel_rows(
    initializer: InitializerSpec,
    shape: tuple[int, ...],
    axes: str,
    fans: tuple[int, int],
    *,
    bias: bool,
    weight_norm: bool = False,
) -> dict[str, Param]:
    """Rows of a kernel, or of its weight-norm direction and gain, and of its bias.

    A bias starts from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), as in torch's own layers, and at zero
    beside a kernel that is `trunc_normal`.

    Args:
        initializer: of the kernel.
        shape, axes: of the kernel; see Param.
        fans: inputs that one output sums over, and outputs that one input feeds.
        bias: whether there is one.
        weight_norm: whether the kernel is g * v / ||v||.
    """
    init = initializer.init(*fans)
    if weight_norm:
        gain = tuple(size if axis == "O" else 1 for size, axis in zip(shape, axes, strict=True))
        rows = {
            "weight_v": Param(shape, axes, init),
            "weight_g": Param(gain, axes, Init("norm_of", sibling="weight_v"), "scale"),
        }
    else:
        rows = {"weight": Param(shape, axes, init)}
    if bias:
        channels = shape[axes.index("O")]
        start = Init("kaiming_uniform", 3.0**-0.5, fans[0], channels)
        if init.name == "trunc_normal":
            start = Init("constant", 0.0)
        rows["bias"] = Param((channels,), "C", start, "bias")
    return rows


class ParamCount(NamedTuple):
    """How many values a model holds: those that are trained, and its running statistics."""

    trainable: int
    buffers: int


def count(table: Mapping[str, Param]) -> ParamCount:
    """Count the values of a param table."""
    trainable = sum(param.size for param in table.values() if param.trainable)
    return ParamCount(trainable, sum(param.size for param in table.values()) - trainable)


def _draw(init: Init, shape: tuple[int, ...], generator: "np.random.Generator") -> "Array":
    """Draw float64 values; bound and deviation follow torch.nn.init."""
    import numpy as np  # a third of the time that `tcnzoo describe` takes without it

    if init.name == "constant":
        return np.full(shape, init.gain)
    low, high = init.bounds
    if init.name == "log_uniform":
        return np.log(generator.uniform(low, high, shape))
    if init.name == "softplus_inverse":
        drawn = np.exp(generator.uniform(math.log(low), math.log(high), shape))
        value = np.maximum(drawn, init.floor)
        return value + np.log(-np.expm1(-value))
    if init.name == "trunc_normal":
        drawn = generator.normal(0.0, init.gain, shape)
        while (outside := (drawn < low) | (drawn > high)).any():
            drawn[outside] = generator.normal(0.0, init.gain, int(outside.sum()))
        return drawn
    family, _, law = init.name.rpartition("_")
    deviation = {
        "": init.gain,
        "xavier": init.gain * math.sqrt(2.0 / (init.fan_in + init.fan_out)),
        "kaiming": init.gain / math.sqrt(init.fan_in),
    }[family]
    if law == "normal":
        return generator.normal(0.0, deviation, shape)
    bound = deviation if family == "" else math.sqrt(3.0) * deviation
    return generator.uniform(-bound, bound, shape)


def weight_norm_gain(direction: "Array", axes: str) -> "Array":
    """Norm of a weight-norm direction over every axis but `O`, those axes kept with size 1."""
    import numpy as np

    over = tuple(axis for axis, letter in enumerate(axes) if letter != "O")
    squares: Array = np.sum(np.square(direction, dtype=np.float64), axis=over, keepdims=True)
    return np.sqrt(squares)


def initial_weights(table: Mapping[str, Param], seed: int = 0, copies: int = 1) -> "Weights":
    """Fill a param table from `PCG64(seed)`, row by row: every backend starts from the same bits.

    Args:
        table: ordered rows, as `spec.params()` gives them.
        seed: any integer >= 0.
        copies: of all weights that will be there at once, these among them.
    Returns:
        float32 arrays in neutral layout, in table order.
    Raises:
        InputError: they do not fit into the memory of this machine.
    """
    import numpy as np

    check_memory(table, copies)
    generator = np.random.Generator(np.random.PCG64(seed))
    weights: Weights = {}
    for name, param in table.items():
        sibling = name.rpartition(".")[0] + "." * ("." in name) + param.init.sibling
        if param.init.name == "norm_of":
            values = weight_norm_gain(weights[sibling], param.axes)
        elif param.init.name == "copy_of":
            values = weights[sibling]
        else:
            values = _draw(param.init, param.shape, generator)
        weights[name] = values.astype(np.float32)
    return weights


def check_memory(table: Mapping[str, Param], copies: int = 1) -> None:
    """Refuse a model that cannot be made within the memory.

    Args:
        table: its parameters.
        copies: of all weights that are there at once.
    Raises:
        InputError: the sizes of both.
    """
    values = peak = 0
    for param in table.values():
        size = param.size
        values += size
        peak = max(peak, 4 * values + 8 * size)  # values are drawn in float64
    what = "the model has {} values, in float32 {} bytes, and to make it takes"
    check_fits(max(peak, 4 * values * copies), what, values, 4 * values)


def varied_weights(table: Mapping[str, Param], seed: int = 0) -> "Weights":
    """Initial weights with scales, biases and statistics moved off the values that hide mistakes.

    A running variance of 1, a shift of 0 and a weight-norm gain that is ||v|| make a wrong eps,
    axis or order of steps invisible, and the gain itself, so comparisons use these weights.
    """
    import numpy as np

    weights = initial_weights(table, seed)
    generator = np.random.Generator(np.random.PCG64([seed, 1]))
    for name, param in table.items():
        if param.init.name not in ("constant", "norm_of"):
            continue
        if name.endswith("running_var"):
            values = generator.uniform(0.3, 2.0, param.shape)
        elif param.init.name == "norm_of":
            values = weights[name] * generator.uniform(0.7, 1.4, param.shape)
        else:
            values = weights[name] + generator.normal(0.0, 0.2, param.shape)
        weights[name] = values.astype(np.float32)
    return weights


def check_weights(table: Mapping[str, Param], weights: Mapping[str, Any]) -> None:
    """Hold a set of weights against a param table before anything is changed or read.

    Raises:
        WeightError: a row without array, an array without row, or a shape that differs.
    """
    from tcnzoo.files.lazy import facts_of  # which needs numpy

    missing = [name for name in table if name not in weights]
    extra = [name for name in weights if name not in table]
    if missing:
        hint = suggestion(missing[0], extra) if extra else ""
        hint = hint if "did you mean" in hint else ""
        raise WeightError(
            f"expected {len(table)} tensors, but {len(missing)} are missing, the first "
            f"{missing[0]!r} of shape {table[missing[0]].shape}"
            f"{hint.replace('did you mean', 'is it')}"
        )
    if extra:
        raise WeightError(
            f"expected only the {len(table)} tensors of the model, but {len(extra)} more came, "
            f"the first {extra[0]!r}"
        )
    facts = facts_of(weights)
    for name, param in table.items():
        if tuple(facts[name].shape) != param.shape:
            raise WeightError(
                f"tensor {name!r} must have shape {param.shape} (axes {param.axes}), "
                f"but has {tuple(facts[name].shape)}"
            )


def permute(array: "Array", axes: str, stored: str) -> "Array":
    """Reorder axes from one labelled layout to another, as a view.

    Args:
        array: any array whose axes are labelled by `axes`.
        axes: the labels now, as `"OIK"`.
        stored: the same labels in the wanted order, as `"KIO"`.
    Raises:
        SpecError: the two are not the same letters.
    """
    if sorted(axes) != sorted(stored):
        raise SpecError(f"cannot permute axes {axes!r} to {stored!r}: the letters differ")
    if axes == stored:
        return array
    return array.transpose([axes.index(letter) for letter in stored])
