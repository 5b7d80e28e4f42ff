"""The Keras 3 backend: native keras.Model, on TensorFlow, JAX or torch as KERAS_BACKEND says."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import keras

from tcnzoo.arrays import Array, Weights
from tcnzoo.models.backend import BackendInfo
from tcnzoo.models.outputs import Output, Trace
from tcnzoo.specs import Spec
from tcnzoo.specs.families import import_families
from tcnzoo.specs.implementations import check_native

from . import weights
from .block import BLOCKS, Block
from .device import devices, dtypes, full_name
from .gradients import differentiate
from .model import SpecModel
from .quantizer import quantize
from .run import compiled, native_inputs, neutral, neutral_outputs
from .stream import init_state, read_weights, step

if TYPE_CHECKING:
    from tcnzoo.training.stepper import Plan, Stepper

import_families(__name__)

__all__ = ["BLOCKS", "Block", "SpecModel", "init_state", "quantize", "step"]

NAME = "keras"
DTYPES = dtypes()


def stepper(model: SpecModel, plan: "Plan") -> "Stepper":
    """Make a model ready for training; see `training`."""
    from .training import stepper as make  # which imports what only training needs

    return make(model, plan)


def info() -> BackendInfo:
    """Versions and devices."""
    engine = keras.backend.backend()
    versions = {"keras": keras.__version__, engine: import_module(engine).__version__}
    return BackendInfo(NAME, True, versions, devices(), DTYPES, f"runs on {engine}")


def build(spec: Spec, dtype: str, device: str | None) -> SpecModel:
    """Make the model, with a Handle as `tcnzoo`."""
    check_native(spec, NAME)
    return SpecModel(spec, None if device is None else full_name(device), dtype=dtype)


def get_weights(model: SpecModel) -> Weights:
    """Copy the weights, in table order."""
    return read_weights(model)


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
    return neutral_outputs(y)


def gradients(
    model: SpecModel,
    x: Array,
    target: Any,
    loss: str | Mapping[str, str],
    embeddings: Sequence[Array],
    training: bool,
) -> tuple[float, Weights]:
    """Loss and gradients, neutral."""
    from .losses import plain, total  # which import what only training needs

    table = model.tcnzoo.params
    variables = {name: v for name, v in model.root.named_variables() if table[name].trainable}
    with model.on_device():
        dtype = "float64" if model.tcnzoo.dtype == "float64" else "float32"
        losses, targets = plain(loss, target, dtype)
        value, by_variable, by_input = differentiate(
            model,
            list(variables.values()),
            native_inputs(model, x, embeddings),
            lambda outputs: total(losses, outputs, targets)[0],
            training,
        )
    result = {
        name: weights.to_neutral(gradient, table[name].axes)
        for name, gradient in zip(variables, by_variable, strict=True)
    }
    return float(value), {**result, "input": neutral(by_input)}


def trace(model: SpecModel, x: Array, embeddings: Sequence[Array]) -> dict[str, Array]:
    """Run the model; return the output of every part by dotted path, in order of completion."""
    observer = Trace(neutral)
    parts = [part for _, part in model.root.walk()]
    for part in parts:
        part.observer = observer
    try:
        with model.on_device():
            model(**native_inputs(model, x, embeddings), training=False)
    finally:
        for part in parts:
            part.observer = None
    return observer.outputs
