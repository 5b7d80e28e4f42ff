"""Keras models made by Keras from our blocks, filled with our weights, and saved."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import BackendMissing, SpecError
from tcnzoo.extras import missing_package
from tcnzoo.files.atomic import check_room, replacing
from tcnzoo.files.lazy import Tensors, facts_of
from tcnzoo.specs import Conv1dSpec, Spec
from tcnzoo.specs.params import permute, weight_norm_gain

from ..containers.keras import Variable
from .blocks import KerasLayer, input_shape, keras_layers, parts_of
from .chain import STEMS
from .pieces import NEUTRAL, Stored

FOLDED = "Keras has no weight norm: written as the kernel that it makes"


def write_model(path: Path, spec: Spec, weights: Tensors) -> dict[str, str]:
    """Write a .keras or .h5 model, or the weights alone as .weights.h5.

    Returns:
        the tensors of weight norms, which become kernels -> the reason.
    Raises:
        BackendMissing: Keras is not installed.
        SpecError: a model that no chain of Keras layers is.
    """
    layers = keras_layers(spec)
    if missing_package("keras") is not None:
        raise BackendMissing(
            "a Keras model is written by Keras, which is not installed; run: "
            "pip install 'tcnzoo[keras]'"
        )
    folded = {f"{layer}.weight".lstrip("."): layer for layer in _weight_normed(spec)}
    model = _model(spec, layers, weights, folded)
    with replacing(path) as temporary, _quiet():
        check_room(temporary, sum(facts.nbytes for facts in facts_of(weights).values()))
        if path.name.lower().endswith(".weights.h5"):
            model.save_weights(temporary)
        else:
            model.save(temporary)
    return {
        f"{layer}.{part}".lstrip("."): FOLDED
        for layer in folded.values()
        for part in ("weight_v", "weight_g")
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep quiet what Keras says of .h5 being an old format, which was asked for."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _weight_normed(spec: Spec) -> list[str]:
    """Paths of the convolutions that have weight norm."""
    return [
        path for path, part in parts_of(spec) if isinstance(part, Conv1dSpec) and part.weight_norm
    ]


def _model(
    spec: Spec, layers: list[KerasLayer], weights: Tensors, folded: Mapping[str, str]
) -> Any:
    """A Keras model with the weights in it."""
    import keras

    common = _common_type({str(facts.dtype) for facts in facts_of(weights).values()})
    # Named as no layer of ours can be.
    made, contents = [keras.Input(input_shape(spec), dtype=common, name="Input")], []
    for layer in layers:
        arrays = [
            _stored(_effective(name, weights, folded), layout, layer)
            for name, layout in layer.tensors
        ]
        dtype = _common_type({str(array.dtype) for array in arrays}) if arrays else common
        kind = getattr(keras.layers, layer.kind)
        made.append(kind(name=layer.name, dtype=dtype, **layer.arguments))
        contents.append(arrays)
    model = keras.Sequential(made)
    for made_layer, arrays in zip(model.layers, contents, strict=True):
        made_layer.set_weights(arrays)
    return model


def _common_type(types: set[str]) -> str:
    """The narrowest float type that holds all of some exactly."""
    if len(types) == 1:
        return next(iter(types))
    return "float64" if "float64" in types else "float32"


def _effective(name: str, weights: Tensors, folded: Mapping[str, str]) -> Array:
    """A tensor, or the kernel g * v / ||v|| that a weight norm makes."""
    if name not in folded:
        return weights[name]
    direction, gain = (
        weights[f"{folded[name]}.{part}".lstrip(".")] for part in ("weight_v", "weight_g")
    )
    kernel = gain.astype(np.float64) * direction / weight_norm_gain(direction, "OIK")
    return np.asarray(kernel, direction.dtype)


def _stored(array: Array, layout: str, layer: KerasLayer) -> Array:
    """A neutral tensor in Keras's layout."""
    if layout == "KCM":
        multiplier: int = layer.arguments["depth_multiplier"]
        return array.reshape(-1, multiplier, array.shape[2]).transpose(2, 0, 1)
    return permute(array, NEUTRAL[layout], layout)


def planned_tensors(spec: Spec) -> dict[str, Stored]:
    """Where the tensors of a model that we would write are, in a file of weights alone.

    Raises:
        SpecError: a model that no chain of Keras layers is, or one with weight norm, which the
            kernel in a file does not determine.
    """
    normed = _weight_normed(spec)
    if normed:
        raise SpecError(
            f"layer {normed[0]!r} has weight norm, which a Keras file does not hold; give a spec "
            "without it"
        )
    counts: dict[str, int] = {}
    tensors: dict[str, Stored] = {}
    for layer in keras_layers(spec):
        stem = STEMS.get(layer.kind)
        if stem is None:
            continue
        counts[stem] = counts.get(stem, -1) + 1
        group = (f"{stem}#{counts[stem]}",)
        for index, (name, layout) in enumerate(layer.tensors):
            slot = name.rpartition(".")[2]
            tensors[name] = Stored(Variable(slot, index, layer=(layer.name,), group=group), layout)
    return tensors
