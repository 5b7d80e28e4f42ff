"""Activations in Keras's words and in ours."""

from collections.abc import Callable, Mapping
from typing import Any

from tcnzoo.errors import SpecError
from tcnzoo.specs import ActivationSpec

from .chain import Layer

Arguments = dict[str, Any]

# Names under which Keras 3 has the same function; its own leaky_relu has this slope.
SAME = (
    "linear", "relu", "relu6", "elu", "selu", "gelu", "silu", "tanh", "sigmoid", "softplus",
    "softmax", "log_softmax", "hard_sigmoid",
)  # fmt: skip
OTHER: dict[str, Arguments] = {
    "swish": {"name": "silu"},
    "hard_silu": {"name": "hard_swish"},
    "hard_swish": {"name": "hard_swish"},
    "leaky_relu": {"name": "leaky_relu", "slope": 0.2},
}
FROM_NAME: Mapping[str, Arguments] = {**{name: {"name": name} for name in SAME}, **OTHER}


def number(layer: Layer, key: str, default: float | None = None) -> float:
    """A number in the configuration of a layer, also where Keras 2 wraps it as an array."""
    value = layer.config.get(key)
    while isinstance(value, Mapping):
        value = value.get("config", value.get("value"))
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"{key} of layer {layer.name!r} must be a number, but is {value!r}")
    return value


def _relu(layer: Layer) -> Arguments:
    """The plain one, one with a slope below zero, or one that ends at 6."""
    slope, threshold = number(layer, "negative_slope", 0.0), number(layer, "threshold", 0.0)
    if layer.config.get("max_value") is not None:
        if (number(layer, "max_value"), slope, threshold) == (6, 0, 0):
            return {"name": "relu6"}
    elif threshold == 0:
        return {"name": "leaky_relu", "slope": slope} if slope else {"name": "relu"}
    raise SpecError(
        f"layer {layer.name!r} is a ReLU with max_value {layer.config.get('max_value')!r}, "
        f"negative_slope {slope} and threshold {threshold}; only max_value 6, or a slope alone, "
        "is read"
    )


def _leaky_relu(layer: Layer) -> Arguments:
    """Keras 2 says `alpha`, Keras 3 `negative_slope`; its default is 0.3 in both."""
    key = "negative_slope" if "negative_slope" in layer.config else "alpha"
    return {"name": "leaky_relu", "slope": number(layer, key, 0.3)}


def _softmax(layer: Layer) -> Arguments:
    """Over channels, which come last in Keras."""
    axis = layer.config.get("axis", -1)
    if axis not in (-1, [-1]):
        raise SpecError(f"layer {layer.name!r} must be a softmax over axis -1, but has {axis!r}")
    return {"name": "softmax"}


CLASSES: Mapping[str, Callable[[Layer], Arguments]] = {
    "Activation": lambda layer: named(layer, layer.config.get("activation")),
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": lambda layer: {"name": "elu", "alpha": number(layer, "alpha", 1.0)},
    "Softmax": _softmax,
}


def named(layer: Layer, value: Any) -> Arguments:
    """Arguments of the ActivationSpec for an `activation` of a layer.

    Args:
        layer: whose it is.
        value: a name, nothing, or a layer of its own, as Keras serialises it.
    Raises:
        SpecError: a function that is not Keras's own, or one that has no counterpart.
    """
    if value is None:
        return {"name": "linear"}
    if isinstance(value, Mapping) and value.get("class_name") in CLASSES.keys() - {"Activation"}:
        config = value.get("config")
        inner = config if isinstance(config, Mapping) else {}
        kind = str(value["class_name"])
        return CLASSES[kind](Layer(kind, inner, layer.names, layer.group, old=layer.old))
    if isinstance(value, str) and value in FROM_NAME:
        if layer.old and value == "hard_sigmoid":
            raise SpecError(
                f"layer {layer.name!r} has activation 'hard_sigmoid', which in Keras before 3 is "
                "another function than since; it is not read"
            )
        return dict(FROM_NAME[value])
    what = value.get("config") if isinstance(value, Mapping) else value
    raise SpecError(
        f"layer {layer.name!r} has activation {what!r}; known are {', '.join(sorted(FROM_NAME))}"
    )


def keras_activation(path: str, spec: ActivationSpec) -> tuple[str, Arguments]:
    """Keras class and arguments of an activation.

    Raises:
        SpecError: Keras has no layer for it.
    """
    if spec.name == "leaky_relu":
        return "LeakyReLU", {"negative_slope": spec.slope}
    if spec.name == "elu":
        return "ELU", {"alpha": spec.alpha}
    if spec.name == "gelu_tanh":
        raise SpecError(
            f"layer {path!r} is activation 'gelu_tanh', for which Keras has no layer; use 'gelu'"
        )
    return "Activation", {"activation": {"hard_swish": "hard_silu"}.get(spec.name, spec.name)}
