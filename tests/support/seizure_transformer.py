"""SeizureTransformer written with torch's own layers: what converted models are held against."""

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention


class Stack(nn.Module):
    """A namespace of modules."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)


class Residual(nn.Module):
    """BN, ReLU and convolution, twice; a kernel of two looks one step ahead."""

    def __init__(self, width, taps):
        super().__init__()
        self.ahead = taps == 2
        for number in (1, 2):
            setattr(self, f"norm{number}", nn.BatchNorm1d(width, eps=1e-3))
            conv = nn.Conv1d(width, width, taps, padding=0 if self.ahead else taps // 2)
            setattr(self, f"conv{number}", conv)

    def forward(self, x):
        y = x
        for norm, conv in ((self.norm1, self.conv1), (self.norm2, self.conv2)):
            y = torch.relu(norm(y))
            y = conv(F.pad(y, (0, 1)) if self.ahead else y)
        return x + y


class Net(nn.Module):
    """The net, of any sizes, with the names that its state_dicts have."""

    def __init__(
        self, electrodes=19, filters=(32, 64, 128, 256, 512), kernels=(11, 9, 7, 7, 5, 5, 3),
        residual=(3, 3, 3, 3, 2, 3, 2), hidden=2048, layers=8, heads=4, positions=6000,
        classes=1,
    ):  # fmt: skip
        super().__init__()
        width = filters[-1]
        down = zip([electrodes, *filters], filters, kernels, strict=False)
        up = zip([width, *filters[::-1]], filters[::-1], kernels[::-1], strict=False)
        self.encoder = Stack(convs=self._convs(down))
        self.res_cnn_stack = Stack(
            members=nn.ModuleList(Residual(width, taps) for taps in residual)
        )
        self.position_encoding = nn.Module()
        time = torch.arange(positions)[:, None]
        rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        table = torch.stack([torch.sin(time * rates), torch.cos(time * rates)], dim=2)
        self.position_encoding.register_buffer("pe", table.reshape(positions, 1, width))
        self.transformer_encoder_layer = nn.TransformerEncoderLayer(width, heads, hidden)
        self.transformer_encoder = nn.TransformerEncoder(
            self.transformer_encoder_layer, layers, enable_nested_tensor=False
        )
        self.decoder_d = Stack(convs=self._convs(up))
        self.conv_d = nn.Conv1d(filters[0], classes, 11, padding=5)

    @staticmethod
    def _convs(sizes):
        return nn.ModuleList(
            nn.Conv1d(inside, outside, taps, padding=taps // 2) for inside, outside, taps in sizes
        )

    def forward(self, x):
        skips = []
        for conv in self.encoder.convs:
            skips.append(F.elu(conv(x)))
            x = F.max_pool1d(skips[-1], 2)
        for member in self.res_cnn_stack.members:
            x = member(x)
        tokens = x.permute(2, 0, 1)
        tokens = self.transformer_encoder(tokens + self.position_encoding.pe[: len(tokens)])
        x = x + tokens.permute(1, 2, 0)
        for conv, skip in zip(self.decoder_d.convs, skips[::-1], strict=True):
            x = F.elu(conv(x.repeat_interleave(2, dim=2))) + skip
        x = self.conv_d(x)
        return torch.sigmoid(x) if x.shape[1] == 1 else x.softmax(1)
