"""Nets laid out and computed as mlx-tcn's, with noise in every tensor.

The project is no package, so its net is written down here anew: the names of its parts, the order
of its steps, channels last, buffers among the parameters, and a weight norm that is set up and
never computed with.
"""

import numpy as np
import pytest

mx = pytest.importorskip("mlx.core")
nn = pytest.importorskip("mlx.nn")

ACTIVATIONS = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "elu": nn.ELU, "selu": nn.SELU,
    "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "softmax": nn.Softmax, "log_softmax": nn.LogSoftmax,
}  # fmt: skip


class Padder(nn.Module):
    """Zeros before and after the signal; the buffer, which is for streaming, is a parameter."""

    def __init__(self, reach, channels, causal):
        super().__init__()
        left = reach if causal else reach // 2
        self.edges = (left, reach - left)
        self.buffer = mx.zeros((1, reach, channels))

    def __call__(self, x):
        return mx.pad(x, [(0, 0), self.edges, (0, 0)])


class Conv(nn.Conv1d):
    """A padded convolution, with two more kernels that nothing reads if it is weight-normed."""

    def __init__(self, inside, outside, taps, dilation, causal, weight_norm):
        super().__init__(inside, outside, taps, dilation=dilation)
        self.padder = Padder((taps - 1) * dilation, inside, causal)
        if weight_norm:
            self.weight_v = mx.array(self.weight)
            self.weight_g = mx.linalg.norm(self.weight, axis=0, keepdims=True)

    def __call__(self, x):
        return super().__call__(self.padder(x))


class Squeeze(nn.Module):
    """Channels weighted by the mean of the whole signal."""

    def __init__(self, channels, reduction, residual):
        super().__init__()
        inner = max(1, channels // reduction) if reduction else channels
        self.residual = residual
        self.reduce = nn.Linear(channels, inner) if reduction else None
        self.expand = nn.Linear(inner, channels)

    def __call__(self, x):
        mean = x.mean(axis=1, keepdims=True)
        if self.reduce is not None:
            mean = nn.relu(self.reduce(mean))
        out = x * mx.sigmoid(self.expand(mean))
        return out + x if self.residual else out


class Block(nn.Module):
    """Two convolutions beside a residual path."""

    def __init__(self, inside, outside, taps, dilation, chosen):
        super().__init__()
        inner, norm = outside * (1 + chosen["use_gate"]), chosen["use_norm"]
        shared = (taps, dilation, chosen["causal"], norm == "weight_norm")
        self.conv1, self.conv2 = Conv(inside, inner, *shared), Conv(outside, outside, *shared)
        kind = {"batch_norm": nn.BatchNorm, "layer_norm": nn.LayerNorm}.get(norm)
        self.norm1, self.norm2 = (kind(inner), kind(outside)) if kind else (None, None)
        self.act = ACTIVATIONS[chosen["activation"]]()
        self.act1 = nn.GLU() if chosen["use_gate"] else self.act
        self.se = None
        if chosen["use_se"]:
            self.se = Squeeze(outside, chosen["se_reduction"], chosen["se_residual"])
        self.downSample = nn.Conv1d(inside, outside, 1) if inside != outside else None
        width = sum(shape[0] for shape in chosen["embedding_shapes"] or [])
        if width:
            self.concat = chosen["embedding_mode"] == "concat"
            self.embedding_projection1 = nn.Conv1d(width, inner, 1)
            self.embedding_projection2 = nn.Conv1d(2 * inner, inner, 1)

    def condition(self, x, rows):
        steps = [row if row.ndim == 3 else row[:, None] for row in rows]
        steps = [mx.broadcast_to(row, (*x.shape[:2], row.shape[2])) for row in steps]
        projected = self.embedding_projection1(mx.concatenate(steps, axis=-1))
        if not self.concat:
            return x + projected
        return self.embedding_projection2(mx.concatenate([x, projected], axis=-1))

    def __call__(self, x, rows):
        out = self.conv1(x)
        out = self.norm1(out) if self.norm1 else out
        out = self.act1(self.condition(out, rows) if rows else out)
        out = self.conv2(out)
        out = self.act(self.norm2(out) if self.norm2 else out)
        out = self.se(out) if self.se else out
        kept = self.downSample(x) if self.downSample else x
        return self.act(kept + out), out


class TCN(nn.Module):
    """The stack, with the arguments of the original."""

    def __init__(self, num_inputs, num_channels, **chosen):
        super().__init__()
        chosen = {
            "kernel_sizes": 3, "dilations": None, "dropout": 0.1, "causal": False,
            "use_norm": "batch_norm", "activation": "relu", "kernel_initilaizer": "he_normal",
            "use_skip_connections": False, "embedding_shapes": None, "embedding_mode": "add",
            "use_gate": False, "use_se": False, "se_reduction": 8, "se_residual": False,
            "output_projection": None, "output_activation": None, **chosen,
        }  # fmt: skip
        depth, taps = len(num_channels), chosen["kernel_sizes"]
        taps = [taps] * depth if isinstance(taps, int) else taps
        dilations = chosen["dilations"] or [2**level for level in range(depth)]
        widths = [num_inputs, *num_channels]
        self.network = [
            Block(widths[level], widths[level + 1], taps[level], dilations[level], chosen)
            for level in range(depth)
        ]
        self.downsample_skip_connection = None
        if chosen["use_skip_connections"]:
            last = num_channels[-1]
            self.downsample_skip_connection = [
                nn.Conv1d(width, last, 1) if width != last else None for width in num_channels
            ]
        self.act = ACTIVATIONS[chosen["activation"]]()
        width = chosen["output_projection"]
        self.projection_out = nn.Conv1d(num_channels[-1], width, 1) if width else None
        self.act_out = ACTIVATIONS.get(chosen["output_activation"], nn.Identity)()

    def __call__(self, x, rows=()):
        skips = []
        for level, block in enumerate(self.network):
            x, out = block(x, rows)
            if self.downsample_skip_connection is not None and level < len(self.network) - 1:
                skip = self.downsample_skip_connection[level]
                skips.append(skip(out) if skip is not None else out)
        if self.downsample_skip_connection is not None:
            x = self.act(sum([*skips, x]))
        return self.act_out(self.projection_out(x) if self.projection_out is not None else x)


def mlx_tcn_net(seed=0, **chosen):
    """A net in evaluation mode whose every parameter is noise, variances positive.

    What was set up for weight norm is noise too: it has no influence.
    """
    made = TCN(**{"num_inputs": 3, "num_channels": [5, 5, 7], **chosen})
    generator = np.random.default_rng(seed)
    noise = [
        (name, mx.array(generator.normal(0.1, 0.3, array.shape).astype(np.float32)))
        for name, array in nn.utils.tree_flatten(made.parameters())
    ]
    made.load_weights(
        [(name, mx.abs(one) + 0.3 if name.endswith("running_var") else one) for name, one in noise]
    )
    return made.eval()


def output(module, x, rows=()):
    """What a net itself gives, as (batch, channels, time)."""
    last = [mx.array(np.moveaxis(one, 1, -1).astype(np.float32)) for one in (x, *rows)]
    return np.moveaxis(np.asarray(module(last[0], last[1:])), -1, 1)
