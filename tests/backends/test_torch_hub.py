"""Torch models and huggingface_hub: its mixin's calls on a directory, and no network."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tcnzoo
from tcnzoo.backends.torch import BLOCKS, Block
from tcnzoo.errors import BackendMissing, InputError, WeightError
from tests.support.compare import assert_same_bits, noise, weights_of
from tests.support.tcns import tcn

hub = pytest.importorskip("huggingface_hub")

SPEC = tcn(norm="batch_norm")
FILES = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture
def model():
    return tcnzoo.create(SPEC, "torch", weights=weights_of(SPEC))


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_what_is_saved_is_a_checkpoint_directory(model, tmp_path):
    assert model.save_pretrained(tmp_path / "saved", licence="mit") is None
    assert names(tmp_path / "saved") == FILES
    tcnzoo.save(model, tmp_path / "ours", licence="mit")
    for name in FILES[1:]:
        found, ours = ((tmp_path / folder / name).read_bytes() for folder in ("saved", "ours"))
        assert found == ours
    assert 'license: "mit"' in (tmp_path / "saved" / "README.md").read_text()
    assert_same_bits(tcnzoo.get_weights(tcnzoo.load(tmp_path / "saved", "numpy")), weights_of(SPEC))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_directory_is_loaded(dtype, tmp_path):
    model = tcnzoo.create(SPEC, "torch", weights=weights_of(SPEC), dtype=dtype)
    model.save_pretrained(str(tmp_path / "saved"), max_shard_size=500)
    assert "model.safetensors.index.json" in names(tmp_path / "saved")
    for cls in (Block, type(model)):
        again = cls.from_pretrained(tmp_path / "saved")
        assert type(again) is type(model) is BLOCKS["tcn"]
        assert not again.training
        assert_same_bits(tcnzoo.get_weights(again), tcnzoo.get_weights(model))
    x = torch.from_numpy(noise(2, 3, 21)).to(model.state_dict()["blocks.0.conv1.weight"].dtype)
    assert torch.equal(again(x), model(x))
    wider = Block.from_pretrained(tmp_path / "saved", dtype="float64", device="cpu")
    assert wider.tcnzoo.dtype == "float64"


def test_a_checkpoint_of_ours_is_loaded(tmp_path):
    tcnzoo.save(tcnzoo.create(SPEC, "numpy", weights=weights_of(SPEC)), tmp_path / "saved")
    again = Block.from_pretrained(str(tmp_path / "saved"))
    assert_same_bits(tcnzoo.get_weights(again), weights_of(SPEC))


def test_a_directory_is_saved_over(model, tmp_path):
    model.save_pretrained(tmp_path / "saved", max_shard_size=500)
    text = (tmp_path / "saved" / "README.md").read_text().replace("# Temporal", "# Our")
    (tmp_path / "saved" / "README.md").write_text(text)
    other = tcnzoo.create(SPEC, "torch", weights=weights_of(SPEC, 1))
    other.save_pretrained(tmp_path / "saved")
    assert names(tmp_path / "saved") == FILES
    assert (tmp_path / "saved" / "README.md").read_text() == text
    again = Block.from_pretrained(tmp_path / "saved")
    assert_same_bits(tcnzoo.get_weights(again), weights_of(SPEC, 1))


def test_a_model_of_another_class_is_refused(model, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    with pytest.raises(InputError, match="holds a Tcn, not a Conv1d; load it with Block"):
        BLOCKS["conv1d"].from_pretrained(tmp_path / "saved")


def test_broken_directories_are_refused_in_our_words(model, tmp_path):
    with pytest.raises(InputError, match="no checkpoint at"):
        Block.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "config.json").write_text("{")
    with pytest.raises(WeightError, match="config.json' is not valid JSON"):
        Block.from_pretrained(tmp_path / "saved")


def test_a_part_of_a_model_is_not_saved(model, tmp_path):
    part = next(one for one in model.modules() if one is not model and isinstance(one, Block))
    with pytest.raises(InputError, match="expected a model made by tcnzoo.create"):
        part.save_pretrained(tmp_path / "saved")


# The hub, without the network


@pytest.fixture
def uploads(monkeypatch):
    """What is pushed: (options, {name: bytes}), instead of being sent."""
    pushed = []

    class Repository:
        repo_id = "me/eeg"

    def create_repo(api, **options):
        pushed.append(options)
        return Repository()

    def upload_folder(api, *, folder_path, **options):
        folder = Path(folder_path)
        pushed.append((options, {name: (folder / name).read_bytes() for name in names(folder)}))
        return "https://hub/commit"

    monkeypatch.setattr(hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(hub.HfApi, "upload_folder", upload_folder)
    return pushed


def test_what_is_pushed_is_a_checkpoint_directory(model, uploads, tmp_path):
    address = model.push_to_hub("me/eeg", private=True, licence="mit", commit_message="first")
    assert address == "https://hub/commit"
    created, (options, held) = uploads
    assert created["private"] is True
    assert (options["repo_id"], options["commit_message"]) == ("me/eeg", "first")
    tcnzoo.save(model, tmp_path / "eeg", licence="mit")
    assert held == {name: (tmp_path / "eeg" / name).read_bytes() for name in FILES}


def test_saving_can_push(model, uploads, tmp_path):
    address = model.save_pretrained(tmp_path / "eeg", push_to_hub=True, repo_id="me/eeg")
    assert address == "https://hub/commit"
    assert sorted(uploads[1][1]) == names(tmp_path / "eeg") == FILES


def test_a_repository_is_loaded(model, tmp_path, monkeypatch):
    model.save_pretrained(tmp_path / "eeg", max_shard_size=500)
    asked = {}

    def download(repo_id, filename, **options):
        asked[repo_id] = filename
        return str(tmp_path / "eeg" / filename)

    def snapshot(repo_id, *, allow_patterns, **options):
        asked.update(options)
        every = {path for pattern in allow_patterns for path in (tmp_path / "eeg").glob(pattern)}
        assert sorted(path.name for path in every) == names(tmp_path / "eeg")[1:]
        return str(tmp_path / "eeg")

    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    from tcnzoo.backends.torch.hub import _mixin

    _mixin.cache_clear()
    again = Block.from_pretrained("me/eeg", revision="v1", dtype="float64")
    _mixin.cache_clear()
    assert (asked["me/eeg"], asked["revision"]) == ("config.json", "v1")
    assert again.tcnzoo.dtype == "float64"
    expected = {name: array.astype(np.float64) for name, array in weights_of(SPEC).items()}
    assert_same_bits(tcnzoo.get_weights(again), expected)


def test_what_to_install_is_said(model, tmp_path, monkeypatch):
    model.save_pretrained(tmp_path / "saved")
    from tcnzoo.backends.torch.hub import _mixin

    _mixin.cache_clear()
    real = importlib.util.find_spec
    absent = {"huggingface_hub"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in absent else real(name)
    )
    for call in (
        lambda: model.save_pretrained(tmp_path / "more"),
        lambda: model.push_to_hub("me/eeg"),
        lambda: Block.from_pretrained("me/eeg"),
    ):
        with pytest.raises(BackendMissing, match=r"needs huggingface_hub, .*'tcnzoo\[hub\]'"):
            call()
    assert not (tmp_path / "more").exists()
    Block.from_pretrained(tmp_path / "saved")  # a directory needs no hub


# A class of one's own with a model of ours within


class Detector(nn.Module, hub.PyTorchModelHubMixin):
    def __init__(self, spec):
        super().__init__()
        self.body = tcnzoo.create(spec, "torch", seed=3)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.body(x)[:, :, -1])


def test_the_mixin_itself_works_around_a_model(tmp_path):
    spec = tcnzoo.load_spec(SPEC).model_dump(mode="json")
    detector = Detector(spec).eval()
    detector.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["spec"] == spec
    again = Detector.from_pretrained(tmp_path / "saved")
    x = torch.from_numpy(noise(2, 3, 21)).float()
    assert torch.equal(again(x), detector(x))
