"""The models that the tests run over: every option of every block, and the grid of TCN options."""

import itertools
import random
from typing import get_args

from tcnzoo.specs.activation import ActivationName

ACTIVATIONS = get_args(ActivationName)
MODES = ("zeros", "reflect", "replicate", "circular")
NORMS = ("none", "batch_norm", "layer_norm", "weight_norm")
SIGNAL = (2, 3, 37)


def _conv(kernel_size=4, **fields):
    return {
        "kind": "conv1d", "in_channels": 3, "out_channels": 5, "kernel_size": kernel_size, **fields
    }  # fmt: skip


def _transposed(**fields):
    return {"kind": "conv_transpose1d", "in_channels": 3, "out_channels": 5, **fields}


def _activations():
    for name in ACTIVATIONS:
        yield f"activation-{name}", {"kind": "activation", "name": name}, SIGNAL
        yield f"activation-{name}-vector", {"kind": "activation", "name": name}, (4, 7)
    leaky = {"kind": "activation", "name": "leaky_relu", "slope": 0.2}
    yield "activation-leaky_relu-slope", leaky, SIGNAL
    yield "activation-elu-alpha", {"kind": "activation", "name": "elu", "alpha": 0.7}, SIGNAL
    yield "glu", {"kind": "glu"}, (2, 6, 37)
    yield "glu-vector", {"kind": "glu"}, (2, 6)
    yield "dropout", {"kind": "dropout", "rate": 0.5}, SIGNAL


def _norms():
    for kind in ("batch_norm", "layer_norm"):
        for eps in (1e-5, 1e-3, 0.3):
            yield f"{kind}-eps{eps}", {"kind": kind, "channels": 3, "eps": eps}, SIGNAL
        yield f"{kind}-vector", {"kind": kind, "channels": 7}, (4, 7)


def _convolutions():
    for padding, mode in itertools.product(("causal", "same", "valid"), MODES):
        spec = _conv(dilation=3, padding=padding, padding_mode=mode)
        yield f"conv1d-{padding}-{mode}", spec, SIGNAL
        yield f"conv1d-{padding}-{mode}-stride2", {**spec, "stride": 2}, SIGNAL
    for stride, dilation, groups in itertools.product((1, 2, 3), (1, 2, 3), (1, 3)):
        spec = _conv(stride=stride, dilation=dilation, groups=groups, in_channels=6, out_channels=9)
        yield f"conv1d-s{stride}-d{dilation}-g{groups}", spec, (2, 6, 37)
    for kernel_size, weight_norm, bias in itertools.product((1, 2, 5), (False, True), (False, True)):
        spec = _conv(kernel_size, weight_norm=weight_norm, bias=bias, padding="same")
        yield f"conv1d-k{kernel_size}-wn{weight_norm:d}-bias{bias:d}", spec, SIGNAL
    depthwise = _conv(in_channels=3, out_channels=6, groups=3, weight_norm=True)
    yield "conv1d-depthwise-weight_norm", depthwise, SIGNAL
    yield "conv1d-k1-stride3", _conv(1, stride=3), SIGNAL
    yield "conv1d-exactly-long-enough", _conv(dilation=12, padding="valid"), SIGNAL


def _transposed_convolutions():
    for k, s, d in ((1, 1, 1), (4, 2, 1), (3, 3, 1), (5, 2, 2), (2, 3, 1), (3, 2, 3), (1, 4, 1)):
        for padding in ("causal", "same", "valid"):
            if padding == "same" and (k - 1) * d + 1 < s:
                continue  # the spec refuses it
            spec = _transposed(kernel_size=k, stride=s, dilation=d, padding=padding)
            yield f"conv_transpose1d-{padding}-k{k}-s{s}-d{d}", spec, SIGNAL
    for bias in (False, True):
        spec = _transposed(kernel_size=4, stride=2, weight_norm=True, bias=bias)
        yield f"conv_transpose1d-weight_norm-bias{bias:d}", spec, SIGNAL


def _resampling():
    yield "pool-global_average", {"kind": "pool"}, SIGNAL
    for mode, size in itertools.product(("adaptive_average", "adaptive_max"), (1, 5, 37, 41)):
        spec = {"kind": "pool", "mode": mode, "output_size": size}
        yield f"pool-{mode}-{size}", spec, SIGNAL
    for mode, factor in itertools.product(("nearest", "linear"), (1, 2, 5)):
        spec = {"kind": "upsample", "mode": mode, "factor": factor}
        yield f"upsample-{mode}-{factor}", spec, SIGNAL


def _dense():
    spec = {"kind": "dense", "in_features": 3, "out_features": 5}
    yield "dense-signal", spec, SIGNAL
    yield "dense-vector", spec, (4, 3)
    yield "dense-no-bias", {**spec, "bias": False}, SIGNAL
    for norm in ("none", "batch_norm", "layer_norm"):
        block = {**spec, "kind": "dense_block", "norm": norm, "activation": "silu", "dropout": 0.2}
        yield f"dense_block-{norm}", block, (4, 3)
    yield "dense_block-signal", {**spec, "kind": "dense_block", "norm": "batch_norm"}, SIGNAL


def _squeeze_excitation():
    for pool, reduction, residual in itertools.product(
        ("global", "cumulative"), (0, 2, 8), (False, True)
    ):
        spec = {
            "kind": "squeeze_excitation", "channels": 6, "pool": pool, "reduction": reduction,
            "residual": residual,
        }  # fmt: skip
        yield f"squeeze_excitation-{pool}-r{reduction}-res{residual:d}", spec, (2, 6, 37)


def _composed():
    block = {**_conv(), "kind": "conv_block", "activation": "gelu", "dropout": 0.1}
    for norm in NORMS:
        yield f"conv_block-{norm}", {**block, "norm": norm}, SIGNAL
    strided = {"stride": 2, "dilation": 2, "padding": "valid", "bias": False, "norm": "batch_norm"}
    yield "conv_block-strided", {**block, **strided}, SIGNAL
    yield "conv_block-linear", {**_conv(), "kind": "conv_block"}, SIGNAL
    for extra in ({}, {"gate": True, "norm": "layer_norm"}, {"causal": False, "dilation": 2}):
        spec = {"kind": "temporal_block", "in_channels": 3, "channels": 5, "kernel_size": 3, **extra}
        yield "-".join(["temporal_block", *extra]), spec, SIGNAL
    inner = {"kind": "sequential", "layers": {"down": _conv(stride=2), "gated": {"kind": "glu"}}}
    inner["layers"]["down"]["out_channels"] = 4
    up = {"kind": "upsample", "factor": 2}
    yield "sequential-nested", {"kind": "sequential", "layers": {"inner": inner, "up": up}}, SIGNAL


BLOCKS = {
    name: (spec, shape)
    for family in (
        _activations, _norms, _convolutions, _transposed_convolutions, _resampling, _dense,
        _squeeze_excitation, _composed,
    )
    for name, spec, shape in family()
}  # fmt: skip

def _streamed():
    """Every leaf that can stream, with every kind of state, and compositions that change the rate."""
    for padding, stride, (k, d) in itertools.product(
        ("causal", "valid"), (1, 3), ((1, 1), (2, 1), (3, 4))
    ):
        yield f"conv1d-{padding}-s{stride}-k{k}-d{d}", _conv(k, dilation=d, stride=stride, padding=padding)
    for stride in (1, 2):
        yield f"conv1d-replicate-s{stride}", _conv(stride=stride, dilation=2, padding_mode="replicate")
    yield "conv1d-groups", _conv(in_channels=3, out_channels=6, groups=3, weight_norm=True)
    for k, s, d in ((1, 1, 1), (4, 2, 1), (3, 3, 1), (5, 2, 2), (2, 3, 1), (3, 2, 3)):
        yield f"conv_transpose1d-k{k}-s{s}-d{d}", _transposed(kernel_size=k, stride=s, dilation=d)
    yield "squeeze_excitation", {"kind": "squeeze_excitation", "channels": 3, "pool": "cumulative"}
    yield "dense_block", {
        "kind": "dense_block", "in_features": 3, "out_features": 5, "norm": "batch_norm",
    }  # fmt: skip
    down = {**_conv(stride=3, padding="valid"), "kind": "conv_block", "norm": "layer_norm"}
    narrow = {"kind": "conv1d", "in_channels": 5, "out_channels": 3, "kernel_size": 2, "padding": "valid"}
    up, nearest = _transposed(kernel_size=3, stride=2), {"kind": "upsample", "factor": 3}
    inner = {"kind": "sequential", "layers": {"down": down, "narrow": {**narrow, "stride": 2}}}
    layers = {"inner": inner, "nearest": nearest, "up": up, "tanh": {"kind": "activation", "name": "tanh"}}
    yield "down-down-up-up", {"kind": "sequential", "layers": layers}
    layers = {"up": up, "narrow": {**narrow, "stride": 5, "kernel_size": 7}, "se": _streamed_se()}
    yield "up-down-se", {"kind": "sequential", "layers": layers}


def _streamed_se():
    return {"kind": "squeeze_excitation", "channels": 3, "reduction": 0, "pool": "cumulative"}


STREAMED = dict(_streamed())
_BOTH = [4, {"channels": 3, "per_step": True}]
TCN_OPTIONS = {
    "norm": NORMS,
    "padding_mode": MODES,
    "gate": (False, True),
    "skip_connections": (False, True),
    "causal": (True, False),
    "embeddings": ("none", "add", "concat"),
    "squeeze_excitation": ("none", "global", "cumulative"),
}


def tcn(embeddings="none", squeeze_excitation="none", **fields):
    """A TCN of three small blocks, one of them without a change of width."""
    spec = {"kind": "tcn", "in_channels": 3, "channels": [4, 4, 6], "kernel_size": 3, "dropout": 0.1}
    if embeddings != "none":
        spec |= {"embeddings": _BOTH, "embedding_mode": embeddings}
    if squeeze_excitation != "none":
        spec["squeeze_excitation"] = {"pool": squeeze_excitation, "reduction": 2}
    return {**spec, **fields}


def tcn_grid(**fixed):
    """Every combination of the TCN's options, those of `fixed` excepted, as dictionaries of fields."""
    free = {name: values for name, values in TCN_OPTIONS.items() if name not in fixed}
    return [
        {**fixed, **dict(zip(free, row, strict=True))} for row in itertools.product(*free.values())
    ]


STREAMED_TCNS = {
    "weight_norm": tcn(norm="weight_norm", output_projection=2),
    "batch_norm-gate-skip": tcn(norm="batch_norm", gate=True, skip_connections=True),
    "layer_norm-add-se": tcn("add", "cumulative", norm="layer_norm", padding_mode="replicate"),
    "none-concat-gate-se": tcn("concat", "cumulative", norm="none", gate=True, skip_connections=True),
    "kernel-1": tcn(kernel_size=1, activation="gelu"),
    "mixed-kernels": tcn(kernel_size=[2, 1, 4], dilations=[5, 1, 3]),
    "downsampled": {
        "kind": "sequential",
        "layers": {
            "tcn": tcn("add", "cumulative"),
            "down": {**_conv(stride=4, padding="valid"), "in_channels": 6},
        },
    },
}


def covering(rows, strength=2, seed=0):
    """A few of `rows` in which every combination of values of any `strength` options occurs."""

    def combinations(row):
        return {frozenset(some) for some in itertools.combinations(row.items(), strength)}

    rows = random.Random(seed).sample(rows, len(rows))
    missing, chosen = set().union(*map(combinations, rows)), []
    while missing:
        best = max(rows, key=lambda row: len(combinations(row) & missing))
        missing -= combinations(best)
        chosen.append(best)
    return chosen
