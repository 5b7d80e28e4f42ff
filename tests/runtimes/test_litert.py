"""LiteRT files of every block and preset, run with ai-edge-litert beside the float64 reference."""

import subprocess
import sys

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import BackendMissing, InputError, SpecError
from tcnzoo.runtimes.protocol import get_exporter
from tcnzoo.specs.folding import fold
from tests.parity.test_presets import LENGTHS
from tests.support.cases import BLOCKS, SIGNAL, conv1d
from tests.support.compare import assert_close, assert_refused, noise, weights_of
from tests.support.exported import options_for, ran, written
from tests.support.tcns import covering, tcn, tcn_grid

runtime = pytest.importorskip("ai_edge_litert.interpreter")
keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the conversion goes through TensorFlow", allow_module_level=True)

ROWS = covering(tcn_grid())
PRESETS = ("tcn-base", "deepepi", "tcn-se-gated")
# Weights are rounded to 11 bits.
HALF = 5e-3
# Every seventh block: each family has several of a kind.
SOME = [*list(BLOCKS)[::7], "activation-gelu_tanh", "pad-circular-3--2", "graph-strided"]
SOME += [name for name in ("mamba2-dt_limit", "bi_mamba2_layer") if name not in SOME]


def preset_shape(name, batch=1):
    """A short input of a preset."""
    return batch, *tcnzoo.load_spec(name).signal_shape(LENGTHS[name])


def representative(*shape):
    """Signals to choose ranges by."""
    return noise(*shape, seed=11).astype(np.float32)


def details(path):
    """Inputs and outputs of a file by name, as the runtime has them."""
    runner = runtime.Interpreter(model_path=str(path)).get_signature_runner()
    return runner.get_input_details(), runner.get_output_details()


@pytest.mark.parametrize("name", SOME)
def test_block_equals_reference(name, tmp_path):
    spec, shape = BLOCKS[name]
    path, options = written("litert", spec, shape, tmp_path, dynamic=False)
    assert_close(*ran("litert", spec, path, options, shape))


@pytest.mark.parametrize("name", ["activation-softplus", "mamba2-no_norm"])
def test_softplus_of_large_values_is_finite(name, tmp_path):
    spec, shape = BLOCKS[name]
    report = tcnzoo.export(spec, tmp_path / "a.tflite", input_length=shape[2])
    assert [one.input for one in report.comparisons] == ["random", "around 1000", "times 10000"]
    assert report.passed


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(map(str, row.values())))
def test_tcn_equals_reference(row, tmp_path):
    path, options = written("litert", tcn(**row), SIGNAL, tmp_path, dynamic=False)
    assert_close(*ran("litert", tcn(**row), path, options, SIGNAL))


@pytest.mark.parametrize("name", PRESETS)
def test_preset_equals_reference(name, tmp_path):
    shape = preset_shape(name)
    path, options = written("litert", name, shape, tmp_path, dynamic=False)
    assert_close(*ran("litert", name, path, options, shape))
    half, options = written("litert", name, shape, tmp_path, dynamic=False, precision="float16")
    assert_close(*ran("litert", name, half, options, shape), tolerance=HALF)


def test_half_precision_halves_the_file(tmp_path):
    sizes = []
    for precision in ("float32", "float16"):
        path = tmp_path / f"{precision}.tflite"
        report = tcnzoo.export("tcn-base", path, input_length=40, precision=precision)
        assert report.passed
        sizes.append(report.size)
    assert sizes[1] < 0.6 * sizes[0]


def test_inputs_and_outputs_are_named_and_neutral(tmp_path):
    spec = {"kind": "temporal_block", "in_channels": 3, "channels": 5, "kernel_size": 3}
    spec |= {"embeddings": [4, {"channels": 2, "per_step": True}]}
    path, _ = written("litert", spec, SIGNAL, tmp_path, dynamic=False)
    inputs, outputs = details(path)
    shapes = {name: tuple(one["shape"]) for name, one in (inputs | outputs).items()}
    assert shapes == {
        "x": (2, 3, 37), "embedding_0": (2, 4), "embedding_1": (2, 2, 37),
        "output": (2, 5, 37), "out": (2, 5, 37),
    }  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_int8_is_integer_at_both_ends_and_reports_agreement(name, tmp_path):
    shape = preset_shape(name)
    report = tcnzoo.export(
        tcnzoo.create(name, "numpy", weights=weights_of(name)),
        tmp_path / "a.tflite",
        input_length=shape[2],
        precision="int8",
        representative=representative(60, *shape[1:]),
        samples=40,
    )
    for one in (
        *details(tmp_path / "a.tflite")[0].values(),
        *details(report.destination)[1].values(),
    ):
        assert one["dtype"] == np.int8
    random, given = report.comparisons
    assert (random.shape[0], given.shape[0]) == (40, 60)
    assert report.size < 0.45 * sum(4 * array.size for array in weights_of(name).values())
    # What 8 bits leave of a model of four to eighteen layers.
    assert 0.85 < random.agreement <= 1.0
    assert 1e-4 < random.relative < 0.3


def test_int8_compares_500_signals(tmp_path):
    signals = representative(8, 3, 11)
    report = tcnzoo.export(
        conv1d(), tmp_path / "a.tflite", precision="int8", representative=signals
    )
    assert [one.shape for one in report.comparisons] == [(500, 3, 11), (8, 3, 11)]
    assert all(0.9 < one.agreement <= 1.0 for one in report.comparisons)


def test_int8_ranges_come_from_the_signals(tmp_path):
    scales = []
    for factor in (1.0, 4.0):
        signals = factor * representative(8, 3, 37)
        options = options_for((1, 3, 37), dynamic=False, precision="int8", representative=signals)
        spec, path = tcnzoo.load_spec(conv1d()), tmp_path / f"{factor}.tflite"
        get_exporter("litert").export(spec, weights_of(spec), path, options)
        scales.append(details(path)[0]["x"]["quantization"][0])
    widest = np.abs(representative(8, 3, 37)).max()
    assert scales[0] == pytest.approx(2 * widest / 255, rel=0.1)
    assert scales[1] == pytest.approx(4 * scales[0], rel=1e-3)


def test_int8_zero_points_are_kept_to(tmp_path):
    signals, path = representative(8, 3, 37) + 3.0, tmp_path / "a.tflite"
    report = tcnzoo.export(
        {**conv1d(), "kind": "conv_block", "activation": "relu"}, path,
        precision="int8", representative=signals, samples=1,
    )  # fmt: skip
    inputs, outputs = details(path)
    assert inputs["x"]["quantization"][1] < -20
    assert outputs["output"]["quantization"][1] < -20
    assert report.comparisons[1].relative < 0.02


@pytest.mark.parametrize("padding", ["same", "same_upper"])
def test_int8_keeps_its_ranges_where_a_maximum_is_padded(padding, tmp_path):
    spec = {"kind": "window_pool", "mode": "max", "size": 4, "channels": 3, "padding": padding}
    signals = representative(8, 3, 37)
    report = tcnzoo.export(
        spec, tmp_path / "a.tflite", precision="int8", representative=signals, samples=1
    )
    assert report.comparisons[1].absolute < 0.03


def test_int8_names_what_stays_float(tmp_path):
    spec = tcn(squeeze_excitation="cumulative")
    signals = representative(8, 3, 37)
    report = tcnzoo.export(
        spec, tmp_path / "a.tflite", precision="int8", representative=signals, samples=3
    )
    assert report.notes[0] == "takes inputs of shape (1, 3, 37) only"
    assert report.notes[1] == "computed in float32, having no int8 form: cumsum"


@pytest.mark.parametrize(
    "shape, batch, sentence",
    [
        ((5, 3, 20), 1, "shape (1, 3, 37) or more of them, but (5, 3, 20) came"),
        ((2, 3, 37), 3, "shape (3, 3, 37) or more of them, but (2, 3, 37) came"),
    ],
)
def test_int8_refuses_signals_that_do_not_fit(shape, batch, sentence, tmp_path):
    spec = tcnzoo.load_spec(conv1d())
    options = options_for(
        (batch, 3, 37), dynamic=False, precision="int8", representative=representative(*shape)
    )
    export, path = get_exporter("litert").export, tmp_path / "a.tflite"
    sentence = f"int8 needs representative signals of {sentence}"
    assert_refused(InputError, sentence, export, spec, weights_of(spec), path, options)
    assert not list(tmp_path.iterdir())


def test_int8_refuses_embeddings(tmp_path):
    sentence = "int8 has no representative embeddings, but this model takes some"
    options = {"precision": "int8", "representative": representative(4, 3, 37)}
    path = tmp_path / "a.tflite"
    assert_refused(SpecError, sentence, tcnzoo.export, tcn("add"), path, **options)
    assert not list(tmp_path.iterdir())


def test_other_engines_of_keras_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    sentence = (
        "export to 'litert' converts through TensorFlow, but Keras runs on 'jax'; "
        "set KERAS_BACKEND=tensorflow"
    )
    path = tmp_path / "a.tflite"
    assert_refused(BackendMissing, sentence, tcnzoo.export, conv1d(), path)
    assert not list(tmp_path.iterdir())


def test_what_the_converter_refuses_is_one_sentence(monkeypatch, tmp_path):
    def refuse(self):
        raise RuntimeError("no such operator\nand more")

    monkeypatch.setattr("tensorflow.lite.TFLiteConverter.convert", refuse)
    sentence = "TensorFlow Lite cannot convert this conv1d: no such operator"
    assert_refused(SpecError, sentence, tcnzoo.export, conv1d(), tmp_path / "a.tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_command_runs_the_file(precision, tmp_path):
    x = representative(1, 3, 37)
    np.save(tmp_path / "x.npy", x.astype(np.float64))
    report = tcnzoo.export(
        conv1d(), tmp_path / "it's.tflite", inputs=x, precision=precision,
        representative=x if precision == "int8" else None, samples=1,
    )  # fmt: skip
    command = report.command.replace("python ", f"{sys.executable} ", 1)
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "output" in done.stdout
    first = float(done.stdout.partition("[[[")[2].split()[0])
    expected = tcnzoo.predict(tcnzoo.create(conv1d(), "numpy"), x)[0, 0, 0]
    assert first == pytest.approx(expected, abs=1e-5 if precision == "float32" else 0.05)


def test_written_weights_are_the_folded_ones(tmp_path):
    spec = tcnzoo.load_spec({**conv1d(), "kind": "conv_block", "norm": "batch_norm"})
    path, _ = written("litert", spec, SIGNAL, tmp_path, dynamic=False)
    interpreter = runtime.Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    _, weights = fold(spec, weights_of(spec))
    wanted = weights["conv.weight"].transpose(0, 2, 1)
    kernels = [
        interpreter.get_tensor(one["index"])
        for one in interpreter.get_tensor_details()
        if sorted(one["shape"]) == sorted((5, 1, 4, 3))
    ]
    assert any(np.allclose(np.squeeze(one), wanted, atol=1e-6) for one in kernels)
