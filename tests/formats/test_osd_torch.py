"""OpenSeizureDetector's torch checkpoints in and out, held against a net of that layout."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.formats.protocol import convert, inspect
from tcnzoo.formats.report import Undetermined
from tests.support.compare import assert_close, assert_same_bits, noise
from tests.support.osd_nets import DENSE, FILTERS, checkpoint, logits, torch_net

torch = pytest.importorskip("torch")

# The small net needs 29 steps.
SIGNAL = noise(2, 1, 37)


@pytest.fixture(scope="module", params=[0.0, 0.05])
def carried(request, tmp_path_factory):
    """A net without and with dropout in its stack, converted: (rate, net, folder)."""
    folder, rate = tmp_path_factory.mktemp("carried"), request.param
    net = torch_net(conv_dropout=rate)
    checkpoint(folder / "net.pt", net, conv_dropout=rate, dense_dropout=0.3)
    convert(folder / "net.pt", folder / "ours")
    return rate, net, folder


def test_reference_gives_the_output_of_the_net(carried):
    _, net, folder = carried
    y = tcnzoo.predict(tcnzoo.load(folder / "ours", "numpy", dtype="float64"), SIGNAL)
    assert_close(y, logits(net, SIGNAL), 1e-12)


def test_backend_gives_the_output_of_the_net(native, carried):
    _, net, folder = carried
    y = tcnzoo.predict(tcnzoo.load(folder / "ours", native), SIGNAL)
    assert_close(y, logits(net, SIGNAL))


def test_keys_and_entries_determine_the_dropouts(carried):
    rate, net, folder = carried
    step = 4 if rate else 3
    assert f"conv_stack.{step}.weight" in net.state_dict()
    spec = read_checkpoint(folder / "ours")[0]
    assert [spec.layers[f"conv{place}"].dropout for place in range(1, 7)] == [rate] * 6
    assert [spec.layers[f"dense{place}"].dropout for place in range(1, 5)] == [0.3, 0, 0, 0]


def test_the_net_loads_our_export_strictly(carried, tmp_path):
    rate, net, folder = carried
    convert(folder / "ours", tmp_path / "back.pt", to_format="osd-torch")
    document = torch.load(tmp_path / "back.pt", weights_only=True)
    back = torch_net(conv_dropout=rate, seed=1)
    back.load_state_dict(document["model_state_dict"], strict=True)
    np.testing.assert_array_equal(logits(back, SIGNAL), logits(net, SIGNAL))
    assert (document["conv_dropout"], document["dense_dropout"]) == (rate, 0.3)
    model = document["config"]["modelConfig"]
    assert (model["framework"], model["convDropout"], model["denseDropout"]) == (
        "pytorch", rate, 0.3,
    )  # fmt: skip


def test_our_export_is_read_back_whole(carried, tmp_path):
    convert(carried[2] / "ours", tmp_path / "back.pt", to_format="osd-torch")
    report = convert(tmp_path / "back.pt", tmp_path / "again")
    assert (report.from_format, report.assumed) == ("osd-torch", {})
    spec, weights = read_checkpoint(carried[2] / "ours")
    again, same = read_checkpoint(tmp_path / "again")
    assert again == spec
    assert_same_bits(same, weights)


def test_the_net_of_full_size(tmp_path):
    """14 convolutions: the numbers of the origin, and the strides of its code, not of its text."""
    net = checkpoint(
        tmp_path / "net.pt", torch_net((16, *[32] * 11, 64, 64), dense=(64, 64, 32, 16))
    )
    report = convert(tmp_path / "net.pt", tmp_path / "ours")
    assert report.spec == tcnzoo.load_spec("deepepi", **{"layers.conv14.stride": 1})
    assert tcnzoo.count_params(report.spec) == (97362, 1344)
    shapes = dict(zip(report.spec.layers, report.spec.shapes((1, 750)), strict=True))
    assert shapes["conv14"] == (64, 157)
    x = noise(2, 1, 131)
    y = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy", dtype="float64"), x)
    assert_close(y, logits(net, x), 1e-12)
    text = tcnzoo.create("deepepi", "numpy", weights=read_checkpoint(tmp_path / "ours")[1])
    assert np.abs(tcnzoo.predict(text, x) - y).max() > 1e-3


def test_the_strides_of_the_text_are_a_hint(tmp_path):
    strides = [1, 1, 1, 1, 2, 2]
    net = checkpoint(tmp_path / "net.pt", torch_net(strides=strides))
    assert convert(tmp_path / "net.pt", tmp_path / "code").assumed == {
        "dense_dropout": 0.025, "strides": [1, 1, 1, 1, 2, 1],
    }  # fmt: skip
    report = convert(tmp_path / "net.pt", tmp_path / "text", hints={"strides": "1,1,1,1,2,2"})
    assert "strides" not in report.assumed
    expected = logits(net, SIGNAL)
    y = tcnzoo.predict(tcnzoo.load(tmp_path / "text", "numpy"), SIGNAL)
    assert_close(y, expected)
    y = tcnzoo.predict(tcnzoo.load(tmp_path / "code", "numpy"), SIGNAL)
    assert np.abs(y - expected).max() > 1e-3


def test_shapes_determine_the_sizes(tmp_path):
    net = torch_net((3, 4), kernel_size=3, dense=(7, 5, 9, 2), classes=6, channels=8)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    spec = convert(tmp_path / "net.pt", tmp_path / "ours").spec
    assert spec.input_channels == 8
    assert spec.output_shape((8, 9)) == (6,)
    y = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy"), noise(2, 8, 11))
    assert_close(y, logits(net, noise(2, 8, 11)))


def test_training_state_is_dropped_with_reasons(tmp_path):
    config = {"modelConfig": {"convDropout": 0.0, "denseDropout": 0.5}}
    net = checkpoint(tmp_path / "net.pt", torch_net(), config=config)
    report = convert(tmp_path / "net.pt", tmp_path / "ours")
    assert "optimiser" in report.dropped["optimizer_state_dict"]
    assert "only the dropouts" in report.dropped["config"]
    for name in ("epoch", "global_step", "val_loss", "sensitivity", "far"):
        assert report.dropped[name] == "about the training run, not the model"
    assert "counter" in report.dropped["conv_stack.1.num_batches_tracked"]
    assert net.state_dict().keys() <= report.used.keys() | report.dropped.keys()
    assert report.spec.layers["dense1"].dropout == 0.5
    assert inspect(tmp_path / "net.pt").spec == report.spec


@pytest.mark.parametrize(
    "beside",
    [
        {"conv_dropout": 0.2},
        {"config": {"modelConfig": {"convDropout": 0.2}}},
        {"config": {"convDropout": 0.2}},
        {"conv_dropout": 0.2, "config": {"modelConfig": {"convDropout": 0.7}}},
    ],
)
def test_where_the_rate_stands(beside, tmp_path):
    checkpoint(tmp_path / "net.pt", torch_net(conv_dropout=0.2), **beside)
    assert convert(tmp_path / "net.pt", tmp_path / "ours").spec.layers["conv2"].dropout == 0.2


def test_a_rate_that_nothing_says_is_asked_for(tmp_path):
    torch.save(torch_net(conv_dropout=0.2).state_dict(), tmp_path / "net.pt")
    with pytest.raises(Undetermined, match="give conv_dropout, as in: --set conv_dropout=0.05"):
        convert(tmp_path / "net.pt", tmp_path / "ours")
    found = inspect(tmp_path / "net.pt")
    assert found.known["filters"] == list(FILTERS)
    assert found.known["dense"] == list(DENSE)
    used = {row.name: row.used_as for row in found.tensors}
    assert used["conv_stack.21.running_var"] == "conv6.norm.running_var"
    spec = convert(tmp_path / "net.pt", tmp_path / "ours", hints={"conv_dropout": "0.2"}).spec
    assert spec.layers["conv6"].dropout == 0.2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_types_survive_both_ways(dtype, tmp_path):
    net = torch_net().to(getattr(torch, dtype))
    torch.save(net.state_dict(), tmp_path / "net.pt")
    convert(tmp_path / "net.pt", tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "back.pt", to_format="osd-torch")
    back = torch.load(tmp_path / "back.pt", weights_only=True)["model_state_dict"]
    assert list(back) == list(net.state_dict())
    for name, tensor in net.state_dict().items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor), name
