"""The unit of a model's signal: carried in checkpoints, and what cannot be in it is warned of."""

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.cli import app
from tcnzoo.eeg.scales import size_remark
from tcnzoo.errors import SpecError
from tcnzoo.specs.input_unit import InputUnit

UNIT = {"unit": "uV", "scale": 0.01}
MODEL = {
    "kind": "sequential",
    "layers": {"norm": {"kind": "batch_norm", "channels": 3}},
    "input": UNIT,
}


def signal(deviation, steps=400):
    return np.random.default_rng(1).normal(7.0 * deviation, deviation, (2, 3, steps))


@pytest.mark.parametrize(
    "per_uv, name, factor", [(1e-6, "V", "10000"), (1.0, "uV", "0.01"), (1e3, "nV", "1e-05")]
)
def test_a_wrong_unit_is_named_with_its_factor(per_uv, name, factor):
    x = signal(60.0 * per_uv)
    remark = size_remark(x, InputUnit(**UNIT))
    assert remark.endswith(f"; if it is in {name}, multiply it by {factor}")
    assert size_remark(x * float(factor), InputUnit(**UNIT)) is None


@pytest.mark.parametrize("deviation", [0.01, 0.3, 5.0])
def test_usual_sizes_pass(deviation):
    assert size_remark(signal(deviation), InputUnit(**UNIT)) is None


def test_artefacts_offsets_and_dead_channels_change_nothing():
    x = signal(0.3)
    x[:, 0], x[:, 1, :20], x[:, 2, 5] = 0.0, 1e9, np.nan
    assert size_remark(x, InputUnit(**UNIT)) is None
    assert size_remark(np.zeros((1, 3, 9)), InputUnit(**UNIT)) is None
    assert size_remark(x * 1e-4, InputUnit(**UNIT)) is not None


def test_no_unit_is_guessed_for_sizes_of_none():
    remark = size_remark(signal(1e20), InputUnit(**UNIT))
    assert remark.endswith("where an EEG varies by some tens")


@pytest.mark.parametrize("unit", [{"unit": "V"}, {"unit": "uV", "scale": 0.0}, {"scale": 1.0}])
def test_units_of_no_meaning_are_refused(unit):
    with pytest.raises(SpecError, match="input"):
        tcnzoo.load_spec({**MODEL, "input": unit})


@pytest.mark.parametrize("name", ["labram-base", "labram-mem", "labram-vqnsp"])
def test_presets_of_labram_take_hundreds_of_microvolts(name):
    assert tcnzoo.load_spec(name).input == InputUnit(**UNIT)


@pytest.mark.parametrize("size, warned", [(3e-5, True), (0.3, False)])
def test_predict_warns_of_volts(tmp_path, size, warned):
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(MODEL))
    made = CliRunner().invoke(app, ["init", str(tmp_path / "model.yaml"), str(tmp_path / "saved")])
    assert made.exit_code == 0, made.output
    np.save(tmp_path / "x.npy", signal(size)[0].astype(np.float32))
    done = CliRunner().invoke(
        app,
        ["predict", str(tmp_path / "saved"), "--input", str(tmp_path / "x.npy"),
         "--backend", "numpy", "--output", str(tmp_path / "y.npy")],
        env={"COLUMNS": "400"},
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert ("if it is in V, multiply it by 10000" in done.output) == warned
