"""OpenSeizureDetector's configuration files as specs: framework, window, dropouts, refusals."""

import json

import pytest
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.cli import app
from tcnzoo.errors import InputError, SpecError
from tcnzoo.formats.protocol import convert
from tcnzoo.zoo.foreign.osd import code_strides, deepepi_document, osd_config
from tests.support.compare import assert_close, assert_refused, assert_same_bits, noise, weights_of

MODULE = "user_tools.nnTraining2.deepEpiCnnModel"
TORCH_CLASS = f"{MODULE}_torch.DeepEpiCnnModelPyTorch"


@pytest.fixture
def configured(tmp_path):
    """Write an nnConfig.json with a `modelConfig` of these entries; return its path."""

    def write(**model):
        document = {
            "debug": False,
            "osdbConfig": {"osdbFiles": ["osdb_3min_allSeizures.json"]},
            "dataProcessing": {"window": 125, "step": 125},
            "modelConfig": {"modelClass": f"{MODULE}.DeepEpiCnnModel", "epochs": 100, **model},
        }
        path = tmp_path / "nnConfig_deep.json"
        # As the origin's own files: tabs, and numbers that YAML takes for text.
        text = json.dumps(document, indent="\t").replace('"epochs"', '"lrMin": 1e-7, "epochs"')
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    "model, backend",
    [
        ({}, "keras"),
        ({"framework": "tensorflow"}, "keras"),
        ({"framework": "TF"}, "keras"),
        ({"framework": "Keras"}, "keras"),
        ({"framework": "PyTorch"}, "torch"),
        ({"framework": " torch "}, "torch"),
        ({"modelType": "pytorch"}, "torch"),
        ({"modelType": "TensorFlow"}, "keras"),
        ({"framework": "pytorch", "modelType": "tensorflow"}, "torch"),
        ({"framework": "keras", "modelType": "torch"}, "keras"),
        ({"framework": None, "modelType": "torch"}, "torch"),
        ({"framework": "pytorch", "modelType": "neuralNetwork"}, "torch"),
        ({"framework": "pytorch", "modelClass": TORCH_CLASS}, "torch"),
    ],
)
def test_framework_then_model_type_then_tensorflow(model, backend, configured):
    assert osd_config(configured(**model)).backend == backend


@pytest.mark.parametrize("name", ["framework", "modelType"])
@pytest.mark.parametrize("word", ["sklearn", "", "jax", 3, ["torch"]])
def test_an_unknown_framework_is_refused(name, word, configured):
    path = configured(**{name: word})
    sentence = (
        f"'modelConfig.{name}' in {str(path)!r} must be one of pytorch, torch, tensorflow, tf, "
        f"keras, but is {word!r}"
    )
    assert_refused(SpecError, sentence, tcnzoo.load_spec, path)


def test_a_torch_config_is_the_net_with_torchs_constants(configured):
    """The preset with the strides of the code: eps 1e-5, rate 0.1, logits."""
    spec = tcnzoo.load_spec(configured(framework="pytorch"))
    assert spec == tcnzoo.load_spec("deepepi", **{"layers.conv14.stride": 1})
    assert tcnzoo.count_params(spec) == (97362, 1344)


def test_a_tensorflow_config_is_the_net_with_kerass_constants(configured):
    """The preset of the code, eps 1e-3 and rate 0.01, with the softmax that Keras's net ends in."""
    document = tcnzoo.load_spec(configured()).model_dump(mode="json")
    assert document["layers"].pop("probabilities")["name"] == "softmax"
    assert tcnzoo.load_spec(document) == tcnzoo.load_spec("deepepi-osd")
    x = noise(2, 1, 131)
    spec = tcnzoo.load_spec(configured())
    weights = weights_of(spec)
    assert_close(
        tcnzoo.predict(tcnzoo.create(spec, "numpy", weights=weights), x).sum(1), [1.0, 1.0]
    )


def test_dropouts_are_the_nets(configured):
    spec = tcnzoo.load_spec(configured(convDropout=0.08, denseDropout=0.15, nLayers=3))
    rates = {name: getattr(layer, "dropout", None) for name, layer in spec.layers.items()}
    assert [rates[f"conv{place}"] for place in range(1, 15)] == [0.08] * 14
    assert [rates[f"dense{place}"] for place in range(1, 5)] == [0.15, 0.0, 0.0, 0.0]
    assert tcnzoo.load_spec(configured()).layers["dense1"].dropout == 0.025


@pytest.mark.parametrize(
    "model, length, rate",
    [
        ({}, 750, 25.0),
        ({"sampleFreq": 25, "bufferSeconds": 30}, 750, 25.0),
        ({"sampleFreq": 12.5, "bufferSeconds": 45}, 562, 12.5),
        ({"sampleFreq": 50}, 1500, 50.0),
        ({"window": 500}, 500, 25.0),
        ({"window": 750, "bufferSeconds": 30, "sampleFreq": 25}, 750, 25.0),
        ({"bufferSeconds": 5}, 125, 25.0),
    ],
)
def test_the_window(model, length, rate, configured):
    """`window` counts samples, `bufferSeconds` seconds, cut to whole samples."""
    found = osd_config(configured(**model))
    assert (found.input_length, found.sampling_rate) == (length, rate)
    assert found.spec.output_shape((1, length)) == (2,)


@pytest.mark.parametrize(
    "model, sentence",
    [
        ({"window": 500, "bufferSeconds": 30}, "window=500 samples, but bufferSeconds=30 .* 750"),
        ({"bufferSeconds": 4}, "window of 100 samples .* is too short: "),
        ({"bufferSeconds": "30"}, "bufferSeconds' in .* must be a number .* but is '30'"),
        ({"sampleFreq": -1}, "sampleFreq' in .* must be a number from 0"),
        ({"sampleFreq": float("nan")}, "it holds NaN, which is no JSON"),
        ({"window": True}, "window' in .* must be a number"),
        ({"convDropout": 1.0}, "convDropout' in .* from 0 to below 1, but is 1.0"),
        ({"denseDropout": -0.1}, "denseDropout' in .* from 0 to below 1, but is -0.1"),
        ({"modelClass": "amberModel.AmberModel"}, "must be a DeepEpi net .* 'amberModel.Amber"),
        ({"convDropout": [0] * 1000}, "from 0 to below 1, but is a list of 1,000 entries"),
        ({"modelClass": "x" * 5000}, r"must be a DeepEpi net .* 'x{56}\.\.\."),
        ({"framework": "x" * 5000}, r"must be one of .* 'x{56}\.\.\."),
        ({"modelClass": 3}, "must be a DeepEpi net .* but is 3"),
        ({"modelClass": TORCH_CLASS}, "which is PyTorch's, but .* TensorFlow"),
        ({"modelClass": TORCH_CLASS, "framework": "tf"}, "which is PyTorch's, but .* TensorFlow"),
    ],
)
def test_what_makes_no_net_is_refused(model, sentence, configured):
    with pytest.raises(SpecError, match=sentence):
        tcnzoo.load_spec(configured(**model))


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match="no spec at"):
        osd_config(tmp_path / "nowhere.json")
    (tmp_path / "broken.json").write_text('{"modelConfig": ')
    with pytest.raises(SpecError, match="broken.json' is not valid YAML or JSON: "):
        osd_config(tmp_path / "broken.json")
    (tmp_path / "list.json").write_text('{"modelConfig": [1, 2]}')
    with pytest.raises(SpecError, match="'modelConfig' in .* must be a mapping, but is .1, 2."):
        tcnzoo.load_spec(tmp_path / "list.json")
    (tmp_path / "other.json").write_text('{"kind": "glu"}')
    with pytest.raises(SpecError, match="'modelConfig' in .* but is None"):
        osd_config(tmp_path / "other.json")
    assert tcnzoo.load_spec(tmp_path / "other.json").kind == "glu"


def test_a_dictionary_and_overrides(configured):
    document = json.loads(configured(framework="torch").read_text())
    spec = tcnzoo.load_spec(document, **{"layers.logits.out_features": 3})
    assert spec.output_shape((1, 750)) == (3,)


def test_commands_take_such_a_file(configured):
    path = str(configured(framework="pytorch"))
    result = CliRunner().invoke(app, ["describe", path, "--input-length", "750", "--json"])
    document = json.loads(result.stdout)
    assert (document["kind"], document["trainable"]) == ("sequential", 97362)
    result = CliRunner().invoke(app, ["describe", str(configured(framework="theano"))])
    assert result.exit_code == 2
    assert "but is 'theano'" in result.stderr


def test_such_a_file_is_the_spec_of_plain_tensors(configured, tmp_path):
    torch = pytest.importorskip("torch")
    path = configured(framework="torch", convDropout=0.2)
    weights = weights_of(tcnzoo.load_spec(path))
    state = {name: torch.from_numpy(array) for name, array in weights.items()}
    torch.save(state, tmp_path / "plain.pt")
    hints = {"spec": str(path)}
    convert(tmp_path / "plain.pt", tmp_path / "ours", from_format="torch", hints=hints)
    spec, found = read_checkpoint(tmp_path / "ours")
    assert spec.layers["conv9"].dropout == 0.2
    assert_same_bits(found, weights)


def test_parity_takes_such_a_file(configured, backend):
    path = configured(framework="tf")
    spec, x = tcnzoo.load_spec(path), noise(1, 1, 127)
    weights = weights_of(spec)
    expected = tcnzoo.predict(tcnzoo.create(spec, "numpy", weights=weights, dtype="float64"), x)
    assert_close(tcnzoo.predict(tcnzoo.create(path, backend, weights=weights), x), expected)


def test_strides_of_the_code():
    assert code_strides(14) == [1, 1, 1, 1, 2, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    spec = tcnzoo.load_spec(deepepi_document("torch"))
    lengths = [shape[1] for shape in spec.shapes((1, 750))[:14]]
    assert lengths == [746, 742, 738, 734, 365, 361, 357, 353, 349, 173, 169, 165, 161, 157]
