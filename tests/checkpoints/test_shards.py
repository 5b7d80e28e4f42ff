"""Checkpoints in shards: Hugging Face's layout, written, read, and refused where it is broken."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.checkpoints.directory import (
    read_checkpoint,
    read_safetensors,
    write_checkpoint,
    write_safetensors,
)
from tcnzoo.cli import app
from tcnzoo.errors import InputError, WeightError
from tcnzoo.files.shards import INDEX, size_in_bytes
from tcnzoo.formats.protocol import convert, inspect
from tests.support.checkpoints import SPEC, held_in, shards_of
from tests.support.compare import assert_close, assert_same_bits, noise, weights_of

# The tensors of SPEC take about 3000 bytes.
SIZE = 900


@pytest.fixture
def saved(tmp_path):
    """A checkpoint directory in shards."""
    write_checkpoint(tmp_path / "saved", SPEC, weights_of(SPEC), max_shard_size=SIZE)
    return tmp_path / "saved"


# The layout


def test_the_layout_is_that_of_hugging_face(saved):
    index = json.loads((saved / INDEX).read_text())
    weights = weights_of(SPEC)
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in weights.values())
    assert list(index["weight_map"]) == list(weights)
    names = list(dict.fromkeys(index["weight_map"].values()))
    count = len(names)
    assert count > 2
    assert names == [f"model-{n:05d}-of-{count:05d}.safetensors" for n in range(1, count + 1)]
    assert shards_of(saved) == sorted([*names, INDEX])
    for name in names:
        held = load_file(saved / name)
        assert set(held) == {one for one, shard in index["weight_map"].items() if shard == name}
        assert_same_bits(held, {one: weights[one] for one in held})
        assert sum(array.nbytes for array in held.values()) <= SIZE or len(held) == 1


def test_shards_are_filled(saved):
    found = [read_safetensors(saved / name)[0] for name in shards_of(saved)[:-1]]
    sizes = [sum(array.nbytes for array in held.values()) for held in found]
    for size, following in zip(sizes[:-1], found[1:], strict=True):
        assert size + next(iter(following.values())).nbytes > SIZE


def test_every_shard_carries_the_configuration(saved):
    (saved / "config.json").unlink()
    assert read_checkpoint(saved)[0] == SPEC
    for name in shards_of(saved)[:-1]:
        metadata = read_safetensors(saved / name)[1]
        assert (metadata["format"], metadata["made_by"]) == ("pt", "tcnzoo")


def test_headers_of_earlier_files_are_read(saved):
    for name in shards_of(saved)[:-1]:
        held, metadata = read_safetensors(saved / name)
        earlier = {"format": "tcnzoo", "config": metadata["config"]}
        write_safetensors(saved / name, held, earlier)
    (saved / "config.json").unlink()
    assert read_checkpoint(saved)[0] == SPEC


def test_a_file_of_a_directory_says_what_it_is(tmp_path):
    write_checkpoint(tmp_path / "saved", SPEC, weights_of(SPEC))
    path = tmp_path / "saved" / "model.safetensors"
    with pytest.raises(WeightError, match="says that it is of format 'tcnzoo', not 'torch'"):
        convert(path, tmp_path / "a.npz", from_format="torch")


def test_a_tensor_that_is_too_large_has_a_shard_of_its_own(tmp_path):
    write_checkpoint(tmp_path / "saved", SPEC, weights_of(SPEC), max_shard_size=1)
    assert len(shards_of(tmp_path / "saved")) == len(SPEC.params()) + 1
    assert_same_bits(read_checkpoint(tmp_path / "saved")[1], weights_of(SPEC))


def test_what_fits_into_one_file_is_one_file(tmp_path):
    total = sum(array.nbytes for array in weights_of(SPEC).values())
    for name, size in (("exact", total), ("default", "5GB")):
        write_checkpoint(tmp_path / name, SPEC, weights_of(SPEC), max_shard_size=size)
        assert shards_of(tmp_path / name) == ["model.safetensors"]
    write_checkpoint(tmp_path / "less", SPEC, weights_of(SPEC), max_shard_size=total - 1)
    assert len(shards_of(tmp_path / "less")) == 3


def test_a_model_without_weights_is_one_file(tmp_path):
    spec = tcnzoo.load_spec({"kind": "activation", "name": "relu"})
    write_checkpoint(tmp_path / "saved", spec, {}, max_shard_size=1)
    assert shards_of(tmp_path / "saved") == ["model.safetensors"]
    assert read_checkpoint(tmp_path / "saved") == (spec, {})


@pytest.mark.parametrize(
    "text, size",
    [
        (1, 1), ("7", 7), ("5GB", 5 * 10**9), ("500 MB", 5 * 10**8), ("200kb", 200_000),
        ("1.5GiB", 3 * 2**29), ("2TB", 2 * 10**12), ("3 KiB", 3072), (" 10B ", 10),
    ],
)  # fmt: skip
def test_sizes(text, size):
    assert size_in_bytes(text) == size


@pytest.mark.parametrize("text", [0, -1, "", "GB", "5 gigabytes", "1e9", "5IB", "0.1", "٣MB", None])
def test_what_is_no_size_is_refused(text, tmp_path):
    with pytest.raises(InputError, match="a number of bytes or such as 500MB, but got"):
        write_checkpoint(tmp_path / "saved", SPEC, weights_of(SPEC), max_shard_size=text)
    assert not (tmp_path / "saved").exists()


# Reading


def test_models_are_loaded_from_shards(backend, tmp_path):
    spec = {"kind": "dense_block", "in_features": 3, "out_features": 5, "norm": "batch_norm"}
    model = tcnzoo.create(spec, backend, weights=weights_of(spec))
    tcnzoo.save(model, tmp_path / "saved", max_shard_size=30)
    assert len(shards_of(tmp_path / "saved")) > 3
    again = tcnzoo.load(tmp_path / "saved", backend)
    assert_same_bits(tcnzoo.get_weights(again), weights_of(spec))
    x = noise(2, 3)
    assert_close(tcnzoo.predict(again, x), tcnzoo.predict(model, x))


@pytest.mark.parametrize(
    "name, to_format", [("a.safetensors", "mlx"), ("a.npz", None), ("b", None)]
)
def test_shards_are_converted_and_back(name, to_format, saved, tmp_path):
    report = convert(saved, tmp_path / name, to_format=to_format)
    assert (report.from_format, report.tensors) == ("tcnzoo", len(SPEC.params()))
    assert_same_bits(held_in(tmp_path / name, tmp_path)[1], weights_of(SPEC))
    convert(tmp_path / name, tmp_path / "c", max_shard_size="0.6KB")
    assert len(shards_of(tmp_path / "c")) > len(shards_of(saved))
    assert_same_bits(read_checkpoint(tmp_path / "c")[1], weights_of(SPEC))


def test_the_index_stands_for_its_directory(saved, tmp_path):
    assert inspect(saved / INDEX).format == "tcnzoo"
    convert(saved / INDEX, tmp_path / "b")
    assert_same_bits(read_checkpoint(tmp_path / "b")[1], weights_of(SPEC))


def test_the_command_takes_a_size(saved, tmp_path):
    arguments = ["convert", saved, tmp_path / "b", "--max-shard-size", "1.5kB"]
    assert CliRunner().invoke(app, list(map(str, arguments))).exit_code == 0
    assert 2 < len(shards_of(tmp_path / "b")) < len(shards_of(saved))


def test_only_directories_are_split(saved, tmp_path):
    with pytest.raises(InputError, match="'mlx' is one file; only checkpoint directories"):
        convert(saved, tmp_path / "a.npz", max_shard_size="1KB")
    assert not (tmp_path / "a.npz").exists()


# Hugging Face's library


def test_hugging_face_reads_our_shards(saved):
    torch = pytest.importorskip("torch")
    hub = pytest.importorskip("huggingface_hub")
    write_checkpoint(saved, SPEC, weights_of(SPEC, 1), max_shard_size=SIZE, overwrite=True)
    model = tcnzoo.create(SPEC, "torch", seed=9)
    assert str(hub.load_torch_model(model, saved, strict=True)) == "<All keys matched successfully>"
    assert_same_bits(tcnzoo.get_weights(model), weights_of(SPEC, 1))
    assert torch.is_tensor(next(model.parameters()))


def test_shards_of_hugging_face_are_read(tmp_path):
    pytest.importorskip("torch")
    hub = pytest.importorskip("huggingface_hub")
    model = tcnzoo.create(SPEC, "torch", weights=weights_of(SPEC))
    write_checkpoint(tmp_path / "saved", SPEC, weights_of(SPEC, 1))
    (tmp_path / "saved" / "model.safetensors").unlink()
    hub.save_torch_model(model, tmp_path / "saved", max_shard_size=SIZE)
    assert len(shards_of(tmp_path / "saved")) > 3
    assert_same_bits(read_checkpoint(tmp_path / "saved")[1], weights_of(SPEC))


# What is refused


def reindexed(folder, change):
    """Change the index."""
    index = json.loads((folder / INDEX).read_text())
    change(index["weight_map"])
    (folder / INDEX).write_text(json.dumps(index))


OUTSIDE = ["../up.safetensors", "/etc/a.safetensors", "a/b.safetensors", "..\\a.safetensors"]
ELSEWHERE = ["", ".", "..", "config.json", "C:a.safetensors"]


@pytest.mark.parametrize("name", OUTSIDE + ELSEWHERE)
def test_an_index_that_leads_elsewhere_is_refused(name, saved, tmp_path):
    write_safetensors(tmp_path / "up.safetensors", weights_of(SPEC))
    reindexed(saved, lambda place: place.update({"head.bias": name}))
    with pytest.raises(WeightError, match="is not the name of a .safetensors file beside it"):
        read_checkpoint(saved)


def test_a_missing_shard_is_named(saved):
    (saved / shards_of(saved)[1]).unlink()
    with pytest.raises(WeightError, match=r"json' names 'model-00002-of-.*', which is not there"):
        read_checkpoint(saved)


def test_a_broken_shard_is_named(saved):
    path = saved / shards_of(saved)[1]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightError, match=r"model-00002-of-.*' is not a whole safetensors file"):
        read_checkpoint(saved)


def test_a_tensor_that_is_not_where_the_index_says(saved):
    first, *_, last = shards_of(saved)[:-1]
    reindexed(saved, lambda place: place.update({"head.bias": first}))
    with pytest.raises(WeightError, match=f"'head.bias' is not in .*{first}', where the index"):
        read_checkpoint(saved)
    held, metadata = read_safetensors(saved / first)
    held["head.bias"] = np.zeros(2, np.float32)
    write_safetensors(saved / first, held, metadata)
    with pytest.raises(WeightError, match=f"'head.bias' is in .*{last}', .* index has it in"):
        read_checkpoint(saved)


def test_a_tensor_that_the_index_does_not_know(saved):
    reindexed(saved, lambda place: place.pop("head.bias"))
    with pytest.raises(WeightError, match="'head.bias' is in .*, but the index does not know it"):
        read_checkpoint(saved)


def test_shards_of_two_checkpoints_are_refused(saved):
    path = saved / shards_of(saved)[0]
    held, metadata = read_safetensors(path)
    write_safetensors(path, held, metadata | {"config": metadata["config"] + " "})
    with pytest.raises(WeightError, match="of different checkpoints: the header of 'model-00002"):
        read_checkpoint(saved)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        ("[]", "must hold a 'weight_map'"),
        ("{}", "must hold a 'weight_map'"),
        ('{"weight_map": ["a"]}', "must hold a 'weight_map'"),
        ('{"weight_map": {"a": 1}}', "must hold a 'weight_map'"),
        ('{"weight_map": {}}', "config.json is not there"),
    ],
)
def test_a_broken_index_is_refused(text, sentence, saved):
    (saved / INDEX).write_bytes(text if isinstance(text, bytes) else text.encode())
    (saved / "config.json").unlink()
    with pytest.raises((WeightError, InputError), match=sentence):
        read_checkpoint(saved)
