"""tcnzoo list, describe, init."""

import json

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.cli import app
from tcnzoo.specs.params import initial_weights


def run(*args):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_list_names_every_preset_with_its_size():
    result = run("list")
    assert result.exit_code == 0
    assert "deepepi: 97,362 + 1,344 parameters, input 1 x 750 at 25 Hz" in result.stdout
    for name in tcnzoo.list_models():
        assert f"{name}: " in result.stdout


def test_list_as_json():
    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)}
    assert list(rows) == tcnzoo.list_models()
    assert rows["vq-hdp-hsmm"]["input"]["devices"] == 2
    assert rows["tcn-eeg-encoder"]["trainable"] == 12_103_040
    assert rows["tcn-eeg-encoder"]["input"] == {
        "channels": 19, "length": 15360, "sampling_rate": 256.0, "devices": None,
    }  # fmt: skip


@pytest.mark.parametrize("command", ["list", "describe tcn-eeg-encoder", "describe deepepi"])
def test_tables_fit_80_columns(command):
    lines = run(*command.split()).stdout.splitlines()
    assert max(map(len, lines)) <= 80


def test_describe_tells_counts_field_and_latency():
    text = run("describe", "tcn-eeg-encoder").stdout
    assert "12,103,040 trainable" in text
    assert "472 steps (1.84 s at 256 Hz)" in text
    assert "latency 15 steps" in text


def test_describe_names_what_stands_against_streaming():
    text = " ".join(run("describe", "deepepi").stdout.split())
    assert "97,362 trainable, 1,344 running statistics" in text
    assert "whole signal seen by pool" in text
    assert "no: pool: mode 'global_average' needs the whole signal" in text


def test_describe_as_json_at_another_length():
    found = json.loads(run("describe", "deepepi", "--input-length", 200, "--json").stdout)
    assert found["input_shape"] == [1, 200]
    assert found["layers"][0]["output_shape"] == [16, 196]
    assert found["min_length"] == 125


def test_describe_takes_overrides():
    args = ("describe", "deepepi", "--set", "layers.conv14.stride=1", "--json")
    rows = {row["path"]: row for row in json.loads(run(*args).stdout)["layers"]}
    assert rows["conv14"]["output_shape"] == [64, 157]


def test_describe_takes_a_file_and_a_checkpoint(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("{kind: conv1d, in_channels: 3, out_channels: 5, kernel_size: 3}")
    assert "50 trainable" in run("describe", path).stdout
    run("init", path, tmp_path / "checkpoint")
    assert "50 trainable" in run("describe", tmp_path / "checkpoint").stdout


def test_printed_yaml_is_the_same_model():
    document = yaml.safe_load(run("describe", "tcn-se-gated", "--yaml").stdout)
    assert tcnzoo.load_spec(document) == tcnzoo.load_spec("tcn-se-gated")


def test_schema_describes_every_kind():
    schema = json.loads(run("describe", "--schema").stdout)
    assert {"tcn", "conv1d", "sequential"} <= schema["discriminator"]["mapping"].keys()


def test_init_writes_the_weights_of_the_seed(tmp_path):
    assert run("init", "tcn-base", tmp_path / "a", "--seed", 3).exit_code == 0
    spec, weights = read_checkpoint(tmp_path / "a")
    assert spec == tcnzoo.load_spec("tcn-base")
    for name, array in initial_weights(spec.params(), 3).items():
        np.testing.assert_array_equal(weights[name], array)


def test_init_keeps_what_is_there_unless_told(tmp_path):
    target = tmp_path / "a"
    run("init", "tcn-base", target)
    result = run("init", "tcn-base", target, "--seed", 1)
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert run("init", "tcn-base", target, "--seed", 1, "--overwrite").exit_code == 0


def test_init_as_json(tmp_path):
    args = ("tcn-base", tmp_path / "a", "--set", "channels=[5, 7]")
    found = json.loads(run("init", *args, "--json").stdout)
    spec = tcnzoo.load_spec("tcn-base", channels=[5, 7])
    assert found["trainable"] == tcnzoo.count_params(spec).trainable
