"""Stacks of torch's own layers as users write them, each with the spec that describes it."""

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn
weight_norm = nn.utils.parametrizations.weight_norm


def chain(**layers):
    """A sequential spec; a layer is (kind, fields)."""
    named = {name: {"kind": kind, **fields} for name, (kind, fields) in layers.items()}
    return {"kind": "sequential", "layers": named}


def conv(inside, outside, taps, **options):
    """A convolution."""
    sizes = {"in_channels": inside, "out_channels": outside, "kernel_size": taps}
    return ("conv1d", {"padding": "valid", **sizes, **options})


def dense(inside, outside, **options):
    """A dense layer."""
    return ("dense", {"in_features": inside, "out_features": outside, **options})


# Name -> (what torch users write, the spec that they give, a signal's or vector's shape).
STACKS = {
    "classifier": (
        lambda: nn.Sequential(
            nn.Conv1d(3, 5, 4), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.2),
            nn.Conv1d(5, 7, 3, stride=2), nn.BatchNorm1d(7, eps=1e-3), nn.LeakyReLU(0.2),
            nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(7, 2), nn.Softmax(dim=1),
        ),
        chain(
            first=("conv_block", {**conv(3, 5, 4)[1], "norm": "batch_norm", "activation": "relu",
                                  "dropout": 0.2}),
            second=conv(5, 7, 3, stride=2),
            norm=("batch_norm", {"channels": 7, "eps": 1e-3}),
            leaky=("activation", {"name": "leaky_relu", "slope": 0.2}),
            pool=("pool", {}),
            head=dense(7, 2),
            end=("activation", {"name": "softmax"}),
        ),
        (3, 19),
    ),
    "windows": (
        lambda: nn.Sequential(
            nn.Conv1d(4, 6, 5, padding=4, dilation=2, groups=2, padding_mode="reflect"), nn.GELU(),
            nn.MaxPool1d(3, 2), nn.Conv1d(6, 5, 2, padding="same", bias=False), nn.ELU(0.5),
            nn.AvgPool1d(3, 1, padding=1, count_include_pad=False), nn.Flatten(),
            nn.Linear(40, 3), nn.BatchNorm1d(3, momentum=0.2), nn.Tanh(), nn.LayerNorm(3),
        ),
        chain(
            first=conv(4, 6, 5, dilation=2, groups=2, padding="same", padding_mode="reflect"),
            gelu=("activation", {"name": "gelu"}),
            most=("window_pool", {"mode": "max", "size": 3, "stride": 2}),
            second=conv(6, 5, 2, padding="same", bias=False),
            elu=("activation", {"name": "elu", "alpha": 0.5}),
            mean=("window_pool", {"mode": "average", "size": 3, "stride": 1, "padding": "same"}),
            flat=("flatten", {"length": 8}),
            head=("dense_block", {**dense(40, 3)[1], "activation": "tanh",
                                  "norm": {"kind": "batch_norm", "momentum": 0.2}}),
            norm=("layer_norm", {"channels": 3}),
        ),
        (4, 17),
    ),
    "upwards": (
        lambda: nn.Sequential(
            weight_norm(nn.Conv1d(3, 8, 3)), nn.GLU(dim=1),
            nn.ConvTranspose1d(4, 6, 4, stride=2, padding=1), nn.SiLU(),
            weight_norm(nn.ConvTranspose1d(6, 5, 3, stride=3), dim=1),
            nn.Upsample(scale_factor=2, mode="linear"), nn.AdaptiveMaxPool1d(4),
        ),
        chain(
            first=conv(3, 8, 3, weight_norm=True),
            gate=("glu", {}),
            up=("conv_transpose1d", {"in_channels": 4, "out_channels": 6, "kernel_size": 4,
                                     "stride": 2, "padding": "same"}),
            silu=("activation", {"name": "silu"}),
            wide=("conv_transpose1d", {"in_channels": 6, "out_channels": 5, "kernel_size": 3,
                                       "stride": 3, "padding": "valid", "weight_norm": True}),
            finer=("upsample", {"factor": 2, "mode": "linear"}),
            pool=("pool", {"mode": "adaptive_max", "output_size": 4}),
        ),
        (3, 11),
    ),
    "causal": (
        lambda: nn.Sequential(
            nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(2, 3, 3, dilation=2), nn.ReLU6(),
            nn.ReplicationPad1d((2, 0)), nn.Conv1d(3, 4, 3), nn.ConstantPad1d((-1, 2), 0.0),
            nn.ConvTranspose1d(4, 3, 3, stride=2), nn.ConstantPad1d((0, -1), 0.0), nn.Hardswish(),
            nn.ConvTranspose1d(3, 2, 2, stride=3, output_padding=1),
        ),
        chain(
            first=conv(2, 3, 3, dilation=2, padding="causal"),
            six=("activation", {"name": "relu6"}),
            second=conv(3, 4, 3, padding="causal", padding_mode="replicate"),
            pad=("pad", {"left": -1, "right": 2}),
            up=("conv_transpose1d", {"in_channels": 4, "out_channels": 3, "kernel_size": 3,
                                     "stride": 2}),
            swish=("activation", {"name": "hard_swish"}),
            gaps=("conv_transpose1d", {"in_channels": 3, "out_channels": 2, "kernel_size": 2,
                                       "stride": 3}),
        ),
        (2, 9),
    ),
    "vectors": (
        lambda: nn.Sequential(
            nn.Linear(5, 7, bias=False), nn.BatchNorm1d(7), nn.GELU(approximate="tanh"),
            nn.Linear(7, 4), nn.LayerNorm(4, eps=1e-4), nn.Hardsigmoid(), nn.Dropout(0.4),
            nn.Sequential(nn.Linear(4, 6), nn.Softplus(), nn.Sequential(nn.Linear(6, 3))),
            nn.LogSoftmax(dim=1),
        ),
        chain(
            first=("dense_block", {**dense(5, 7, bias=False)[1], "norm": "batch_norm",
                                   "activation": "gelu_tanh"}),
            second=("dense_block", {**dense(7, 4)[1], "norm": {"kind": "layer_norm", "eps": 1e-4},
                                    "activation": "hard_sigmoid", "dropout": 0.4}),
            inner=("sequential", chain(a=dense(4, 6), b=("activation", {"name": "softplus"}),
                                       c=("sequential", chain(d=dense(6, 3))))),
            end=("activation", {"name": "log_softmax"}),
        ),
        (5,),
    ),
}  # fmt: skip


def stack(name, seed=0):
    """A torch model with noise in every tensor, variances positive, in evaluation mode."""
    made = STACKS[name][0]().eval()
    generator = torch.Generator().manual_seed(seed)
    for key, tensor in made.state_dict().items():
        if key.endswith(("running_var", "original0")):
            tensor.uniform_(0.3, 2.0, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(0.1, 0.5, generator=generator)
    return made


def output(made, x):
    """What torch gives, in float64."""
    with torch.no_grad():
        return made.double()(torch.from_numpy(x)).numpy()
