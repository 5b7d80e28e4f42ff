"""The tasks of the TCN paper: what they ask, and that a small net learns short forms of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tcnzoo.cli import app
from tcnzoo.errors import BackendMissing, InputError
from tcnzoo.training.config import load_config
from tcnzoo.training.data import load
from tcnzoo.training.data.config import AddingData, CopyMemoryData, MatData
from tcnzoo.training.recipes import recipe_names
from tests.support.compare import assert_refused, noise

JSB = Path(__file__).parents[3] / "shared" / "data" / "JSB_Chorales.mat"
RECIPES = ("adding-problem", "copy-memory", "deepepi-events", "jsb-chorales")
SMALL = {"val": 64, "test": 64, "batch_size": 16, "eval_batch_size": 64}
ADDING = {
    "model": {
        "kind": "sequential",
        "layers": {
            "tcn": {
                "kind": "tcn",
                "in_channels": 2,
                "channels": [12, 12],
                "kernel_size": 5,
                "dropout": 0,
            },
            "last": {"kind": "pool", "mode": "last"},
            "sum": {"kind": "dense", "in_features": 12, "out_features": 1},
        },
    },
    "data": {"kind": "adding", "steps": 12, "train": 1600} | SMALL,
    "losses": ["mse"],
    "optimizer": {"kind": "adam", "lr": 0.01},
}
COPY = {
    "model": {
        "kind": "tcn",
        "in_channels": 1,
        "channels": [10, 10, 10],
        "kernel_size": 4,
        "dropout": 0,
        "output_projection": 10,
    },
    "data": {"kind": "copy_memory", "steps": 8, "symbols": 3, "train": 1600} | SMALL,
    "losses": ["cross_entropy"],
    "optimizer": {"kind": "adam", "lr": 0.01},
}


def batch_of(config, seed=0, part="train"):
    dataset = load(config, seed)[part]
    return dataset.batch(np.arange(len(dataset)))


def test_adding_is_the_sum_of_the_two_marked_numbers():
    config = AddingData(steps=9, train=300)
    batch = batch_of(config)
    numbers, marks = batch["x"][:, 0], batch["x"][:, 1]
    assert batch["x"].shape == (300, 2, 9)
    assert np.array_equal(np.unique(marks), [0, 1])
    assert np.array_equal(marks[:, :4].sum(axis=1), np.ones(300))
    assert np.array_equal(marks[:, 4:].sum(axis=1), np.ones(300))
    assert np.abs((numbers * marks).sum(axis=1) - batch["y"][:, 0]).max() < 1e-6
    assert numbers.min() >= 0
    assert 0.9 < numbers.max() < 1
    # Without a look at the marks, the best guess is 1, and its error the variance of the sum, 1/6.
    assert abs(((batch["y"] - 1) ** 2).mean() - 1 / 6) < 0.03


def test_copy_memory_asks_for_the_first_symbols_at_the_end():
    batch = batch_of(CopyMemoryData(steps=7, symbols=3, train=50))
    x, y = batch["x"][:, 0], batch["y"]
    assert x.shape == y.shape == (50, 13)
    assert set(np.unique(x[:, :3])) == set(range(1, 9))
    assert not x[:, 3:9].any()
    assert (x[:, 9:] == 9).all()
    assert np.array_equal(y[:, 10:], x[:, :3])
    assert not y[:, :10].any()


@pytest.mark.parametrize("config", [AddingData(train=20), CopyMemoryData(train=20)])
def test_parts_and_seeds_differ_and_nothing_else(config):
    first = batch_of(config)["x"].tobytes()
    assert first == batch_of(config)["x"].tobytes()
    assert first != batch_of(config, seed=1)["x"].tobytes()
    assert first[:100] != batch_of(config, part="val")["x"].tobytes()[:100]


@pytest.mark.parametrize("name", RECIPES)
def test_a_packaged_configuration_fits_its_data(name):
    config = load_config(name)
    if config.data.kind == "mat":
        pytest.importorskip("scipy.io")
        if not JSB.is_file():
            pytest.skip("the chorales are not there")
        config = load_config(name, **{"data.path": str(JSB)})
    batch = load(config.data, 0)["val"].batch(np.arange(2))
    shape = config.spec.output_shape(batch["x"].shape[1:])
    if batch["y"].dtype.kind == "f":
        assert shape == batch["y"].shape[1:]
    else:
        assert shape[1:] == batch["y"].shape[1:]
        assert batch["y"].max() < shape[0]
    assert config.output == f"runs/{name}"


def test_packaged_configurations_are_listed():
    assert set(RECIPES) <= set(recipe_names())


def test_an_unknown_configuration_is_answered_with_the_nearest():
    sentence = "no configuration (.yaml or .json) at 'jsb-choral'; did you mean 'jsb-chorales'?"
    assert_refused(InputError, sentence, load_config, "jsb-choral")


def sequences(*lengths, width=4, seed=0):
    """A cell array of sequences of ones and zeros."""
    cells = np.empty((1, len(lengths)), dtype=object)
    for place, length in enumerate(lengths):
        cells[0, place] = (noise(length, width, seed=seed + place) > 0).astype(np.uint8)
    return cells


def test_sequences_are_predicted_one_step_ahead(tmp_path):
    io = pytest.importorskip("scipy.io")
    cells = sequences(5, 9, 2)
    io.savemat(tmp_path / "a.mat", {"traindata": cells, "validdata": cells, "testdata": cells})
    data = load(MatData(path=str(tmp_path / "a.mat"), pad_to=3), 0)["train"]
    batch = data.batch(np.array([2, 0, 1]))
    assert batch["x"].shape == batch["y"].shape == (3, 4, 9)
    assert batch["mask"].sum(axis=1).tolist() == [1, 4, 8]
    for row, place in enumerate((2, 0, 1)):
        whole, length = cells[0, place], len(cells[0, place]) - 1
        assert np.array_equal(batch["x"][row, :, :length].T, whole[:-1])
        assert np.array_equal(batch["y"][row, :, :length].T, whole[1:])
        assert not batch["x"][row, :, length:].any()
    assert data.describe() == {"examples": 3, "steps": 13, "shortest": 1, "longest": 8}


def test_transposed_sequences_keep_their_chords(tmp_path):
    io = pytest.importorskip("scipy.io")
    cells = np.empty((1, 1), dtype=object)
    cells[0, 0] = np.zeros((4, 9), np.uint8)
    cells[0, 0][[0, 1, 1, 2], [2, 2, 5, 4]] = 1
    io.savemat(tmp_path / "a.mat", {"traindata": cells, "validdata": cells, "testdata": cells})
    config = MatData(path=str(tmp_path / "a.mat"), augment=[{"kind": "transpose", "channels": 3}])
    data = load(config, 0)["train"]
    batch = data.batch(np.zeros(200, int), np.random.default_rng(0))
    seen = set()
    for x, y in zip(batch["x"], batch["y"], strict=True):
        whole = np.concatenate([x[:, :1], y], axis=1).T
        assert np.array_equal(x.T[1:], y.T[:-1])
        moved = int(np.flatnonzero(whole.any(axis=0))[0]) - 2
        assert np.array_equal(np.roll(whole, -moved, axis=1), cells[0, 0])
        seen.add(moved)
    # Down to key 0 and no further, up by the 3 that are allowed.
    assert seen == {-2, -1, 0, 1, 2, 3}
    assert np.array_equal(data.batch(np.array([0]))["x"][0].T, cells[0, 0][:-1])


@pytest.mark.parametrize(
    "cells, words",
    [
        ({"traindat": sequences(3)}, "has no variable 'traindata'; did you mean 'traindat'"),
        ({"traindata": noise(3, 4)}, "must be a cell array of"),
        ({"traindata": sequences(3, 1)}, "must be a cell array of"),
        ({"traindata": np.array([["a"], ["b"]], dtype=object)}, "must be a cell array of"),
    ],
)
def test_a_file_without_sequences_is_refused(cells, words, tmp_path):
    io = pytest.importorskip("scipy.io")
    io.savemat(tmp_path / "a.mat", cells)
    with pytest.raises(InputError, match=words):
        load(MatData(path=str(tmp_path / "a.mat")), 0)


@pytest.mark.parametrize(
    "content", [b"", b"no MATLAB", bytes(200), b"MATLAB 5.0 MAT-file" + bytes(400)]
)
def test_a_file_that_is_none_is_refused(content, tmp_path):
    pytest.importorskip("scipy.io")
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(InputError, match="is not a MATLAB 5 file: "):
        load(MatData(path=str(tmp_path / "a.mat")), 0)


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    def absent(name):
        raise ModuleNotFoundError(name="scipy")

    (tmp_path / "a.mat").touch()
    monkeypatch.setattr("tcnzoo.extras.importlib.import_module", absent)
    sentence = (
        "reading a .mat file needs scipy, which is not installed; run: pip install 'tcnzoo[train]'"
    )
    assert_refused(BackendMissing, sentence, load, MatData(path=str(tmp_path / "a.mat")), 0)


@pytest.mark.skipif(not JSB.is_file(), reason="the chorales are not there")
def test_the_chorales_are_those_of_the_paper():
    pytest.importorskip("scipy.io")
    parts = load(MatData(path=str(JSB)), 0)
    assert [len(part) for part in parts.values()] == [229, 76, 77]
    assert parts["test"].batch(np.arange(3))["x"].shape[1] == 88


@pytest.mark.parametrize(
    "config, metric, blind, wanted",
    [(ADDING, "mse", 1 / 6, 0.03), (COPY, "cross_entropy", 3 * np.log(8) / 14, 0.05)],
)
def test_a_short_form_is_learnt(config, metric, blind, wanted, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("lightning_fabric")
    from tcnzoo.training import train

    outcome = train(config | {"training": {"epochs": 3}, "output": str(tmp_path / "run")})
    found = outcome.report["metrics"][metric]
    # `blind` is what a net gets that does not look back; `wanted` is twice what this one came to.
    assert found < wanted < blind
    written = json.loads((tmp_path / "run" / "test_report.json").read_text())
    assert written["metrics"][metric] == found
    assert (tmp_path / "run" / "curves.png").is_file()


@pytest.mark.skipif(not JSB.is_file(), reason="the chorales are not there")
def test_a_few_chorales_are_learnt(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("scipy.io")
    from tcnzoo.training import train

    changes = {
        "data.path": str(JSB),
        "model.channels": [40],
        "data.batch_size": 16,
        "training.epochs": 3,
        "output": str(tmp_path / "run"),
        "optimizer.lr": 0.01,
    }
    outcome = train(load_config("jsb-chorales", **changes))
    # 88 keys of which any is as likely as not would cost 61; silence, as often as it is, 13.
    assert outcome.report["metrics"]["nll"] < 11


def test_simulate_writes_both_files(tmp_path):
    runner = CliRunner()
    arguments = ["simulate", str(tmp_path / "out"), "--users", "2", "--events", "1", "--json"]
    done = runner.invoke(app, arguments)
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["events"] == {"tonic-clonic": 2, "walking": 2, "tooth-brushing": 2, "rest": 2}
    lines = Path(document["csv"]).read_text().splitlines()
    assert len(lines) == 1 + document["datapoints"]
    assert len(json.loads(Path(document["json"]).read_text())) == 8
    again = runner.invoke(app, arguments)
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert runner.invoke(app, [*arguments, "--overwrite"]).exit_code == 0
