"""Graphs that torch itself exports, in both of its ways, held against the modules' own outputs."""

import importlib.util

import numpy as np
import pytest

import tcnzoo
from tcnzoo.formats.protocol import convert
from tests.support.compare import assert_close, noise

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

# What torch says of its older exporter, and of tracing a length.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]

WAYS = ["opset9", "opset13", "opset17", "static"]
if importlib.util.find_spec("onnxscript") is not None:
    WAYS.append("dynamo")


class Chomped(nn.Module):
    """Residual blocks as those of locuslab's TCN: padded on both sides, cut on the right."""

    def __init__(self):
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.first = norm(nn.Conv1d(3, 6, 3, padding=4, dilation=2))
        self.second = norm(nn.Conv1d(6, 6, 2, padding=3, dilation=3))
        self.beside = nn.Conv1d(3, 6, 1)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        y = F.relu(self.first(x)[:, :, :-4].contiguous())
        y = F.relu(self.second(y)[:, :, :-3].contiguous())
        y = F.relu(y + self.beside(x))
        return F.log_softmax(self.head(y.transpose(1, 2)), dim=2).transpose(1, 2)


class Gated(nn.Module):
    """Gates, norms of two kinds, squeeze-and-excitation, and the last step."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 10, 3)
        self.norm = nn.BatchNorm1d(5, eps=1e-3)
        self.layer = nn.LayerNorm(5)
        self.less, self.more = nn.Linear(5, 2), nn.Linear(2, 5)
        self.out = nn.Linear(5, 3, bias=False)

    def forward(self, x):
        y = self.norm(F.glu(self.conv(F.pad(x, (2, 0))), dim=1))
        s = torch.sigmoid(self.more(F.silu(self.less(y.mean(dim=2)))))
        y = F.gelu(y * s.unsqueeze(-1))
        y = self.layer(y.transpose(1, 2)).transpose(1, 2)
        return self.out(F.softplus(y)[:, :, -1])


class Encoder(nn.Module):
    """A U of convolutions with a concatenation, pools and a change of the rate."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv1d(3, 4, 5, padding=2, groups=1), nn.BatchNorm1d(4), nn.ELU(), nn.MaxPool1d(2)
        )
        self.inner = nn.Sequential(nn.Conv1d(4, 6, 3, padding="same"), nn.LeakyReLU(0.2))
        self.up = nn.ConvTranspose1d(6, 5, 4, stride=2, padding=1)
        self.last = nn.Sequential(nn.Conv1d(8, 5, 3, padding=1, padding_mode="reflect"), nn.SELU())

    def forward(self, x):
        y = self.down(x)
        z = self.up(self.inner(y))
        y = F.interpolate(y, scale_factor=2, mode="nearest")
        z = self.last(torch.cat([z, y], dim=1)[:, :8])
        return torch.tanh(F.avg_pool1d(z, 3, stride=1))


class Encoder8(Encoder):
    """The same without a slice of channels: 5 and 4 channels make 9."""

    def __init__(self):
        super().__init__()
        self.last[0] = nn.Conv1d(9, 5, 3, padding=1, padding_mode="reflect")

    def forward(self, x):
        y = self.down(x)
        z = self.up(self.inner(y))
        y = F.interpolate(y, scale_factor=2, mode="nearest")
        return torch.tanh(F.avg_pool1d(self.last(torch.cat([z, y], dim=1)), 3, stride=1))


class Images(nn.Module):
    """Two-dimensional modules on (batch, channels, 1, time), and a flattened end."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, (1, 3), stride=(1, 2), padding=(0, 1)), nn.BatchNorm2d(4), nn.ReLU6(),
            nn.Conv2d(4, 4, (1, 3), padding=(0, 2), dilation=(1, 2), groups=4), nn.Hardswish(),
            nn.AvgPool2d((1, 2)),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(20, 3), nn.Softmax(1))

    def forward(self, x):
        return self.head(self.body(x.unsqueeze(2)))


def made(kind):
    """A module whose statistics, scales and biases hide nothing."""
    torch.manual_seed(3)
    module = kind().eval()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point() and "original" not in name:
                tensor.add_(0.3 * torch.rand_like(tensor))
    return module


def exported(module, x, path, way):
    """Write the module's graph."""
    given, moving = torch.from_numpy(x), {"x": {0: "batch", 2: "time"}}
    if way == "dynamo":
        shapes = ({0: torch.export.Dim("batch"), 2: torch.export.Dim.STATIC},)
        torch.onnx.export(
            module, (given,), path, dynamo=True, dynamic_shapes=shapes, external_data=False,
            verbose=False,
        )  # fmt: skip
        return
    version = int(way.removeprefix("opset")) if way != "static" else 12
    torch.onnx.export(
        module, (given,), path, dynamo=False, input_names=["x"], opset_version=version,
        dynamic_axes=None if way == "static" else moving,
    )  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [Chomped, Gated, Encoder8, Images])
def test_export_of_torch(kind, way, backends, tmp_path):
    module, x = made(kind), noise(2, 3, 20).astype(np.float32)
    exported(module, x, tmp_path / "net.onnx", way)
    with torch.no_grad():
        expected = module.double()(torch.from_numpy(x).double()).numpy()
    report = convert(tmp_path / "net.onnx", tmp_path / "ours")
    for backend in backends:
        y = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", backend), x)
        assert_close(y, expected, label=backend)
    assert not [layer for layer in report.spec.children().values() if layer.kind == "pad"]


def test_paddings_of_a_chomped_net(tmp_path):
    exported(made(Chomped), noise(2, 3, 20).astype(np.float32), tmp_path / "a.onnx", "opset17")
    nodes = convert(tmp_path / "a.onnx", tmp_path / "ours").spec.nodes
    assert [nodes[f"conv{place}"].layer.padding for place in (1, 2)] == ["causal", "causal"]
    assert nodes["add1"].inputs == ("relu2", "conv3")


TCNS = {
    "plain": {"num_channels": [5, 5], "causal": True},
    "gated": {"num_channels": [4, 6], "use_gate": True, "use_norm": "layer_norm"},
    "skips": {"num_channels": [5, 4, 4], "use_skip_connections": True, "use_norm": "batch_norm"},
    "centred": {"num_channels": [5], "causal": False, "activation": "leaky_relu"},
}


@pytest.mark.parametrize("name", TCNS)
def test_export_of_pytorch_tcn(name, tmp_path):
    pytorch_tcn = pytest.importorskip("pytorch_tcn")
    torch.manual_seed(5)
    net = pytorch_tcn.TCN(num_inputs=3, kernel_size=3, **TCNS[name]).eval()
    x = noise(2, 3, 20).astype(np.float32)
    exported(net, x, tmp_path / "net.onnx", "opset17")
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    convert(tmp_path / "net.onnx", tmp_path / "ours")
    y = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy", dtype="float64"), x)
    assert_close(y, expected)


def test_a_slice_of_channels_is_refused(tmp_path):
    exported(made(Encoder), noise(2, 3, 20).astype(np.float32), tmp_path / "a.onnx", "opset17")
    with pytest.raises(tcnzoo.errors.WeightError, match=r"\(Slice\) is not supported: it is read"):
        convert(tmp_path / "a.onnx", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()
