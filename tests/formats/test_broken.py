"""Files that are cut short, damaged, or not what they say: refused with one sentence."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tcnzoo.checkpoints import directory
from tcnzoo.errors import InputError, SpecError, TcnzooError, WeightError
from tcnzoo.formats.protocol import convert
from tests.support.checkpoints import SMALL_FILES, refusal, rewritten, write_small

torch = pytest.importorskip("torch")
pytest.importorskip("h5py")

each_file = pytest.mark.parametrize("name", SMALL_FILES)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A whole file of each kind."""
    return write_small(tmp_path_factory.mktemp("originals"))


@pytest.fixture
def good(originals, tmp_path):
    """Copies of them, to be broken."""
    return Path(shutil.copytree(originals, tmp_path / "good"))


@each_file
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, -1])
def test_a_file_cut_short_is_refused(name, kept, good):
    data = (good / name).read_bytes()
    kept = kept if kept < 0 else int(len(data) * kept)
    (good / name).write_bytes(data[:kept])
    assert name in refusal(good / name, SMALL_FILES[name])
    refusal(good / name, kind=TcnzooError)


@each_file
def test_damage_anywhere_is_refused_or_harmless(name, good, tmp_path):
    # Never another error than ours; a changed value in the tensors cannot be seen by every format.
    data, generator = (good / name).read_bytes(), np.random.default_rng(len(name))
    for _ in range(40):
        damaged = bytearray(data)
        for place in generator.integers(0, len(data), generator.integers(1, 6)):
            damaged[place] = generator.integers(256)
        (good / name).write_bytes(damaged)
        with contextlib.suppress(TcnzooError):
            convert(good / name, tmp_path / "target", overwrite=True)


@each_file
def test_an_empty_file_is_refused(name, good):
    (good / name).write_bytes(b"")
    assert name in refusal(good / name, SMALL_FILES[name])
    assert "not recognised" in refusal(good / name, kind=InputError)


@pytest.mark.parametrize("name", ["file.npz", "file.keras"])
def test_a_changed_byte_in_an_archive_is_found(name, good):
    member = {"file.npz": b"NUMPY", "file.keras": b"HDF"}[name]
    data = bytearray((good / name).read_bytes())
    data[data.index(member) + 200] ^= 1
    (good / name).write_bytes(data)
    assert "cut short or damaged" in refusal(good / name)


@each_file
def test_a_file_of_another_kind_is_refused(name, good):
    other = "file.npz" if SMALL_FILES[name] != "mlx" else "file.pt"
    (good / other).replace(good / name)
    refusal(good / name, SMALL_FILES[name])


# State_dicts that are none


@pytest.mark.parametrize(
    "document, sentence",
    [
        ([torch.ones(2)], "must hold a state_dict, but holds list"),
        ({}, "must hold a state_dict, but holds dict"),
        ({"weight": 3.0}, "must hold a state_dict, but 'weight' is float"),
        ({"weight": {"deep": torch.ones(2)}}, "must hold a state_dict, but 'weight' is dict"),
        ({"weight": torch.ones(2, 2).to_sparse()}, "must be dense"),
        ({"weight": torch.ones(2, device="meta")}, "must be dense"),
        ({"weight": torch.ones(2).to(torch.float8_e4m3fn)}, "which numpy cannot hold"),
    ],
)
def test_what_is_no_state_dict_is_refused(document, sentence, tmp_path):
    torch.save(document, tmp_path / "a.pt")
    assert sentence in refusal(tmp_path / "a.pt", "torch")


# Configurations


def with_config(path, text):
    """Replace the configuration that a .safetensors file of ours carries."""
    tensors, metadata = directory.read_safetensors(path)
    directory.write_safetensors(path, tensors, {**metadata, "config": text})
    return path


@pytest.mark.parametrize(
    "text, kind, sentence",
    [
        ("{", WeightError, "is not valid JSON"),
        ("[" * 100_000, WeightError, "is not valid JSON"),
        ("[]", WeightError, "must be a mapping with a 'spec'"),
        ('{"spec": 3}', WeightError, "must be a mapping with a 'spec'"),
        ('{"version": 99, "spec": {}}', WeightError, "version 99, but this tcnzoo reads up to"),
        (
            '{"version": "1", "spec": {"kind": "dense"}}',
            SpecError,
            "field 'in_features' is missing",
        ),
        ('{"spec": {"kind": "dence"}}', SpecError, "unknown kind 'dence'"),
    ],
)
def test_a_broken_configuration_is_refused(text, kind, sentence, good):
    path = with_config(good / "torch.safetensors", text)
    assert sentence in refusal(path, kind=kind)


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_broken_configuration_of_keras_is_refused(text, good):
    rewritten(good / "file.keras", lambda held: held.update({"config.json": text}))
    assert "is not valid JSON" in refusal(good / "file.keras")


def test_a_keras_model_of_another_class_is_refused(good):
    text = json.dumps({"class_name": "Functional", "config": {}, "registered_name": None})
    rewritten(good / "file.keras", lambda held: held.update({"config.json": text.encode()}))
    assert "not recognised" in refusal(good / "file.keras", kind=InputError)
    sentence = refusal(good / "file.keras", "keras")
    assert "a Keras model of class 'Functional', not 'SpecModel'" in sentence


def test_a_changed_tensor_name_is_refused(good):
    tensors, metadata = directory.read_safetensors(good / "torch.safetensors")
    tensors["wieght"] = tensors.pop("weight")
    directory.write_safetensors(good / "torch.safetensors", tensors, metadata)
    assert "1 are missing, the first 'weight'" in refusal(good / "torch.safetensors")
