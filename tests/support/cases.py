"""Every option of every block: the models that most tests run over."""

import itertools
from typing import get_args

from tcnzoo.specs.activation import ActivationName

ACTIVATIONS = get_args(ActivationName)
MODES = ("zeros", "reflect", "replicate", "circular")
NORMS = ("none", "batch_norm", "layer_norm", "weight_norm")
SIGNAL = (2, 3, 37)


def conv1d(kernel_size=4, **fields):
    return {
        "kind": "conv1d", "in_channels": 3, "out_channels": 5, "kernel_size": kernel_size, **fields
    }  # fmt: skip


def conv_transpose1d(**fields):
    return {"kind": "conv_transpose1d", "in_channels": 3, "out_channels": 5, **fields}


def _activations():
    for name in ACTIVATIONS:
        yield f"activation-{name}", {"kind": "activation", "name": name}, SIGNAL
        yield f"activation-{name}-vector", {"kind": "activation", "name": name}, (4, 7)
    leaky = {"kind": "activation", "name": "leaky_relu", "slope": 0.2}
    yield "activation-leaky_relu-slope", leaky, SIGNAL
    yield "activation-elu-alpha", {"kind": "activation", "name": "elu", "alpha": 0.7}, SIGNAL
    log = {"kind": "activation", "name": "safe_log", "floor": 0.2}
    yield "activation-safe_log-floor", log, SIGNAL
    yield "glu", {"kind": "glu"}, (2, 6, 37)
    yield "glu-vector", {"kind": "glu"}, (2, 6)
    yield "dropout", {"kind": "dropout", "rate": 0.5}, SIGNAL


def _norms():
    for kind in ("batch_norm", "layer_norm"):
        for eps in (1e-5, 1e-3, 0.3):
            yield f"{kind}-eps{eps}", {"kind": kind, "channels": 3, "eps": eps}, SIGNAL
        yield f"{kind}-vector", {"kind": kind, "channels": 7}, (4, 7)


def _channel_adapters():
    three = {"A": [0.08, 0.01, 0.03], "B": [-0.07, 0.02, 0.04], "C": [0.01, 0.09, 0.02]}
    five = {**three, "D": [0.0, -0.08, 0.05], "E": [0.02, 0.01, 0.11]}
    spline = {"method": "spline", "source": five, "target": {**three, "F": [0.0, 0.05, 0.09]}}
    for name, fields in {
        "select": {"method": "select", "source": ["A", "B", "C"], "target": ["b", "X", "A", "Y"]},
        "pad": {"method": "pad", "source": ["A", "B", "C"], "target": list("ABCDE")},
        "spline": {**spline, "max_angle": None, "alpha": 1e-3},
        "spline-masked": spline,
        "attend": {"method": "attend", "source": three, "target": five, "width": 6},
        "perceiver": {
            "method": "perceiver",
            "source": three,
            "target": five,
            "width": 6,
            "heads": 2,
            "patch": 5,
        },
    }.items():
        channels = len(fields["source"])
        shape = (2, channels, 20)
        yield f"channel_adapter-{name}", {"kind": "channel_adapter", **fields}, shape


def _recurrent():
    for kind in ("lstm", "gru"):
        for name, fields in {
            "": {},
            "-plain": {"bias": False},
            "-deep": {"layers": 3, "dropout": 0.2},
            "-both": {"layers": 2, "bidirectional": True},
        }.items():
            yield (
                f"{kind}{name}",
                {"kind": kind, "in_channels": 3, "hidden": 5, **fields},
                (2, 3, 11),
            )


def _projection_heads():
    head = {"kind": "projection_head", "in_features": 3, "hidden": 6, "out_features": 4}
    for name, fields, shape in (
        ("", {}, (4, 3)),
        (
            "-steps",
            {"norm": "layer_norm", "activation": "gelu", "layers": 3, "eps": 0.1},
            (2, 3, 7),
        ),
        ("-one", {"layers": 1}, (2, 3, 7)),
        ("-any-length", {"normalize": False, "norm": "none", "activation": "none"}, (4, 3)),
    ):
        yield f"projection_head{name}", {**head, **fields}, shape


def _group_norms():
    for channels, groups in ((4, 1), (6, 2), (3, 3)):
        spec = {"kind": "group_norm", "channels": channels, "groups": groups, "eps": 0.1}
        yield f"group_norm-g{groups}", spec, (2, channels, 37)
    spec = {"kind": "group_norm", "channels": 6, "groups": 2}
    yield "group_norm-vector", spec, (4, 6)
    devices = {"norm": spec, "together": {"kind": "device_pool", "devices": 2}}
    yield "group_norm-devices", {"kind": "sequential", "layers": devices}, (2, 6, 2, 19)


def _convolutions():
    for padding, mode in itertools.product(("causal", "same", "valid"), MODES):
        spec = conv1d(dilation=3, padding=padding, padding_mode=mode)
        yield f"conv1d-{padding}-{mode}", spec, SIGNAL
        yield f"conv1d-{padding}-{mode}-stride2", {**spec, "stride": 2}, SIGNAL
    for stride, dilation, groups in itertools.product((1, 2, 3), (1, 2, 3), (1, 3)):
        spec = conv1d(
            stride=stride, dilation=dilation, groups=groups, in_channels=6, out_channels=9
        )
        yield f"conv1d-s{stride}-d{dilation}-g{groups}", spec, (2, 6, 37)
    for kernel_size, weight_norm, bias in itertools.product(
        (1, 2, 5), (False, True), (False, True)
    ):
        spec = conv1d(kernel_size, weight_norm=weight_norm, bias=bias, padding="same")
        yield f"conv1d-k{kernel_size}-wn{weight_norm:d}-bias{bias:d}", spec, SIGNAL
    depthwise = conv1d(in_channels=3, out_channels=6, groups=3, weight_norm=True)
    yield "conv1d-depthwise-weight_norm", depthwise, SIGNAL
    yield "conv1d-k1-stride3", conv1d(1, stride=3), SIGNAL
    yield "conv1d-exactly-long-enough", conv1d(dilation=12, padding="valid"), SIGNAL


def _transposed_convolutions():
    for k, s, d in ((1, 1, 1), (4, 2, 1), (3, 3, 1), (5, 2, 2), (2, 3, 1), (3, 2, 3), (1, 4, 1)):
        for padding in ("causal", "same", "valid"):
            if padding == "same" and (k - 1) * d + 1 < s:
                continue  # the spec refuses it
            spec = conv_transpose1d(kernel_size=k, stride=s, dilation=d, padding=padding)
            yield f"conv_transpose1d-{padding}-k{k}-s{s}-d{d}", spec, SIGNAL
    for bias in (False, True):
        spec = conv_transpose1d(kernel_size=4, stride=2, weight_norm=True, bias=bias)
        yield f"conv_transpose1d-weight_norm-bias{bias:d}", spec, SIGNAL


def _resampling():
    yield "pool-global_average", {"kind": "pool"}, SIGNAL
    for mode in ("global_max", "first", "last", "middle"):
        yield f"pool-{mode}", {"kind": "pool", "mode": mode}, SIGNAL
    for mode, size in itertools.product(("adaptive_average", "adaptive_max"), (1, 5, 37, 41)):
        spec = {"kind": "pool", "mode": mode, "output_size": size}
        yield f"pool-{mode}-{size}", spec, SIGNAL
    for mode, factor in itertools.product(("nearest", "linear"), (1, 2, 5)):
        spec = {"kind": "upsample", "mode": mode, "factor": factor}
        yield f"upsample-{mode}-{factor}", spec, SIGNAL


def _windows():
    for mode, padding in itertools.product(("average", "max"), ("valid", "same", "same_upper")):
        spec = {"kind": "window_pool", "mode": mode, "padding": padding, "channels": 3}
        for size, stride in ((2, None), (3, 1), (4, 2), (2, 3), (1, 2)):
            name = f"window_pool-{mode}-{padding}-{size}-{stride}"
            yield name, {**spec, "size": size, "stride": stride}, SIGNAL
    counted = {"kind": "window_pool", "mode": "average", "size": 4, "padding": "same"}
    yield "window_pool-count_padding", {**counted, "count_padding": True}, SIGNAL


def _same_upper():
    for kernel_size, stride, dilation, length in itertools.product(
        (1, 3, 4), (2, 3), (1, 2), (36, 37)
    ):
        spec = conv1d(kernel_size, stride=stride, dilation=dilation, padding="same_upper")
        name = f"conv1d-same_upper-k{kernel_size}-s{stride}-d{dilation}-L{length}"
        yield name, spec, (2, 3, length)
    yield "conv1d-same_upper-stride1", conv1d(padding="same_upper"), SIGNAL


def _reshaping():
    for order in ("channels", "time"):
        yield f"flatten-{order}", {"kind": "flatten", "length": 37, "order": order}, SIGNAL
    for mode, (left, right) in itertools.product(MODES, ((2, 3), (3, -2), (-2, 0), (0, 0))):
        spec = {"kind": "pad", "left": left, "right": right, "mode": mode}
        yield f"pad-{mode}-{left}-{right}", spec, SIGNAL


def node(layer, *inputs):
    return {"layer": layer, "inputs": list(inputs or ["input"])}


def _graphs():
    square = conv1d(out_channels=3, dilation=2)
    for mode in ("add", "multiply", "concat"):
        merged = node({"kind": "merge", "mode": mode}, "conv", "input", "beside")
        nodes = {"conv": node(square), "beside": node(conv1d(2, out_channels=3)), "merged": merged}
        yield f"graph-{mode}", {"kind": "graph", "in_channels": 3, "nodes": nodes}, SIGNAL
    dense = {"kind": "dense", "in_features": 3, "out_features": 3}
    for mode in ("add", "multiply"):
        nodes = {
            "mean": node({"kind": "pool"}),
            "gate": node(dense, "mean"),
            "merged": node({"kind": "merge", "mode": mode}, "gate", "input"),
        }
        yield f"graph-vector-{mode}", {"kind": "graph", "in_channels": 3, "nodes": nodes}, SIGNAL
    down = {"kind": "window_pool", "mode": "max", "size": 3, "stride": 2, "channels": 3}
    nodes = {
        "long": node(conv1d(4, stride=2, out_channels=3)),
        "short": node(conv1d(2, stride=2, out_channels=3)),
        "sum": node({"kind": "merge", "mode": "add"}, "long", "short"),
        "pooled": node(down, "sum"),
        "inner": node(
            {"kind": "graph", "in_channels": 3, "nodes": {"one": node(square)}}, "pooled"
        ),
    }
    yield "graph-strided", {"kind": "graph", "in_channels": 3, "nodes": nodes}, SIGNAL


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


def mamba2(**fields):
    return {"kind": "mamba2", "channels": 3, "expand": 4, "head_dim": 2, "d_state": 5, **fields}


def _mamba():
    for channels, groups in ((3, 1), (6, 2), (6, 3)):
        norm = {"kind": "rms_norm", "channels": channels, "groups": groups, "eps": 0.1}
        yield f"rms_norm-g{groups}", norm, (2, channels, 37)
    yield "rms_norm-vector", {"kind": "rms_norm", "channels": 6, "groups": 2}, (4, 6)
    options = {
        "plain": {},
        "chunks": {"chunk_size": 8},
        "chunk1": {"chunk_size": 1},
        "groups": {"groups": 2, "d_state": 16},
        "ungrouped": {"groups": 3, "grouped_norm": False, "chunk_size": 16},
        "wide": {"d_state": 64, "d_conv": 2},
        "wider": {"d_state": 128, "groups": 2},
        "d_per_channel": {"d_per_channel": True, "norm_before_gate": True},
        "no_norm": {"rms_norm": False, "bias": True, "conv_bias": False},
        "dt_limit": {"dt_limit": [0.02, 0.05]},
        "d_ssm": {"d_ssm": 8},
        "large_dt": {"dt_limit": [50.0, 200.0]},
    }
    for name, fields in options.items():
        yield f"mamba2-{name}", mamba2(**fields), SIGNAL
    inner = {name: value for name, value in mamba2().items() if name not in ("kind", "channels")}
    layer = {"channels": 3, "mamba": {**inner, "chunk_size": 16}}
    yield "bi_mamba2_layer", {"kind": "bi_mamba2_layer", **layer, "dropout": 0.0}, SIGNAL
    for shared in (False, True):
        spec = {"kind": "bi_mamba2", **layer, "layers": 2, "shared": shared}
        yield f"bi_mamba2-shared{shared:d}", spec, SIGNAL


DEVICES = (2, 3, 2, 19)


def conv2d(*kernel_size, **fields):
    return {
        "kind": "conv2d", "in_channels": 3, "out_channels": 5, "kernel_size": list(kernel_size),
        "devices": 2, **fields,
    }  # fmt: skip


def _devices():
    for padding, dilation in itertools.product(("causal", "same", "valid"), (1, 3)):
        spec = conv2d(1, 4, padding=padding, dilation=dilation)
        yield f"conv2d-{padding}-d{dilation}", spec, DEVICES
    yield "conv2d-rows", conv2d(2, 3, padding="same"), DEVICES
    yield "conv2d-rows-dilated", conv2d(2, 3, dilation=2, bias=False), DEVICES
    yield "conv2d-three-devices", conv2d(2, 3, devices=3), (2, 3, 3, 19)
    grouped = conv2d(2, 3, groups=3, in_channels=6, out_channels=9, dilation=2)
    yield "conv2d-groups", grouped, (2, 6, 2, 19)
    yield "conv2d-1x1", conv2d(1, 1, devices=None), DEVICES
    block = {"kind": "temporal_block_2d", "in_channels": 3, "channels": 5, "devices": 2}
    for norm, causal in itertools.product(("batch_norm", "layer_norm", "none"), (True, False)):
        spec = {**block, "norm": norm, "causal": causal, "dilation": 2}
        yield f"temporal_block_2d-{norm}-causal{causal:d}", spec, DEVICES
    tcn = {"kind": "tcn_2d", "in_channels": 3, "channels": [4, 4, 6], "devices": 2}
    yield "tcn_2d", tcn, DEVICES
    yield "tcn_2d-dilations", {**tcn, "dilations": [3, 1, 2], "activation": "silu"}, DEVICES
    attention = {"kind": "device_attention", "channels": 6, "heads": 2}
    yield "device_attention", attention, (2, 6, 2, 19)
    three = {**attention, "devices": 3, "heads": 3, "residual": False, "dropout": 0.2}
    yield "device_attention-three", three, (2, 6, 3, 19)
    for mode in ("average", "max", "concat"):
        yield f"device_pool-{mode}", {"kind": "device_pool", "mode": mode, "devices": 2}, DEVICES
    yield "device_split", {"kind": "device_split"}, (2, 6, 19)
    layers = {
        "tcn": tcn,
        "attention": attention,
        "norm": {"kind": "batch_norm", "channels": 6},
        "together": {"kind": "device_pool", "mode": "concat", "devices": 2},
        "apart": {"kind": "device_split", "devices": 3},
    }
    yield "sequential-devices", {"kind": "sequential", "layers": layers}, DEVICES


def _hdps():
    spec = {"kind": "hdp", "clusters": 5, "channels": 3, "gamma": 1.5}
    yield "hdp-gaussian", spec, SIGNAL
    yield "hdp-cool", {**spec, "temperature": 0.3, "variance_floor": 0.2}, SIGNAL
    yield "hdp-codes", {"kind": "hdp", "clusters": 4, "components": "codes", "codes": 6}, (2, 6, 37)


def _hsmms():
    spec = {"kind": "hsmm", "states": 4, "max_duration": 6}
    gaussian = {**spec, "channels": 3}
    yield "hsmm-posterior", {**gaussian, "duration": "negative_binomial"}, SIGNAL
    filtered = {**gaussian, "duration": "gaussian", "start": "stationary", "output": "filtered"}
    yield "hsmm-filtered", filtered, SIGNAL
    codes = {"emission": "categorical", "encoding": "one_hot", "codes": 3}
    yield "hsmm-codes", {**spec, **codes, "output": "filtered"}, SIGNAL
    neural = {"emission": "neural", "hidden": [5], "duration": "categorical"}
    yield "hsmm-neural", {**gaussian, **neural, "end": "none"}, SIGNAL


def vector_quantizer(**fields):
    spread = {"name": "normal", "gain": 1.0}
    return {
        "kind": "vector_quantizer", "channels": 3, "codes": 7, "initializer": spread, **fields
    }  # fmt: skip


def _quantizers():
    for name, fields in {
        "plain": {},
        "rotation": {"gradient": "rotation", "kmeans_iterations": 3},
        "cosine": {"cosine": True},
        "gradient": {"update": "gradient"},
        "unit-ema": {"update": "unit_ema", "cosine": True, "dead_code_threshold": 0.0},
    }.items():
        yield f"vector_quantizer-{name}", vector_quantizer(**fields), SIGNAL
    yield "vector_quantizer-vector", vector_quantizer(cosine=True), (4, 3)
    for shared in (False, True):
        spec = {"kind": "residual_vq", "levels": 3, "shared": shared}
        yield f"residual_vq-shared{shared:d}", {**spec, "quantizer": vector_quantizer()}, SIGNAL
    yield "fsq", {"kind": "fsq", "levels": [4, 5, 8]}, SIGNAL
    yield "fsq-vector", {"kind": "fsq", "levels": [3, 6]}, (4, 2)


def mask_token(**fields):
    return {"kind": "mask_token", "channels": 3, **fields}


def _tokens():
    yield "cls_token", {"kind": "cls_token", "channels": 3}, (2, 3, 7)
    yield "cls_token-one", {"kind": "cls_token", "channels": 3}, (2, 3, 1)
    yield "mask_token", mask_token(), (2, 3, 7)
    electrodes = {"kind": "electrode_embedding", "channels": 5, "electrodes": ["Fp2", "T3", "CZ"]}
    for cls in ("none", "own", "first_electrode"):
        tokens = 12 + (cls != "none")
        yield f"electrode_embedding-{cls}", {**electrodes, "cls": cls}, (2, 5, tokens)
    table = {"table": ["a", "Cz", "fp2", "b", "t3"], "cls": "own"}
    yield "electrode_embedding-table", {**electrodes, **table}, (2, 5, 7)
    time = {"kind": "time_embedding", "channels": 5, "rows": 6}
    for form, cls in itertools.product(("learned", "sinusoidal"), (False, True)):
        spec = {**time, "form": form, "cls": cls, "electrodes": 3}
        yield f"time_embedding-{form}-cls{cls:d}", spec, (2, 5, 12 + cls)
    yield "time_embedding-one", time, (2, 5, 6)
    small = {"kind": "patch_embed", "patch": 20, "out_channels": 4, "groups": 2, "electrodes": 3}
    for name, fields in {
        "plain": {},
        "even": {"kernel_size": 6, "stride": 3, "groups": 4, "eps": 0.1},
        "projection": {"projection": True, "channels": 7},
        "linear": {"stem": "linear", "channels": 6, "out_channels": 8, "groups": 4},
    }.items():
        yield f"patch_embed-{name}", {**small, **fields}, (2, 3, 80)
    yield "patch_embed-one", {**small, "electrodes": None}, (1, 1, 20)
    for value, bins in itertools.product(("amplitude", "phase"), ("half", "full")):
        spec = {"kind": "spectrum", "patch": 10, "value": value, "bins": bins, "electrodes": 3}
        yield f"spectrum-{value}-{bins}", spec, (2, 3, 20)
        # Behind a dense layer: the mean square of normalised values is 1 whatever the input is.
        dense = {"kind": "dense", "in_features": 10 if bins == "full" else 6, "out_features": 4}
        layers = {"spectrum": {**spec, "normalized": True}, "dense": dense}
        yield (
            f"sequential-spectrum-{value}-{bins}", {"kind": "sequential", "layers": layers},
            (2, 3, 20),
        )  # fmt: skip
    for value in ("amplitude", "phase"):
        spec = {"kind": "spectrum", "patch": 7, "value": value, "bins": "full", "electrodes": 3}
        yield f"spectrum-{value}-odd", spec, (2, 3, 14)
    names = {"kind": "electrode_embedding", "channels": 12, "electrodes": ["Fp2", "T3", "CZ"]}
    times = {"kind": "time_embedding", "channels": 12, "rows": 5, "electrodes": 3, "cls": True}
    layers = {
        "patches": small,
        "cls": {"kind": "cls_token", "channels": 12},
        "electrodes": {**names, "cls": "own"},
        "times": times,
    }
    yield "sequential-tokens", {"kind": "sequential", "layers": layers}, (2, 3, 80)
    layers = {
        "early": mask_token(mask="early"),
        "conditioned": {
            "kind": "temporal_block", "in_channels": 3, "channels": 3,
            "embeddings": [4, {"channels": 2, "per_step": True, "name": "speaker"}],
        },
        "down": {"kind": "window_pool", "mode": "max", "size": 2},
        "late": mask_token(mask="late"),
        "again": mask_token(mask="late"),
        "cls": {"kind": "cls_token", "channels": 3},
        "last": mask_token(mask="last"),
    }  # fmt: skip
    yield "sequential-masks", {"kind": "sequential", "layers": layers}, (3, 3, 9)
    nodes = {
        "conv": node(conv1d(2, out_channels=3)),
        "masked": node(mask_token(), "conv"),
        "other": node({"kind": "sequential", "layers": {"in": mask_token()}}),
        "sum": node({"kind": "merge", "mode": "add"}, "masked", "other"),
    }
    yield "graph-masks", {"kind": "graph", "in_channels": 3, "nodes": nodes}, (3, 3, 9)


def _heads():
    dense = {"kind": "dense", "in_features": 3, "out_features": 2}
    masked = {"mask": mask_token(), "last": {"kind": "pool", "mode": "first"}}
    heads = {
        "steps": dense,
        "whole": {"kind": "pool"},
        "masked": {"kind": "sequential", "layers": masked},
    }
    yield "heads", {"kind": "heads", "heads": heads}, (3, 3, 9)
    vectors = {"a": dense, "b": {**dense, "out_features": 4}}
    yield "heads-vector", {"kind": "heads", "heads": vectors}, (4, 3)
    layers = {"conv": conv1d(2, out_channels=3), "heads": {"kind": "heads", "heads": heads}}
    yield "sequential-heads", {"kind": "sequential", "layers": layers}, (3, 3, 9)


def attention(**fields):
    return {"kind": "attention", "channels": 6, "heads": 2, **fields}


def transformer_block(attention=None, **fields):
    heads = {"heads": 2, **(attention or {})}
    mlp = {"hidden": 9, **fields.pop("mlp", {})}
    return {
        "kind": "transformer_block", "channels": 6, "attention": heads, "mlp": mlp, **fields
    }  # fmt: skip


def _transformers():
    tokens = (2, 6, 7)
    masks = {"key_mask": "keys", "pair_mask": "pairs"}
    for name, fields in {
        "plain": {},
        "bias-qv": {"qkv_bias": "qv", "out_bias": False, "head_dim": 5},
        "bias-none": {"qkv_bias": "none", "heads": 3, "scale": 0.9, "dropout": 0.3},
        "layer_norm": {"qk_norm": {"kind": "layer_norm", "eps": 0.1}},
        "rms_norm": {"qk_norm": {"kind": "rms_norm", "eps": 0.2}, "head_dim": 4},
        "causal": {"causal": True, "dropout": 0.1},
        "window": {"causal": True, "window": 3, "qk_norm": "layer_norm"},
        "window1": {"causal": True, "window": 1},
        "wide-window": {"causal": True, "window": 9},
        "key_mask": {"key_mask": "keys"},
        "pair_mask": {"pair_mask": "pairs"},
        "masks": {**masks, "causal": True, "qk_norm": "rms_norm"},
        "window-key_mask": {"causal": True, "window": 3, "key_mask": "keys"},
    }.items():
        yield f"attention-{name}", attention(**fields), (3, 6, 7) if "mask" in name else tokens
    yield "attention-one", attention(qk_norm="layer_norm"), (2, 6, 1)
    yield "drop_path", {"kind": "drop_path", "rate": 0.4}, SIGNAL
    for name, fields in {
        "plain": {},
        "post": {"norm_first": False, "mlp": {"activation": "relu"}, "dropout": 0.1},
        "post-scaled": {"norm_first": False, "layer_scale": 0.7, "drop_path": 0.2},
        "gated": {"mlp": {"gated": True, "activation": "silu", "bias": False}, "norm": "rms_norm"},
        "scaled": {
            "layer_scale": 0.5, "drop_path": 0.2, "dropout": 0.1, "norm": {"eps": 0.3},
            "attention": {"qk_norm": "layer_norm", "qkv_bias": "qv"},
        },
        "window": {"attention": {"causal": True, "window": 4}},
    }.items():  # fmt: skip
        yield f"transformer_block-{name}", transformer_block(**fields), tokens
    masked = transformer_block(attention=masks)
    yield "transformer_block-masks", masked, (3, 6, 7)
    stack = {"kind": "transformer", "depth": 2, "block": masked, "norm": "layer_norm"}
    yield "transformer-masks", {**stack, "drop_path": 0.3, "scale_by_depth": True}, (3, 6, 7)
    streamed = transformer_block({"causal": True, "window": 3, "key_mask": "keys"})
    streamed["layer_scale"] = 0.4
    yield "transformer-window", {**stack, "depth": 3, "block": streamed, "norm": None}, (3, 6, 11)
    yield "transformer-plain", {**stack, "block": transformer_block()}, tokens


def _composed():
    block = {**conv1d(), "kind": "conv_block", "activation": "gelu", "dropout": 0.1}
    for norm in NORMS:
        yield f"conv_block-{norm}", {**block, "norm": norm}, SIGNAL
    strided = {"stride": 2, "dilation": 2, "padding": "valid", "bias": False, "norm": "batch_norm"}
    yield "conv_block-strided", {**block, **strided}, SIGNAL
    yield "conv_block-linear", {**conv1d(), "kind": "conv_block"}, SIGNAL
    for extra in ({}, {"gate": True, "norm": "layer_norm"}, {"causal": False, "dilation": 2}):
        spec = {
            "kind": "temporal_block",
            "in_channels": 3,
            "channels": 5,
            "kernel_size": 3,
            **extra,
        }
        yield "-".join(["temporal_block", *extra]), spec, SIGNAL
    inner = {"kind": "sequential", "layers": {"down": conv1d(stride=2), "gated": {"kind": "glu"}}}
    inner["layers"]["down"]["out_channels"] = 4
    up = {"kind": "upsample", "factor": 2}
    yield "sequential-nested", {"kind": "sequential", "layers": {"inner": inner, "up": up}}, SIGNAL


BLOCKS = {
    name: (spec, shape)
    for family in (
        _activations, _norms, _group_norms, _convolutions, _same_upper,
        _transposed_convolutions, _resampling, _windows, _reshaping, _dense, _squeeze_excitation,
        _mamba, _devices, _hdps, _quantizers, _composed, _graphs, _projection_heads,
        _channel_adapters, _recurrent, _hsmms, _tokens, _heads, _transformers,
    )
    for name, spec, shape in family()
}  # fmt: skip
