"""State_dicts of SeizureTransformer, both ways, against the net of torch's own layers."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError, WeightError

torch = pytest.importorskip("torch")

from tests.support.seizure_transformer import Net  # noqa: E402 - it needs torch

# float32 on both sides, through a sigmoid: as everywhere.
TOLERANCE = 1e-5
NARROW = {
    "electrodes": 3, "filters": (4, 6, 8), "kernels": (5, 3, 3, 3, 3), "residual": (3, 2),
    "hidden": 12, "layers": 2, "heads": 2,
}  # fmt: skip


def narrow(folder, **sizes):
    """A small net whose weights and statistics are drawn, and its file."""
    torch.manual_seed(1)
    net = Net(**NARROW, **sizes).eval()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.ndim == 1:
                tensor.add_(0.3 * torch.randn(tensor.shape))
    torch.save(net.state_dict(), folder / "net.pth")
    return net, folder / "net.pth"


def run(net, x):
    with torch.no_grad():
        return net(torch.from_numpy(x)).numpy()


def loaded(path):
    document = torch.load(path, weights_only=True)
    return document.get("state_dict", document)


def signal(length=40):
    return np.random.default_rng(2).standard_normal((2, 3, length), np.float32)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_backend_has_the_numbers(backend, prefix, tmp_path):
    net, path = narrow(tmp_path)
    if prefix:
        torch.save({prefix + key: value for key, value in net.state_dict().items()}, path)
    report = tcnzoo.convert(path, tmp_path / "ours", hints={"heads": 2})
    assert report.from_format == "seizure-transformer"
    assert set(report.used) | set(report.dropped) == {prefix + key for key in net.state_dict()}
    ours = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", backend), signal())
    assert np.abs(ours - run(net, signal())).max() < TOLERANCE


def test_several_classes_are_a_softmax(backend, tmp_path):
    # The names are those of one class, so that a sigmoid would be read without a word.
    net, path = narrow(tmp_path, classes=3)
    report = tcnzoo.convert(path, tmp_path / "ours", hints={"heads": 2})
    assert report.assumed == {"output": "softmax"}
    ours = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", backend), signal())
    assert np.abs(ours - run(net, signal())).max() < TOLERANCE


def test_the_output_is_a_hint_that_a_written_file_has(tmp_path):
    net, path = narrow(tmp_path, classes=3)
    hints = {"heads": 2, "output": "sigmoid"}
    assert not tcnzoo.convert(path, tmp_path / "ours", hints=hints).assumed
    ours = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy"), signal())
    odds = ours / (1.0 - ours)  # exponentials of what the sigmoid reads
    assert np.abs(odds / odds.sum(1, keepdims=True) - run(net, signal())).max() < TOLERANCE
    tcnzoo.convert(tmp_path / "ours", tmp_path / "back.pt", to_format="seizure-transformer")
    report = tcnzoo.convert(tmp_path / "back.pt", tmp_path / "third")
    assert not report.assumed
    assert report.spec == tcnzoo.load(tmp_path / "ours", "numpy").tcnzoo.spec
    with pytest.raises(InputError, match="'output' must be sigmoid or softmax, but is 'tanh'"):
        tcnzoo.convert(path, tmp_path / "fourth", hints={"output": "tanh"})


def test_positions_have_the_rows_of_the_file(tmp_path):
    _, path = narrow(tmp_path, positions=10)
    tcnzoo.convert(path, tmp_path / "ours", hints={"heads": 2})
    model = tcnzoo.load(tmp_path / "ours", "numpy")
    assert tcnzoo.predict(model, signal(80)).shape == (2, 1, 80)
    with pytest.raises(InputError, match="has 10 rows, .* but 11 patches came"):
        tcnzoo.predict(model, signal(88))
    tcnzoo.convert(tmp_path / "ours", tmp_path / "back.pt", to_format="seizure-transformer")
    again = Net(**NARROW, positions=10)
    again.load_state_dict(loaded(tmp_path / "back.pt"), strict=True)


@pytest.mark.parametrize(
    "changed, away",
    [
        (lambda table: table.flip(2), "is away from them by up to"),
        (lambda table: 0.9 * table, "is away from them by up to 0.1$"),
        (lambda table: table[:, 0], r"has the shape \(6000, 8\)"),
    ],
)
def test_positions_that_would_not_be_computed_are_refused(tmp_path, changed, away):
    net, path = narrow(tmp_path)
    state, name = net.state_dict(), "position_encoding.pe"
    torch.save({**state, name: changed(state[name])}, path)
    with pytest.raises(WeightError, match=rf"'{name}' of .* sinusoidal positions .* but {away}"):
        tcnzoo.convert(path, tmp_path / "ours")


def test_positions_of_half_precision_are_the_same(tmp_path):
    net, path = narrow(tmp_path)
    torch.save({name: value.bfloat16() for name, value in net.state_dict().items()}, path)
    dropped = tcnzoo.convert(path, tmp_path / "ours", hints={"heads": 2}).dropped
    assert "computed" in dropped["position_encoding.pe"]


def test_what_is_dropped_is_named(tmp_path):
    _, path = narrow(tmp_path)
    dropped = tcnzoo.convert(path, tmp_path / "ours", hints={"heads": 2}).dropped
    unused = [name for name in dropped if name.startswith("transformer_encoder_layer.")]
    assert len(unused) == 12
    assert all("that no output reads" in dropped[name] for name in unused)
    assert "computed" in dropped["position_encoding.pe"]


def test_the_way_back_loads_strictly(tmp_path):
    net, path = narrow(tmp_path)
    tcnzoo.convert(path, tmp_path / "ours", hints={"heads": 2})
    tcnzoo.convert(tmp_path / "ours", tmp_path / "back.pt", to_format="seizure-transformer")
    again = Net(**NARROW).eval()
    again.load_state_dict(loaded(tmp_path / "back.pt"), strict=True)
    assert np.abs(run(again, signal()) - run(net, signal())).max() < TOLERANCE
    report = tcnzoo.convert(tmp_path / "back.pt", tmp_path / "third")  # which says its heads
    assert not report.assumed
    assert report.spec == tcnzoo.load(tmp_path / "ours", "numpy").tcnzoo.spec


def test_the_full_net_has_the_counted_values():
    net = Net()
    names = net.state_dict()
    trained = sum(tensor.numel() for tensor in net.parameters())
    unused = sum(tensor.numel() for tensor in net.transformer_encoder_layer.parameters())
    assert (len(names), trained, unused) == (229, 41_001_281, 3_152_384)
    spec = tcnzoo.load_spec("seizure-transformer")
    rows = [row.size for row in spec.params().values() if row.role != "statistic"]
    assert sum(rows) == trained - unused


def test_the_full_net_has_the_numbers_in_torch(tmp_path):
    torch.manual_seed(3)
    net = Net().eval()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    report = tcnzoo.convert(tmp_path / "net.pth", tmp_path / "ours")
    assert report.assumed == {"heads": 4}
    assert report.spec == tcnzoo.load_spec("seizure-transformer")
    x = np.random.default_rng(2).standard_normal((1, 19, 15_360), np.float32)
    ours = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "torch"), x)
    assert np.abs(ours - run(net, x)).max() < TOLERANCE


def test_tensors_that_do_not_fit_are_named(tmp_path):
    net, path = narrow(tmp_path)
    state = net.state_dict()
    torch.save({**state, "encoder.extra": torch.zeros(2)}, path)
    with pytest.raises(WeightError, match="'encoder.extra' of .* is no part of the net"):
        tcnzoo.convert(path, tmp_path / "ours")
    del state["conv_d.weight"]
    torch.save(state, path)
    with pytest.raises(WeightError, match="lacks tensors of a SeizureTransformer"):
        tcnzoo.convert(path, tmp_path / "ours")


def test_another_model_is_refused(tmp_path):
    tcnzoo.save(tcnzoo.create("tcn-base", "numpy"), tmp_path / "ours")
    with pytest.raises(SpecError, match="holds the graph that is read from it, and this tcn is"):
        tcnzoo.convert(tmp_path / "ours", tmp_path / "a.pt", to_format="seizure-transformer")
