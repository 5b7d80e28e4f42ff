"""Layers with names: the spec of a model that was read, and its weights."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tcnzoo.arrays import DTYPES, Weights
from tcnzoo.specs.graph import INPUT as GRAPH_INPUT

from .kept_axis import keep_axis
from .layers import PARTS, Layer, Program
from .padding import settle_padding
from .refused import LATE, Refused
from .signal import INPUT, Const
from .simplify import simplify, spread

# What a layer's name begins with, where that is not its kind or what the kind says of itself.
_STEMS = {
    "conv1d": "conv", "conv_transpose1d": "conv_transpose", "batch_norm": "norm",
    "layer_norm": "norm", "window_pool": "pool", "affine": "norm",
}  # fmt: skip
# Powers of two that a variance of 1 - eps holds exactly in each float type.
_EPS = {"float64": 2.0**-17, "float32": 2.0**-17, "float16": 2.0**-10, "bfloat16": 2.0**-7}


@dataclass
class Named:
    """A model that was read.

    Attributes:
        document: of its spec.
        weights: under their neutral names.
        used: name of the file's tensor -> the neutral tensor that it became.
        assumed: fields that the file does not say -> the value taken.
        keeps_axis: whether an axis of size 1 behind a vector became time.
        drops: the axes of the file's output and the model's, where the file's has more of size 1.
    """

    document: dict[str, Any]
    weights: Weights = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    assumed: dict[str, Any] = field(default_factory=dict)
    keeps_axis: bool = False
    drops: tuple[str, str] | None = None

    def same(self, other: "Named") -> bool:
        """Whether two readings are of one model."""
        return self.document == other.document and all(
            np.array_equal(array, other.weights[name]) for name, array in self.weights.items()
        )


def named(
    program: Program,
    channels: int | None,
    fixed: bool,
    momentum: float | None,
    wants_axis: bool = False,
) -> Named:
    """Give the layers of a program their names.

    Args:
        program: what was read; simplified in place.
        channels: of the input, where they are known.
        fixed: whether the signals have one length.
        momentum: of batch norms, None for the default.
        wants_axis: whether the output, a vector, has an axis of size 1 that is to be kept.
    Raises:
        Refused: a step that is no part of a layer.
    """
    simplify(program)
    _check_parts(program)
    kept = wants_axis and keep_axis(program)
    for number in list(program.order):
        settle_padding(program, number, fixed)
    model, names, counts = Named({}, keeps_axis=kept), {INPUT: GRAPH_INPUT}, Counter[str]()
    nodes: dict[str, Any] = {}
    for number in program.order:
        layer = program.layers[number]
        stem = _stem(layer)
        counts[stem] += 1
        between = "_" if stem[-1].isdigit() else ""
        name = names[number] = f"{stem}{between}{counts[stem]}"
        document = _document(name, layer, model, (channels, momentum))
        nodes[name] = {"layer": document, "inputs": [names[source] for source in layer.inputs]}
        for parameter, const in layer.arrays.items():
            model.weights[f"{name}.{parameter}"] = const.array
            for source in const.sources:
                model.used.setdefault(source, f"{name}.{parameter}")
    model.document.update(_model(nodes, channels))
    return model


def _check_parts(program: Program) -> None:
    """Refuse steps that were not put together to a layer."""
    for number in program.order:
        layer = program.layers[number]
        if layer.kind in PARTS:
            raise Refused(
                f"{layer.node} is not supported: it is read only as a part of GELU, GLU, hard "
                "sigmoid, relu6 or a layer norm over channels, and here it is none",
                LATE,
            )
        if layer.kind == "affine" and layer.notes.widens:
            raise Refused(f"{layer.node} is not supported: it spreads one channel over many", LATE)
    if not program.order:
        raise Refused("the graph has no layers: its output is its input", LATE)


def _stem(layer: Layer) -> str:
    """What a layer's name begins with."""
    if layer.kind == "activation":
        return str(layer.fields["name"])
    if layer.kind == "merge":
        return str(layer.fields["mode"])
    return _STEMS.get(layer.kind, layer.kind)


def _model(nodes: dict[str, Any], channels: int | None) -> dict[str, Any]:
    """A sequential where each layer reads the one before, else a graph."""
    before = [GRAPH_INPUT, *nodes]
    if all(
        node["inputs"] == [source] for node, source in zip(nodes.values(), before, strict=False)
    ):
        layers = {name: node["layer"] for name, node in nodes.items()}
        return {"kind": "sequential", "layers": layers}
    return {"kind": "graph", "in_channels": channels, "nodes": nodes}


def _document(
    name: str, layer: Layer, model: Named, known: tuple[int | None, float | None]
) -> dict[str, Any]:
    """The spec of one layer, which may complete its arrays; `known` are channels and momentum."""
    channels, momentum = known
    kind = layer.kind
    if kind == "affine":
        kind = "batch_norm"
        _as_batch_norm(layer, channels)
        model.assumed[name] = "a scale and shift by constants, as a batch norm of fixed statistics"
    fields = dict(layer.fields)
    if kind in ("conv1d", "conv_transpose1d", "dense"):
        fields["bias"] = "bias" in layer.arrays
        layer.arrays = _ordered(layer, ("weight", "bias"))
    if kind == "layer_norm":
        _complete(layer)
    if kind == "batch_norm":
        fields["momentum"] = 0.1 if momentum is None else momentum
        if momentum is None:
            model.assumed["momentum"] = 0.1
    return {"kind": kind, **fields}


def _ordered(layer: Layer, names: tuple[str, ...]) -> dict[str, Const]:
    return {name: layer.arrays[name] for name in names if name in layer.arrays}


def _dtype(layer: Layer) -> np.dtype[Any]:
    """Float type of a layer's arrays."""
    for const in layer.arrays.values():
        return const.array.dtype
    return np.dtype(np.float32)


def _complete(layer: Layer) -> None:
    """Give a layer norm the scale and the shift that it may be without."""
    width, dtype = layer.fields["channels"], _dtype(layer)
    layer.arrays.setdefault("weight", Const(np.ones(width, dtype)))
    layer.arrays.setdefault("bias", Const(np.zeros(width, dtype)))
    ordered = _ordered(layer, ("weight", "bias"))
    layer.arrays = {name: spread(const, width) for name, const in ordered.items()}


def _as_batch_norm(layer: Layer, channels: int | None) -> None:
    """A scale and shift as the batch norm whose deviation is 1 to the last bit."""
    dtype, width = _dtype(layer), layer.fields["channels"] or channels
    if width is None:
        raise Refused(f"{layer.node} is not supported: its channels are not known", LATE)
    eps = _EPS[next((name for name, known in DTYPES.items() if known == dtype), "float32")]
    vectors = {
        "weight": layer.arrays.get("scale", Const(np.ones((), dtype))),
        "bias": layer.arrays.get("shift", Const(np.zeros((), dtype))),
        "running_mean": layer.arrays.get("mean", Const(np.zeros((), dtype))),
        "running_var": Const(np.asarray(1.0 - eps, dtype)),
    }
    layer.arrays = {name: spread(const, width) for name, const in vectors.items()}
    layer.fields = {"channels": width, "eps": eps}
