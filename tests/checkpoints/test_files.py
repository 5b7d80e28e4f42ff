"""Checkpoints on disk: whole or not at all, and with the right values whatever the strides."""

import os
from importlib.metadata import version
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load, load_file, save

import tcnzoo
from tcnzoo.checkpoints import directory
from tcnzoo.checkpoints.directory import read_safetensors, write_safetensors
from tcnzoo.files import safetensors as safetensors_files, stages
from tests.support.cases import BLOCKS
from tests.support.compare import assert_same_bits, weights_of
from tests.support.tcns import tcn

SPEC = tcn(norm="batch_norm")


def _model(seed=0):
    return tcnzoo.create(SPEC, "numpy", weights=weights_of(SPEC, seed))


def _odd_arrays():
    """Arrays of every memory order that converters make."""
    block = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    return {
        "transposed": block.T,
        "permuted": block.transpose(1, 2, 0),
        "fortran": np.asfortranarray(block),
        "strided": block[:, ::2, 1::2],
        "flipped": block[::-1, :, ::-1],
        "broadcast": np.broadcast_to(block[:1, :, :1], (5, 3, 6)),
        "sliced": block[:, 1],
        "empty": block[:, :0],
        "scalar": np.float32(3.5)[...],
        "big-endian": block.astype(">f4"),
        "bfloat16": block.astype(ml_dtypes.bfloat16).T,
        "float16": block.astype(np.float16)[..., ::-1],
        "int32": np.arange(6, dtype=np.int32)[::-2],
    }


@pytest.mark.parametrize("name", _odd_arrays())
def test_written_array_reads_back_equal(tmp_path, name):
    array = _odd_arrays()[name]
    write_safetensors(tmp_path / "one.safetensors", {name: array})
    for found in (
        read_safetensors(tmp_path / "one.safetensors")[0][name],
        load_file(tmp_path / "one.safetensors")[name],
    ):
        assert found.shape == array.shape
        assert found.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, array)


def test_the_arrays_above_find_a_wrong_writer():
    # The bare library stores them wrongly in 0.8.0: this is what the tests above are for.
    array = _odd_arrays()["transposed"]
    found = load(save({"x": array}))["x"]
    if np.array_equal(found, array):
        pytest.skip(f"safetensors {version('safetensors')} lays arrays out itself")
    assert found.shape == array.shape  # other values, and no error


def test_checkpoint_of_transposed_weights_reads_back_equal(tmp_path):
    weights = weights_of(SPEC)
    odd = {name: np.asfortranarray(array[..., ::-1])[..., ::-1] for name, array in weights.items()}
    assert any(not array.flags.c_contiguous for array in odd.values())
    directory.write_checkpoint(tmp_path / "saved", tcnzoo.load_spec(SPEC), odd)
    assert_same_bits(tcnzoo.get_weights(tcnzoo.load(tmp_path / "saved", "numpy")), weights)


def test_save_of_each_backend_reads_back_equal(backend, tmp_path):
    # Backends that store kernels in another order hand out transposed views.
    for name in (
        "conv1d-depthwise-weight_norm",
        "conv_transpose1d-weight_norm-bias1",
        "dense-signal",
    ):
        spec = BLOCKS[name][0]
        tcnzoo.save(tcnzoo.create(spec, backend, weights=weights_of(spec)), tmp_path / name)
        found, _ = read_safetensors(tmp_path / name / "model.safetensors")
        assert_same_bits({key: found[key] for key in weights_of(spec)}, weights_of(spec))


def test_spec_and_weights_are_both_in_the_folder(tmp_path):
    tcnzoo.save(_model(), tmp_path / "saved")
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert tcnzoo.load_spec(tmp_path / "saved") == tcnzoo.load_spec(SPEC)
    assert tcnzoo.load_spec(tmp_path / "saved" / "config.json") == tcnzoo.load_spec(SPEC)


def test_existing_destination_is_refused_and_left_alone(tmp_path):
    tcnzoo.save(_model(0), tmp_path / "saved")
    with pytest.raises(tcnzoo.InputError, match="saved' exists already"):
        tcnzoo.save(_model(1), tmp_path / "saved")
    assert_same_bits(
        tcnzoo.get_weights(tcnzoo.load(tmp_path / "saved", "numpy")), weights_of(SPEC, 0)
    )
    tcnzoo.save(_model(1), tmp_path / "saved", overwrite=True)
    assert_same_bits(
        tcnzoo.get_weights(tcnzoo.load(tmp_path / "saved", "numpy")), weights_of(SPEC, 1)
    )


class Crash(Exception):
    """Stands for a full disk, a killed process, a lost mount."""


def _crash(*args, **options):
    raise Crash


def _half(array):
    yield array.reshape(-1)[: array.size // 2]
    raise Crash


# Up to and including the renaming of model.safetensors.
BEFORE = {
    "the header": (safetensors_files, "_header", _crash),
    "a temporary name": (stages.tempfile, "mkdtemp", _crash),
    "half of a tensor": (safetensors_files, "pieces", _half),
    "flushing": (os, "fsync", _crash),
    "permissions": (Path, "chmod", _crash),
    "renaming": (Path, "replace", _crash),
}


@pytest.mark.parametrize("stage", BEFORE)
def test_crash_while_saving_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch, stage):
    folder = tmp_path / "saved"
    tcnzoo.save(_model(0), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(*BEFORE[stage])
        with pytest.raises(Crash):
            tcnzoo.save(_model(1), folder, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert_same_bits(tcnzoo.get_weights(tcnzoo.load(folder, "numpy")), weights_of(SPEC, 0))


def test_crash_while_saving_for_the_first_time_leaves_no_checkpoint(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(*BEFORE["renaming"])
        with pytest.raises(Crash):
            tcnzoo.save(_model(), tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    with pytest.raises(tcnzoo.InputError, match="no checkpoint at"):
        tcnzoo.load(tmp_path / "saved")
    tcnzoo.save(_model(), tmp_path / "saved")


def test_crash_before_the_description_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    folder = tmp_path / "saved"
    tcnzoo.save(_model(), folder)
    wider = tcnzoo.load_spec(SPEC, channels=[5, 7])
    with monkeypatch.context() as patch:
        patch.setattr(directory, "config_document", _crash)
        with pytest.raises(Crash):
            tcnzoo.save(tcnzoo.create(wider, "numpy"), folder, overwrite=True)
    assert tcnzoo.load(folder, "numpy").tcnzoo.spec == tcnzoo.load_spec(SPEC)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_weights_that_do_not_fit_are_refused_before_anything_is_written(tmp_path):
    weights = weights_of(SPEC)
    del weights["blocks.0.conv1.bias"]
    with pytest.raises(tcnzoo.WeightError, match="1 are missing, the first 'blocks.0.conv1.bias'"):
        directory.write_checkpoint(tmp_path / "saved", tcnzoo.load_spec(SPEC), weights)
    assert not (tmp_path / "saved").exists()
