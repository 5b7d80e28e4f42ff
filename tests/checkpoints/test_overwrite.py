"""Checkpoints written over others, in one file or in shards: never a mixture of the two."""

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import open_checkpoint, read_checkpoint, write_checkpoint
from tcnzoo.files.shards import INDEX
from tcnzoo.formats.protocol import convert
from tests.support.checkpoints import SPEC, shards_of
from tests.support.compare import assert_same_bits, weights_of

# The tensors of SPEC take about 3000 bytes.
LAYOUTS = {"one": "5GB", "few": 900, "many": 300}


@pytest.fixture
def saved(tmp_path):
    """A checkpoint directory in shards."""
    write_checkpoint(tmp_path / "saved", SPEC, weights_of(SPEC), max_shard_size=900)
    return tmp_path / "saved"


@pytest.mark.parametrize("old", LAYOUTS)
@pytest.mark.parametrize("new", LAYOUTS)
def test_nothing_of_the_old_layout_stays(old, new, tmp_path):
    folder = tmp_path / "saved"
    write_checkpoint(folder, SPEC, weights_of(SPEC), max_shard_size=LAYOUTS[old])
    (folder / "model-mine.safetensors").write_bytes(b"mine")
    for seed in (1, 2, 3):
        size = LAYOUTS[new]
        write_checkpoint(folder, SPEC, weights_of(SPEC, seed), overwrite=True, max_shard_size=size)
        assert_same_bits(read_checkpoint(folder)[1], weights_of(SPEC, seed))
        found = set(shards_of(folder)) - {"model-mine.safetensors"}
        if new == "one":
            assert found == {"model.safetensors"}
        else:
            index = json.loads((folder / INDEX).read_text())
            assert found == {INDEX, *index["weight_map"].values()}


def test_a_checkpoint_is_written_over_itself(saved):
    for size in (300, 900, "1GB", 900):
        convert(saved, saved, overwrite=True, max_shard_size=size)
        assert_same_bits(read_checkpoint(saved)[1], weights_of(SPEC))


def test_an_open_checkpoint_outlives_its_files(saved):
    _, tensors = open_checkpoint(saved)
    write_checkpoint(saved, SPEC, weights_of(SPEC, 1), overwrite=True)
    assert_same_bits(tensors, weights_of(SPEC))


class Killed(BaseException):
    """The process ends here: nothing that would change the disk happens any more."""


class Disk:
    """Counts what changes the disk, and ends the process at one of these steps."""

    STEPS = [
        (Path, "replace"), (Path, "unlink"), (Path, "chmod"), (Path, "mkdir"),
        (os, "fsync"), (tempfile, "mkdtemp"), (shutil, "rmtree"),
    ]  # fmt: skip

    def __init__(self, patch, last):
        self.step, self.last = 0, last
        for owner, name in self.STEPS:
            patch.setattr(owner, name, self.guarded(getattr(owner, name)))

    def guarded(self, real):
        def call(*args, **options):
            self.step += 1
            if self.step >= self.last:
                raise Killed
            return real(*args, **options)

        return call


# Tensors of 60, 20, 40 and 8 bytes, few enough to end the process at every step of writing them.
TINY = tcnzoo.load_spec(
    {
        "kind": "sequential",
        "layers": {
            "a": {"kind": "dense", "in_features": 3, "out_features": 5},
            "b": {"kind": "dense", "in_features": 5, "out_features": 2, "bias": False},
            "c": {"kind": "dense", "in_features": 2, "out_features": 1, "bias": False},
        },
    }
)
TINY_LAYOUTS = {"one": "5GB", "two": 100, "four": 1}


def write_tiny(folder, seed, layout):
    """Write the tiny model, over whatever is there."""
    size = TINY_LAYOUTS[layout]
    write_checkpoint(folder, TINY, weights_of(TINY, seed), overwrite=True, max_shard_size=size)


@pytest.mark.parametrize("old", TINY_LAYOUTS)
@pytest.mark.parametrize("new", ["one", "two"])
def test_a_killed_process_leaves_the_old_checkpoint_or_the_new(old, new, tmp_path, monkeypatch):
    seen = []
    for last in range(1, 200):
        folder = tmp_path / f"step{last}"
        write_tiny(folder, 0, old)
        with monkeypatch.context() as patch:
            disk = Disk(patch, last)
            with contextlib.suppress(Killed):
                write_tiny(folder, 1, new)
        found = read_checkpoint(folder)[1]
        fresh = np.array_equal(found["a.weight"], weights_of(TINY, 1)["a.weight"])
        assert_same_bits(found, weights_of(TINY, int(fresh)))
        seen.append(fresh)
        write_tiny(folder, 2, new)
        assert_same_bits(read_checkpoint(folder)[1], weights_of(TINY, 2))
        assert len(shards_of(folder)) == {"one": 1, "two": 3}[new]
        if disk.step < last:
            break
    # The old one up to some step, and the new one from there on.
    assert disk.step < last
    assert seen == sorted(seen)
    assert {False, True} == set(seen)


@pytest.mark.parametrize("old", LAYOUTS)
@pytest.mark.parametrize("new", LAYOUTS)
@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_failed_renaming_leaves_the_old_or_the_new(old, new, failing, tmp_path, monkeypatch):
    folder = tmp_path / "saved"
    write_checkpoint(folder, SPEC, weights_of(SPEC), max_shard_size=LAYOUTS[old])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    real, calls = Path.replace, []

    def full(path, target):
        calls.append(target)
        if len(calls) == failing:
            raise OSError("no space left on device")
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="no space left"):
            write_checkpoint(
                folder, SPEC, weights_of(SPEC, 1), overwrite=True, max_shard_size=LAYOUTS[new]
            )
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert not [name for name in found if name.startswith(".")]
    # The first renaming is the one that decides; a later one is made up for.
    assert (found == before) == (failing == 1)
    assert_same_bits(read_checkpoint(folder)[1], weights_of(SPEC, int(failing > 1)))
