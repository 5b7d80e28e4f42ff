"""The detectors of brain-go-brr-v2 in a few lines: its module names, small sizes.

Mamba-2 itself is transformers', which has the names of mamba_ssm's and runs without a GPU.
"""

import torch
from torch import nn
from torch.nn.functional import interpolate

from tests.support.mamba_nets import mixer

WIDTH, HEADS, STATE = 8, 4, 5


class Block(nn.Module):
    def __init__(self, inside, outside, taps):
        super().__init__()
        self.conv = nn.Conv1d(inside, outside, taps, padding=taps // 2)
        self.bn = nn.BatchNorm1d(outside)

    def forward(self, x):
        return torch.relu(self.bn(self.conv(x)))


class Encoder(nn.Module):
    def __init__(self, channels, widths):
        super().__init__()
        inside = [widths[0], *widths[:-1]]
        self.input_conv = Block(channels, widths[0], 7)
        self.encoder_blocks = nn.ModuleList(
            nn.Sequential(Block(before, after, 5), Block(after, after, 5))
            for before, after in zip(inside, widths, strict=True)
        )
        self.downsample = nn.ModuleList(nn.Conv1d(one, one, 2, stride=2) for one in widths)

    def forward(self, x):
        x, skips = self.input_conv(x), []
        for block, down in zip(self.encoder_blocks, self.downsample, strict=True):
            skips.append(block(x))
            x = down(skips[-1])
        return x, skips


class Decoder(nn.Module):
    def __init__(self, channels, widths):
        super().__init__()
        back = widths[::-1]
        after = [*back[1:], widths[0]]
        self.upsample = nn.ModuleList(
            nn.ConvTranspose1d(one, other, 2, stride=2)
            for one, other in zip(back, after, strict=True)
        )
        self.decoder_blocks = nn.ModuleList(
            nn.Sequential(Block(other + one, other, 5), Block(other, other, 5))
            for one, other in zip(back, after, strict=True)
        )
        self.output_conv = nn.Conv1d(widths[0], channels, 1)

    def forward(self, x, skips):
        for up, block, skip in zip(self.upsample, self.decoder_blocks, skips[::-1], strict=True):
            x = block(torch.cat([up(x), skip], dim=1))
        return self.output_conv(x)


class Residual(nn.Module):
    def __init__(self, width, kernels):
        super().__init__()
        shares = [width // len(kernels)] * len(kernels)
        shares[-1] += width % len(kernels)
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, share, taps, padding=taps // 2), nn.BatchNorm1d(share), nn.ReLU()
            )
            for share, taps in zip(shares, kernels, strict=True)
        )
        self.fusion = nn.Sequential(nn.Conv1d(width, width, 1), nn.BatchNorm1d(width))

    def forward(self, x):
        return torch.relu(x + self.fusion(torch.cat([one(x) for one in self.branches], dim=1)))


class Residuals(nn.Module):
    def __init__(self, width, blocks, kernels):
        super().__init__()
        self.blocks = nn.ModuleList(Residual(width, kernels) for _ in range(blocks))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class Layer(nn.Module):
    def __init__(self, width, real, seed):
        super().__init__()
        for place, direction in enumerate(("forward", "backward")):
            if real:
                made = mixer(
                    seed + place, hidden_size=width, num_heads=HEADS,
                    head_dim=2 * width // HEADS, state_size=STATE,
                )  # fmt: skip
                setattr(self, f"{direction}_mamba_real", made)
            stand_in = nn.Conv1d(width, width, 4, groups=width)
            setattr(self, f"{direction}_mamba_fallback", stand_in)
        self.output_proj = nn.Linear(2 * width, width)
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, x):
        one, other = self.forward_mamba_real(x), self.backward_mamba_real(x.flip(1)).flip(1)
        return self.layer_norm(x + self.output_proj(torch.cat([one, other], dim=-1)))


class Bidirectional(nn.Module):
    def __init__(self, width, layers, real):
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, real, 10 * place) for place in range(layers))

    def forward(self, x):
        x = x.transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return x.transpose(1, 2)


class Unet(nn.Module):
    def __init__(self, channels=3, base=6, depth=2, layers=2, kernels=(3, 7), real=True):
        super().__init__()
        widths = [base * 2**stage for stage in range(depth)]
        self.encoder = Encoder(channels, widths)
        self.rescnn = Residuals(widths[-1], 2, kernels)
        self.mamba = Bidirectional(widths[-1], layers, real)
        self.decoder = Decoder(channels, widths)
        self.detection_head = nn.Conv1d(channels, 1, 1)

    def forward(self, x):
        x, skips = self.encoder(x)
        return self.detection_head(self.decoder(self.mamba(self.rescnn(x)), skips))


class Minimal(nn.Module):
    """The origin's own backbone, with its way of being causal: both sides padded, then cut."""

    def __init__(self, inside, channels, taps, causal):
        super().__init__()
        parts = []
        for level, after in enumerate(channels):
            reach = (taps - 1) * 2**level
            pad = reach if causal else reach // 2
            conv = nn.Conv1d(inside, after, taps, padding=pad, dilation=2**level)
            parts += [old_weight_norm(conv), nn.ReLU(), nn.Dropout(0.15)]
            inside = after
        self.network = nn.Sequential(*parts)
        self.projection = nn.Conv1d(inside, inside, 1)

    def forward(self, x):
        return self.projection(self.network(x)[:, :, : x.shape[2]])


def old_weight_norm(conv):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(conv)


class TcnEncoder(nn.Module):
    def __init__(self, tcn, last, stride):
        super().__init__()
        self.tcn = tcn
        self.channel_proj = nn.Conv1d(last, WIDTH, 1)
        self.downsample = nn.Conv1d(WIDTH, WIDTH, stride, stride=stride)

    def forward(self, x):
        return self.downsample(self.channel_proj(self.tcn(x)))


class Head(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.proj = nn.Conv1d(WIDTH, channels, 1)

    def forward(self, x):
        return self.proj(x)


class Tcn(nn.Module):
    def __init__(self, tcn, last, channels=3, stride=4):
        super().__init__()
        self.tcn_encoder = TcnEncoder(tcn, last, stride)
        self.mamba = Bidirectional(WIDTH, 2, True)
        self.proj_head = Head(channels)
        self.detection_head = nn.Conv1d(channels, 1, 1)
        self.stride = stride

    def forward(self, x):
        x = self.proj_head(self.mamba(self.tcn_encoder(x)))
        return self.detection_head(interpolate(x, scale_factor=self.stride, mode="nearest"))


def settled(net, seed=0):
    """The net in evaluation mode, with weights that hide nothing and keep a signal alive."""
    generator = torch.Generator().manual_seed(seed)
    for name, buffer in net.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            drawn = torch.rand(buffer.shape, generator=generator)
            buffer.copy_(0.3 + 0.7 * drawn if name.endswith("var") else 0.3 * drawn)
    with torch.no_grad():
        for name, one in net.named_parameters():
            if one.ndim == 3 and "_real." not in name:
                nn.init.kaiming_normal_(one, generator=generator)
            elif "_real." not in name:
                one += 0.1 * torch.randn(one.shape, generator=generator)
    return net.eval()
