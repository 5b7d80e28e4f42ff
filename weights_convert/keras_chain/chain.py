"""The layers of a Keras model in order of computation, where they are one chain.

Sequential and functional models are read from their configurations alone, nested ones laid flat.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tcnzoo.errors import SpecError

MODELS = ("Sequential", "Functional", "Model")
# Classes that have variables -> the stem of their groups in a file.
STEMS = {
    "Conv1D": "conv1d",
    "SeparableConv1D": "separable_conv1d",
    "DepthwiseConv1D": "depthwise_conv1d",
    "BatchNormalization": "batch_normalization",
    "LayerNormalization": "layer_normalization",
    "Dense": "dense",
    "TCN": "tcn",
    "Sequential": "sequential",
    "Functional": "functional",
    "Model": "functional",
}
# What Keras 3 writes into a legacy file for a class that is registered -> the class.
REGISTERED = {"Custom>TCN": "TCN"}
# Packages that Keras's own classes are in; a legacy file does not say.
PACKAGES = ("", "keras", "tf_keras", "tensorflow")
# Models within models that are opened.
DEPTH = 16


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        kind: its Keras class.
        config: as Keras serialises it.
        names: its own, after those of the models that it is within.
        group: its group, after theirs, each as `stem#number`.
        module: of its class, empty where the file does not say it.
        old: written by a Keras before 3.
    """

    kind: str
    config: Mapping[str, Any]
    names: tuple[str, ...]
    group: tuple[str, ...]
    module: str = ""
    old: bool = False

    @property
    def name(self) -> str:
        """Its own name."""
        return self.names[-1]


@dataclass(frozen=True)
class Chain:
    """Layers one after the other.

    Attributes:
        input_shape: (time or None, channels) or (features,).
        layers: all but the input.
    """

    input_shape: tuple[int | None, ...]
    layers: tuple[Layer, ...]


def _kind(layer: Mapping[str, Any]) -> str:
    """Class of a layer, from its configuration."""
    name = str(layer.get("class_name"))
    return REGISTERED.get(name, name)


def is_model(model: Mapping[str, Any]) -> bool:
    """Whether a configuration is that of a Sequential or functional model with layers."""
    config = model.get("config")
    layers = config.get("layers") if isinstance(config, Mapping) else None
    own = str(model.get("module") or "").partition(".")[0] in PACKAGES
    return own and model.get("class_name") in MODELS and isinstance(layers, list) and bool(layers)


def kinds_in(model: Mapping[str, Any], depth: int = DEPTH) -> set[str]:
    """Classes of all layers, nested ones too."""
    if not depth or not is_model(model):
        return set()
    layers = [layer for layer in model["config"]["layers"] if isinstance(layer, Mapping)]
    nested = set[str]().union(*(kinds_in(layer, depth - 1) for layer in layers))
    return nested | {_kind(layer) for layer in layers}


def chain_of(model: Mapping[str, Any], old: bool = False) -> Chain:
    """The chain that a model is.

    Args:
        model: class and configuration, as Keras serialises a model.
        old: written by a Keras before 3.
    Raises:
        SpecError: no such model, one with branches, or one whose input has no known width.
    """
    layers = tuple(_flat(model, old, (), (), DEPTH))
    shape = next(filter(None, (_shape_in(layer.config) for layer in layers)), None)
    shape = shape or _build_shape(model)
    if shape is None or not isinstance(shape[-1], int):
        raise SpecError(
            "a Keras model must say the shape of its input, but this one was never built"
        )
    return Chain(tuple(shape[1:]), tuple(layer for layer in layers if layer.kind != "InputLayer"))


def _shape_in(config: Mapping[str, Any]) -> list[int | None] | None:
    """The shape of the input, (batch, ...), where the configuration of a layer has one."""
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    if shape is None:
        return None
    sizes = shape if isinstance(shape, list) else []
    known = all(size is None or (type(size) is int and size > 0) for size in sizes)
    if len(sizes) not in (2, 3) or not known:
        raise SpecError(
            "the input of a Keras model must be (batch, time, channels) or (batch, features), "
            f"but is {shape!r}"
        )
    return sizes


def _build_shape(model: Mapping[str, Any]) -> list[int | None] | None:
    """The shape that a Sequential without an input layer was built for."""
    return _shape_in({"batch_shape": model["config"].get("build_input_shape")})


def _flat(
    model: Mapping[str, Any],
    old: bool,
    names: tuple[str, ...],
    outer: tuple[str, ...],
    depth: int,
) -> Iterator[Layer]:
    """The layers of a model, nested ones among them."""
    if not is_model(model) or not depth:
        raise SpecError(
            "a Keras model must be Sequential or functional to be read, "
            f"but this is {model.get('class_name')!r}"
        )
    for layer, number in _ordered(model):
        kind, config = _kind(layer), layer.get("config")
        if not isinstance(config, Mapping):
            raise SpecError(f"a layer of class {kind!r} has no configuration")
        own = (*names, str(config.get("name", layer.get("name", kind))))
        group = (*outer, f"{STEMS.get(kind, kind)}#{number}")
        if kind in MODELS:
            yield from _flat(layer, old, own, group, depth - 1)
        else:
            yield Layer(kind, config, own, group, str(layer.get("module") or ""), old)


def _ordered(model: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], int]]:
    """Layers of one model in order of computation, each with its number among those of its stem."""
    layers = model["config"]["layers"]
    if not all(isinstance(layer, Mapping) for layer in layers):
        raise SpecError("the layers of a Keras model must be mappings")
    counts: dict[str, int] = {}
    numbered = []
    for layer in layers:
        stem = STEMS.get(_kind(layer), _kind(layer))
        counts[stem] = counts.get(stem, -1) + 1
        numbered.append((layer, counts[stem]))
    if model["class_name"] == "Sequential":
        return numbered
    named = {str(layer.get("name")): (layer, number) for layer, number in numbered}
    if len(named) < len(numbered):
        raise SpecError("two layers of a Keras model have the same name")
    return _followed(named, model)


def _followed(
    layers: Mapping[str, tuple[Mapping[str, Any], int]], model: Mapping[str, Any]
) -> list[tuple[Mapping[str, Any], int]]:
    """Layers of a functional model, from its one input to its one output."""
    before = {name: _source(name, layer) for name, (layer, _) in layers.items()}
    for name in layers:
        after = [other for other in layers if before[other] == name]
        if len(after) > 1:
            raise SpecError(
                f"a Keras model must be one chain of layers, but after layer {name!r} it branches "
                f"into {', '.join(map(repr, after))}"
            )
    config = model["config"]
    start, end = (_only(config.get(key), key) for key in ("input_layers", "output_layers"))
    order = [end]
    while order[-1] != start:
        source = before.get(order[-1])
        if source is None or source in order:
            raise SpecError(f"no chain of layers leads from {start!r} to {end!r} in a Keras model")
        order.append(source)
    unused = [name for name in layers if name not in order]
    if unused:
        raise SpecError(
            f"a Keras model must be one chain of layers, but {unused[0]!r} is beside it"
        )
    return [layers[name] for name in reversed(order)]


def _only(value: Any, key: str) -> str:
    """The one layer that `input_layers` or `output_layers` names."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    if not isinstance(value, list) or not value or not isinstance(value[0], str):
        raise SpecError(f"a Keras model must have one of {key}, but has {value!r}")
    return value[0]


def _source(name: str, layer: Mapping[str, Any]) -> str | None:
    """The layer that a layer of a functional model reads from; None for an input."""
    nodes = layer.get("inbound_nodes")
    if not nodes:
        return None
    if not isinstance(nodes, list) or len(nodes) > 1:
        raise SpecError(f"layer {name!r} is used more than once, which no chain of layers does")
    sources, options = _call(nodes[0])
    if len(sources) != 1:
        raise SpecError(
            f"a Keras model must be one chain of layers, but layer {name!r} "
            f"({layer.get('class_name')}) reads from {len(sources)}"
        )
    for option, value in options.items():
        if value is not None and value is not False:
            raise SpecError(f"layer {name!r} is called with {option}={value!r}, which is not read")
    return sources[0]


def _call(node: Any) -> tuple[list[str], Mapping[str, Any]]:
    """Names of the layers that one call reads from, and its options (Keras 3, or Keras 2)."""
    if isinstance(node, Mapping):
        given = node.get("kwargs")
        sources = list(_histories(node.get("args"), DEPTH))
        return sources, given if isinstance(given, Mapping) else {}
    nodes = node if isinstance(node, list) else ()
    called = [argument for argument in nodes if isinstance(argument, list) and argument]
    options: dict[str, Any] = {}
    for argument in called:
        given = argument[3] if len(argument) > 3 else None
        options |= given if isinstance(given, Mapping) else {}
    return [str(argument[0]) for argument in called], options


def _histories(value: Any, depth: int) -> Iterator[str]:
    """Layers whose outputs are somewhere among the arguments of a call."""
    if isinstance(value, Mapping):
        config = value.get("config")
        history = config.get("keras_history") if isinstance(config, Mapping) else None
        if isinstance(history, list) and history:
            yield str(history[0])
    elif isinstance(value, list) and depth:
        for inner in value:
            yield from _histories(inner, depth - 1)
