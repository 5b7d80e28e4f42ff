"""Detectors of brain-go-brr-v2 in and out: checkpoints of all kinds, held against its modules."""

from pathlib import Path, PurePosixPath

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.errors import InputError, SpecError
from tcnzoo.formats.protocol import convert, inspect
from tcnzoo.formats.report import Undetermined
from tcnzoo.zoo.foreign.detectors import tcn_document, unet_document
from tcnzoo.zoo.parse import parse_spec
from tests.support.checkpoints import refusal
from tests.support.compare import assert_close, assert_same_bits, noise, weights_of

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.support import seizure_nets as nets  # noqa: E402 - needs both

MAMBA = {"layers": 2, "mamba": {"d_state": 5, "head_dim": 4}}
# The last version that does not clamp its signals.
V2 = {"version": "2.3"}
WIDER = {"layers": 2, "mamba": {"d_state": 5, "head_dim": 6}}
UNET = {"in_channels": 3, "channels": 6, "depth": 2, "blocks": 2, "kernel_sizes": (3, 7)}
TCN = {"in_channels": 3, "channels": [4, 6, 5], "kernel_size": 3, "width": 8, "stride": 4}
# The Mamba-2 of transformers computes in float32, all else here in float64: measured 7e-8.
ROUNDING = 1e-6


def pytorch_tcn(causal):
    library = pytest.importorskip("pytorch_tcn")
    return library.TCN(
        num_inputs=3, num_channels=[4, 6, 5], kernel_size=3, causal=causal,
        use_norm="weight_norm", activation="relu",
    )  # fmt: skip


def net(kind):
    """One of the detectors."""
    torch.manual_seed(0)
    if kind == "unet":
        return nets.settled(nets.Unet())
    causal = kind.endswith("-causal")
    if kind.startswith("minimal"):
        return nets.settled(nets.Tcn(nets.Minimal(3, [4, 6, 5], 3, causal), 5))
    return nets.settled(nets.Tcn(pytorch_tcn(causal), 5))


def spec_for(kind):
    """Its spec."""
    if kind == "unet":
        return parse_spec(unet_document(**UNET, mamba=WIDER))
    name, _, causal = kind.rpartition("-causal") if "-causal" in kind else (kind, "", None)
    document = tcn_document(**TCN, mamba=MAMBA, backbone=name, causal=causal is not None)
    return parse_spec(document)


KINDS = pytest.mark.parametrize(
    "kind", ["unet", "minimal", "minimal-causal", "pytorch-tcn", "pytorch-tcn-causal"]
)


def saved(kind, path):
    """Save a detector as its training does; return (net, path)."""
    made = net(kind)
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]}
    document = {"epoch": 3, "model_state_dict": made.state_dict(), "best_metric": np.float64(0.5)}
    document["config"] = {"data": {"cache": PurePosixPath("/data/cache"), "out": Path("runs")}}
    torch.save({**document, "optimizer_state_dict": optimizer}, path)
    return made, path


def hints(kind):
    version = {} if kind == "unet" else V2
    return version | ({"causal": "true"} if kind.endswith("-causal") else {})


@KINDS
def test_reference_gives_the_output_of_the_detector(kind, tmp_path):
    made, path = saved(kind, tmp_path / "net.pt")
    report = convert(path, tmp_path / "ours", hints=hints(kind))
    assert (report.from_format, report.spec) == ("brain-go-brr", spec_for(kind))
    names = {f"model_state_dict.{name}" for name in made.state_dict()}
    beside = {"optimizer_state_dict.state.0.exp_avg"}
    assert set(report.used) | set(report.dropped) == names | beside
    assert not set(report.used) & set(report.dropped)
    x = noise(2, 3, 40)
    with torch.no_grad():
        expected = made.double()(torch.from_numpy(x)).numpy()
    assert np.ptp(expected, axis=2).min() > 0.1, "an output that is constant says nothing"
    y = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy", dtype="float64"), x)
    assert_close(y, expected, ROUNDING)


@KINDS
def test_the_detector_loads_our_export_strictly(kind, tmp_path):
    made, path = saved(kind, tmp_path / "net.pt")
    convert(path, tmp_path / "ours", hints=hints(kind))
    assert not convert(tmp_path / "ours", tmp_path / "b.pt", to_format="brain-go-brr").left_out
    state = torch.load(tmp_path / "b.pt", weights_only=True)
    net(kind).load_state_dict(state, strict=True)
    kept = [one for one in made.state_dict() if "_fallback" not in one and "num_batch" not in one]
    for name in kept:
        assert torch.equal(state[name], made.state_dict()[name]), name


@KINDS
def test_bits_and_spec_survive_both_ways(kind, tmp_path):
    spec = spec_for(kind)
    write_checkpoint(tmp_path / "ours", spec, weights_of(spec))
    convert(tmp_path / "ours", tmp_path / "net.pt", to_format="brain-go-brr")
    report = convert(tmp_path / "net.pt", tmp_path / "again", hints=hints(kind))
    assert (report.from_format, report.spec) == ("brain-go-brr", spec)
    assert_same_bits(read_checkpoint(tmp_path / "again")[1], weights_of(spec))


def test_what_no_tensor_says_is_assumed_or_hinted(tmp_path):
    _, path = saved("minimal", tmp_path / "net.pt")
    found = inspect(path, hints=V2)
    assert found.assumed == {"dropout": 0.1, "causal": False, "tcn_dropout": 0.15}
    given = {"version": "2.3", "dropout": "0.3", "tcn_dropout": 0.4, "causal": True}
    report = convert(path, tmp_path / "ours", hints=given)
    assert report.assumed == {}
    assert report.spec.layers["mamba"].dropout == 0.3
    assert report.spec.layers["level2"].dropout == 0.4
    assert report.spec.layers["level2"].padding == "causal"
    with pytest.raises(InputError, match="takes no hint 'droput'; did you mean 'dropout'"):
        convert(path, tmp_path / "no", hints={"droput": 0.1})


def test_what_stands_beside_the_weights_is_dropped_with_reasons(tmp_path):
    _, path = saved("pytorch-tcn", tmp_path / "net.pt")
    dropped = convert(path, tmp_path / "ours", hints=V2).dropped
    place = "model_state_dict."
    fallback = dropped[f"{place}mamba.layers.0.forward_mamba_fallback.weight"]
    assert fallback == "stands in for Mamba-2 where mamba_ssm is missing, to test shapes"
    buffer = dropped[f"{place}tcn_encoder.tcn.network.0.conv1.padder.buffer"]
    assert buffer == "streaming state, not a weight"


def test_names_of_other_versions_are_read(tmp_path):
    made = net("minimal")
    new = {
        name.replace("proj_head.proj", "proj_512_to_19")
        .replace("weight_g", "parametrizations.weight.original0")
        .replace("weight_v", "parametrizations.weight.original1"): tensor
        for name, tensor in made.state_dict().items()
    }
    torch.save(new, tmp_path / "new.pt")
    torch.save(made.state_dict(), tmp_path / "old.pt")
    for name in ("new", "old"):
        convert(tmp_path / f"{name}.pt", tmp_path / name, hints=V2)
    assert_same_bits(read_checkpoint(tmp_path / "new")[1], read_checkpoint(tmp_path / "old")[1])


def test_a_detector_without_mamba_is_refused(tmp_path):
    torch.save(nets.Unet(real=False).state_dict(), tmp_path / "net.pt")
    sentence = refusal(tmp_path / "net.pt")
    assert "holds no Mamba-2, only the convolutions that stand in for it" in sentence


@pytest.mark.parametrize(
    "kind, name, shape, part",
    [
        ("unet", "node_mamba.layers.0.output_proj.weight", (3, 3), "is no part of the net"),
        ("unet", "mamba.layers.0.layerscale.gamma", (12,), "is no part of the net"),
        ("unet", "encoder.input_conv.conv.weight", (6, 3), "of 3 axes, but has shape (6, 3)"),
        ("unet", "detection_head.weight", (1, 4, 1), "must have shape (1, 3, 1)"),
        ("minimal", "tcn_encoder.downsample.weight", None, "of 3 axes, but it is not there"),
        ("minimal", "mamba.layers.1.layer_norm.bias", None, "but 1 are missing"),
        ("pytorch-tcn", "tcn_encoder.tcn.network.2.conv1.padder.buffer", (1, 6, 4), "two dil"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(kind, name, shape, part, tmp_path):
    state = net(kind).state_dict()
    if shape is None:
        del state[name]
    else:
        state[name] = torch.ones(shape)
    torch.save(state, tmp_path / "net.pt")
    assert part in refusal(tmp_path / "net.pt", "brain-go-brr")


def test_other_dilations_are_refused(tmp_path):
    state = net("pytorch-tcn").state_dict()
    for conv, width in (("conv1", 6), ("conv2", 5)):
        state[f"tcn_encoder.tcn.network.2.{conv}.padder.buffer"] = torch.zeros(1, width, 2)
    torch.save(state, tmp_path / "net.pt")
    assert "the dilations 1, 2, 4, ..., but has [1, 2, 1]" in refusal(tmp_path / "net.pt")


@pytest.mark.parametrize(
    "kind, change",
    [
        ("unet", {"nodes.stem.layer.norm": {"kind": "batch_norm", "eps": 1e-3}}),
        ("unet", {"nodes.mamba.layer.mamba.norm_before_gate": True}),
        ("unet", {"nodes.mamba.layer.mamba.groups": 2}),
        ("unet", {"nodes.mamba.layer.eps": 1e-3}),
        ("unet", {"nodes.rescnn1_mix.layer.dropout": 0.2}),
        ("pytorch-tcn", {"layers.tcn.dilation_reset": 2}),
        ("minimal", {"layers.level1.causal": True}),
        ("minimal", {"layers.level1.dilation": 1}),
        ("minimal", {"layers.mamba.mamba.dt_limit": [0.1, 0.2]}),
    ],
)
def test_what_the_detector_has_not_is_refused(kind, change, tmp_path):
    if "layers.level1.causal" in change:
        change = {"layers.level1.padding": "causal"}
    spec = tcnzoo.load_spec(spec_for(kind), **change)
    write_checkpoint(tmp_path / "ours", spec, weights_of(spec))
    with pytest.raises(SpecError, match="brain-go-brr holds the detectors"):
        convert(tmp_path / "ours", tmp_path / "net.pt", to_format="brain-go-brr")
    assert not (tmp_path / "net.pt").exists()


def test_what_changes_no_output_is_written(tmp_path):
    chunks = {"layers.mamba.mamba.chunk_size": 16, "layers.mamba.mamba.dt_max": 0.2}
    spec = tcnzoo.load_spec(spec_for("minimal"), **chunks)
    write_checkpoint(tmp_path / "ours", spec, weights_of(spec))
    convert(tmp_path / "ours", tmp_path / "net.pt", to_format="brain-go-brr")
    assert convert(tmp_path / "net.pt", tmp_path / "again").spec == spec_for("minimal")


def test_rounding_is_what_the_tolerance_is_for(tmp_path):
    """The comparison of outputs can fail: another weight shows."""
    made, path = saved("unet", tmp_path / "net.pt")
    convert(path, tmp_path / "ours")
    x = noise(2, 3, 40)
    before = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy", dtype="float64"), x)
    with torch.no_grad():
        made.mamba.layers[1].backward_mamba_real.D[1] += 0.1
        after = made.double()(torch.from_numpy(x)).numpy()
    assert np.abs(after - before).max() > 100 * ROUNDING


@pytest.mark.parametrize("kind", ["minimal", "pytorch-tcn"])
def test_the_version_of_a_tcn_is_asked_for(kind, tmp_path):
    _, path = saved(kind, tmp_path / "net.pt")
    with pytest.raises(Undetermined, match="of which version of brain-go-brr-v2 it is, and later"):
        convert(path, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    "version, assumed, sentence",
    [
        ("2", False, None),
        (2.3, False, None),
        ("v2.3.0", False, None),
        ("3.0", True, None),
        ("3.1.0", True, None),
        ("3.1.1", False, "version 3.1.1 of brain-go-brr-v2 clamps its input at 10"),
        (4, False, "version 4 of brain-go-brr-v2 clamps its input at 10"),
        ("new", False, "hint 'version' must be a number such as 2.3 or 3.0.1, but is 'new'"),
    ],
)
def test_versions_that_clamp(version, assumed, sentence, tmp_path):
    _, path = saved("minimal", tmp_path / "net.pt")
    if sentence is not None:
        with pytest.raises(InputError, match=sentence):
            convert(path, tmp_path / "ours", hints={"version": version})
        return
    report = convert(path, tmp_path / "ours", hints={"version": version})
    assert ("keeps the decoded signal within 40" in report.assumed.get("clamp", "")) is assumed


def test_a_u_net_is_of_versions_that_do_not_clamp(tmp_path):
    _, path = saved("unet", tmp_path / "net.pt")
    assert "clamp" not in convert(path, tmp_path / "ours").assumed
