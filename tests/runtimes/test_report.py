"""What export reads, writes, compares and refuses, whatever the runtime."""

import subprocess
import sys
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import write_checkpoint
from tcnzoo.errors import BackendMissing, InputError, SpecError
from tcnzoo.runtimes import protocol as exports
from tcnzoo.runtimes.protocol import BUILT_IN, check_installed, exporter_for, get_exporter
from tcnzoo.runtimes.report import compared
from tests.support.cases import conv1d
from tests.support.compare import assert_refused, noise, weights_of
from tests.support.tcns import tcn

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SPEC = conv1d()
WORKING = {
    "NAME": "fake",
    "DESCRIPTION": "a file of one byte",
    "SUFFIX": ".fake",
    "PRECISIONS": ("float32", "int8"),
    "NEEDS": {},
    "export": lambda spec, weights, path, options: path.write_bytes(b"x") and ("a note",),
    "command": lambda path, options: f"cat {path}",
}


@pytest.fixture
def fake(monkeypatch):
    """An exporter to bend, found as `fake`."""
    module = SimpleNamespace(**WORKING)
    monkeypatch.setitem(sys.modules, "fake_exporter", module)
    monkeypatch.setattr(exports, "exporter_modules", lambda: {"fake": "fake_exporter"})
    model = tcnzoo.create(SPEC, "numpy", seed=0)
    module.run = lambda path, x, options: tcnzoo.predict(model, x)
    return module


def left(folder):
    """Names of what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_report_tells_size_difference_and_command(tmp_path):
    x, path = noise(2, 3, 29), tmp_path / "a.onnx"
    np.save(tmp_path / "x.npy", x)
    report = tcnzoo.export(SPEC, path, inputs=tmp_path / "x.npy", seed=3)
    assert (report.format, report.precision, report.size) == (
        "onnx",
        "float32",
        path.stat().st_size,
    )
    random, *_, given = report.comparisons
    assert (random.input, random.shape) == ("random", (1, 3, 29))
    assert (given.input, given.shape) == (str(tmp_path / "x.npy"), (2, 3, 29))
    assert 0 < given.relative <= given.absolute < 1e-5
    assert given.agreement == 1.0
    assert report.passed
    assert report.to_dict()["passed"] is True
    assert left(tmp_path) == ["a.onnx", "x.npy"]


@pytest.mark.parametrize("options", [{}, {"streaming": True}, {"rank": 4, "input_length": 29}])
def test_command_runs_the_file(options, tmp_path):
    model, x = tcnzoo.create(SPEC, "numpy", seed=5), noise(1, 3, 29)
    np.save(tmp_path / "x.npy", x)
    report = tcnzoo.export(model, tmp_path / "it's.onnx", **options)
    command = report.command.replace("python ", f"{sys.executable} ", 1)
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    numbers = done.stdout.replace("[", " ").replace("]", " ").split()
    expected = tcnzoo.predict(model, x)
    if options.get("streaming"):
        expected = np.concatenate([expected[:, :, :16].ravel(), expected[:, :, 16:].ravel()])
    np.testing.assert_allclose(np.array(numbers, dtype=float), expected.ravel(), atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "squeeze_excitation", "channels": 3, "reduction": 2, "pool": "cumulative"},
        {"kind": "window_pool", "mode": "max", "channels": 3, "size": 4, "stride": 3},
    ],
    ids=["int64", "int32"],
)
def test_command_of_a_stream_starts_its_counters(spec, precision, tmp_path):
    model, x = tcnzoo.create(spec, "numpy", seed=5), noise(1, 3, 29)
    np.save(tmp_path / "x.npy", x)
    report = tcnzoo.export(model, tmp_path / "a.onnx", streaming=True, precision=precision)
    command = report.command.replace("python ", f"{sys.executable} ", 1)
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    numbers = np.array(done.stdout.replace("[", " ").replace("]", " ").split(), dtype=float)
    expected = tcnzoo.predict(model, x)
    # Chunks of 16 steps, one printed after the other.
    first = tcnzoo.predict(model, x[:, :, :16]).shape[2]
    parts = [expected[:, :, :first].ravel(), expected[:, :, first:].ravel()]
    limit = 1e-5 if precision == "float32" else 5e-3
    np.testing.assert_allclose(numbers, np.concatenate(parts), atol=limit)


@pytest.mark.parametrize("kind", ["directory", "file", "model", "preset", "document"])
def test_sources(kind, tmp_path):
    spec, weights = tcnzoo.load_spec(SPEC), weights_of(SPEC)
    write_checkpoint(tmp_path / "held", spec, weights)
    tcnzoo.convert(tmp_path / "held", tmp_path / "held.npz")
    source = {
        "directory": tmp_path / "held",
        "file": str(tmp_path / "held.npz"),
        "model": tcnzoo.create(spec, "numpy", weights=weights),
        "preset": "deepepi",
        "document": SPEC,
    }[kind]
    report = tcnzoo.export(source, tmp_path / "a.onnx")
    assert report.passed
    assert report.comparisons[0].shape == ((1, 1, 750) if kind == "preset" else (1, 3, 4))
    if kind in ("directory", "file", "model"):
        x = noise(2, 3, 11).astype(np.float32)
        options = exports.ExportOptions(3, 11)
        found = get_exporter("onnx").run(tmp_path / "a.onnx", x, options)
        expected = tcnzoo.predict(tcnzoo.create(spec, "numpy", weights=weights), x)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_16_bit_weights_are_compared_as_they_are(tmp_path):
    spec = tcnzoo.load_spec(SPEC)
    weights = {name: array.astype(ml_dtypes.bfloat16) for name, array in weights_of(SPEC).items()}
    write_checkpoint(tmp_path / "held", spec, weights)
    random, *_ = tcnzoo.export(tmp_path / "held", tmp_path / "a.onnx").comparisons
    assert random.absolute < 1e-5


def test_embeddings_and_vectors(tmp_path):
    assert tcnzoo.export(tcn("concat"), tmp_path / "a.onnx", batch_size=3).passed
    dense = {"kind": "dense", "in_features": 3, "out_features": 5}
    report = tcnzoo.export(dense, tmp_path / "b.onnx", vectors=True, inputs=noise(4, 3))
    assert [one.shape for one in report.comparisons] == [*[(1, 3)] * 3, (4, 3)]
    assert report.passed


def test_folding_removes_batch_norm(tmp_path):
    spec = {**SPEC, "kind": "conv_block", "norm": "batch_norm"}
    plain = tcnzoo.export(spec, tmp_path / "a.onnx")
    folded = tcnzoo.export(spec, tmp_path / "b.onnx", fold=True)
    assert folded.passed
    assert folded.size < plain.size


@pytest.mark.parametrize("error", [SpecError("no"), InputError("no"), RuntimeError("no")])
@pytest.mark.parametrize("stage", ["export", "run"])
def test_a_failure_leaves_what_was_there(fake, stage, error, tmp_path):
    def fail(*_):
        raise error

    path = tmp_path / "a.fake"
    path.write_bytes(b"mine")
    setattr(fake, stage, fail)
    with pytest.raises(type(error), match="no"):
        tcnzoo.export(SPEC, path, to="fake", overwrite=True)
    assert path.read_bytes() == b"mine"
    assert left(tmp_path) == ["a.fake"]


def test_a_wrong_answer_does_not_pass(fake, tmp_path):
    right = fake.run
    fake.run = lambda path, x, options: right(path, x, options) + 3e-4 * 10
    report = tcnzoo.export(SPEC, tmp_path / "a.fake")
    assert not report.passed
    assert report.comparisons[0].absolute == pytest.approx(3e-3, rel=1e-3)
    fake.run = lambda path, x, options: right(path, x, options) * np.nan
    assert not tcnzoo.export(SPEC, tmp_path / "b.fake").passed


NORM = {"kind": "layer_norm", "channels": 3}


def layer_norm(x, variance):
    """A layer norm in float32, over axis 1."""
    left = x - x.mean(axis=1, keepdims=True)
    return left / np.sqrt(variance(x, left) + np.float32(1e-5))


@pytest.mark.parametrize(
    "variance, passes",
    [
        (lambda x, left: (left * left).mean(axis=1, keepdims=True), True),
        (
            lambda x, left: np.abs((x * x).mean(1, keepdims=True) - x.mean(1, keepdims=True) ** 2),
            False,
        ),
    ],
    ids=["two passes", "one pass"],
)
def test_a_norm_is_compared_on_signals_with_an_offset(fake, variance, passes, tmp_path):
    fake.run = lambda path, x, options: layer_norm(x, variance)
    report = tcnzoo.export(NORM, tmp_path / "a.fake", input_length=40)
    assert [one.input for one in report.comparisons] == ["random", "around 1000", "times 10000"]
    assert [one.passed for one in report.comparisons] == [True, passes, True]
    assert report.passed is passes
    # The rounding of float32 around 1000 is more than what is allowed around 0, and is allowed for.
    assert report.comparisons[1].limit > report.comparisons[0].limit == report.tolerance
    assert report.to_dict()["passed"] is passes


def test_what_overflows_in_the_reference_too_is_not_compared(fake, tmp_path):
    merge = {"kind": "merge", "mode": "multiply"}
    nodes = {
        "cube": {"layer": merge, "inputs": ["input"] * 3},
        "twelfth_power": {"layer": merge, "inputs": ["cube"] * 4},
    }
    spec = {"kind": "graph", "in_channels": 3, "nodes": nodes}
    model = tcnzoo.create(spec, "numpy")
    with np.errstate(over="ignore"):
        fake.run = lambda path, x, options: tcnzoo.predict(model, x)
        report = tcnzoo.export(spec, tmp_path / "a.fake")
    assert [one.input for one in report.comparisons] == ["random", "around 1000"]
    assert report.notes == (
        "a note",
        "not compared on 'times 10000': float32 cannot hold what comes of it",
    )


@pytest.mark.parametrize("factor, passes", [(1.0, True), (np.nan, False)])
def test_a_signal_of_which_float32_loses_everything_is_named(fake, factor, passes, tmp_path):
    # The seventh power of 10000 is finite in float32, and its square in the norm is not.
    nodes = {
        "power": {"layer": {"kind": "merge", "mode": "multiply"}, "inputs": ["input"] * 7},
        "norm": {"layer": {"kind": "rms_norm", "channels": 3}, "inputs": ["power"]},
    }
    spec = {"kind": "graph", "in_channels": 3, "nodes": nodes}
    model = tcnzoo.create(spec, "numpy")
    with np.errstate(over="ignore"):
        fake.run = lambda path, x, options: (
            tcnzoo.predict(model, x) * (factor if np.abs(x).max() > 1e4 else 1.0)
        )
        report = tcnzoo.export(spec, tmp_path / "a.fake", input_length=40)
    assert report.passed is passes
    named = "not compared on 'times 10000': float32 itself is off by 1 there"
    assert (named in report.notes) is passes


def test_what_overflows_float16_is_not_compared(tmp_path):
    nodes = {"cube": {"layer": {"kind": "merge", "mode": "multiply"}, "inputs": ["input"] * 4}}
    spec = {"kind": "graph", "in_channels": 3, "nodes": nodes}
    report = tcnzoo.export(spec, tmp_path / "a.onnx", precision="float16", input_length=40)
    assert report.passed
    assert report.notes == ("not compared on 'times 10': float16 cannot hold what comes of it",)


def test_int8_keeps_within_the_spread_of_its_outputs(fake, tmp_path):
    right = fake.run
    options = {"precision": "int8", "representative": noise(4, 3, 9), "samples": 1}
    assert tcnzoo.export(SPEC, tmp_path / "a.fake", **options).passed
    fake.run = lambda path, x, options: 0 * right(path, x, options)
    report = tcnzoo.export(SPEC, tmp_path / "b.fake", **options)
    assert [one.passed for one in report.comparisons] == [True, False]


def _int8_inputs(fake, monkeypatch, path, work, spec=SPEC, **options):
    """Shapes of what int8 is compared on, and the notes, where so much work is allowed."""
    monkeypatch.setattr("tcnzoo.runtimes.export.WORK", work)
    fake.DYNAMIC = True
    model = tcnzoo.create(spec, "numpy", seed=0)
    fake.run = lambda path, x, options: tcnzoo.predict(model, x)
    given = {"representative": noise(4, 3, 90), "precision": "int8", **options}
    report = tcnzoo.export(spec, path, **given)
    return [one.shape for one in report.comparisons], report.notes[1:]


STEP = tcnzoo.load_spec(SPEC).macs(1000) // 1000  # multiply-adds of a step
ANSWERS = 90 * STEP  # of a signal of 90 steps
POOLED = {
    "kind": "sequential",
    "layers": {"conv": SPEC, "pool": {"kind": "pool"}},
}


@pytest.mark.parametrize(
    "work, options, shapes",
    [
        (500 * ANSWERS, {}, [(500, 3, 90), (4, 3, 90)]),  # all that is wanted
        (60 * ANSWERS, {}, [(60, 3, 90), (4, 3, 90)]),  # fewer signals
        (2 * ANSWERS, {}, [(8, 3, 22), (2, 3, 90)]),  # and shorter ones
        (1, {}, [(8, 3, 4), (1, 3, 90)]),  # as long as the receptive field all the same
        (1, {"samples": 40}, [(40, 3, 90), (1, 3, 90)]),  # what is asked for
        (2 * ANSWERS, {"input_length": 90}, [(2, 3, 90), (2, 3, 90)]),  # each has 90 answers
        (1, {"dynamic": False, "batch_size": 2}, [(2, 3, 90), (2, 3, 90)]),  # a whole batch
        (100 * ANSWERS, {"spec": POOLED}, [(500, 3, 18), (4, 3, 90)]),  # one answer each
    ],
)
def test_int8_is_compared_within_bounds(fake, work, options, shapes, monkeypatch, tmp_path):
    found, notes = _int8_inputs(fake, monkeypatch, tmp_path / "a.fake", work, **options)
    assert found == shapes
    count, _, steps = shapes[0]
    less = "samples" not in options and shapes[0] != (500, 3, 90)
    named = f"int8 was compared on {count} random signals of {steps} steps and not 500"
    assert any(note.startswith(named) for note in notes) is less
    some = f"of 4 representative signals the first {shapes[1][0]} were compared"
    assert (some in notes) is (shapes[1][0] < 4)


def test_an_answer_of_another_shape_is_an_error(fake, tmp_path):
    right = fake.run
    fake.run = lambda path, x, options: right(path, x, options)[:, :, 1:]
    with pytest.raises(InputError, match="must give an output of shape"):
        tcnzoo.export(SPEC, tmp_path / "a.fake")
    assert not left(tmp_path)


def test_a_machine_that_cannot_run_the_file_says_so(fake, tmp_path):
    fake.can_run = lambda: "it runs on macOS only"
    report = tcnzoo.export(SPEC, tmp_path / "a.fake")
    assert (report.comparisons, report.passed) == ((), True)
    assert report.notes == ("a note", "not compared: it runs on macOS only")


def test_a_static_export_is_fed_its_own_batch(fake, tmp_path):
    right, seen = fake.run, []
    fake.run = lambda path, x, options: seen.append(x.shape) or right(path, x, options)
    report = tcnzoo.export(SPEC, tmp_path / "a.fake", batch_size=2, samples=6, input_length=9)
    assert seen == [(2, 3, 9)] * 9  # three of each kind of signal
    assert report.comparisons[0].shape == (6, 3, 9)
    for inputs in (noise(3, 3, 9), noise(2, 3, 10)):
        with pytest.raises(InputError, match=r"takes signals of shape \(2, 3, 9\) only"):
            tcnzoo.export(SPEC, tmp_path / "b.fake", batch_size=2, inputs=inputs, input_length=9)
    assert left(tmp_path) == ["a.fake"]


def test_directories_are_placed_and_replaced(fake, tmp_path):
    def export(spec, weights, path, options):
        path.mkdir()
        (path / "inside").write_bytes(b"12345")
        return ()

    path = tmp_path / "a.fake"
    path.write_bytes(b"mine")
    fake.export = export
    for _ in range(2):
        assert tcnzoo.export(SPEC, path, overwrite=True).size == 5
        assert left(tmp_path) == ["a.fake"]
        assert left(path) == ["inside"]


def test_agreement_is_the_share_of_equal_largest_channels():
    reference = np.array([[1.0, 2.0, 0.0], [5.0, 2.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 3.0]])
    found = reference + np.array([[0.0, 0.0, 3.0], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
    one = compared("random", found, found, reference)
    assert (one.absolute, one.relative, one.agreement) == (3.0, 0.6, 0.75)
    assert compared("random", found, found[:, :1], reference[:, :1]).agreement is None


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"to": "onxn"}, "unknown export 'onxn'; did you mean 'onnx'?"),
        ({"rank": 5}, "export to 'onnx' has no rank 5; leave it out"),
        ({"batch_size": 0}, "batch_size must be at least 1, but is 0"),
        ({"precision": "int4"}, "export to 'onnx' writes float32, float16, int8, but not 'int4'"),
        (
            {"precision": "int8"},
            "int8 needs signals to choose its ranges by: give representative data",
        ),
        ({"inputs": np.ones(3)}, "the input must be (batch, channels, time), but has shape (3,)"),
        (
            {"inputs": np.ones((2, 3, 4)), "vectors": True},
            "the input must be (channels,) or (batch, channels), but has shape (2, 3, 4)",
        ),
        (
            {"inputs": np.ones((4, 9))},
            "conv1d expects 3 channels on axis 1 of (batch, channels, time), but 4 came",
        ),
        ({"hints": {"a": 1}}, f"hints are for files, but {SPEC!r} is none"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, sentence, tmp_path):
    assert_refused(InputError, sentence, tcnzoo.export, SPEC, tmp_path / "a.onnx", **options)
    assert not left(tmp_path)


def test_a_model_that_cannot_stream_is_refused(tmp_path):
    sentence = "a stream is of signals, but the model shall take vectors; choose one"
    relu = {"kind": "activation", "name": "relu"}
    with pytest.raises(InputError, match=sentence):
        tcnzoo.export(relu, tmp_path / "a.onnx", streaming=True, vectors=True)
    with pytest.raises(InputError, match="this model cannot stream: .* looks ahead"):
        tcnzoo.export(conv1d(padding="same"), tmp_path / "a.onnx", streaming=True)


def test_names_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"an export ends in one of \.onnx \(onnx\), "):
        tcnzoo.export(SPEC, tmp_path / "a.txt")
    with pytest.raises(InputError, match=r"is written to a name in \.onnx, but got"):
        tcnzoo.export(SPEC, tmp_path / "a.txt", to="onnx")
    (tmp_path / "a.onnx").write_bytes(b"mine")
    with pytest.raises(InputError, match="exists already"):
        tcnzoo.export(SPEC, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == b"mine"


def test_a_missing_package_is_named_with_what_to_install():
    exporter = SimpleNamespace(NAME="fake", NEEDS={"no_such_package": "tcnzoo[fake]"})
    sentence = (
        "export to 'fake' needs no_such_package, which is not installed; "
        "run: pip install 'tcnzoo[fake]'"
    )
    assert_refused(BackendMissing, sentence, check_installed, exporter)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_exporter_answers_the_protocol(name, tmp_path):
    exporter = get_exporter(name)
    assert name == exporter.NAME
    assert exporter_for(tmp_path / f"a{exporter.SUFFIX}") is exporter
    assert set(exporter.PRECISIONS) <= {"float32", "float16", "int8"}
    assert "float32" in exporter.PRECISIONS
    assert exporter.NEEDS or name == "c"  # which needs a compiler alone
    assert not exporter.DESCRIPTION.endswith(".")
