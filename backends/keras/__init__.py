"""The Keras 3 backend: native keras.Model, on TensorFlow, JAX or torch as KERAS_BACKEND says."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import keras
import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.backend import ROOT, BackendInfo, Output
from tcnzoo.params import Weights
from tcnzoo.specs import Spec

from . import (
    activation,
    conv,
    dense,
    graph,
    mamba,
    norm,
    pool,
    reshape,
    sequential,
    squeeze_excitation,
    tcn,
    weights,
)
from .block import BLOCKS, Block
from .device import devices, dtypes, placed
from .gradients import LOSSES, differentiate
from .model import SpecModel
from .run import compiled, native_inputs, neutral, swapped, tensor_of
from .stream import step

__all__ = ["BLOCKS", "Block", "SpecModel", "activation", "conv", "dense", "graph", "norm"]
__all__ += ["mamba", "pool", "reshape", "sequential", "squeeze_excitation", "step", "tcn"]

NAME = "keras"
DTYPES = dtypes()


def info() -> BackendInfo:
    """Versions and devices."""
    engine = keras.backend.backend()
    versions = {"keras": keras.__version__, engine: import_module(engine).__version__}
    return BackendInfo(NAME, True, versions, devices(), DTYPES, f"runs on {engine}")


def build(spec: Spec, dtype: str, device: str | None) -> SpecModel:
    """Make the model, with a Handle as `tcnzoo`."""
    return SpecModel(spec, placed(device), dtype=dtype)


def get_weights(model: SpecModel) -> Weights:
    """Copy the weights, in table order."""
    return weights.read(model.root.named_variables(), model.tcnzoo.params)


def set_weights(model: SpecModel, neutral_weights: Weights) -> None:
    """Write checked neutral weights, cast to the model's float type."""
    with model.on_device():
        weights.write(model.root.named_variables(), model.tcnzoo.params, neutral_weights)


def predict(model: SpecModel, x: Array, embeddings: Sequence[Array]) -> Output:
    """Run the model in a compiled function, kept on the model."""
    if model.predictor is None:
        model.predictor = compiled(model, lambda inputs: model(**inputs, training=False))
    with model.on_device():
        y = model.predictor(native_inputs(model, x, embeddings))
    if isinstance(y, tuple):
        return {"output": neutral(y[0]), "out": neutral(y[1])}
    return neutral(y)


def init_state(model: SpecModel, state: dict[str, Array]) -> dict[str, Any]:
    """Float arrays as tensors of the model's type; counters stay numpy, for they decide shapes."""
    dtype = model.tcnzoo.dtype
    with model.on_device():
        return {
            name: array if array.dtype == np.int32 else tensor_of(array, dtype)
            for name, array in state.items()
        }


def gradients(
    model: SpecModel,
    x: Array,
    target: Array,
    loss: str,
    embeddings: Sequence[Array],
    training: bool,
) -> tuple[float, Weights]:
    """Loss and gradients, neutral."""
    table = model.tcnzoo.params
    held = {name: one for name, one in model.root.named_variables() if table[name].trainable}
    dtype = "int32" if loss == "cross_entropy" else model.tcnzoo.dtype
    with model.on_device():
        inputs = native_inputs(model, x, embeddings)
        aim = swapped(tensor_of(target, dtype))
        value, found, of_input = differentiate(
            model, list(held.values()), inputs, lambda y: LOSSES[loss](y, aim), training
        )
    result = {
        name: weights.to_neutral(gradient, table[name].axes)
        for name, gradient in zip(held, found, strict=True)
    }
    return float(value), {**result, "input": neutral(of_input)}


def trace(model: SpecModel, x: Array, embeddings: Sequence[Array]) -> dict[str, Array]:
    """Run the model; return the output of every part by dotted path, in order of completion."""
    seen: dict[str, Array] = {}

    def observe(path: str, y: Any) -> None:
        name = path or ROOT
        seen.pop(name, None)  # a part that is used twice counts where it ends for good
        seen[name] = neutral(y[0] if isinstance(y, tuple) else y)

    parts = [part for _, part in model.root.walk()]
    for part in parts:
        part.observer = observe
    try:
        with model.on_device():
            model(**native_inputs(model, x, embeddings), training=False)
    finally:
        for part in parts:
            part.observer = None
    return seen
