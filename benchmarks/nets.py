"""The networks measured: ours by spec, and the same by the libraries one would pick instead."""

from dataclasses import dataclass
from typing import Any

import tcnzoo

ENCODER = {"channels": [64, 128, 256, 512] * 2, "dilations": [1, 2, 4, 8, 16, 1, 2, 4]}
NARROW = {"channels": [64] * 8, "dilations": [2**level for level in range(8)]}
KERNEL = 7
# Samples of a training step that takes much memory.
LONG = 16384
INPUTS = 19


@dataclass(frozen=True)
class Net:
    """One network: widths, dilations, and whether the encoder's strided convolution follows.

    Attributes:
        length: time steps of the forward pass.
        train_length: time steps of the training step.
    """

    name: str
    channels: tuple[int, ...]
    dilations: tuple[int, ...]
    downsample: bool
    length: int
    train_length: int

    def spec(self, norm: str | None = "weight_norm") -> dict[str, Any]:
        """Our description of it, without dropout so that a step measures the network alone."""
        tcn = {
            "kind": "tcn",
            "in_channels": INPUTS,
            "channels": list(self.channels),
            "dilations": list(self.dilations),
            "kernel_size": KERNEL,
            "dropout": 0.0,
            "norm": norm,
        }
        if not self.downsample:
            return tcn
        width = self.channels[-1]
        down = {"kind": "conv1d", "in_channels": width, "out_channels": width, "kernel_size": 16}
        layers = {"tcn": tcn, "downsample": {**down, "stride": 16, "padding": "valid"}}
        return {"kind": "sequential", "layers": layers}


NETS = {
    "tcn-eeg-encoder": Net(
        "tcn-eeg-encoder", tuple(ENCODER["channels"]), tuple(ENCODER["dilations"]), True, 3840, 1920
    ),
    "narrow [64]*8": Net(
        "narrow [64]*8", tuple(NARROW["channels"]), tuple(NARROW["dilations"]), False, 4096, 4096
    ),
}


def ours(net: Net, backend: str, device: str | None, norm: str | None = "weight_norm") -> Any:
    """Our native module."""
    return tcnzoo.create(net.spec(norm), backend, device=device)


def checkpointed(net: Net, device: str | None) -> Any:
    """Our torch module that computes its blocks once more in the backward pass."""
    return tcnzoo.create(net.spec(), "torch", device=device, checkpointing="blocks")


def pytorch_tcn(net: Net, device: str | None) -> Any:
    """The same network by pytorch-tcn (and torch's own strided convolution)."""
    import pytorch_tcn as library
    import torch

    tcn = library.TCN(
        INPUTS, list(net.channels), kernel_size=KERNEL, dilations=list(net.dilations), dropout=0.0
    )
    parts = [tcn]
    if net.downsample:
        parts.append(torch.nn.Conv1d(net.channels[-1], net.channels[-1], 16, stride=16))
    model = parts[0] if len(parts) == 1 else torch.nn.Sequential(*parts)
    return model.to(device or "cpu").eval()


def keras_tcn(net: Net) -> Any:
    """The same network by keras-tcn, which has no weight norm."""
    import keras
    import tcn as library

    signal = keras.Input((None, INPUTS))
    y = library.TCN(
        nb_filters=list(net.channels),
        kernel_size=KERNEL,
        dilations=list(net.dilations),
        use_skip_connections=False,
        return_sequences=True,
    )(signal)
    if net.downsample:
        y = keras.layers.Conv1D(net.channels[-1], 16, strides=16)(y)
    return keras.Model(signal, y)


def plain_mlx(net: Net) -> Any:
    """The same network as a stack of `mx.conv1d` calls, as one would write it from the paper."""
    import mlx.core as mx
    from mlx import nn

    class Block(nn.Module):
        def __init__(self, inside: int, outside: int, dilation: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv1d(inside, outside, KERNEL, dilation=dilation)
            self.conv2 = nn.Conv1d(outside, outside, KERNEL, dilation=dilation)
            self.residual = nn.Linear(inside, outside) if inside != outside else None
            self.left = (KERNEL - 1) * dilation

        def __call__(self, x: mx.array) -> mx.array:
            y = x
            for conv in (self.conv1, self.conv2):
                y = nn.relu(conv(mx.pad(y, [(0, 0), (self.left, 0), (0, 0)])))
            return nn.relu(y + (x if self.residual is None else self.residual(x)))

    widths = (INPUTS, *net.channels)
    blocks = [Block(*pair) for pair in zip(widths[:-1], net.channels, net.dilations, strict=True)]
    if net.downsample:
        blocks.append(nn.Conv1d(net.channels[-1], net.channels[-1], 16, stride=16))
    model = nn.Sequential(*blocks)
    mx.eval(model.parameters())
    return model


def buffered_mlx(net: Net) -> Any:
    """The same temporal blocks for streaming: a buffer before each `mx.conv1d`, as in mlx-tcn."""
    import mlx.core as mx
    from mlx import nn

    class Conv(nn.Conv1d):
        def __init__(self, inside: int, outside: int, dilation: int) -> None:
            super().__init__(inside, outside, KERNEL, dilation=dilation)
            self.buffer = mx.zeros((1, (KERNEL - 1) * dilation, inside))

        def __call__(self, x: mx.array) -> mx.array:
            x = mx.concatenate([self.buffer, x], axis=1)
            self.buffer = x[:, x.shape[1] - self.buffer.shape[1] :]
            return super().__call__(x)

    class Block(nn.Module):
        def __init__(self, inside: int, outside: int, dilation: int) -> None:
            super().__init__()
            self.conv1 = Conv(inside, outside, dilation)
            self.conv2 = Conv(outside, outside, dilation)
            self.residual = nn.Conv1d(inside, outside, 1) if inside != outside else None

        def __call__(self, x: mx.array) -> mx.array:
            y = nn.relu(self.conv2(nn.relu(self.conv1(x))))
            return nn.relu(y + (x if self.residual is None else self.residual(x)))

    widths = (INPUTS, *net.channels)
    blocks = [Block(*row) for row in zip(widths[:-1], net.channels, net.dilations, strict=True)]
    model = nn.Sequential(*blocks)
    mx.eval(model.parameters())
    return model
