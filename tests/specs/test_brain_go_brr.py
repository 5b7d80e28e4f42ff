"""Configuration files of brain-go-brr-v2, and the detectors that they ask for."""

import json

import pytest
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.cli import app
from tcnzoo.errors import SpecError
from tcnzoo.zoo.catalog import input_facts
from tcnzoo.zoo.foreign.brain_go_brr import detector_config
from tcnzoo.zoo.foreign.detectors import tcn_document
from tcnzoo.zoo.parse import parse_spec

MAMBA = {"layers": 2, "mamba": {"d_state": 5, "head_dim": 4}}
FULL = """
experiment: {name: smoke, output_dir: results}
data: {dataset: tuh_eeg, n_channels: 19, sampling_rate: 256, window_size: 60}
model:
  name: seizure_detector
"""


def config(tmp_path, text):
    (tmp_path / "detector.yaml").write_text(FULL + text)
    return tmp_path / "detector.yaml"


def test_the_baseline_is_the_preset(tmp_path):
    text = """
  encoder: {stages: 4, channels: [64, 128, 256, 512], kernel_size: 5, downsample_factor: 2}
  rescnn: {n_blocks: 3, kernel_sizes: [3, 5, 7], dropout: 0.1}
  mamba: {n_layers: 6, d_model: 512, d_state: 16, conv_kernel: 5, dropout: 0.1}
  decoder: {stages: 4, kernel_size: 4}
"""
    path = config(tmp_path, text)
    assert tcnzoo.load_spec(path) == tcnzoo.load_spec("seizure-unet-mamba")
    found = detector_config(path)
    assert (found.input_length, found.sampling_rate) == (15360, 256.0)


def test_the_plan_of_the_tcn_is_the_preset_but_for_a_projection(tmp_path):
    text = """
  architecture: tcn
  tcn: {num_layers: 8, causal: true, dilation_reset: 16, use_cuda_optimizations: true}
"""
    layers = dict(tcnzoo.load_spec(config(tmp_path, text), literal=True).layers)
    projection = layers.pop("channel_projection")
    assert (projection.in_channels, projection.out_channels) == (512, 512)
    assert layers == tcnzoo.load_spec("seizure-tcn-mamba").layers


@pytest.mark.parametrize("backbone, count", [("pytorch-tcn", 34_775_911), ("minimal", 29_780_519)])
def test_the_tcn_has_as_many_parameters_as_the_origin_counts(backbone, count, tmp_path):
    path = config(tmp_path, "  architecture: tcn\n  tcn: {channels: [64, 128, 256, 512]}\n")
    spec = detector_config(path, backbone).spec
    assert tcnzoo.count_params(spec).trainable == count


def test_every_field_counts(tmp_path):
    text = """
  architecture: tcn
  tcn: {num_layers: 5, channels: [4, 6], kernel_size: 5, dropout: 0.2, stride_down: 8}
  mamba: {n_layers: 2, d_model: 32, d_state: 7, conv_kernel: 3, dropout: 0.3}
"""
    layers = tcnzoo.load_spec(config(tmp_path, text), literal=True).layers
    tcn, mamba = layers["tcn"], layers["mamba"]
    assert (tcn.channels, tcn.kernel_size, tcn.dropout) == ((4, 6, 4, 6, 4), 5, 0.2)
    assert (mamba.channels, mamba.layers, mamba.dropout) == (32, 2, 0.3)
    assert (mamba.mamba.d_state, mamba.mamba.d_conv) == (7, 3)
    assert (layers["downsample"].stride, layers["upsample"].factor) == (8, 8)
    unet = """
  architecture: unet
  encoder: {stages: 2, channels: [32, 64]}
  rescnn: {n_blocks: 1, kernel_sizes: [3, 9]}
  mamba: {d_model: 64, dropout: 0.2}
"""
    nodes = tcnzoo.load_spec(config(tmp_path, unet)).nodes
    assert [name for name in nodes if name.startswith(("down", "rescnn"))] == [
        "down1", "down2", "rescnn1_k3", "rescnn1_k9", "rescnn1_concat", "rescnn1_mix",
        "rescnn1_sum", "rescnn1",
    ]  # fmt: skip
    assert nodes["rescnn1_mix"].layer.dropout == 0.2
    assert nodes["down2"].layer.out_channels == 64


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("  tcn: {dropot: 3}", "unknown key 'model.tcn.dropot' in {}; did you mean 'dropout'?"),
        ("  mamba: {}\n  graph: {}", "unknown key 'model.graph' in {}; known are architecture, "
         "decoder, encoder, mamba, name, rescnn, tcn"),
        ("  tcn: {}\ntrain: {}", "unknown key 'train' in {}; did you mean 'training'?"),
        ("  tcn: {}\n  rescnn: {}", "'model.architecture' in {} must be tcn or unet, but is not "
         "there"),
        ("  mamba: 3", "'model.mamba' in {} must be a mapping, but is 3"),
        ("  mamba: {d_state: 0}", "'model.mamba.d_state' in {}: input should be greater than or "
         "equal to 1"),
        ("  tcn: {num_layers: 1000000000}", "'model.tcn.num_layers' in {}: input should be less "
         "than or equal to 4096"),
        ("  encoder: {stages: 1000000000}", "'model.encoder.stages' in {}: input should be less "
         "than or equal to 32"),
        ("  rescnn: {n_blocks: 1000000000}\n  mamba: {}", "'model.rescnn.n_blocks' in {}: input "
         "should be less than or equal to 4096"),
        ("  mamba: {n_layers: 1000000000}", "'model.mamba.n_layers' in {}: input should be less "
         "than or equal to 4096"),
        (f"  mamba: [{'1, ' * 1000}]", "'model.mamba' in {} must be a mapping, but is a list of "
         "1,000 entries"),
        ("  mamba: {d_model: 64}", "'model.mamba.d_model' must be 512, the width of the last "
         "stage, but is 64"),
        ("  encoder: {channels: [2, 4, 9, 16]}", "'model.encoder.channels' must be [2, 4, 8, 16], "
         "twice as many in each of the 4 stages, but are [2, 4, 9, 16]"),
        ("  rescnn: {kernel_sizes: [3, 3]}\n  mamba: {}", "kernel_sizes of rescnn must be two or "
         "more that differ, but are [3, 3]"),
    ],
)  # fmt: skip
def test_what_a_configuration_may_not_say(text, sentence, tmp_path):
    path = config(tmp_path, text + "\n")
    with pytest.raises(SpecError) as caught:
        tcnzoo.load_spec(path, literal=True)
    assert str(caught.value) == sentence.format(repr(str(path)))


def test_what_is_ignored_is_named_in_one_short_line(tmp_path):
    text = f"  tcn: {{{'x' * 900}: 1, 'a\\x0bb': 2, channels: [{'1, ' * 2000}]}}\n"
    text = text.replace("'", '"')
    with pytest.warns(UserWarning, match=r"x\.\.\., .*a.x0bb") as caught:
        tcnzoo.load_spec(config(tmp_path, text))
    text = "  tcn: {}\n" + "".join(f"  k{place}: 1\n" for place in range(100))
    with pytest.warns(UserWarning, match="model.k7 and 92 more; literal"):
        tcnzoo.load_spec(config(tmp_path, text))
    for one in caught:
        assert len(str(one.message)) < 1000
        assert len(str(one.message).splitlines()) == 1


def test_an_even_kernel_of_the_small_backbone_is_refused():
    with pytest.raises(SpecError, match="an odd kernel_size where it is not causal"):
        tcn_document(kernel_size=4, backbone="minimal", mamba=MAMBA)
    assert parse_spec(tcn_document(kernel_size=4, backbone="minimal", causal=True, mamba=MAMBA))


def test_other_mappings_are_no_configurations():
    spec = {"kind": "dense", "in_features": 3, "out_features": 2}
    assert tcnzoo.load_spec({"spec": spec, "model": {"mamba": {}}}).kind == "dense"
    with pytest.raises(SpecError, match="a spec is a mapping with a 'kind'"):
        tcnzoo.load_spec({"model": {"name": "x"}})


PLAN = """
  architecture: tcn
  tcn: {num_layers: 6, channels: [4, 6], causal: true, dilation_reset: 16, dilation_base: 2}
  decoder: {colour: red}
  graph: {enabled: false}
extra: 3
"""


def test_a_file_is_read_as_its_own_loader_reads_it(tmp_path):
    path = config(tmp_path, PLAN)
    path.write_text(path.read_text().replace("n_channels: 19", "n_channels: 21"))
    named = (
        "ignored, as brain-go-brr ignores it: extra, model.graph, model.decoder.colour, "
        "model.tcn.dilation_base, model.tcn.channels=[4, 6] (it has [64, 128, 256, 512]), "
        "model.tcn.causal=True (it has False), model.tcn.dilation_reset=16 (it has None), "
        "data.n_channels=21 (it has 19); literal=True (--literal of describe and init) "
        "takes the file as it stands"
    )
    with pytest.warns(UserWarning, match="ignored, as brain-go-brr ignores it") as caught:
        spec = tcnzoo.load_spec(path)
    assert [str(one.message) for one in caught] == [f"{str(path)!r}: {named}"]
    tcn = spec.layers["tcn"]
    assert tcn.channels == (64, 128, 256, 512, 64, 128)
    assert (tcn.causal, tcn.dilation_reset) == (False, None)
    assert spec.input_channels == 19


def test_a_file_read_literally_is_what_stands_in_it(tmp_path):
    text = PLAN.replace(", dilation_base: 2", "").replace("{colour: red}", "{stages: 4}")
    text = text.replace("  graph: {enabled: false}\nextra: 3\n", "")
    path = config(tmp_path, text)
    path.write_text(path.read_text().replace("n_channels: 19", "n_channels: 21"))
    spec = tcnzoo.load_spec(path, literal=True)
    tcn = spec.layers["tcn"]
    assert (tcn.channels, tcn.causal, tcn.dilation_reset) == ((4, 6) * 3, True, 16)
    assert spec.input_channels == 21


def test_what_the_loader_takes_is_taken_without_a_word(tmp_path, recwarn):
    text = "  architecture: tcn\n  tcn: {channels: [64, 128, 256, 512], causal: false}\n"
    tcnzoo.load_spec(config(tmp_path, text))
    assert not list(recwarn)


def test_the_length_of_the_signal_comes_from_the_file(tmp_path):
    text = "  architecture: tcn\n"
    path = config(tmp_path, text)
    path.write_text(path.read_text().replace("window_size: 60", "window_size: 20"))
    facts = input_facts(str(path))
    assert (facts.channels, facts.length, facts.sampling_rate) == (19, 5120, 256.0)
    done = CliRunner().invoke(app, ["describe", str(path), "--json"])
    found = json.loads(done.stdout)
    assert (found["input_shape"], found["sampling_rate"]) == ([19, 5120], 256.0)


def test_the_length_of_an_osd_file_is_used_too(tmp_path):
    path = tmp_path / "nnConfig.json"
    path.write_text('{"modelConfig": {"framework": "pytorch", "bufferSeconds": 40}}')
    done = CliRunner().invoke(app, ["describe", str(path), "--json"])
    assert json.loads(done.stdout)["input_shape"] == [1, 1000]
    assert input_facts("tcn-base").length == tcnzoo.zoo.catalog.preset("tcn-base").input.length
    assert input_facts({"kind": "batch_norm", "channels": 3}) is None
