"""tcnzoo demo, and the parts that it is made of."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from tcnzoo.cli import app
from tcnzoo.demo import figure, foreign, recording, run as demo_run
from tcnzoo.demo.relay import Relay, ragged

pytest.importorskip("torch")
pytest.importorskip("pytorch_tcn")
pytest.importorskip("matplotlib")


def run(*args):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def quick(monkeypatch, backends):
    """A short lesson, little training, and the backends that are tested."""
    monkeypatch.setattr(recording, "SECONDS", 4.0)
    monkeypatch.setattr(foreign, "EPOCHS", 2)
    for module in ("tcnzoo.demo.run", "tcnzoo.cli.frameworks"):
        monkeypatch.setattr(f"{module}.installed_backends", lambda: backends)


def test_every_check_holds_in_every_backend(quick, tmp_path, backends):
    result = run("demo", "--output", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [check["backend"] for check in found["checks"]] == [*backends, "all in turn"]
    assert found["passed"]
    assert found["changes"] > 0 or len(backends) == 1
    assert all(check["stream_error"] <= found["tolerance"] for check in found["checks"])
    image = (tmp_path / "out" / "demo.png").read_bytes()
    assert image.startswith(b"\x89PNG")


def test_a_second_run_replaces_the_files_of_the_first(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_run, "installed_backends", lambda: ["numpy"])
    for _ in range(2):
        assert run("demo", "--output", tmp_path / "out", "--json").exit_code == 0


def test_it_takes_a_recording(quick, tmp_path):
    samples = np.random.default_rng(0).standard_normal((300, 3))
    np.savetxt(tmp_path / "x.csv", samples, delimiter=",")
    args = ("--input", tmp_path / "x.csv", "--rate", 100, "--output", tmp_path / "out")
    result = run("demo", *args)
    assert result.exit_code == 0, result.stderr
    assert "3 channels, 300 samples" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_a_check_that_does_not_hold_is_exit_code_1(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_run, "installed_backends", lambda: ["numpy"])
    monkeypatch.setattr(demo_run, "TOLERANCE", 1e-12)
    result = run("demo", "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert "FAILED" in result.stdout


def test_a_missing_package_is_named_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign.importlib.util, "find_spec", lambda name: None)
    result = run("demo", "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert "run: pip install torch pytorch-tcn matplotlib" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_recording_that_is_too_short_is_refused(quick, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 50)))
    result = run("demo", "--input", tmp_path / "x.npy", "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert "at least 1 s (256 samples)" in result.stderr


def test_the_detector_finds_bursts_that_it_has_not_seen():
    library = foreign.make(0, recording.generate(1))
    other = recording.generate(0)
    found = library.output(other.scaled)[0, 0] > 0.0
    assert np.mean(found == other.bursts) > 0.9


def test_recordings_of_one_seed_are_the_same():
    np.testing.assert_array_equal(recording.generate(3).samples, recording.generate(3).samples)
    assert not np.array_equal(recording.generate(3).samples, recording.generate(4).samples)


def test_noise_falls_as_one_over_f():
    noise = recording._one_over_f(np.random.default_rng(0), 8, 8192)
    power = np.mean(np.abs(np.fft.rfft(noise, axis=1)) ** 2, axis=0)
    places = np.arange(10, 2000)
    slope, _ = np.polyfit(np.log(places), np.log(power[places]), 1)
    assert slope == pytest.approx(-1.0, abs=0.05)
    np.testing.assert_allclose(noise.std(axis=1), 1.0)


def test_bursts_repeat_three_times_a_second():
    one = recording.generate(0)
    inside = one.samples[0][one.bursts]
    power = np.abs(np.fft.rfft(inside - inside.mean())) ** 2
    frequency = np.fft.rfftfreq(inside.size, 1 / one.rate)
    assert frequency[power.argmax()] == pytest.approx(3.0, abs=0.2)


def test_scaled_channels_have_unit_deviation():
    samples = np.random.default_rng(0).normal(5.0, [[3.0], [70.0]], (2, 20_000))
    scaled = recording.Recording(samples, 100.0, "uV").scaled
    assert scaled.shape == (1, 2, 20_000)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.std(axis=2), 1.0, atol=0.02)


def test_chunks_are_ragged_and_cover_the_recording():
    cuts = ragged(1000, 0)
    assert (cuts[0], cuts[-1]) == (0, 1000)
    assert len(set(np.diff(cuts))) > 3
    assert np.diff(cuts).min() > 0


def test_the_state_goes_round_several_times():
    turns = demo_run._turns(["a", "b"], 13)
    assert "".join(turns) == "aabbaabbaabba"
    assert demo_run._turns(["a", "b", "c"], 2) == ["a", "b"]


def test_stays_join_chunks_of_one_backend():
    cuts = np.array([0, 3, 7, 8, 20])
    stays = Relay(np.zeros((1, 1, 20)), cuts, ("a", "a", "b", "a")).stays
    assert stays == [("a", 0, 7), ("b", 7, 8), ("a", 8, 20)]


def test_runs_of_a_mask():
    assert figure._runs(np.array([True, False, True, True])) == [(0, 1), (2, 4)]
    assert figure._runs(None) == []
