"""OpenSeizureDetector's configuration files, and the DeepEpi net that they ask for.

Source: OpenSeizureDetector, nnTraining2 (`nnTrainer`, `nnModel`, both DeepEpi models): facts only.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tcnzoo.errors import InputError, SpecError
from tcnzoo.files.bounds import shortened
from tcnzoo.files.documents import read_mapping
from tcnzoo.specs import Spec
from tcnzoo.zoo.parse import parse_spec

FILTERS = (16, *[32] * 11, 64, 64)
KERNEL_SIZE = 5
DENSE = (64, 64, 32, 16)
CLASSES = 2
DENSE_DROPOUT = 0.025
SAMPLING_RATE = 25.0
SECONDS = 30.0

# Batch norm as the two frameworks have it by default, which is what those nets compute.
NORMS: Mapping[str, Mapping[str, Any]] = {
    "torch": {"kind": "batch_norm", "eps": 1e-5, "momentum": 0.1},
    "keras": {"kind": "batch_norm", "eps": 1e-3, "momentum": 0.01},
}
# Words of `framework` and `modelType` -> our backend.
FRAMEWORKS = {
    "pytorch": "torch",
    "torch": "torch",
    "tensorflow": "keras",
    "tf": "keras",
    "keras": "keras",
}
# Classes of the DeepEpi net. The first becomes the second where the framework is PyTorch.
CLASSES_OF_DEEPEPI = ("DeepEpiCnnModel", "DeepEpiCnnModelPyTorch")


@dataclass(frozen=True)
class OsdConfig:
    """What a configuration file says of its model.

    Attributes:
        backend: `torch` or `keras`.
        spec: of the model.
        input_length: samples of one window.
        sampling_rate: in Hz.
    """

    backend: str
    spec: Spec
    input_length: int
    sampling_rate: float


def code_strides(layers: int) -> list[int]:
    """Strides of the origin's code: 2 at every fifth convolution; its text has the last one too."""
    return [1 if (place + 1) % 5 else 2 for place in range(layers)]


def deepepi_document(
    framework: Literal["torch", "keras"],
    *,
    in_channels: int = 1,
    filters: Sequence[int] = FILTERS,
    kernel_sizes: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    dense: Sequence[int] = DENSE,
    classes: int = CLASSES,
    conv_dropout: float = 0.0,
    dense_dropout: float = DENSE_DROPOUT,
    softmax: bool = False,
) -> dict[str, Any]:
    """The document of a DeepEpi net, for `parse_spec`.

    Args:
        framework: whose batch-norm constants it has.
        filters, kernel_sizes, strides: one for each convolution; kernels of 5 and the strides of
            the origin's code by default.
        dense: widths of the dense blocks.
        conv_dropout: rate after every convolution block.
        dense_dropout: rate after the first dense block.
        softmax: end with probabilities instead of logits.
    """
    norm = dict(NORMS[framework])
    block = {"padding": "valid", "norm": norm, "activation": "relu", "dropout": conv_dropout}
    kernel_sizes = [KERNEL_SIZE] * len(filters) if kernel_sizes is None else kernel_sizes
    strides = code_strides(len(filters)) if strides is None else strides
    inside = [in_channels, *filters[:-1]]
    layers: dict[str, Any] = {}
    sizes = zip(inside, filters, kernel_sizes, strides, strict=True)
    for place, (before, after, taps, stride) in enumerate(sizes, start=1):
        size = {"in_channels": before, "out_channels": after, "kernel_size": taps}
        layers[f"conv{place}"] = {"kind": "conv_block", **size, "stride": stride, **block}
    layers["pool"] = {"kind": "pool", "mode": "global_average"}
    widths = zip([filters[-1], *dense[:-1]], dense, strict=True)
    for place, (before, after) in enumerate(widths, start=1):
        size = {"in_features": before, "out_features": after}
        end = {"norm": norm, "activation": "relu", "dropout": dense_dropout if place == 1 else 0.0}
        layers[f"dense{place}"] = {"kind": "dense_block", **size, **end}
    size = {"in_features": dense[-1], "out_features": classes}
    layers["logits"] = {"kind": "dense", **size}
    if softmax:
        layers["probabilities"] = {"kind": "activation", "name": "softmax"}
    return {"kind": "sequential", "layers": layers}


def osd_config(path: str | os.PathLike[str]) -> OsdConfig:
    """Read an `nnConfig*.json`: which backend it is for, its DeepEpi net, and the signal.

    The framework is `modelConfig.framework`, else `modelConfig.modelType`, else TensorFlow, in any
    case of letters; a word that is none of them is refused, where the origin takes it for
    TensorFlow. A TensorFlow net is Keras's: batch-norm eps 1e-3, update rate 0.01, and a softmax at
    the end. A PyTorch net has eps 1e-5, rate 0.1, and gives logits. The window is `bufferSeconds`
    at `sampleFreq`, or `window` samples, in older files; 30 s at 25 Hz by default.
    `convDropout` and `denseDropout` are the dropouts. `nLayers` is ignored, as the origin ignores
    it, and so is all that concerns data and training.

    Raises:
        InputError: no such file.
        SpecError: no such configuration, or one of another net than DeepEpi.
    """
    file = Path(path)
    return osd_config_of(read_mapping(file), repr(str(file)))


def osd_config_of(document: Mapping[str, Any], place: str) -> OsdConfig:
    """The same for the contents of a file, which `place` names in the sentences of errors."""
    fields = document.get("modelConfig")
    if not isinstance(fields, Mapping):
        raise SpecError(f"'modelConfig' in {place} must be a mapping, but is {shortened(fields)}")
    backend = _backend(fields, place)
    _check_class(fields, backend, place)
    rate = _number(fields, "sampleFreq", SAMPLING_RATE, place)
    length = _length(fields, rate, place)
    document = deepepi_document(
        "torch" if backend == "torch" else "keras",
        conv_dropout=_number(fields, "convDropout", 0.0, place, below=1.0),
        dense_dropout=_number(fields, "denseDropout", DENSE_DROPOUT, place, below=1.0),
        softmax=backend == "keras",
    )
    spec = parse_spec(document)
    try:
        spec.output_shape((1, length))
    except InputError as error:
        raise SpecError(
            f"the window of {length} samples in {place} is too short: {error}"
        ) from None
    return OsdConfig(backend, spec, length, rate)


def _backend(held: Mapping[str, Any], place: str) -> str:
    """The backend of a `modelConfig`."""
    for name in ("framework", "modelType"):
        word = held.get(name)
        if word is None:
            continue
        backend = FRAMEWORKS.get(word.strip().lower()) if isinstance(word, str) else None
        if backend is None:
            raise SpecError(
                f"'modelConfig.{name}' in {place} must be one of {', '.join(FRAMEWORKS)}, "
                f"but is {shortened(word)}"
            )
        return backend
    return "keras"


def _check_class(held: Mapping[str, Any], backend: str, place: str) -> None:
    """Refuse another net than DeepEpi, and a PyTorch class under TensorFlow."""
    named = held.get("modelClass")
    if named is None:
        return
    last = str(named).rpartition(".")[2]
    if last not in CLASSES_OF_DEEPEPI:
        raise SpecError(
            f"'modelConfig.modelClass' in {place} must be a DeepEpi net "
            f"({' or '.join(CLASSES_OF_DEEPEPI)}), but is {shortened(named)}"
        )
    if last == CLASSES_OF_DEEPEPI[1] and backend != "torch":
        raise SpecError(
            f"'modelConfig.modelClass' in {place} is {shortened(named)}, which is PyTorch's, but "
            "the framework that the file chooses is TensorFlow; set modelConfig.framework to "
            "pytorch"
        )


def _length(held: Mapping[str, Any], rate: float, place: str) -> int:
    """Samples of a window, cut to a whole number as the origin does."""
    seconds = _number(held, "bufferSeconds", SECONDS, place)
    length = int(rate * seconds)
    if held.get("window") is None:
        return length
    window = int(_number(held, "window", 0.0, place))
    if held.get("bufferSeconds") is not None and window != length:
        raise SpecError(
            f"'modelConfig' in {place} has window={window} samples, but bufferSeconds={seconds:g} "
            f"at sampleFreq={rate:g} makes {length}; leave one of them out"
        )
    return window


def _number(
    held: Mapping[str, Any], name: str, default: float, place: str, below: float = 1e9
) -> float:
    """A number of a `modelConfig`, where it is there."""
    value = held.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < below:
        raise SpecError(
            f"'modelConfig.{name}' in {place} must be a number from 0 to below {below:g}, "
            f"but is {shortened(value)}"
        )
    return float(value)
