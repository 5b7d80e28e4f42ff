"""How the layers of a spec are made in torch: the text of one module or two for each kind.

Source: torch.nn (2.13) for names and arguments.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tcnzoo.specs import (
    ActivationSpec,
    BatchNormSpec,
    Conv1dSpec,
    ConvTranspose1dSpec,
    DenseSpec,
    DropoutSpec,
    FlattenSpec,
    GluSpec,
    LayerNormSpec,
    PadSpec,
    PoolSpec,
    Spec,
    UpsampleSpec,
    WindowPoolSpec,
)

ACTIVATIONS = {
    "linear": "Identity()",
    "relu": "ReLU()",
    "selu": "SELU()",
    "gelu": "GELU()",
    "gelu_tanh": "GELU(approximate='tanh')",
    "silu": "SiLU()",
    "tanh": "Tanh()",
    "sigmoid": "Sigmoid()",
    "softplus": "Softplus()",
    "softmax": "Softmax(dim=1)",
    "log_softmax": "LogSoftmax(dim=1)",
    "relu6": "ReLU6()",
    "hard_sigmoid": "Hardsigmoid()",
    "hard_swish": "Hardswish()",
}
PADS = {
    "zeros": "ConstantPad1d(({}, {}), 0.0)",
    "reflect": "ReflectionPad1d(({}, {}))",
    "replicate": "ReplicationPad1d(({}, {}))",
    "circular": "CircularPad1d(({}, {}))",
}
POOLS = {
    "global_average": ("AdaptiveAvgPool1d(1)", "Flatten()"),
    "global_max": ("AdaptiveMaxPool1d(1)", "Flatten()"),
    "adaptive_average": ("AdaptiveAvgPool1d({})",),
    "adaptive_max": ("AdaptiveMaxPool1d({})",),
}
# Options that a text leaves out.
DEFAULTS: Mapping[str, Any] = {
    "stride": 1,
    "padding": 0,
    "output_padding": 0,
    "dilation": 1,
    "groups": 1,
    "bias": True,
    "padding_mode": "zeros",
}


class Unlike(Exception):  # noqa: N818 - a reason that is put into a sentence
    """Why a layer has no counterpart in torch."""


def _call(name: str, *values: Any, **options: Any) -> str:
    """The text of a call, without the options that have torch's own default."""
    said = [f"{key}={value!r}" for key, value in options.items() if DEFAULTS.get(key) != value]
    return f"{name}({', '.join([*map(repr, values), *said])})"


def _fixed_pads(spec: Any) -> tuple[int, int]:
    """Steps on the left and right of a window, which must not depend on the signal's length."""
    if spec.padding == "same_upper" and getattr(spec, "step", getattr(spec, "stride", 1)) > 1:
        raise Unlike("padding 'same_upper' with a stride depends on the length of the signal")
    pads: tuple[int, int] = spec.pads(2**20)
    return pads


def _normed(spec: Any, text: str) -> str:
    """The text with weight norm around it, one gain for each output channel."""
    if not spec.weight_norm:
        return text
    axis = ", dim=1" if isinstance(spec, ConvTranspose1dSpec) else ""
    return f"parametrizations.weight_norm({text}{axis})"


def _conv1d(spec: Conv1dSpec, signal: bool) -> Iterator[str]:
    """A pad where the two sides differ, and the convolution."""
    left, right = _fixed_pads(spec)
    if left != right:
        yield PADS[spec.padding_mode].format(left, right)
    even = left if left == right else 0
    call = _call(
        "Conv1d", spec.in_channels, spec.out_channels, spec.kernel_size,
        stride=spec.stride, padding=even, dilation=spec.dilation, groups=spec.groups,
        bias=spec.bias, padding_mode=spec.padding_mode if even else "zeros",
    )  # fmt: skip
    yield _normed(spec, call)


def _conv_transpose1d(spec: ConvTranspose1dSpec, signal: bool) -> Iterator[str]:
    """The convolution, and a negative pad for what is dropped on the right alone."""
    left, right = spec.crops
    call = _call(
        "ConvTranspose1d", spec.in_channels, spec.out_channels, spec.kernel_size,
        stride=spec.stride, padding=left, output_padding=max(0, left - right),
        dilation=spec.dilation, bias=spec.bias,
    )  # fmt: skip
    yield _normed(spec, call)
    if right > left:
        yield PADS["zeros"].format(0, left - right)


def _dense(spec: DenseSpec, signal: bool) -> Iterator[str]:
    """A linear layer, which in torch acts on the last axis."""
    if signal:
        raise Unlike(
            "it acts on the channels of every step, and torch's on the time axis; "
            "use a conv1d of kernel_size 1"
        )
    yield _call("Linear", spec.in_features, spec.out_features, bias=spec.bias)


def _layer_norm(spec: LayerNormSpec, signal: bool) -> Iterator[str]:
    """A norm, which in torch runs over the last axis."""
    if signal:
        raise Unlike("it runs over the channels of every step, and torch's over the time axis")
    yield _call("LayerNorm", spec.channels, eps=spec.eps)


def _batch_norm(spec: BatchNormSpec, signal: bool) -> Iterator[str]:
    """Batch norm, with its constants."""
    yield _call("BatchNorm1d", spec.channels, eps=spec.eps, momentum=spec.momentum)


def _activation(spec: ActivationSpec, signal: bool) -> Iterator[str]:
    """An activation, with its constant where it has one."""
    if spec.name == "leaky_relu":
        yield f"LeakyReLU({spec.slope})"
    elif spec.name == "elu":
        yield f"ELU({spec.alpha})"
    elif spec.name in ACTIVATIONS:
        yield ACTIVATIONS[spec.name]
    else:
        raise Unlike(f"torch has no activation {spec.name!r}")


def _pool(spec: PoolSpec, signal: bool) -> Iterator[str]:
    """A pool over the signal, flattened where it leaves a vector."""
    if spec.mode not in POOLS:
        raise Unlike(f"torch has no pool {spec.mode!r}")
    yield from (text.format(spec.output_size) for text in POOLS[spec.mode])


def _window_pool(spec: WindowPoolSpec, signal: bool) -> Iterator[str]:
    """A pool over windows, after a pad where the two sides differ."""
    left, right = _fixed_pads(spec)
    average = spec.mode == "average"
    if left != right:
        if average and not spec.count_padding:
            raise Unlike("it pads unevenly without counting the added steps in the average")
        yield (
            PADS["zeros"].format(left, right)
            if average
            else (f"ConstantPad1d(({left}, {right}), float('-inf'))")
        )
    options: dict[str, Any] = {"padding": left if left == right else 0}
    if average and options["padding"]:
        options["count_include_pad"] = spec.count_padding
    yield _call("AvgPool1d" if average else "MaxPool1d", spec.size, spec.step, **options)


def _flatten(spec: FlattenSpec, signal: bool) -> Iterator[str]:
    """All values as a vector, channel by channel."""
    if spec.order != "channels":
        raise Unlike(f"its order is {spec.order!r}, and torch's is 'channels'")
    yield "Flatten()"


def _pad(spec: PadSpec, signal: bool) -> Iterator[str]:
    """Steps at the ends."""
    yield PADS[spec.mode].format(spec.left, spec.right)


def _upsample(spec: UpsampleSpec, signal: bool) -> Iterator[str]:
    """More steps."""
    yield f"Upsample(scale_factor={spec.factor}, mode={spec.mode!r})"


def _glu(spec: GluSpec, signal: bool) -> Iterator[str]:
    """Gating over the channels."""
    yield "GLU(dim=1)"


def _dropout(spec: DropoutSpec, signal: bool) -> Iterator[str]:
    """Dropout."""
    yield f"Dropout({spec.rate})"


# Kind -> what gives its texts; it is told whether the layer works on a signal.
WRITERS: Mapping[type[Spec], Callable[[Any, bool], Iterator[str]]] = {
    ActivationSpec: _activation,
    BatchNormSpec: _batch_norm,
    Conv1dSpec: _conv1d,
    ConvTranspose1dSpec: _conv_transpose1d,
    DenseSpec: _dense,
    DropoutSpec: _dropout,
    FlattenSpec: _flatten,
    GluSpec: _glu,
    LayerNormSpec: _layer_norm,
    PadSpec: _pad,
    PoolSpec: _pool,
    UpsampleSpec: _upsample,
    WindowPoolSpec: _window_pool,
}
