"""Broken files that the random search of `tests/fuzzing` found, each with what is right for it."""

import json
import shutil
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints import directory
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.errors import TcnzooError, WeightError
from tcnzoo.formats.protocol import convert, inspect
from tests.support.checkpoints import SMALL, refusal, rewritten, write_small
from tests.support.compare import assert_same_bits, weights_of

torch = pytest.importorskip("torch")
h5py = pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A whole file of each kind."""
    return write_small(tmp_path_factory.mktemp("originals"))


@pytest.fixture
def good(originals, tmp_path):
    """Copies of them, to be broken."""
    return Path(shutil.copytree(originals, tmp_path / "good"))


# torch's archives


def test_records_of_other_sizes_are_not_taken_for_a_tensor(good):
    def swap(held):
        names = [name for name in held if "/data/" in name]
        assert {len(held[name]) for name in names} == {24, 8}
        held.update(zip(names, [held[name] for name in reversed(names)], strict=True))

    rewritten(good / "file.pt", swap)
    assert "a tensor is not as long as its record" in refusal(good / "file.pt")


def test_a_packed_record_with_a_wrong_checksum_is_refused(good):
    path = good / "file.pt"
    with zipfile.ZipFile(path) as opened:
        member = next(one for one in opened.infolist() if "/data/" in one.filename)
    data = bytearray(path.read_bytes())
    central = data.rindex(member.filename.encode()) - 46
    assert data[central : central + 4] == b"PK\x01\x02"
    data[central + 10] = data[member.header_offset + 8] = zipfile.ZIP_DEFLATED
    path.write_bytes(data)
    assert "is cut short or damaged" in refusal(path)


@pytest.mark.parametrize("error", [OSError, AttributeError, AssertionError, IndexError])
def test_whatever_torch_stumbles_over_is_a_refusal(error, good, monkeypatch):
    def stumble(*args, **options):
        raise error("what it says\nin two lines")

    monkeypatch.setattr(torch, "load", stumble)
    assert refusal(good / "file.pt").endswith("is damaged: what it says")


def test_a_negated_tensor_is_read_as_what_it_is(tmp_path):
    weight = torch.arange(6.0).reshape(2, 3)
    state = {"weight": torch._neg_view(weight), "bias": torch.ones(2)}
    torch.save(state, tmp_path / "a.pt")
    convert(tmp_path / "a.pt", tmp_path / "b", from_format="torch", hints={"spec": SMALL})
    expected = {"weight": -weight.numpy(), "bias": np.ones(2, np.float32)}
    assert_same_bits(read_checkpoint(tmp_path / "b")[1], expected)


def test_dictionaries_deep_in_each_other_are_refused(good):
    # Quadratic work would not come to an end here.
    deep = b"\x80\x02}" + b"X\x01\x00\x00\x00a}" * 30_000 + b"s" * 30_000 + b"."

    def nest(held):
        held[next(name for name in held if name.endswith("data.pkl"))] = deep

    rewritten(good / "file.pt", nest)
    refusal(good / "file.pt", "torch")


# Archives


@pytest.mark.parametrize("name, member", [("file.pt", "data.pkl"), ("file.keras", "config.json")])
def test_no_more_is_unpacked_than_a_member_claims(name, member, good):
    # zipfile itself unpacks all of it, and then cuts it off.
    path, size = good / name, 0x10203040
    with zipfile.ZipFile(path) as opened:
        held = {one: opened.read(one) for one in opened.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for one, data in held.items():
            opened.writestr(one, bytes(size) if one.endswith(member) else data)
    data = path.read_bytes()
    assert data.count(size.to_bytes(4, "little")) == 2  # before the member, and at the end
    path.write_bytes(data.replace(size.to_bytes(4, "little"), (100).to_bytes(4, "little")))
    tracemalloc.start()
    refusal(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**26


@pytest.mark.parametrize("name", ["file.pt", "file.npz", "file.keras"])
def test_a_member_of_two_sizes_is_refused(name, good):
    data = bytearray((good / name).read_bytes())
    place = data.rindex(b"PK\x01\x02") + 20
    data[place : place + 4] = b"\xff\xff\xff\xff"
    (good / name).write_bytes(data)
    assert "is cut short or damaged" in refusal(good / name)


# Archives of numpy


@pytest.mark.parametrize(
    "start",
    [
        b"\x93NUMPY\x00\x00\x46\x00\x00\x00",
        b"\x93NUMPY\x01\x00\x60\xea" + b"(" * 60_000,
        b"\x93NUMPY\x01\x00\x08\x00{'descr'",
        b"\x93NUMPY\x01\x00\x00\x20" + b"-" * 8192,
    ],
    ids=["version", "long", "unfinished", "nested"],
)
def test_a_header_that_is_none_is_refused(start, good):
    def change(held):
        held["weight.npy"] = start + held["weight.npy"][10:]

    rewritten(good / "file.npz", change)
    assert "'weight'" in refusal(good / "file.npz")


# Configurations


NUMBER = "9" * 5000  # more digits than Python reads


def test_a_number_without_end_is_refused(good):
    (good / "start" / "config.json").write_text(f'{{"version": {NUMBER}}}')
    assert "is not valid JSON" in refusal(good / "start")
    with zipfile.ZipFile(good / "file.npz", "a") as opened:
        opened.comment = NUMBER.encode()
    refusal(good / "file.npz", kind=TcnzooError)
    (good / "spec.json").write_text(NUMBER)
    with pytest.raises(tcnzoo.SpecError, match="is not valid YAML or JSON"):
        tcnzoo.load_spec(good / "spec.json")


def test_metadata_that_are_a_list_are_refused(good):
    path = good / "torch.safetensors"
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    text = json.dumps({**header, "__metadata__": []}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    assert "its metadata are not text" in refusal(path, "torch")


def test_a_shard_with_an_impossible_name_is_refused(tmp_path):
    write_checkpoint(tmp_path / "net", SMALL, weights_of(SMALL), max_shard_size=8)
    index = tmp_path / "net" / directory.INDEX
    document = json.loads(index.read_text())
    document["weight_map"] = dict.fromkeys(document["weight_map"], "x" * 300 + ".safetensors")
    index.write_text(json.dumps(document))
    assert "which is not there" in refusal(tmp_path / "net")


# HDF5


def test_a_dataset_without_values_is_refused(good):
    with h5py.File(good / "file.weights.h5", "a") as file:
        del file["vars/weight"]
        file["vars/weight"] = h5py.Empty("f4")
    assert "'vars/weight' of" in refusal(good / "file.weights.h5")


def test_values_in_place_of_a_group_are_no_group(good):
    with h5py.File(good / "file.weights.h5", "a") as file:
        del file["vars"]
        file["vars"] = np.ones((2, 3), np.float32)
    refusal(good / "file.weights.h5", kind=TcnzooError)
    refusal(good / "file.weights.h5", "keras")


def test_groups_deep_in_each_other_are_refused(good):
    with h5py.File(good / "file.weights.h5", "a") as file:
        file["/".join(["x"] * 100)] = np.ones(3, np.float32)
    assert "more than 64 groups in each other" in refusal(good / "file.weights.h5")


def test_values_that_cannot_be_read_leave_nothing(good):
    # Found only when the tensors are written, one after the other.
    with h5py.File(good / "file.weights.h5", "a") as file:
        held = np.asarray(file["vars/weight"])
        del file["vars/weight"]
        packed = file.create_dataset("vars/weight", data=held, chunks=held.shape, fletcher32=True)
        packed.id.write_direct_chunk((0, 0), b"\1" * held.nbytes)
    refusal(good / "file.weights.h5")
    for target in ("b.safetensors", "new/b.safetensors", "new/er/directory"):
        with pytest.raises(WeightError):
            convert(
                good / "file.weights.h5",
                good / "target" / target,
                to_format="torch" if "." in target else None,
            )
    assert not (good / "target").exists()


@pytest.fixture
def keras_file(tmp_path):
    """A chain of Keras layers as an .h5 file."""
    keras = pytest.importorskip("keras")
    x = keras.Input((None, 3))
    model = keras.Model(x, keras.layers.Conv1D(2, 3, name="conv1d")(x))
    model.save(tmp_path / "net.h5")
    return tmp_path / "net.h5"


def test_a_configuration_of_keras_that_is_no_text_is_refused(keras_file):
    data = keras_file.read_bytes()
    keras_file.write_bytes(data.replace(b'"conv1d"', b'"conv\xff\xfe"'))
    assert "is not valid JSON" in refusal(keras_file)


def test_a_heap_without_end_is_refused(keras_file):
    # HDF5's own library would not come back from it.
    data = bytearray(keras_file.read_bytes())
    heap = data.index(b"GCOL")
    size, place = int.from_bytes(data[heap + 8 : heap + 16], "little"), heap + 16
    while int.from_bytes(data[place : place + 2], "little"):
        length = int.from_bytes(data[place + 8 : place + 16], "little")
        place += 16 + (length + 7) // 8 * 8
    free = slice(place + 8, place + 16)
    assert int.from_bytes(data[free], "little") == heap + size - place
    data[free] = bytes(8)
    keras_file.write_bytes(data)
    assert "a heap in it has no end" in refusal(keras_file)


@pytest.mark.parametrize("calls", [[0.5], [3], [None], ["x"], [[]]])
def test_calls_of_keras_that_are_none_are_refused(calls, keras_file):
    with h5py.File(keras_file, "a") as file:
        model = json.loads(file.attrs["model_config"])
        model["config"]["layers"][1]["inbound_nodes"] = calls
        file.attrs["model_config"] = json.dumps(model)
    refusal(keras_file, "keras-sequential", kind=TcnzooError)


# ONNX


def test_a_part_of_a_tensor_is_not_read_as_one(tmp_path):
    onnx = pytest.importorskip("onnx")
    write_checkpoint(tmp_path / "start", SMALL, weights_of(SMALL))
    convert(tmp_path / "start", tmp_path / "net.onnx")
    model = onnx.load_model(tmp_path / "net.onnx")
    model.graph.initializer[0].segment.begin = 0
    model.graph.initializer[0].segment.end = 1
    onnx.save_model(model, tmp_path / "part.onnx")
    assert "it is one part of a tensor" in refusal(tmp_path / "part.onnx")
    assert inspect(tmp_path / "net.onnx").spec == SMALL


@pytest.mark.parametrize("place", ["layers", "_layer_checkpoint_dependencies", None])
def test_names_of_groups_that_are_no_text_are_refused(place, tmp_path):
    path = tmp_path / "net.weights.h5"
    with h5py.File(path, "w") as file:
        if place is None:
            file.attrs["layer_names"] = ["dense"]
        group = file if place is None else file.create_group(place)
        group.create_group("dense/vars")["0"] = np.zeros((3, 2), np.float32)
        group.create_group(b"tcn\xff")
    with pytest.raises(TcnzooError) as caught:
        convert(path, tmp_path / "ours")
    assert "\n" not in str(caught.value)
