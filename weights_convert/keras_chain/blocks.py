"""Our blocks as Keras layers: class, arguments and variables of each.

Source: keras.layers, Keras 3.15.1 (Apache-2.0).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tcnzoo.errors import InputError, SpecError
from tcnzoo.specs import (
    ActivationSpec,
    BatchNormSpec,
    Conv1dSpec,
    ConvBlockSpec,
    DenseBlockSpec,
    DenseSpec,
    DropoutSpec,
    FlattenSpec,
    LayerNormSpec,
    PadSpec,
    PoolSpec,
    SequentialSpec,
    Shape,
    Spec,
    UpsampleSpec,
    WindowPoolSpec,
)

from .activation import keras_activation

# Our tensors of a block, and the layout of each, in the order of Keras's variables.
Tensors = tuple[tuple[str, str], ...]
SCALES: Tensors = (("weight", "C"), ("bias", "C"))
STATISTICS: Tensors = (("running_mean", "C"), ("running_var", "C"))
# Blocks that are written as the layers inside them.
COMPOSITES = (SequentialSpec, ConvBlockSpec, DenseBlockSpec)
# Blocks that mean the same of a signal and of a vector.
POINTWISE = (DenseSpec, ActivationSpec, DropoutSpec, BatchNormSpec, LayerNormSpec)


@dataclass(frozen=True)
class KerasLayer:
    """A Keras layer to be made.

    Attributes:
        kind: its class.
        name: within the model.
        arguments: of the class.
        tensors: our names of its variables and their layouts, in Keras's order.
    """

    kind: str
    name: str
    arguments: Mapping[str, Any]
    tensors: Tensors = ()


def parts_of(spec: Spec, path: str = "") -> Iterator[tuple[str, Spec]]:
    """The blocks of a model by their dotted paths, with those inside composite ones."""
    if not isinstance(spec, COMPOSITES):
        yield path, spec
        return
    for name, child in spec.children().items():
        yield from parts_of(child, f"{path}.{name}" if path else name)


def keras_layers(spec: Spec) -> list[KerasLayer]:
    """Keras layers of a model, in order.

    Raises:
        SpecError: what Keras does not have as a layer, or not in this form.
    """
    layers: list[KerasLayer] = []
    taken: set[str] = set()
    for path, part in parts_of(spec):
        label = path or part.kind
        if type(part) not in MAKERS:
            raise SpecError(
                f"layer {label!r} is a {part.kind}, which no layer of Keras is; format 'keras' "
                "holds every model"
            )
        for number, (kind, arguments, tensors) in enumerate(MAKERS[type(part)](label, part)):
            name = label.replace(".", "_") + (f"_{number}" if number else "")
            while name in taken:
                name += "_"
            taken.add(name)
            inside = tuple((f"{path}.{layer}".lstrip("."), layout) for layer, layout in tensors)
            layers.append(KerasLayer(kind, name, arguments, inside))
    if any(layer.kind == "Flatten" for layer in layers) and fixed_length(spec) is None:
        return _reshaped(spec, layers)
    return layers


def _reshaped(spec: Spec, layers: list[KerasLayer]) -> list[KerasLayer]:
    """The same with Reshape for Flatten, which minds the length of the input.

    With a stride, several lengths of the input come to the one that a flatten takes.
    """
    shape: Shape = (input_channels(spec), spec.min_length())
    widths = []
    for _, part in parts_of(spec):
        shape = part.output_shape(shape)
        widths += [shape[0]] * isinstance(part, FlattenSpec)
    following = iter(widths)
    return [
        KerasLayer("Reshape", layer.name, {"target_shape": (next(following),)})
        if layer.kind == "Flatten"
        else layer
        for layer in layers
    ]


def input_channels(spec: Spec) -> int:
    """Channels of the input.

    Raises:
        SpecError: the model takes any number, which a Keras model does not.
    """
    if spec.input_channels is None:
        raise SpecError(
            "a Keras model has an input of known width, but this model takes any number of channels"
        )
    return spec.input_channels


def fixed_length(spec: Spec) -> int | None:
    """The one length of the signal that the model takes; None where it takes several."""
    fewest = spec.min_length()
    try:
        spec.output_shape((input_channels(spec), fewest + 1))
    except InputError:
        return fewest
    return None


def input_shape(spec: Spec) -> tuple[int | None, ...]:
    """Shape of the Keras input, without batch.

    A model of dense layers alone is one of vectors, (features,); any other has (time, channels).
    """
    if all(isinstance(part, POINTWISE) for _, part in parts_of(spec)):
        return (input_channels(spec),)
    return fixed_length(spec), input_channels(spec)


Made = Iterator[tuple[str, dict[str, Any], Tensors]]


def _check_stride(path: str, spec: Conv1dSpec | WindowPoolSpec, stride: int) -> None:
    """Refuse `same` with a stride, which pads by the kernel alone; Keras pads by the length."""
    if spec.padding == "same" and stride > 1 and spec.reach:
        raise SpecError(
            f"layer {path!r} has padding 'same' with stride {stride}, which no layer of Keras "
            "has; 'same_upper' is Keras's"
        )


def _conv(path: str, spec: Any) -> Made:
    _check_stride(path, spec, spec.stride)
    if spec.padding_mode != "zeros" and spec.reach and spec.padding != "valid":
        raise SpecError(
            f"layer {path!r} has padding_mode {spec.padding_mode!r}, but Keras pads with zeros"
        )
    padding = {"same_upper": "same"}.get(spec.padding, spec.padding) if spec.reach else "valid"
    arguments = {
        "kernel_size": spec.kernel_size,
        "strides": spec.stride,
        "dilation_rate": spec.dilation,
        "padding": padding,
        "use_bias": spec.bias,
    }
    bias = (("bias", "C"),) * spec.bias
    if spec.groups == spec.in_channels > 1 and padding != "causal":
        arguments["depth_multiplier"] = spec.out_channels // spec.groups
        yield "DepthwiseConv1D", arguments, (("weight", "KCM"), *bias)
        return
    if spec.stride > 1 and spec.dilation > 1:
        raise SpecError(
            f"layer {path!r} has stride {spec.stride} and dilation {spec.dilation}, and Keras "
            "refuses the two together"
        )
    arguments |= {"filters": spec.out_channels, "groups": spec.groups}
    yield "Conv1D", arguments, (("weight", "KIO"), *bias)


def _dense(path: str, spec: Any) -> Made:
    bias = (("bias", "C"),) * spec.bias
    arguments = {"units": spec.out_features, "use_bias": spec.bias}
    yield "Dense", arguments, (("weight", "IO"), *bias)


def _batch_norm(path: str, spec: Any) -> Made:
    momentum = float(1 - Decimal(str(spec.momentum)))
    arguments = {"epsilon": spec.eps, "momentum": momentum}
    yield "BatchNormalization", arguments, SCALES + STATISTICS


def _layer_norm(path: str, spec: Any) -> Made:
    yield "LayerNormalization", {"epsilon": spec.eps}, SCALES


def _activation(path: str, spec: Any) -> Made:
    yield *keras_activation(path, spec), ()


def _dropout(path: str, spec: Any) -> Made:
    yield "Dropout", {"rate": spec.rate}, ()


def _window_pool(path: str, spec: Any) -> Made:
    _check_stride(path, spec, spec.step)
    if spec.mode == "average" and spec.count_padding and spec.padding != "valid" and spec.reach:
        raise SpecError(
            f"layer {path!r} counts the padding of its windows (count_padding), which Keras "
            "never does"
        )
    padding = "valid" if spec.padding == "valid" or not spec.reach else "same"
    kind = {"max": "MaxPooling1D", "average": "AveragePooling1D"}[spec.mode]
    yield kind, {"pool_size": spec.size, "strides": spec.step, "padding": padding}, ()


def _pool(path: str, spec: Any) -> Made:
    reach, _, mode = spec.mode.partition("_")
    kind = {"average": "GlobalAveragePooling1D", "max": "GlobalMaxPooling1D"}.get(mode)
    if kind is None or spec.output_size not in (None, 1):
        size = f" of output_size {spec.output_size}" if spec.output_size else ""
        raise SpecError(f"layer {path!r} is a pool {spec.mode!r}{size}, which Keras has not")
    yield kind, {"keepdims": reach == "adaptive"}, ()


def _flatten(path: str, spec: Any) -> Made:
    if spec.order != "time":
        raise SpecError(
            f"layer {path!r} flattens channel by channel (order 'channels'), but Keras step by "
            "step; use order 'time'"
        )
    yield "Flatten", {}, ()


def _pad(path: str, spec: Any) -> Made:
    if spec.mode != "zeros" and max(spec.left, spec.right) > 0:
        raise SpecError(f"layer {path!r} pads with mode {spec.mode!r}, but Keras with zeros")
    added = (max(0, spec.left), max(0, spec.right))
    cut = (max(0, -spec.left), max(0, -spec.right))
    if any(added) or not any(cut):
        yield "ZeroPadding1D", {"padding": added}, ()
    if any(cut):
        yield "Cropping1D", {"cropping": cut}, ()


def _upsample(path: str, spec: Any) -> Made:
    if spec.mode != "nearest" and spec.factor > 1:
        raise SpecError(f"layer {path!r} upsamples by interpolation, but Keras repeats steps")
    yield "UpSampling1D", {"size": spec.factor}, ()


MAKERS: Mapping[type[Spec], Callable[[str, Any], Made]] = {
    ActivationSpec: _activation,
    BatchNormSpec: _batch_norm,
    Conv1dSpec: _conv,
    DenseSpec: _dense,
    DropoutSpec: _dropout,
    FlattenSpec: _flatten,
    LayerNormSpec: _layer_norm,
    PadSpec: _pad,
    PoolSpec: _pool,
    UpsampleSpec: _upsample,
    WindowPoolSpec: _window_pool,
}
