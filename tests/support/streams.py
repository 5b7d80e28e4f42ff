"""Models that can stream: every block with a state, compositions that change the rate, and TCNs."""

import itertools

from tests.support.cases import BLOCKS, conv1d, conv_transpose1d, mamba2
from tests.support.tcns import tcn


def _streamed():
    """Every leaf with every kind of state, and compositions that change the rate."""
    for padding, stride, (k, d) in itertools.product(
        ("causal", "valid"), (1, 3), ((1, 1), (2, 1), (3, 4))
    ):
        yield (
            f"conv1d-{padding}-s{stride}-k{k}-d{d}",
            conv1d(k, dilation=d, stride=stride, padding=padding),
        )
    for stride in (1, 2):
        yield (
            f"conv1d-replicate-s{stride}",
            conv1d(stride=stride, dilation=2, padding_mode="replicate"),
        )
    yield "conv1d-groups", conv1d(in_channels=3, out_channels=6, groups=3, weight_norm=True)
    for k, s, d in ((1, 1, 1), (4, 2, 1), (3, 3, 1), (5, 2, 2), (2, 3, 1), (3, 2, 3)):
        yield (
            f"conv_transpose1d-k{k}-s{s}-d{d}",
            conv_transpose1d(kernel_size=k, stride=s, dilation=d),
        )
    yield "squeeze_excitation", {"kind": "squeeze_excitation", "channels": 3, "pool": "cumulative"}
    yield "dense_block", {
        "kind": "dense_block", "in_features": 3, "out_features": 5, "norm": "batch_norm",
    }  # fmt: skip
    down = {**conv1d(stride=3, padding="valid"), "kind": "conv_block", "norm": "layer_norm"}
    narrow = {
        "kind": "conv1d",
        "in_channels": 5,
        "out_channels": 3,
        "kernel_size": 2,
        "padding": "valid",
    }
    up, nearest = conv_transpose1d(kernel_size=3, stride=2), {"kind": "upsample", "factor": 3}
    inner = {"kind": "sequential", "layers": {"down": down, "narrow": {**narrow, "stride": 2}}}
    layers = {
        "inner": inner,
        "nearest": nearest,
        "up": up,
        "tanh": {"kind": "activation", "name": "tanh"},
    }
    yield "down-down-up-up", {"kind": "sequential", "layers": layers}
    layers = {"up": up, "narrow": {**narrow, "stride": 5, "kernel_size": 7}, "se": _streamed_se()}
    yield "up-down-se", {"kind": "sequential", "layers": layers}


def _windows_and_graphs():
    """Pools over windows, and branches that meet again, also behind a stride."""
    for mode, size, stride in (("max", 3, 2), ("average", 2, None), ("max", 2, 5), ("max", 1, 3)):
        yield f"window_pool-{mode}-{size}-{stride}", {
            "kind": "window_pool", "mode": mode, "size": size, "stride": stride, "channels": 3,
        }  # fmt: skip
    for name in ("graph-add", "graph-multiply", "graph-concat", "graph-strided"):
        yield name, BLOCKS[name][0]
    layers = {"graph": BLOCKS["graph-strided"][0], "up": conv_transpose1d(kernel_size=3, stride=2)}
    yield "graph-up", {"kind": "sequential", "layers": layers}


def _mambas():
    """Mamba-2 with each form of its state, and behind a stride."""
    for name in ("plain", "groups", "dt_limit", "d_ssm", "large_dt"):
        yield f"mamba2-{name}", BLOCKS[f"mamba2-{name}"][0]
    layers = {
        "down": conv1d(stride=3, out_channels=3),
        "mamba": mamba2(),
        "up": conv_transpose1d(kernel_size=3, stride=2),
    }
    yield "down-mamba2-up", {"kind": "sequential", "layers": layers}


def _quantizers():
    """Codes of each step, behind a layer with a state."""
    layers = {"conv": conv1d(out_channels=3), "codes": BLOCKS["residual_vq-shared0"][0]}
    yield "conv-codes", {"kind": "sequential", "layers": layers}


def _devices():
    """Signals of two devices, through kernels that span one or both of them."""
    for name in ("conv2d-causal-d3", "conv2d-rows-dilated", "conv2d-groups", "tcn_2d-dilations"):
        yield name, BLOCKS[name][0]
    yield "sequential-devices", BLOCKS["sequential-devices"][0]


def _streamed_se():
    return {"kind": "squeeze_excitation", "channels": 3, "reduction": 0, "pool": "cumulative"}


STREAMED = {**dict(_streamed()), **dict(_windows_and_graphs()), **dict(_mambas())}
STREAMED |= dict(_quantizers())
STREAMED_DEVICES = dict(_devices())
STREAMED_TCNS = {
    "weight_norm": tcn(norm="weight_norm", output_projection=2),
    "batch_norm-skip": tcn(norm="batch_norm", skip_connections=True, dilations=[3, 1, 2]),
    "batch_norm-gate-skip": tcn(norm="batch_norm", gate=True, skip_connections=True),
    "layer_norm-add-se": tcn("add", "cumulative", norm="layer_norm", padding_mode="replicate"),
    "none-concat-gate-se": tcn(
        "concat", "cumulative", norm="none", gate=True, skip_connections=True
    ),
    "kernel-1": tcn(kernel_size=1, activation="gelu"),
    "mixed-kernels": tcn(kernel_size=[2, 1, 4], dilations=[5, 1, 3]),
    "downsampled": {
        "kind": "sequential",
        "layers": {
            "tcn": tcn("add", "cumulative"),
            "down": {**conv1d(stride=4, padding="valid"), "in_channels": 6},
        },
    },
}
