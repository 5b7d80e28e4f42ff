"""locuslab/TCN's checkpoints in and out, held against its net written down anew."""

import json

import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.formats.protocol import convert, inspect
from tests.support.checkpoints import refusal
from tests.support.compare import assert_close, assert_same_bits, noise, weights_of

torch = pytest.importorskip("torch")

from tests.support.locuslab_nets import TemporalConvNet, locuslab_net, output  # noqa: E402 - need torch

TCN = {"kind": "tcn", "in_channels": 3, "channels": [4, 4, 5], "kernel_size": 2, "dropout": 0.3}
SPEC = tcnzoo.load_spec({**TCN, "dilations": [1, 2, 4], "initializer": "kaiming_normal"})

NETS = [
    {},
    {"kernel_size": 2, "num_channels": [4]},
    {"kernel_size": 5, "num_channels": [3, 6], "dropout": 0.3},
    {"kind": "new"},
    {"kind": "none", "num_channels": [7, 5]},
]
NAMED = pytest.mark.parametrize("chosen", NETS, ids=["old", "one-level", "wide", "new", "plain"])


def saved(tmp_path, **chosen):
    """Save a net as its users do; return (net, path)."""
    made, path = locuslab_net(**chosen), tmp_path / "net.pt"
    torch.save(made.state_dict(), path)
    return made, path


@NAMED
def test_reference_gives_the_output_of_the_net(chosen, tmp_path):
    made, path = saved(tmp_path, **chosen)
    report = convert(path, tmp_path / "ours")
    assert report.from_format == "locuslab-tcn"
    assert set(report.used) | set(report.dropped) == set(made.state_dict())
    x = noise(2, 3, 17)
    y = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy", dtype="float64"), x)
    assert_close(y, output(made, x), 1e-12)


@NAMED
def test_backend_gives_the_output_of_the_net(chosen, native, tmp_path):
    made, path = saved(tmp_path, **chosen)
    convert(path, tmp_path / "ours")
    x = noise(2, 3, 17)
    assert_close(tcnzoo.predict(tcnzoo.load(tmp_path / "ours", native), x), output(made, x))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_the_net_loads_our_export_strictly(dtype, tmp_path):
    made = locuslab_net(dropout=0.4).to(getattr(torch, dtype))
    torch.save(made.state_dict(), tmp_path / "net.pt")
    convert(tmp_path / "net.pt", tmp_path / "ours", hints={"dropout": 0.4})
    convert(tmp_path / "ours", tmp_path / "back.pt", to_format="locuslab-tcn")
    arguments = json.loads((tmp_path / "back.json").read_text())
    back = TemporalConvNet(**arguments).to(getattr(torch, dtype))
    back.load_state_dict(torch.load(tmp_path / "back.pt", weights_only=True), strict=True)
    assert back.network[0].net[3].p == 0.4
    for name, tensor in made.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_our_export_holds_each_value_once(tmp_path):
    write_checkpoint(tmp_path / "ours", SPEC, weights_of(SPEC))
    convert(tmp_path / "ours", tmp_path / "net.pt", to_format="locuslab-tcn")
    state = torch.load(tmp_path / "net.pt", weights_only=True)
    one, other = state["network.1.conv2.weight_v"], state["network.1.net.4.weight_v"]
    assert one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def test_bits_and_spec_survive_both_ways(tmp_path):
    write_checkpoint(tmp_path / "ours", SPEC, weights_of(SPEC))
    assert not convert(tmp_path / "ours", tmp_path / "n.pt", to_format="locuslab-tcn").left_out
    report = convert(tmp_path / "n.pt", tmp_path / "again")
    assert (report.from_format, report.assumed) == ("locuslab-tcn", {})
    spec, weights = read_checkpoint(tmp_path / "again")
    assert spec == SPEC
    assert_same_bits(weights, read_checkpoint(tmp_path / "ours")[1])


def test_nothing_is_asked_for(tmp_path):
    _, path = saved(tmp_path)
    spec = inspect(path).spec
    assert (spec.in_channels, spec.channels, spec.kernel_sizes) == (3, (5, 5, 7), (3, 3, 3))
    assert (spec.dilation_of, spec.causal, spec.norm.kind) == ((1, 2, 4), True, "weight_norm")
    assert inspect(path).assumed == {"dropout": 0.2}


# Names


def test_second_names_are_dropped_with_a_reason(tmp_path):
    _, path = saved(tmp_path)
    report = convert(path, tmp_path / "ours")
    assert report.used["network.1.conv2.weight_g"] == "blocks.1.conv2.weight_g"
    assert len(report.dropped) == 3 * 2 * 3
    reason = "the same tensor under a second name"
    assert report.dropped["network.1.net.4.weight_g"] == reason


@pytest.mark.parametrize("change", ["value", "shape", "type"])
def test_second_names_that_differ_are_refused(change, tmp_path):
    state = {name: tensor.clone() for name, tensor in locuslab_net().state_dict().items()}
    name = "network.2.net.0.bias"
    if change == "value":
        state[name][3] += 1e-6
    else:
        state[name] = state[name][:-1] if change == "shape" else state[name].double()
    torch.save(state, tmp_path / "net.pt")
    sentence = refusal(tmp_path / "net.pt")
    assert sentence.endswith(
        "must be the same tensor as 'network.2.conv1.bias', but differs from it"
    )


@pytest.mark.parametrize("left", ["conv", "net"])
def test_one_name_of_each_tensor_will_do(left, tmp_path):
    made, path = saved(tmp_path)
    whole = convert(path, tmp_path / "whole")
    away = ".net." if left == "conv" else ".conv"
    state = {name: tensor for name, tensor in made.state_dict().items() if away not in name}
    torch.save(state, tmp_path / "half.pt")
    report = convert(tmp_path / "half.pt", tmp_path / "half", from_format="locuslab-tcn")
    assert (report.spec, report.dropped) == (whole.spec, {})
    assert_same_bits(read_checkpoint(tmp_path / "half")[1], read_checkpoint(tmp_path / "whole")[1])


@pytest.mark.parametrize(
    "name", ["network.0.norm1.weight", "network.0.net.1.weight", "attention.weight"]
)
def test_a_tensor_of_no_part_is_refused(name, tmp_path):
    torch.save({**locuslab_net().state_dict(), name: torch.ones(5)}, tmp_path / "net.pt")
    sentence = refusal(tmp_path / "net.pt", "locuslab-tcn")
    assert f"tensor {name!r} of" in sentence
    assert sentence.endswith("is no part of the net")


def test_a_tensor_in_two_spellings_is_refused(tmp_path):
    state = locuslab_net().state_dict()
    state["network.0.conv1.parametrizations.weight.original0"] = torch.ones(5, 1, 1)
    torch.save(state, tmp_path / "net.pt")
    assert "holds 'blocks.0.conv1.weight_g' twice" in refusal(tmp_path / "net.pt")


def test_a_gated_net_is_none_of_these(tmp_path):
    state = locuslab_net(num_channels=[5]).state_dict()
    for name in list(state):
        if "conv1" in name or "net.0" in name:
            state[name] = torch.cat([state[name], state[name]])
    torch.save(state, tmp_path / "net.pt")
    assert "'blocks.0.conv1.weight_v' must have shape (5, 3, 3)" in refusal(tmp_path / "net.pt")


@pytest.mark.parametrize(
    "hints, sentence",
    [
        ({"dilations": "1,2,3"}, "contradicts .*which says dilations=.1, 2, 4."),
        ({"causal": "false"}, "causal=False contradicts .*which says causal=True"),
        ({"activation": "gelu"}, "contradicts .*which says activation=relu"),
        ({"channels": [5, 5, 6]}, "contradicts"),
        ({"skip_connections": True}, "contradicts"),
        ({"dropuot": 0.1}, "takes no hint 'dropuot'; did you mean 'dropout'"),
    ],
)
def test_hints_that_cannot_be_are_refused(hints, sentence, tmp_path):
    _, path = saved(tmp_path)
    with pytest.raises(InputError, match=sentence):
        convert(path, tmp_path / "ours", hints=hints)
    assert not (tmp_path / "ours").exists()


# Models that are no TemporalConvNet


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"norm": "none"}, "norm must be weight_norm, but is none"),
        ({"norm": "batch_norm"}, "norm must be weight_norm, but is batch_norm"),
        ({"activation": "gelu"}, "activation must be relu, but is gelu"),
        ({"causal": False}, "causal must be true, but is false"),
        ({"padding_mode": "reflect"}, "padding_mode must be 'zeros', but is 'reflect'"),
        ({"dilations": [1, 2, 3]}, "dilations must be .1, 2, 4., but are .1, 2, 3."),
        ({"dilation_reset": 2}, "dilations must be .1, 2, 4., but are .1, 2, 1."),
        ({"kernel_size": [2, 2, 3]}, "kernel_size must be the same .* but is .2, 2, 3."),
        ({"kernel_size": 1}, "kernel_size must be above 1"),
        ({"gate": True}, "it has no gate$"),
        ({"skip_connections": True}, "it has no skip_connections"),
        ({"embeddings": [2]}, "it has no embeddings"),
        ({"squeeze_excitation": {}}, "it has no squeeze_excitation"),
        ({"output_projection": 2}, "it has no output_projection"),
        ({"output_activation": "relu"}, "it has no output_activation"),
        ({"causal": False, "gate": True}, "causal .*; it has no gate"),
    ],
)
def test_a_model_that_it_cannot_hold_is_refused(fields, sentence, tmp_path):
    tcnzoo.save(tcnzoo.create({**TCN, **fields}, "numpy"), tmp_path / "ours")
    with pytest.raises(SpecError, match=f"^locuslab-tcn cannot hold this model: {sentence}"):
        convert(tmp_path / "ours", tmp_path / "net.pt", to_format="locuslab-tcn")
    assert not list(tmp_path.glob("net.*"))


def test_a_composition_is_refused(tmp_path):
    layers = {"kind": "sequential", "layers": {"body": TCN}}
    tcnzoo.save(tcnzoo.create(layers, "numpy"), tmp_path / "ours")
    with pytest.raises(SpecError, match="locuslab-tcn holds a single .* a sequential of body"):
        convert(tmp_path / "ours", tmp_path / "net.pt", to_format="locuslab-tcn")


def test_a_json_of_something_else_is_not_replaced(tmp_path):
    write_checkpoint(tmp_path / "ours", SPEC, weights_of(SPEC))
    (tmp_path / "net.json").write_text("[]")
    with pytest.raises(InputError, match="net.json', where the arguments of locuslab-tcn"):
        convert(tmp_path / "ours", tmp_path / "net.pt", to_format="locuslab-tcn")
    assert (tmp_path / "net.json").read_text() == "[]"
    assert not (tmp_path / "net.pt").exists()


def test_a_failure_leaves_neither_file(tmp_path, monkeypatch):
    def full(*args):
        raise OSError("no space left")

    write_checkpoint(tmp_path / "ours", SPEC, weights_of(SPEC))
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space left"):
        convert(tmp_path / "ours", tmp_path / "net.pt", to_format="locuslab-tcn")
    assert [one.name for one in tmp_path.iterdir()] == ["ours"]


def test_a_missing_tensor_is_refused(tmp_path):
    state = locuslab_net().state_dict()
    del state["network.2.downsample.bias"]
    torch.save(state, tmp_path / "net.pt")
    sentence = refusal(tmp_path / "net.pt", kind=WeightError)
    assert "1 are missing, the first 'blocks.2.residual.bias'" in sentence
