"""Weights and checkpoints that do not fit are refused by name, and nothing is half-loaded."""

import json

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_safetensors, write_safetensors
from tests.support.compare import assert_refused, assert_same_bits, weights_of
from tests.support.tcns import tcn

SPEC = tcn(norm="batch_norm")


def _without(weights):
    return {name: array for name, array in weights.items() if name != "blocks.1.conv2.bias"}


def _renamed(weights):
    return {
        ("blocks.1.conv2.bais" if n == "blocks.1.conv2.bias" else n): a for n, a in weights.items()
    }


def _extra(weights):
    return weights | {"head.weight": np.zeros((2, 6), np.float32)}


def _misshapen(weights):
    return weights | {"blocks.1.conv2.weight": weights["blocks.1.conv2.weight"].transpose(2, 1, 0)}


MISFITS = {
    "missing": (
        _without,
        "expected 40 tensors, but 1 are missing, the first 'blocks.1.conv2.bias' of shape (4,)",
    ),
    "renamed": (
        _renamed,
        "expected 40 tensors, but 1 are missing, the first 'blocks.1.conv2.bias' of shape (4,); "
        "is it 'blocks.1.conv2.bais'?",
    ),
    "extra": (
        _extra,
        "expected only the 40 tensors of the model, but 1 more came, the first 'head.weight'",
    ),
    "misshapen": (
        _misshapen,
        "tensor 'blocks.1.conv2.weight' must have shape (4, 4, 3) (axes OIK), but has (3, 4, 4)",
    ),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_weights_that_do_not_fit_change_nothing(backend, misfit):
    change, sentence = MISFITS[misfit]
    model = tcnzoo.create(SPEC, backend, weights=weights_of(SPEC))
    assert_refused(
        tcnzoo.WeightError, sentence, tcnzoo.set_weights, model, change(weights_of(SPEC, 1))
    )
    assert_same_bits(tcnzoo.get_weights(model), weights_of(SPEC))
    assert_refused(
        tcnzoo.WeightError, sentence, tcnzoo.create, SPEC, backend, weights=change(weights_of(SPEC))
    )


@pytest.mark.parametrize("misfit", MISFITS)
def test_checkpoint_that_does_not_fit(backend, misfit, tmp_path):
    change, sentence = MISFITS[misfit]
    tcnzoo.save(tcnzoo.create(SPEC, "numpy"), tmp_path / "saved")
    path = tmp_path / "saved" / "model.safetensors"
    weights, metadata = read_safetensors(path)
    write_safetensors(path, change(weights), metadata)
    assert_refused(tcnzoo.WeightError, sentence, tcnzoo.load, tmp_path / "saved", backend)


@pytest.fixture
def saved(tmp_path):
    """A checkpoint directory that can be broken."""
    tcnzoo.save(tcnzoo.create(SPEC, "numpy"), tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, 0.999])
def test_truncated_file(saved, kept):
    path = saved / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    with pytest.raises(
        tcnzoo.WeightError, match="model.safetensors' is not a whole safetensors file: "
    ):
        tcnzoo.load(saved, "numpy")


def test_file_of_another_kind(saved):
    (saved / "model.safetensors").write_bytes(b"PK\x03\x04" + bytes(range(256)) * 40)
    with pytest.raises(tcnzoo.WeightError, match="is not a whole safetensors file"):
        tcnzoo.load(saved, "numpy")


def test_no_checkpoint(tmp_path):
    sentence = f"no checkpoint at {str(tmp_path)!r}: model.safetensors is not there"
    assert_refused(tcnzoo.InputError, sentence, tcnzoo.load, tmp_path)


def test_safetensors_without_a_configuration(saved):
    weights, _ = read_safetensors(saved / "model.safetensors")
    write_safetensors(saved / "model.safetensors", weights)
    (saved / "config.json").unlink()
    sentence = f"no checkpoint at {str(saved)!r}: config.json is not there"
    assert_refused(tcnzoo.InputError, sentence, tcnzoo.load, saved)


def test_configuration_beside_a_bare_safetensors_file_is_used(saved):
    weights, _ = read_safetensors(saved / "model.safetensors")
    write_safetensors(saved / "model.safetensors", weights)
    assert tcnzoo.load(saved, "numpy").tcnzoo.spec == tcnzoo.load_spec(SPEC)


def test_broken_configuration(saved):
    (saved / "config.json").write_text('{"spec": ')
    with pytest.raises(tcnzoo.WeightError, match="config.json' is not valid JSON: "):
        tcnzoo.load(saved, "numpy")
    (saved / "config.json").write_text('["tcn"]')
    with pytest.raises(tcnzoo.WeightError, match="config.json' must be a mapping with a 'spec'"):
        tcnzoo.load(saved, "numpy")


def test_configuration_of_a_later_version(saved):
    document = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(document | {"version": 99}))
    with pytest.raises(
        tcnzoo.WeightError, match="has format version 99, but this tcnzoo reads up to 1"
    ):
        tcnzoo.load(saved, "numpy")


def test_configuration_of_an_unknown_model(saved):
    weights, _ = read_safetensors(saved / "model.safetensors")
    write_safetensors(saved / "model.safetensors", weights)
    (saved / "config.json").write_text(json.dumps({"spec": {"kind": "retnet"}}))
    with pytest.raises(tcnzoo.SpecError, match="unknown kind 'retnet'"):
        tcnzoo.load(saved, "numpy")
