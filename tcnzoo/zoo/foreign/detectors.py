"""The seizure detectors of brain-go-brr-v2, as documents for `parse_spec`.

Source: brain-go-brr-v2 (Clarity-Digital-Twin, Apache-2.0), versions 2.0 to 2.3: facts only.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tcnzoo.errors import SpecError

CHANNELS = 19
# Taps of the U-Net's convolutions, whatever a configuration says.
STEM, ENCODER = 7, 5
Backbone = Literal["pytorch-tcn", "minimal"]


def unet_document(
    *,
    in_channels: int = CHANNELS,
    channels: int = 64,
    depth: int = 4,
    blocks: int = 3,
    kernel_sizes: Sequence[int] = (3, 5, 7),
    mamba: Mapping[str, Any],
    dropout: float = 0.1,
) -> dict[str, Any]:
    """The document of the U-Net with residual CNN and Bi-Mamba-2, for `parse_spec`.

    Args:
        in_channels: of the signal.
        channels: of the first stage; each further one has twice as many.
        depth: stages, each of which halves the rate.
        blocks: of the residual CNN.
        kernel_sizes: of its branches, odd, two or more that differ; the last has what remains of
            the channels.
        mamba: fields of the bi_mamba2 but for its width.
        dropout: rate in the residual CNN; of single values, where the origin's is of channels.
    """
    widths = [channels * 2**stage for stage in range(depth)]
    nodes = _encoder(in_channels, widths)
    last = _rescnn(nodes, widths[-1], blocks, kernel_sizes, dropout)
    _add(nodes, "mamba", {"kind": "bi_mamba2", "channels": widths[-1], **mamba}, last)
    last = _decoder(nodes, widths)
    _add(nodes, "projection", _pointwise(channels, in_channels), last)
    _add(nodes, "detection", _pointwise(in_channels, 1), "projection")
    return {"kind": "graph", "in_channels": in_channels, "nodes": nodes}


def _encoder(in_channels: int, widths: Sequence[int]) -> dict[str, Any]:
    """Nodes from the input to `down<depth>`."""
    nodes: dict[str, Any] = {}
    _add(nodes, "stem", _block(in_channels, widths[0], STEM), "input")
    last, inside = "stem", widths[0]
    for stage, width in enumerate(widths, start=1):
        _add(nodes, f"encoder{stage}a", _block(inside, width, ENCODER), last)
        _add(nodes, f"encoder{stage}b", _block(width, width, ENCODER), f"encoder{stage}a")
        halved = _strided(width, width, 2)
        _add(nodes, f"down{stage}", halved, f"encoder{stage}b")
        last, inside = f"down{stage}", width
    return nodes


def _rescnn(
    nodes: dict[str, Any], width: int, blocks: int, kernel_sizes: Sequence[int], dropout: float
) -> str:
    """Add the residual CNN; return the name of its last node."""
    if len(set(kernel_sizes)) != len(kernel_sizes) or len(kernel_sizes) < 2:
        raise SpecError(
            f"kernel_sizes of rescnn must be two or more that differ, but are {list(kernel_sizes)}"
        )
    last = f"down{sum(name.startswith('down') for name in nodes)}"
    for block in range(1, blocks + 1):
        name = f"rescnn{block}"
        branches = [f"{name}_k{taps}" for taps in kernel_sizes]
        for branch, taps in zip(branches, kernel_sizes, strict=True):
            share = width // len(kernel_sizes)
            share += width % len(kernel_sizes) if branch == branches[-1] else 0
            _add(nodes, branch, _block(width, share, taps), last)
        _add(nodes, f"{name}_concat", {"kind": "merge", "mode": "concat"}, *branches)
        mix = {"kind": "conv_block", "in_channels": width, "out_channels": width}
        mix |= {"kernel_size": 1, "norm": "batch_norm", "dropout": dropout}
        _add(nodes, f"{name}_mix", mix, f"{name}_concat")
        _add(nodes, f"{name}_sum", {"kind": "merge", "mode": "add"}, last, f"{name}_mix")
        _add(nodes, name, {"kind": "activation", "name": "relu"}, f"{name}_sum")
        last = name
    return last


def _decoder(nodes: dict[str, Any], widths: Sequence[int]) -> str:
    """Add the way back to full rate; return the name of its last node."""
    last, inside, depth = "mamba", widths[-1], len(widths)
    for stage in range(1, depth + 1):
        skipped = widths[depth - stage]
        width = widths[max(depth - stage - 1, 0)]
        rise = {"kind": "conv_transpose1d", "in_channels": inside, "out_channels": width}
        _add(nodes, f"up{stage}", {**rise, "kernel_size": 2, "stride": 2}, last)
        beside = f"encoder{depth - stage + 1}b"
        _add(nodes, f"skip{stage}", {"kind": "merge", "mode": "concat"}, f"up{stage}", beside)
        _add(nodes, f"decoder{stage}a", _block(width + skipped, width, ENCODER), f"skip{stage}")
        _add(nodes, f"decoder{stage}b", _block(width, width, ENCODER), f"decoder{stage}a")
        last, inside = f"decoder{stage}b", width
    return last


def tcn_document(
    *,
    in_channels: int = CHANNELS,
    channels: Sequence[int] = (64, 128, 256, 512) * 2,
    kernel_size: int = 7,
    dropout: float = 0.15,
    causal: bool = False,
    dilation_reset: int | None = None,
    backbone: Backbone = "pytorch-tcn",
    width: int = 512,
    stride: int = 16,
    mamba: Mapping[str, Any],
) -> dict[str, Any]:
    """The document of the TCN with Bi-Mamba-2, for `parse_spec`.

    Args:
        in_channels: of the signal.
        channels: of each level.
        kernel_size, dropout, causal: of all levels.
        dilation_reset: as in a tcn; of `pytorch-tcn` only.
        backbone: `pytorch-tcn` for residual blocks of two convolutions, or `minimal` for the
            origin's own: one weight-normed convolution a level, without residuals.
        width: channels after the TCN.
        stride: samples for each step of the Bi-Mamba-2.
        mamba: fields of the bi_mamba2 but for its width.
    Raises:
        SpecError: an even kernel that is not causal, which shortens the origin's signal.
    """
    shared = {"kernel_size": kernel_size, "dropout": dropout}
    layers: dict[str, Any] = {}
    if backbone == "pytorch-tcn":
        tcn = {"kind": "tcn", "in_channels": in_channels, "channels": list(channels), **shared}
        layers["tcn"] = {**tcn, "causal": causal, "dilation_reset": dilation_reset}
    else:
        if dilation_reset is not None or not (causal or kernel_size % 2):
            raise SpecError(
                "the minimal backbone has no dilation_reset, and an odd kernel_size where it is "
                f"not causal, but got dilation_reset={dilation_reset}, kernel_size={kernel_size}"
            )
        end = {**shared, "padding": "causal" if causal else "same", "norm": "weight_norm"}
        for level, (inside, after) in enumerate(
            zip([in_channels, *channels[:-1]], channels, strict=True)
        ):
            size = {"kind": "conv_block", "in_channels": inside, "out_channels": after, **end}
            layers[f"level{level}"] = {**size, "dilation": 2**level, "activation": "relu"}
        layers["backbone_projection"] = _pointwise(channels[-1], channels[-1])
    layers["channel_projection"] = _pointwise(channels[-1], width)
    layers["downsample"] = _strided(width, width, stride)
    layers["mamba"] = {"kind": "bi_mamba2", "channels": width, **mamba}
    layers["projection"] = _pointwise(width, in_channels)
    layers["upsample"] = {"kind": "upsample", "factor": stride}
    layers["detection"] = _pointwise(in_channels, 1)
    return {"kind": "sequential", "layers": layers}


def _add(nodes: dict[str, Any], name: str, layer: Mapping[str, Any], *inputs: str) -> None:
    """Add a node to a graph."""
    nodes[name] = {"layer": dict(layer), "inputs": list(inputs)}


def _block(inside: int, outside: int, taps: int) -> dict[str, Any]:
    """Convolution, batch norm, ReLU."""
    size = {"kind": "conv_block", "in_channels": inside, "out_channels": outside}
    end = {"padding": "same", "norm": "batch_norm", "activation": "relu"}
    return {**size, "kernel_size": taps, **end}


def _strided(inside: int, outside: int, stride: int) -> dict[str, Any]:
    """A convolution over windows side by side."""
    size = {"kind": "conv1d", "in_channels": inside, "out_channels": outside}
    return {**size, "kernel_size": stride, "stride": stride, "padding": "valid"}


def _pointwise(inside: int, outside: int) -> dict[str, Any]:
    """A 1x1 convolution."""
    return {"kind": "conv1d", "in_channels": inside, "out_channels": outside, "kernel_size": 1}
