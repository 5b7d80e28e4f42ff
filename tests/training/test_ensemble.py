"""Harrell-Davis quantiles against scipy's, and cross-validation by group."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from tcnzoo.errors import InputError
from tcnzoo.training.ensemble import combine, cross_validate, harrell_davis
from tests.support.compare import assert_refused, noise

mstats = pytest.importorskip("scipy.stats.mstats")

CONFIG = {
    "model": {"kind": "tcn", "in_channels": 1, "channels": [2]},
    "data": {"kind": "events", "users": 6, "events": 1},
    "losses": ["cross_entropy"],
    "training": {"epochs": 1},
    "output": "runs/k",
}


def test_the_known_value():
    assert float(harrell_davis([0.1, 0.2, 0.9, 0.8])) == pytest.approx(0.7478246388, abs=1e-10)


@pytest.mark.parametrize("count", [2, 3, 10, 57])
@pytest.mark.parametrize("quantile", [0.05, 0.5, 0.7, 0.99])
def test_quantiles_are_scipys(count, quantile):
    scores = noise(count, 4)
    expected = mstats.hdquantiles(scores, [quantile], axis=0)[0]
    assert np.abs(harrell_davis(scores, quantile) - expected).max() < 1e-12
    assert np.abs(harrell_davis(scores.T, quantile, axis=1) - expected).max() < 1e-12


def test_one_score_is_its_own_quantile():
    assert harrell_davis(noise(1, 2, 3)).tolist() == noise(1, 2, 3)[0].tolist()


@pytest.mark.parametrize(
    "scores, quantile, sentence",
    [
        ([], 0.7, "a quantile needs at least one score, but none came"),
        ([1.0], 1.0, "the quantile must lie between 0 and 1, but is 1.0"),
        ([1.0, np.nan], 0.7, "the scores hold NaN or infinite values"),
    ],
)
def test_what_has_no_quantile_is_refused(scores, quantile, sentence):
    assert_refused(InputError, sentence, harrell_davis, scores, quantile)


def test_models_are_combined_class_by_class():
    folds = np.abs(noise(5, 6, 3))
    folds /= folds.sum(axis=-1, keepdims=True)
    found = combine(list(folds))
    raw = np.stack([[harrell_davis(folds[:, i, c]) for c in range(3)] for i in range(6)])
    assert np.abs(found - raw / raw.sum(axis=1, keepdims=True)).max() < 1e-12
    assert np.abs(found.sum(axis=1) - 1.0).max() < 1e-12


def test_folds_are_trained_each_in_its_own_directory(tmp_path):
    seen = []

    def train(config, resume):
        assert resume
        seen.append((config.data.split.folds, config.data.split.fold, config.output))
        score = {"accuracy": 0.1 * config.data.split.fold}
        return SimpleNamespace(
            report={"metrics": score | ({"auroc": 1.0} if len(seen) == 1 else {})}
        )

    found = cross_validate(CONFIG | {"output": str(tmp_path)}, 4, resume=True, train=train)
    assert seen == [(4, fold, f"{tmp_path}/fold-{fold}") for fold in range(4)]
    expected = mstats.hdquantiles([0.0, 0.1, 0.2, 0.3], [0.7])[0]
    assert found.combined == pytest.approx({"accuracy": expected, "auroc": 1.0})
    assert found.to_dict()["folds"][3] == pytest.approx({"accuracy": 0.3})
    assert json.loads((tmp_path / "folds.json").read_text()) == found.to_dict()


def test_data_in_parts_have_no_folds():
    config = CONFIG | {"data": {"kind": "adding"}}
    sentence = "data of kind 'adding' come in parts, so they have no folds"
    assert_refused(InputError, sentence, cross_validate, config, 3)
