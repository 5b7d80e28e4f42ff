"""Bouts with known labels, segments of recordings, their scores, files and pictures."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import tcnzoo
from tcnzoo import behaviour
from tcnzoo.behaviour import demo, figures, scores, segmenting
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.cli import app
from tcnzoo.errors import InputError
from tcnzoo.inference import hsmm
from tcnzoo.training.data import load, simulator
from tcnzoo.training.data.config import BoutsData
from tests.support.compare import weights_of

STATES = 3
SPEC = {"kind": "hsmm", "states": STATES, "channels": 2, "max_duration": 12}


@pytest.fixture(scope="module")
def model():
    """An hsmm whose states are far apart, and last about 5 steps."""
    spec = tcnzoo.load_spec(SPEC)
    weights = weights_of(spec)
    weights["means"] = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], np.float32)
    weights["log_variances"] = np.full((STATES, 2), -1.0, np.float32)
    weights["duration_log_rate"] = np.full(STATES, np.log(4.0), np.float32)
    return tcnzoo.create(spec, "numpy", weights=weights)


@pytest.fixture(scope="module")
def sample(model):
    """A signal of the model (channels, time), and its true states."""
    drawn = hsmm.sample_prior(model, np.random.default_rng(3), 150)
    return drawn.observations[0].astype(np.float32), drawn.states[0]


# Simulated bouts


def test_bouts_have_the_lengths_and_strides_that_are_said():
    found = behaviour.simulate(20_000, 5, noise=0.0)
    lengths = scores.durations(found.labels, len(simulator.ACTIVITIES))
    for place, name in enumerate(simulator.ACTIVITIES):
        assert lengths[place].min() >= simulator.SHORTEST
        mean = lengths[place].mean()
        # Of some 150 bouts, whose deviation is about half their mean: 4 standard errors.
        assert abs(mean - simulator.MEAN_STEPS[name]) < 0.16 * simulator.MEAN_STEPS[name], name
    trots = [one for one in hsmm.segments(found.labels) if one.state == 2]
    longest = max(trots, key=lambda one: one.stop - one.start)
    power = np.abs(np.fft.rfft(found.signal[0, 0, longest.start : longest.stop], 4096)) ** 2
    frequency = np.fft.rfftfreq(4096, 1 / simulator.RATE)
    power[frequency < 1.0] = 0.0
    strongest = frequency[power.argmax()]
    strides = strongest / simulator.STRIDE["trotting"]
    assert min(abs(strides - 1), abs(strides / 2 - 1)) < 0.25


def test_a_seed_gives_one_recording_and_offsets_are_drawn_anew():
    one, again, other = (behaviour.simulate(400, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.signal, again.signal)
    assert one.signal.shape == (9, 2, 400)
    assert one.signal.dtype == np.float32
    lying = [rec.signal[..., rec.labels == 0].mean(axis=-1) for rec in (one, other)]
    # Two offsets of deviation 0.3 differ by 0.42 on average of 18; the noise of the means by 0.02.
    assert 0.2 < np.abs(lying[0] - lying[1]).std() + np.abs(lying[0] - lying[1]).mean() < 1.2


@pytest.mark.parametrize(
    "steps, noise, sentence", [(0, 0.1, "at least 1"), (5, -1.0, "at least 0")]
)
def test_an_impossible_recording_is_refused(steps, noise, sentence):
    with pytest.raises(InputError, match=sentence):
        behaviour.simulate(steps, 0, noise)


# Scores


def test_usage_and_perplexity_of_codes():
    found = behaviour.code_usage(np.array([[0, 1, 2, 3], [-1, -1, 0, 1]]), 8)
    share = np.array([2, 2, 1, 1]) / 6
    assert found["usage"] == 0.5
    assert found["perplexity"] == pytest.approx(np.exp(-(share * np.log(share)).sum()))
    assert behaviour.code_usage(np.arange(8), 8) == {"perplexity": pytest.approx(8.0), "usage": 1.0}
    with pytest.raises(InputError, match="all of them are masked"):
        behaviour.code_usage(np.array([-1]), 8)
    with pytest.raises(InputError, match="codes must be 0 to 7, but 8 came"):
        behaviour.code_usage(np.array([8]), 8)


def test_matches_by_majority_and_one_to_one():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 0, 0])
    path = np.array([2, 2, 0, 0, 1, 1, 1, 0, 2, 2])
    majority = behaviour.matched(path, labels)
    assert majority.labels.tolist() == [0, 1, 0]
    assert (majority.accuracy, majority.segments) == (0.9, 1.0)
    single = behaviour.matched(path, labels, by="one_to_one")
    assert single.labels.tolist() == [-1, 1, 0]
    assert single.accuracy == 0.7
    assert single.segments == pytest.approx(2 / 3)  # half of the first segment is not most of it
    with pytest.raises(InputError, match="must be 'majority' or 'one_to_one'"):
        behaviour.matched(path, labels, by="best")
    with pytest.raises(InputError, match="must be .time,., and equal"):
        behaviour.matched(path[:3], labels)


def test_a_state_that_was_not_seen_before_stands_for_nothing():
    found = scores.scored(np.array([0, 0, 3, 3]), np.array([1, 1, 1, 1]), np.array([1]))
    assert found.accuracy == 0.5


def test_persistence_active_states_durations_and_psnr():
    path = np.array([[0, 0, 1, 1, 1, 2, 2], [2, 2, 2, 2, 0, 0, 0]])
    assert behaviour.persistence(path) == 9 / 12
    assert behaviour.active(path, 5).tolist() == [0, 1, 2]
    assert behaviour.active(path, 5, share=0.3).tolist() == [0, 2]
    assert [one.tolist() for one in behaviour.durations(path, 3)] == [[], [3], []]
    signal = np.array([0.0, 4.0, 0.0, 4.0])
    # The span is 4 and the mean square error 0.04: 10 log10(16 / 0.04).
    assert behaviour.psnr(signal, signal + 0.2) == pytest.approx(10 * np.log10(400))
    assert behaviour.psnr(signal, signal) == np.inf
    for bad, sentence in ((np.ones(4), "constant"), (np.ones(3), "shape")):
        with pytest.raises(InputError, match=sentence):
            behaviour.psnr(bad, signal if sentence == "shape" else bad)
    with pytest.raises(InputError, match="at least 2 steps"):
        behaviour.persistence(np.array([1]))


def test_silhouette_of_clear_clusters():
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    features = rng.normal(0.0, 0.05, (60, 3)) + labels[:, None]
    assert behaviour.silhouette(features, labels) > 0.9
    assert behaviour.silhouette(features, rng.permutation(labels)) < 0.3
    with pytest.raises(InputError, match="at least 2 clusters"):
        behaviour.silhouette(features, np.zeros(60))


# Segments


def test_segments_are_those_of_viterbi_with_mean_posteriors(model, sample):
    signal, states = sample
    found = behaviour.segment(model, signal)
    assert behaviour.matched(found.path, states, by="one_to_one").accuracy > 0.97
    np.testing.assert_array_equal(found.path, hsmm.viterbi(model, signal[None]).path[0])
    expected = hsmm.posteriors(model, signal[None]).posterior[0]
    assert [one.start for one in found.segments[1:]] == [one.stop for one in found.segments[:-1]]
    assert (found.segments[0].start, found.segments[-1].stop) == (0, 150)
    for one in found.segments:
        mean = expected[one.state, one.start : one.stop].mean()
        assert one.probability == pytest.approx(mean, abs=1e-6)


def test_the_command_writes_segments_and_pictures(model, sample, tmp_path):
    signal, _ = sample
    write_checkpoint(tmp_path / "net", model.tcnzoo.spec, tcnzoo.get_weights(model))
    np.savetxt(tmp_path / "signal.csv", signal.T, delimiter=",", header="a,b", comments="")
    pictures = {one: tmp_path / f"{one}.png" for one in ("figure", "durations", "transitions")}
    options = [word for name, path in pictures.items() for word in (f"--{name}", str(path))]
    output = tmp_path / "segments.csv"
    command = ["segment", str(tmp_path / "net"), str(tmp_path / "signal.csv"), "--backend", "numpy"]
    words = [*command, "--output", str(output), "--rate", "10", *options, "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    rows = list(csv.DictReader(output.read_text("utf-8").splitlines()))
    found = behaviour.segment(model, signal)
    assert len(rows) == len(told["segments"]) == len(found.segments)
    assert [float(row["start"]) for row in rows] == [one.start / 10 for one in found.segments]
    assert [int(row["state"]) for row in rows] == [one.state for one in found.segments]
    for path in pictures.values():
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--output", "a.txt"], "segments are a .csv file"),
        (["--figure", "a.jpg"], "a figure is a .png file"),
        (["--rate", "0"], "--rate must be a finite number above 0"),
        (["--rate", "nan"], "--rate must be a finite number above 0"),
    ],
)
def test_bad_options_are_told_before_the_work(words, sentence, tmp_path):
    result = CliRunner().invoke(app, ["segment", str(tmp_path), str(tmp_path / "x.csv"), *words])
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())


def test_signals_that_do_not_fit_are_refused(model):
    gap = np.zeros((2, 30))
    gap[1, 7] = np.nan
    for signal, sentence in (
        (np.zeros((3, 30)), "2 channels"),
        (np.zeros(30), r"must be \(channels, time\), but has shape \(30,\)"),
        (gap, "channel 1 is not at step 7"),
    ):
        with pytest.raises(InputError, match=sentence):
            behaviour.segment(model, signal)
    other = tcnzoo.create({"kind": "activation", "name": "relu"}, "numpy")
    with pytest.raises(InputError, match="but the model is a 'activation'"):
        behaviour.segment(other, gap)


def test_columns_are_device_by_device():
    spec = tcnzoo.load_spec("vq-hdp-hsmm")
    signal = np.arange(18.0)[:, None] + np.zeros(5)
    shaped = segmenting.shaped(spec, signal)
    assert shaped.shape == (9, 2, 5)
    assert shaped[3, 0, 0] == 3
    assert shaped[3, 1, 0] == 12
    with pytest.raises(InputError, match="2 x 9 columns"):
        segmenting.shaped(spec, signal[:7])


def test_no_whole_segment_has_no_histogram(model, tmp_path):
    found = behaviour.segment(model, np.zeros((2, 3)))
    with pytest.raises(InputError, match="no segment lies whole"):
        figures.duration_histograms(tmp_path / "a.png", found, segmenting.tables_in(model))
    assert not list(tmp_path.iterdir())


# The demo


def test_the_data_of_the_stages_are_windows_of_the_recordings():
    told = BoutsData(recordings=5, windows=3, window=20, simulation_seed=4, noise=0.1)
    parts = load(told, seed=0)
    assert {name: len(part) for name, part in parts.items()} == {"train": 9, "val": 3, "test": 3}
    (name,) = set(parts["val"].groups)
    whole = behaviour.simulate(60, 4 + int(name.split()[1]), 0.1)
    found = parts["val"].batch(np.array([1]))
    np.testing.assert_array_equal(found["x"][0], whole.signal[..., 20:40])
    np.testing.assert_array_equal(found["y"][0], whole.labels[20:40])


def test_three_stages_cut_an_unseen_recording(tmp_path, monkeypatch):
    """The demo on less data: the whole of it takes a minute, and reaches all segments."""
    pytest.importorskip("torch")
    pytest.importorskip("lightning_fabric")
    monkeypatch.setattr(demo, "NAMED", (90_001, 1500))
    monkeypatch.setattr(demo, "SCORED", (90_002, 1200))
    monkeypatch.setattr(demo, "WANTED", 0.8)
    changes = {"data.recordings": 6, "data.windows": 25, "training.epochs": 6, "loggers": "jsonl"}
    heard = []
    report = demo.demo(tmp_path / "out", changes=changes, say=heard.append)
    assert report.passed, report
    assert len(heard) == 4
    model = tcnzoo.load(tmp_path / "out" / "model", backend="numpy")
    first, second, third = (
        read_checkpoint((tmp_path / "out" / stage / "checkpoints" / "best").resolve())[1]
        for stage in demo.STAGES
    )
    for name in first:
        part = name.partition(".")[0]
        still = np.array_equal(second[name], first[name])
        assert still == (part != "hdp" or name == "hdp.log_temperature"), name
        if part not in ("hdp", "hsmm"):
            np.testing.assert_array_equal(third[name], first[name])
    assert set(tcnzoo.get_weights(model)) == set(third)
    for path in report.files.values():
        assert Path(path).stat().st_size > 500
