"""Model descriptions that are refused, one test each: the error's type and its sentence."""

import pytest

import tcnzoo
from tests.support.compare import assert_refused
from tests.support.tcns import tcn

CONV = {"kind": "conv1d", "in_channels": 3, "out_channels": 5, "kernel_size": 3}


def test_unknown_kind_is_suggested():
    sentence = "unknown kind 'tnc'; did you mean 'tcn'?"
    assert_refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, {"kind": "tnc"})


def test_unknown_kind_of_a_layer_is_named_with_its_place():
    spec = {"kind": "sequential", "layers": {"first": CONV, "second": {"kind": "convolution"}}}
    with pytest.raises(
        tcnzoo.SpecError, match="unknown kind 'convolution' at 'layers.second'; known are"
    ):
        tcnzoo.load_spec(spec)


def test_misspelt_field_is_suggested():
    spec = {"kind": "tcn", "in_channels": 3, "chanels": [4, 5]}
    sentence = "unknown field 'chanels'; did you mean 'channels'?"
    assert_refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, spec)


def test_misspelt_field_of_a_layer_is_suggested_with_its_place():
    spec = {"kind": "sequential", "layers": {"body": tcn(dilation_rest=4)}}
    sentence = "unknown field 'dilation_rest' at 'layers.body'; did you mean 'dilation_reset'?"
    assert_refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, spec)


def test_problem_inside_a_field_names_the_whole_path():
    norm = {"kind": "batch_norm", "eps": 0.0}
    layers = {"pool": {"kind": "conv_block", **CONV, "norm": norm} | {"kind": "conv_block"}}
    sentence = "field 'layers.pool.norm.eps': input should be greater than 0, but got 0.0"
    spec = {"kind": "sequential", "layers": layers}
    assert_refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, spec)


def test_missing_field_is_named():
    spec = {"kind": "tcn", "in_channels": 3}
    assert_refused(tcnzoo.SpecError, "field 'channels' is missing", tcnzoo.load_spec, spec)


def test_missing_kind_is_shown_by_example():
    with pytest.raises(
        tcnzoo.SpecError, match="a spec is a mapping with a 'kind', such as {kind: tcn"
    ):
        tcnzoo.load_spec({"in_channels": 3})


def test_value_that_is_not_allowed_names_those_that_are():
    sentence = (
        "field 'padding_mode': input should be 'zeros', 'reflect', 'replicate' or 'circular', "
        "but got 'mirror'"
    )
    assert_refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, CONV | {"padding_mode": "mirror"})


@pytest.mark.parametrize(
    "fields, sentence",
    [
        (
            {"kernel_size": 0},
            "field 'kernel_size': input should be greater than or equal to 1, but got 0",
        ),
        ({"groups": 2}, "in_channels must be a multiple of groups=2, but is 3"),
        (
            {"dropout": 0.1},
            "unknown field 'dropout'; known are bias, dilation, ",
        ),  # a kind elsewhere
        ({"activation": "relu"}, "unknown field 'activation'; "),
    ],
)
def test_wrong_field_of_a_convolution(fields, sentence):
    with pytest.raises(tcnzoo.SpecError) as caught:
        tcnzoo.load_spec(CONV | fields)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    "fields, sentence",
    [
        (
            {"kernel_size": [3, 3]},
            "kernel_size must have one entry for each of the 3 blocks, but has 2",
        ),
        ({"dilations": [1]}, "dilations must have one entry for each of the 3 blocks, but has 1"),
        (
            {"dilations": [1, 1, 1], "dilation_reset": 4},
            "give dilations or dilation_reset, not both",
        ),
        (
            {"squeeze_excitation": {"channels": 4}},
            "squeeze_excitation takes its channels from the block, but channels=4 was given",
        ),
    ],
)
def test_fields_of_a_tcn_that_contradict_each_other(fields, sentence):
    assert_refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, tcn() | fields)


def test_layers_that_do_not_fit_each_other():
    spec = {"kind": "sequential", "layers": {"first": CONV, "second": CONV}}
    sentence = "layer 'second' expects 3 channels, but the layer before it gives 5"
    assert_refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, spec)


def test_gated_layers_halve_the_width():
    second = {"kind": "dense", "in_features": 3, "out_features": 2}
    layers = {"first": CONV | {"out_channels": 6}, "gated": {"kind": "glu"}, "second": second}
    assert tcnzoo.load_spec({"kind": "sequential", "layers": layers})


def test_weight_norm_of_a_dense_block():
    spec = {"kind": "dense_block", "in_features": 3, "out_features": 5, "norm": "weight_norm"}
    sentence = "norm of a dense_block must be batch_norm, layer_norm or none, but is weight_norm"
    assert_refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, spec)


@pytest.mark.parametrize("kind", ["batch_norm", "layer_norm", "squeeze_excitation"])
def test_block_without_owner_needs_a_width(kind):
    sentence = f"field 'channels' is missing: a {kind} outside a block must name its width"
    assert_refused(tcnzoo.SpecError, sentence, tcnzoo.create, {"kind": kind}, "numpy")


def test_unknown_preset_is_suggested():
    sentence = "unknown model 'deepepy'; did you mean 'deepepi'?"
    assert_refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, "deepepy")


def test_override_of_a_field_that_is_not_there():
    with pytest.raises(
        tcnzoo.SpecError, match="cannot set 'layers.conv15.stride': no 'conv15'; did you"
    ):
        tcnzoo.load_spec("deepepi", **{"layers.conv15.stride": 1})


def test_spec_file_that_is_not_there(tmp_path):
    path = tmp_path / "none.yaml"
    assert_refused(tcnzoo.InputError, f"no spec at {str(path)!r}", tcnzoo.load_spec, path)


def test_spec_file_that_is_not_yaml(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("kind: [tcn")
    with pytest.raises(tcnzoo.SpecError, match="broken.yaml' is not valid YAML or JSON: "):
        tcnzoo.load_spec(path)


def test_a_layer_that_cannot_take_what_comes_is_named():
    layers = {"pool": {"kind": "pool"}, "conv": CONV}
    sentence = (
        "layer 'conv': conv1d expects a signal (batch, channels, time), "
        "but a vector (batch, 3) came"
    )
    spec = {"kind": "sequential", "layers": layers}
    assert_refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, spec)


@pytest.mark.parametrize("before", [{**CONV, "stride": 2}, {"kind": "upsample", "factor": 2}])
def test_embeddings_for_each_step_need_the_length_of_the_input(before):
    step = {"channels": 2, "per_step": True}
    body = tcn(in_channels=before.get("out_channels", 3)) | {"embeddings": [step]}
    with pytest.raises(tcnzoo.SpecError, match="layer 'body' takes an embedding for each step"):
        tcnzoo.load_spec({"kind": "sequential", "layers": {"first": before, "body": body}})


def test_a_leading_gate_doubles_the_channels_of_the_input():
    spec = tcnzoo.load_spec(
        {"kind": "sequential", "layers": {"gate": {"kind": "glu"}, "conv": CONV}}
    )
    assert spec.input_channels == 6
