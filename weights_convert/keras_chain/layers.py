"""Keras layers as our blocks: which are read, what is refused, and those without variables.

Source: keras.layers, Keras 3.15.1 (Apache-2.0).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tcnzoo.errors import SpecError
from tcnzoo.specs import Shape

from .activation import CLASSES, number
from .chain import PACKAGES, Layer
from .kernels import KERNELS
from .pieces import Piece, padding, pair, whole

# Options that change what a layer computes, and the one value of each that is read.
ONLY: Mapping[str, tuple[Any, ...]] = {
    "data_format": (None, "channels_last"),
    "renorm": (None, False),
    "rms_scaling": (None, False),
    "quantization_config": (None,),
}
REFUSED = {
    "Lambda": "holds code; it was not run, and is not read",
    "TCN": "is keras-tcn's; read the file as format keras-tcn",
}
# What only training uses, and a spec has no field for.
TRAINING = ("_regularizer", "_constraint")


def _dropout(layer: Layer, shape: Shape) -> Iterator[Piece]:
    notes = {}
    if layer.kind == "SpatialDropout1D" or layer.config.get("noise_shape") is not None:
        notes["rate"] = "drops single values in training, where Keras drops whole channels or steps"
    yield Piece("", {"kind": "dropout", "rate": number(layer, "rate")}, notes=notes)


def _activation(layer: Layer, shape: Shape) -> Iterator[Piece]:
    yield Piece("", {"kind": "activation", **CLASSES[layer.kind](layer)})


def _window_pool(mode: str) -> Callable[[Layer, Shape], Iterator[Piece]]:
    def piece(layer: Layer, shape: Shape) -> Iterator[Piece]:
        size = whole(layer, "pool_size")
        stride = size if layer.config.get("strides") is None else whole(layer, "strides")
        fields = {"size": size, "stride": stride, "padding": padding(layer, stride)}
        yield Piece("", {"kind": "window_pool", "mode": mode, **fields, "channels": shape[0]})

    return piece


def _global_pool(mode: str) -> Callable[[Layer, Shape], Iterator[Piece]]:
    def piece(layer: Layer, shape: Shape) -> Iterator[Piece]:
        document: dict[str, Any] = {"kind": "pool", "mode": f"global_{mode}"}
        if layer.config.get("keepdims"):
            document = {"kind": "pool", "mode": f"adaptive_{mode}", "output_size": 1}
        yield Piece("", document)

    return piece


def _flatten(layer: Layer, shape: Shape) -> Iterator[Piece]:
    if len(shape) == 2:
        yield Piece("", {"kind": "flatten", "length": shape[1], "order": "time"})


def _reshape(layer: Layer, shape: Shape) -> Iterator[Piece]:
    """Only what changes nothing, or flattens."""
    target, channels = layer.config.get("target_shape"), shape[0]
    if target == list(reversed(shape)):
        return
    sizes = target if isinstance(target, list) else []
    if len(shape) != 2 or len(sizes) != 1 or type(sizes[0]) is not int or sizes[0] % channels:
        raise SpecError(
            f"layer {layer.name!r} reshapes to {target!r}; only what flattens a signal is read"
        )
    yield Piece("", {"kind": "flatten", "length": sizes[0] // channels, "order": "time"})


def _upsample(layer: Layer, shape: Shape) -> Iterator[Piece]:
    yield Piece("", {"kind": "upsample", "factor": whole(layer, "size")})


def _zero_pad(layer: Layer, shape: Shape) -> Iterator[Piece]:
    left, right = pair(layer, "padding")
    yield Piece("", {"kind": "pad", "left": left, "right": right})


def _crop(layer: Layer, shape: Shape) -> Iterator[Piece]:
    left, right = pair(layer, "cropping")
    yield Piece("", {"kind": "pad", "left": -left, "right": -right})


Converter = Callable[[Layer, Shape], Iterator[Piece]]
CONVERTERS: Mapping[str, Converter] = {
    **KERNELS,
    "Dropout": _dropout,
    "SpatialDropout1D": _dropout,
    **dict.fromkeys(CLASSES, _activation),
    "MaxPooling1D": _window_pool("max"),
    "AveragePooling1D": _window_pool("average"),
    "GlobalAveragePooling1D": _global_pool("average"),
    "GlobalMaxPooling1D": _global_pool("max"),
    "Flatten": _flatten,
    "Reshape": _reshape,
    "UpSampling1D": _upsample,
    "ZeroPadding1D": _zero_pad,
    "Cropping1D": _crop,
}


def pieces_of(layer: Layer, shape: Shape) -> Iterator[Piece]:
    """What one of Keras's own layers becomes; nothing where it changes nothing.

    Args:
        layer: any.
        shape: (channels, time) or (features,) of what it reads.
    Raises:
        SpecError: a layer, or an option of one, that has no counterpart.
    """
    if layer.kind in REFUSED:
        raise SpecError(f"layer {layer.name!r} is a {layer.kind}, which {REFUSED[layer.kind]}")
    if layer.kind not in CONVERTERS or layer.module.partition(".")[0] not in PACKAGES:
        source = f" of {layer.module}" if layer.module else ""
        raise SpecError(
            f"layer {layer.name!r} is a {layer.kind}{source}, which is none of "
            f"{', '.join(sorted(CONVERTERS))}"
        )
    for option, values in ONLY.items():
        if layer.config.get(option) not in values:
            raise SpecError(
                f"layer {layer.name!r} has {option} {layer.config[option]!r}, which is not read"
            )
    notes = {
        key: "left out: only training uses it"
        for key, value in layer.config.items()
        if key.endswith(TRAINING) and value is not None
    }
    for index, piece in enumerate(CONVERTERS[layer.kind](layer, shape)):
        yield replace(piece, notes={**piece.notes, **notes}) if not index else piece
