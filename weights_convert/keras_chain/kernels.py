"""Keras's convolutions, dense layers and norms as our blocks.

Keras is channels last; the layout of each variable is declared here.

Source: keras.layers, Keras 3.15.1 (Apache-2.0).
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from tcnzoo.errors import SpecError
from tcnzoo.specs import Shape

from .activation import named, number
from .chain import Layer
from .pieces import Piece, padding, stored, whole

# Our names -> Keras's.
SCALES = {"weight": "gamma", "bias": "beta"}
STATISTICS = {"running_mean": "moving_mean", "running_var": "moving_variance"}


def momentum(layer: Layer) -> float:
    """Torch's momentum is what Keras's leaves; both are short decimals."""
    return float(1 - Decimal(str(number(layer, "momentum", 0.99))))


def _kernel_fields(layer: Layer) -> dict[str, Any]:
    """Fields of a convolution that its number of channels has no part in."""
    stride = whole(layer, "strides")
    return {
        "kind": "conv1d",
        "kernel_size": whole(layer, "kernel_size"),
        "stride": stride,
        "dilation": whole(layer, "dilation_rate"),
        "padding": padding(layer, stride),
        "bias": bool(layer.config.get("use_bias", True)),
    }


def _activated(layer: Layer, *pieces: Piece) -> Iterator[Piece]:
    """Pieces of a layer, and its activation after them."""
    yield from pieces
    arguments = named(layer, layer.config.get("activation"))
    if arguments != {"name": "linear"}:
        yield Piece("_activation", {"kind": "activation", **arguments})


def _affine(layer: Layer, document: dict[str, Any], slot: str, layout: str) -> Piece:
    """A kernel, and a bias where there is one."""
    slots = {"weight": (slot, layout)}
    if document["bias"]:
        slots["bias"] = ("bias", "C")
    return Piece("", document, stored(layer, slots))


def _conv(layer: Layer, shape: Shape) -> Iterator[Piece]:
    document = {
        **_kernel_fields(layer),
        "in_channels": shape[0],
        "out_channels": whole(layer, "filters"),
        "groups": whole(layer, "groups") if layer.config.get("groups") else 1,
    }
    return _activated(layer, _affine(layer, document, "kernel", "KIO"))


def _depthwise_fields(layer: Layer, channels: int) -> dict[str, Any]:
    """A convolution of each channel by itself."""
    wide = channels * whole(layer, "depth_multiplier")
    sizes = {"in_channels": channels, "out_channels": wide, "groups": channels}
    return {**_kernel_fields(layer), **sizes}


def _depthwise_conv(layer: Layer, shape: Shape) -> Iterator[Piece]:
    slot = "depthwise_kernel" if layer.old else "kernel"
    piece = _affine(layer, _depthwise_fields(layer, shape[0]), slot, "KCM")
    return _activated(layer, piece)


def _separable_conv(layer: Layer, shape: Shape) -> Iterator[Piece]:
    document = {**_depthwise_fields(layer, shape[0]), "bias": False}
    mixing = {
        "kind": "conv1d",
        "in_channels": document["out_channels"],
        "out_channels": whole(layer, "filters"),
        "kernel_size": 1,
        "padding": "valid",
        "bias": bool(layer.config.get("use_bias", True)),
    }
    slots = {"depthwise": ("depthwise_kernel", "KCM"), "weight": ("pointwise_kernel", "KIO")}
    if mixing["bias"]:
        slots["bias"] = ("bias", "C")
    tensors = stored(layer, slots)
    alone = {"weight": tensors.pop("depthwise")}
    return _activated(
        layer, Piece("_depthwise", document, alone), Piece("_pointwise", mixing, tensors)
    )


def _dense(layer: Layer, shape: Shape) -> Iterator[Piece]:
    document = {
        "kind": "dense",
        "in_features": shape[0],
        "out_features": whole(layer, "units"),
        "bias": bool(layer.config.get("use_bias", True)),
    }
    return _activated(layer, _affine(layer, document, "kernel", "IO"))


def _norm_piece(layer: Layer, document: dict[str, Any], statistics: Mapping[str, str]) -> Piece:
    """A normalisation, whose scale and shift Keras may leave out."""
    on = {"weight": layer.config.get("scale", True), "bias": layer.config.get("center", True)}
    slots = {name: slot for name, slot in SCALES.items() if on[name]} | dict(statistics)
    fills = {name: 1.0 if name == "weight" else 0.0 for name in SCALES if not on[name]}
    tensors = stored(layer, {name: (slot, "C") for name, slot in slots.items()})
    return Piece("", document, tensors, fills)


def _check_axis(layer: Layer, shape: Shape) -> None:
    """Refuse a normalisation of anything but channels."""
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if axis not in (-1, len(shape)):
        raise SpecError(
            f"layer {layer.name!r} must normalise channels (axis -1), but has axis {axis!r}"
        )


def _batch_norm(layer: Layer, shape: Shape) -> Iterator[Piece]:
    _check_axis(layer, shape)
    document = {
        "kind": "batch_norm",
        "channels": shape[0],
        "eps": number(layer, "epsilon", 1e-3),
        "momentum": momentum(layer),
    }
    yield _norm_piece(layer, document, STATISTICS)


def _layer_norm(layer: Layer, shape: Shape) -> Iterator[Piece]:
    _check_axis(layer, shape)
    eps = number(layer, "epsilon", 1e-3)
    yield _norm_piece(layer, {"kind": "layer_norm", "channels": shape[0], "eps": eps}, {})


KERNELS: Mapping[str, Callable[[Layer, Shape], Iterator[Piece]]] = {
    "Conv1D": _conv,
    "DepthwiseConv1D": _depthwise_conv,
    "SeparableConv1D": _separable_conv,
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
}
