"""SeizureTransformer as a graph: a U-Net with residual convolutions and a transformer inside.

Source: keruiwu/SeizureTransformer (MIT); Wu et al. 2025, arXiv:2504.00336; the U-Net and the
residual convolutions are those of EQTransformer, Mousavi et al. 2020, Nat. Commun. 11, 3952.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tcnzoo.specs import Spec
from tcnzoo.zoo.parse import parse_spec

# Rows of the table of positions.
ROWS = 6000
NORM_EPS = 1e-3
DROPOUT = 0.1
HEADS = 4
SIGMOID, SOFTMAX = "sigmoid", "softmax"


@dataclass(frozen=True)
class Sizes:
    """Sizes of a net.

    Attributes:
        in_channels: electrodes.
        filters: channels of each stage of the encoder, whose order the decoder turns around.
        encoder, decoder: taps of their convolutions.
        residual: taps of each residual block.
        layers, hidden, heads: of the transformer.
        out_channels, last: channels and taps of the last convolution.
        output: `sigmoid`, or `softmax` over the channels.
        rows: of the table of positions.
    """

    in_channels: int
    filters: tuple[int, ...]
    encoder: tuple[int, ...]
    residual: tuple[int, ...]
    decoder: tuple[int, ...]
    layers: int
    hidden: int
    heads: int = HEADS
    out_channels: int = 1
    last: int = 11
    output: str = SIGMOID
    rows: int = ROWS

    @property
    def width(self) -> int:
        """Channels of the transformer."""
        return self.filters[-1]


def graph_of(sizes: Sizes) -> Spec:
    """The graph; the length of a signal must be a multiple of 2 to the number of stages."""
    nodes: dict[str, Any] = {}
    last, inside = "input", sizes.in_channels
    for number, (filters, taps) in enumerate(zip(sizes.filters, sizes.encoder, strict=True), 1):
        nodes[f"conv{number}"] = _node(_conv(inside, filters, taps), last)
        nodes[f"elu{number}"] = _node(_ELU, f"conv{number}")
        nodes[f"pool{number}"] = _node(
            {"kind": "window_pool", "mode": "max", "size": 2, "stride": 2}, f"elu{number}"
        )
        last, inside = f"pool{number}", filters
    for number, taps in enumerate(sizes.residual, 1):
        nodes[f"res{number}"] = _node(_residual(inside, taps), last)
        nodes[f"res_sum{number}"] = _node(_SUM, last, f"res{number}")
        last = f"res_sum{number}"
    position = {
        "kind": "time_embedding", "channels": inside, "form": "sinusoidal", "rows": sizes.rows,
    }  # fmt: skip
    nodes["position"] = _node(position, last)
    nodes["position_drop"] = _node({"kind": "dropout", "rate": DROPOUT}, "position")
    nodes["transformer"] = _node(_transformer(sizes), "position_drop")
    nodes["sum"] = _node(_SUM, "transformer", last)
    last = "sum"
    stages = len(sizes.filters)
    for number, (filters, taps) in enumerate(zip(sizes.filters[::-1], sizes.decoder, strict=True)):
        stage = stages - number
        nodes[f"up{stage}"] = _node({"kind": "upsample", "factor": 2}, last)
        nodes[f"deconv{stage}"] = _node(_conv(inside, filters, taps), f"up{stage}")
        nodes[f"deelu{stage}"] = _node(_ELU, f"deconv{stage}")
        nodes[f"skip{stage}"] = _node(_SUM, f"deelu{stage}", f"elu{stage}")
        last, inside = f"skip{stage}", filters
    nodes["detection"] = _node(_conv(inside, sizes.out_channels, sizes.last), last)
    nodes["probability"] = _node({"kind": "activation", "name": sizes.output}, "detection")
    return parse_spec({"kind": "graph", "in_channels": sizes.in_channels, "nodes": nodes})


_ELU: Mapping[str, Any] = {"kind": "activation", "name": "elu"}
_SUM: Mapping[str, Any] = {"kind": "merge", "mode": "add"}


def _node(layer: Mapping[str, Any], *inputs: str) -> dict[str, Any]:
    return {"layer": dict(layer), "inputs": list(inputs)}


def _conv(inside: int, outside: int, taps: int) -> dict[str, Any]:
    """A convolution that keeps the length; of two taps the second looks ahead."""
    sizes = {"in_channels": inside, "out_channels": outside, "kernel_size": taps}
    return {"kind": "conv1d", **sizes, "padding": "same"}


def _residual(width: int, taps: int) -> dict[str, Any]:
    """Twice batch norm, relu, dropout and convolution."""
    layers: dict[str, Any] = {}
    for number in (1, 2):
        layers[f"norm{number}"] = {"kind": "batch_norm", "channels": width, "eps": NORM_EPS}
        layers[f"relu{number}"] = {"kind": "activation", "name": "relu"}
        layers[f"drop{number}"] = {"kind": "dropout", "rate": DROPOUT}
        layers[f"conv{number}"] = _conv(width, width, taps)
    return {"kind": "sequential", "layers": layers}


def _transformer(sizes: Sizes) -> dict[str, Any]:
    """Layers as torch.nn.TransformerEncoderLayer has them: norms after the sums, relu."""
    block = {
        "channels": sizes.width,
        "attention": {"heads": sizes.heads, "qkv_bias": "qkv", "dropout": DROPOUT},
        "norm": {"kind": "layer_norm", "eps": 1e-5},
        "norm_first": False,
        "dropout": DROPOUT,
        "mlp": {"hidden": sizes.hidden, "activation": "relu"},
    }
    return {"kind": "transformer", "depth": sizes.layers, "block": block}
