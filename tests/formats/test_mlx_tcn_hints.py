"""What mlx-tcn's files leave open and hints settle; files and models that are refused."""

import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.formats.protocol import convert, inspect
from tcnzoo.formats.report import Undetermined
from tests.support.checkpoints import refusal

mx = pytest.importorskip("mlx.core")

from tests.support.mlx_tcn_nets import mlx_tcn_net, nn  # noqa: E402 - need mlx

HINTS = {"causal": True, "activation": "relu", "output_activation": "none"}
SQUEEZED = {"use_se": True, "se_reduction": 2}


def saved(tmp_path, change=None, **chosen):
    """Save a net as its users do, after a change to its {name: array}; return the path."""
    held = dict(nn.utils.tree_flatten(mlx_tcn_net(**chosen).parameters()))
    if change is not None:
        change(held)
    mx.savez(str(tmp_path / "net.npz"), **held)
    return tmp_path / "net.npz"


def missing(path, hints=()):
    """The sentence that asks for what is not determined."""
    with pytest.raises(Undetermined) as raised:
        convert(path, path.parent / "ours", hints=dict(hints))
    assert not (path.parent / "ours").exists()
    return str(raised.value)


def test_shapes_determine_the_net(tmp_path):
    path = saved(
        tmp_path, num_channels=[5, 4, 6], kernel_sizes=[5, 2, 1], dilations=[4, 3, 1],
        use_gate=True, use_norm="layer_norm", use_skip_connections=True, output_projection=7,
        **SQUEEZED,
    )  # fmt: skip
    hints = {**HINTS, "se_residual": True}
    spec = convert(path, tmp_path / "ours", hints=hints).spec
    assert (spec.in_channels, spec.channels, spec.kernel_sizes) == (3, (5, 4, 6), (5, 2, 1))
    assert (spec.dilation_of, spec.norm.kind) == ((4, 3, 1), "layer_norm")
    assert (spec.gate, spec.skip_connections, spec.output_projection) == (True, True, 7)
    found = spec.squeeze_excitation
    assert (found.reduction, found.residual, found.pool) == (2, True, "global")


def test_what_is_not_determined_is_asked_for_at_once(tmp_path):
    sentence = missing(saved(tmp_path, num_channels=[5, 5], **SQUEEZED))
    asked = "causal, activation, skip_connections, output_activation, se_residual"
    assert f"does not determine {asked};" in sentence
    assert sentence.endswith("--set output_activation=none --set se_residual=false")


def test_a_hint_that_is_there_is_not_asked_for(tmp_path):
    path = saved(tmp_path, **SQUEEZED)
    assert "determine causal, activation, output_activation;" in missing(
        path, {"se_residual": "true"}
    )


def test_dilations_are_asked_for_where_no_buffer_says_them(tmp_path):
    def without_buffers(held):
        for name in list(held):
            if name.endswith("buffer"):
                del held[name]

    path = saved(tmp_path, without_buffers)
    assert missing(path, HINTS).endswith("--set dilations=1,2,4")
    spec = convert(path, tmp_path / "ours", hints={**HINTS, "dilation_reset": 2}).spec
    assert spec.dilation_of == (1, 2, 1)


def test_inspect_shows_what_is_known_and_what_is_missing(tmp_path):
    found = inspect(saved(tmp_path, use_norm="weight_norm", **SQUEEZED))
    assert (found.format, found.spec) == ("mlx-tcn", None)
    assert found.known["squeeze_excitation"] == {"pool": "global", "reduction": 2}
    assert found.known["norm"] == "none"
    places = {row.name: row.used_as for row in found.tensors}
    assert places["network.2.downSample.weight"] == "blocks.2.residual.weight"
    assert places["network.0.conv1.weight_v"] is None
    full = inspect(tmp_path / "net.npz", hints={**HINTS, "se_residual": False})
    assert all((row.used_as is None) != (row.dropped is None) for row in full.tensors)


@pytest.mark.parametrize(
    "channels, reduction, found",
    [([5, 4, 7], 0, 0), ([5, 4, 7], 8, 8), ([5, 4, 7], 3, 3), ([9, 9, 9], 4, 4), ([17, 6], 2, 2)],
)
def test_the_reduction_is_found(channels, reduction, found, tmp_path):
    path = saved(tmp_path, num_channels=channels, use_se=True, se_reduction=reduction)
    hints = {**HINTS, "se_residual": False, "skip_connections": False}
    spec = convert(path, tmp_path / "ours", hints=hints).spec
    assert spec.squeeze_excitation.reduction == found


def test_the_reduction_may_be_given_where_several_fit(tmp_path):
    path = saved(tmp_path, use_se=True, se_reduction=16)
    hints = {**HINTS, "se_residual": False}
    assert convert(path, tmp_path / "one", hints=hints).spec.squeeze_excitation.reduction == 8
    spec = convert(path, tmp_path / "other", hints={**hints, "se_reduction": "16"}).spec
    assert spec.squeeze_excitation.reduction == 16


@pytest.mark.parametrize(
    "chosen, hints, sentence",
    [
        (SQUEEZED, {"se_reduction": 3}, "se_reduction=3 contradicts .* says se_reduction=2"),
        (SQUEEZED, {"se_reduction": "half"}, "se_reduction=half contradicts"),
        ({}, {"se_residual": True}, "contradicts .*which has no squeeze-and-excitation"),
        ({"use_norm": "weight_norm"}, {"norm": "weight_norm"}, "contradicts .* says norm=none"),
        ({}, {"dilations": "1,4,2"}, "contradicts .*says dilations=.1, 2, 4."),
        ({}, {"use_se": True}, "takes no hint 'use_se'"),
    ],
)
def test_hints_that_cannot_be_are_refused(chosen, hints, sentence, tmp_path):
    path = saved(tmp_path, **chosen)
    given = {**HINTS, "se_residual": False, **hints} if chosen == SQUEEZED else {**HINTS, **hints}
    with pytest.raises(InputError, match=sentence):
        convert(path, tmp_path / "ours", hints=given)
    assert not (tmp_path / "ours").exists()


def test_hints_against_a_file_of_ours_are_refused(tmp_path):
    tcnzoo.save(tcnzoo.create({**SPEC, "squeeze_excitation": {}}, "numpy"), tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "net.npz", to_format="mlx-tcn")
    with pytest.raises(InputError, match="se_residual=True contradicts"):
        convert(tmp_path / "net.npz", tmp_path / "again", hints={"se_residual": True})
    with pytest.raises(InputError, match="activation=gelu contradicts"):
        convert(tmp_path / "net.npz", tmp_path / "again", hints={"activation": "gelu"})


def test_softmax_over_channels_is_taken_as_it_is(tmp_path):
    path = saved(tmp_path, output_projection=2)
    hints = {**HINTS, "output_activation": "log_softmax"}
    assert (
        convert(path, tmp_path / "ours", hints=hints).spec.output_activation.name == "log_softmax"
    )


# Files that are no such net


@pytest.mark.parametrize(
    "name, shape, sentence",
    [
        ("head.weight", (2, 3), "'head.weight' of .* is no part of the net"),
        ("network.0.conv1.bias", None, "missing, the first 'blocks.0.conv1.bias'"),
        ("network.0.conv1.bias", (4,), "'blocks.0.conv1.bias' must have shape .5,."),
        ("network.1.conv2.weight", None, "'network.1.conv2' must have a kernel"),
        ("network.0.conv1.weight", (5, 4, 3), "'network.0.conv1.padder.buffer' of shape"),
        ("network.0.downSample.weight", (5, 3, 1), r"must have shape \(5, 1, 3\) \(axes OKI\)"),
        ("network.0.conv1.padder.buffer", (1, 3, 3), "does not fit 3 taps"),
        ("network.1.se.reduce.weight", (3, 5), "no reduction of squeeze-and-excitation gives"),
        ("network.1.se.expand.weight", (2, 5), "'blocks.1.se.expand.weight' must have shape"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused(name, shape, sentence, tmp_path):
    def change(held):
        held.pop(name, None)
        if shape:
            held[name] = mx.ones(shape)

    path = saved(tmp_path, change, **SQUEEZED)
    with pytest.raises(WeightError, match=sentence):
        convert(path, tmp_path / "ours", hints={**HINTS, "se_residual": False})
    assert not (tmp_path / "ours").exists()


def test_a_file_of_another_net_is_refused(tmp_path):
    mx.savez(str(tmp_path / "net.npz"), weight=mx.ones((2, 3)))
    assert "such a net has a tensor 'network.0.conv1.bias'" in refusal(
        tmp_path / "net.npz", "mlx-tcn"
    )


# Models that mlx-tcn cannot hold


SPEC = {"kind": "tcn", "in_channels": 3, "channels": [4, 5], "kernel_size": 3, "norm": "none"}


@pytest.mark.parametrize(
    "fields, sentence",
    [
        (
            {"squeeze_excitation": {"pool": "cumulative"}},
            "squeeze_excitation.pool must be 'global', but is 'cumulative'",
        ),
        ({"padding_mode": "replicate"}, "padding_mode must be 'zeros'"),
        ({"norm": {"kind": "batch_norm", "eps": 1e-3}}, "norm.eps must be 1e-05"),
        ({"activation": "silu"}, "activation must be one of relu, .* log_softmax, but is 'silu'"),
    ],
)
def test_a_model_that_mlx_tcn_cannot_hold_is_refused(fields, sentence, tmp_path):
    tcnzoo.save(tcnzoo.create({**SPEC, **fields}, "numpy"), tmp_path / "ours")
    with pytest.raises(SpecError, match=f"^mlx-tcn cannot hold this model: {sentence}"):
        convert(tmp_path / "ours", tmp_path / "net.npz", to_format="mlx-tcn")
    assert not list(tmp_path.glob("net.*"))


def test_a_model_of_another_kind_is_refused(tmp_path):
    dense = {"kind": "dense", "in_features": 3, "out_features": 2}
    tcnzoo.save(tcnzoo.create(dense, "numpy"), tmp_path / "ours")
    with pytest.raises(SpecError, match="^mlx-tcn holds a single model of kind 'tcn', but this is"):
        convert(tmp_path / "ours", tmp_path / "net.safetensors", to_format="mlx-tcn")


def test_a_spec_too_long_for_an_archive_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tcnzoo.weights_convert.containers.npz.LONGEST_COMMENT", 100)
    tcnzoo.save(tcnzoo.create(SPEC, "numpy"), tmp_path / "ours")
    with pytest.raises(WeightError, match="does not fit into"):
        convert(tmp_path / "ours", tmp_path / "net.npz", to_format="mlx-tcn")
    assert [one.name for one in tmp_path.iterdir()] == ["ours"]
