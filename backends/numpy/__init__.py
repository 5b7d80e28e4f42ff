"""The numpy backend: the reference, in float64 or float32; forward and streaming only."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tcnzoo.arrays import Weights, to_numpy
from tcnzoo.errors import InputError
from tcnzoo.models.backend import BackendInfo, Handle
from tcnzoo.models.outputs import ROOT, Output, first
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import Spec

from . import (
    activation,
    conv,
    conv2d,
    dense,
    device_attention,
    fsq,
    graph,
    hdp,
    hsmm,
    mamba,
    norm,
    pool,
    reshape,
    sequential,
    squeeze_excitation,
    tcn,
    vector_quantizer,
    vq_hdp_hsmm,
)
from .block import BLOCKS, Array, Block, build as build_block
from .quantizer import quantize

__all__ = ["BLOCKS", "Block", "activation", "conv", "conv2d", "dense", "graph", "mamba", "norm"]
__all__ += [
    "device_attention",
    "hdp",
    "vq_hdp_hsmm",
    "hsmm",
    "pool",
    "reshape",
    "sequential",
    "squeeze_excitation",
    "tcn",
]
__all__ += ["fsq", "quantize", "vector_quantizer"]

NAME = "numpy"
DTYPES = ("float32", "float64")


def info() -> BackendInfo:
    """Versions and devices."""
    return BackendInfo(NAME, True, {"numpy": np.__version__}, ("cpu",), DTYPES, "the reference")


def build(spec: Spec, dtype: str, device: str | None) -> Block:
    """Make the block, with a Handle as `tcnzoo`."""
    if device not in (None, "cpu"):
        raise InputError(f"backend 'numpy' runs on 'cpu' only, not on {device!r}")
    model = build_block(spec)
    for path, part in model.walk():
        part.path = path
        part.arrays = {name: array.astype(dtype) for name, array in part.arrays.items()}
    model.tcnzoo = Handle(spec, NAME, dtype, "cpu")
    return model


def get_weights(model: Block) -> Weights:
    """Copy the weights, in table order."""
    held = {
        f"{path}.{name}" if path else name: array.copy()
        for path, part in model.walk()
        for name, array in part.arrays.items()
    }
    return {name: held[name] for name in model.tcnzoo.params}


def set_weights(model: Block, weights: Weights) -> None:
    """Write checked neutral weights, cast to the model's float type."""
    for path, part in model.walk():
        for name, array in part.arrays.items():
            part.arrays[name] = weights[f"{path}.{name}" if path else name].astype(array.dtype)


def _inputs(model: Block, embeddings: Sequence[Array]) -> dict[str, Any]:
    """Keyword inputs of the root block."""
    dtype = model.tcnzoo.dtype
    rows = tuple(np.asarray(row, dtype=dtype) for row in embeddings)
    return {"embeddings": rows} if model.spec.embedding_specs else {}


def _output(y: Any) -> Output:
    """A temporal block by itself has two outputs."""
    found: Output = {"output": y[0], "out": y[1]} if isinstance(y, tuple) else y
    return found


def predict(model: Block, x: Array, embeddings: Sequence[Array]) -> Output:
    """Run the block."""
    x = np.asarray(x, dtype=model.tcnzoo.dtype)
    return _output(model(x, **_inputs(model, embeddings)))


def init_state(model: Block, state: dict[str, Array]) -> dict[str, Array]:
    """Cast the arrays of a neutral state to the types that this model keeps them in."""
    kept = model.tcnzoo.kept
    return {name: np.asarray(array, dtype=kept[name]) for name, array in state.items()}


def step(
    model: Block, chunk: Array, state: Mapping[str, Any], embeddings: Sequence[Array]
) -> tuple[Array, dict[str, Any]]:
    """Run one streaming step."""
    stream = Stream(init_state(model, {name: to_numpy(array) for name, array in state.items()}))
    x = np.asarray(chunk, dtype=model.tcnzoo.dtype)
    y = model(x, stream, **_inputs(model, embeddings))
    return (y[0] if isinstance(y, tuple) else y), stream.next_state


def gradients(model: Block, *args: Any) -> tuple[float, Weights]:
    """Refuse: the reference does not differentiate."""
    raise InputError("backend 'numpy' has no gradients; use torch, mlx or keras")


def trace(model: Block, x: Array, embeddings: Sequence[Array]) -> dict[str, Array]:
    """Run the block; return the output of every part by dotted path, in order of completion."""
    seen: dict[str, Array] = {}

    def observe(path: str, y: Any) -> None:
        name = path or ROOT
        seen.pop(name, None)  # a part that is used twice counts where it ends for good
        seen[name] = first(y)

    for _, part in model.walk():
        part.observer = observe
    try:
        predict(model, x, embeddings)
    finally:
        for _, part in model.walk():
            part.observer = None
    return seen
