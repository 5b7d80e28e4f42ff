"""Nets laid out and computed as locuslab/TCN's, with noise in every tensor.

The project is no package, so its net is written down here anew: the names of its parts, the order
of its steps, and weight norm of the old kind (`weight_g` and `weight_v`) or of the new one.
"""

import warnings

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn


def _normed(conv, kind):
    """A convolution with weight norm of a kind, or without."""
    if kind == "new":
        return nn.utils.parametrizations.weight_norm(conv)
    if kind == "none":
        return conv
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch advises the new kind
        return nn.utils.weight_norm(conv)


class Cut(nn.Module):
    """Leaves the last steps off."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def forward(self, x):
        return x[:, :, : -self.steps]


class Level(nn.Module):
    """Two convolutions, padded on both sides and cut on the right, beside a residual path."""

    def __init__(self, inside, outside, kernel_size, dilation, dropout, kind):
        super().__init__()
        reach = (kernel_size - 1) * dilation
        options = {"padding": reach, "dilation": dilation}
        self.conv1 = _normed(nn.Conv1d(inside, outside, kernel_size, **options), kind)
        self.conv2 = _normed(nn.Conv1d(outside, outside, kernel_size, **options), kind)
        parts = []
        for conv in (self.conv1, self.conv2):
            parts += [conv, Cut(reach), nn.ReLU(), nn.Dropout(dropout)]
        self.net = nn.Sequential(*parts)
        self.downsample = nn.Conv1d(inside, outside, 1) if inside != outside else None

    def forward(self, x):
        kept = x if self.downsample is None else self.downsample(x)
        return torch.relu(self.net(x) + kept)


class TemporalConvNet(nn.Module):
    """The stack, with the arguments of the original."""

    def __init__(self, num_inputs, num_channels, kernel_size=2, dropout=0.2, kind="old"):
        super().__init__()
        widths = [num_inputs, *num_channels]
        self.network = nn.Sequential(
            *(
                Level(inside, outside, kernel_size, 2**level, dropout, kind)
                for level, (inside, outside) in enumerate(zip(widths[:-1], widths[1:], strict=True))
            )
        )

    def forward(self, x):
        return self.network(x)


class Task(nn.Module):
    """The net within a model, as the original's examples have it: embedding, net, readout."""

    def __init__(self, body):
        super().__init__()
        self.encoder = nn.Embedding(11, 3)
        self.tcn = body
        self.decoder = nn.Linear(7, 2)


def filled(module, seed=0):
    """A module in evaluation mode with noise in every parameter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0.1, 0.5, generator=generator)
    return module.eval()


def locuslab_net(seed=0, **chosen):
    """A net of three inputs and, unless chosen otherwise, widths 5, 5 and 7."""
    arguments = {"num_inputs": 3, "num_channels": [5, 5, 7], "kernel_size": 3, **chosen}
    return filled(TemporalConvNet(**arguments), seed)


def output(module, x):
    """What a net itself gives, computed in float64."""
    with torch.no_grad():
        return module.double()(torch.from_numpy(x)).numpy()
