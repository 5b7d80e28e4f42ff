"""Bad input, one test each: the error's type, and the sentence that says what to do."""

import importlib.util

import pytest

import tcnzoo
from tests.cases import tcn
from tests.compare import noise

CONV = {"kind": "conv1d", "in_channels": 3, "out_channels": 5, "kernel_size": 3}


def _refused(error, sentence, call, *args, **options):
    """Hold that a call raises `error` with exactly this sentence, on one line."""
    with pytest.raises(error) as caught:
        call(*args, **options)
    assert type(caught.value) is error
    assert str(caught.value) == sentence


def test_unknown_kind_is_suggested():
    sentence = "unknown kind 'tnc'; did you mean 'tcn'?"
    _refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, {"kind": "tnc"})


def test_unknown_kind_of_a_layer_is_named_with_its_place():
    spec = {"kind": "sequential", "layers": {"first": CONV, "second": {"kind": "convolution"}}}
    with pytest.raises(tcnzoo.SpecError, match="unknown kind 'convolution' at 'layers.second'; known are"):
        tcnzoo.load_spec(spec)


def test_misspelt_field_is_suggested():
    spec = {"kind": "tcn", "in_channels": 3, "chanels": [4, 5]}
    sentence = "unknown field 'chanels'; did you mean 'channels'?"
    _refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, spec)


def test_misspelt_field_of_a_layer_is_suggested_with_its_place():
    spec = {"kind": "sequential", "layers": {"body": tcn(dilation_rest=4)}}
    sentence = "unknown field 'dilation_rest' at 'layers.body'; did you mean 'dilation_reset'?"
    _refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, spec)


def test_problem_inside_a_field_names_the_whole_path():
    norm = {"kind": "batch_norm", "eps": 0.0}
    layers = {"pool": {"kind": "conv_block", **CONV, "norm": norm} | {"kind": "conv_block"}}
    sentence = "field 'layers.pool.norm.eps': input should be greater than 0, but got 0.0"
    spec = {"kind": "sequential", "layers": layers}
    _refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, spec)


def test_missing_field_is_named():
    spec = {"kind": "tcn", "in_channels": 3}
    _refused(tcnzoo.SpecError, "field 'channels' is missing", tcnzoo.load_spec, spec)


def test_missing_kind_is_shown_by_example():
    with pytest.raises(tcnzoo.SpecError, match="a spec is a mapping with a 'kind', such as {kind: tcn"):
        tcnzoo.load_spec({"in_channels": 3})


def test_value_that_is_not_allowed_names_those_that_are():
    sentence = (
        "field 'padding_mode': input should be 'zeros', 'reflect', 'replicate' or 'circular', "
        "but got 'mirror'"
    )
    _refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, CONV | {"padding_mode": "mirror"})


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"kernel_size": 0}, "field 'kernel_size': input should be greater than or equal to 1, but got 0"),
        ({"groups": 2}, "in_channels must be a multiple of groups=2, but is 3"),
        ({"dropout": 0.1}, "unknown field 'dropout'; known are bias, dilation, "),  # a kind elsewhere
        ({"activation": "relu"}, "unknown field 'activation'; "),
    ],
)
def test_wrong_field_of_a_convolution(fields, sentence):
    with pytest.raises(tcnzoo.SpecError) as caught:
        tcnzoo.load_spec(CONV | fields)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"kernel_size": [3, 3]}, "kernel_size must have one entry for each of the 3 blocks, but has 2"),
        ({"dilations": [1]}, "dilations must have one entry for each of the 3 blocks, but has 1"),
        (
            {"dilations": [1, 1, 1], "dilation_reset": 4},
            "give dilations or dilation_reset, not both",
        ),
        (
            {"squeeze_excitation": {"channels": 4}},
            "squeeze_excitation takes its channels from the block, but channels=4 was given",
        ),
    ],
)
def test_fields_of_a_tcn_that_contradict_each_other(fields, sentence):
    _refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, tcn() | fields)


def test_layers_that_do_not_fit_each_other():
    spec = {"kind": "sequential", "layers": {"first": CONV, "second": CONV}}
    sentence = "layer 'second' expects 3 channels, but the layer before it gives 5"
    _refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, spec)


def test_gated_layers_halve_the_width():
    second = {"kind": "dense", "in_features": 3, "out_features": 2}
    layers = {"first": CONV | {"out_channels": 6}, "gated": {"kind": "glu"}, "second": second}
    assert tcnzoo.load_spec({"kind": "sequential", "layers": layers})


def test_weight_norm_of_a_dense_block():
    spec = {"kind": "dense_block", "in_features": 3, "out_features": 5, "norm": "weight_norm"}
    sentence = "norm of a dense_block must be batch_norm, layer_norm or none, but is weight_norm"
    _refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, spec)


@pytest.mark.parametrize("kind", ["batch_norm", "layer_norm", "squeeze_excitation"])
def test_block_without_owner_needs_a_width(kind):
    sentence = f"field 'channels' is missing: a {kind} outside a block must name its width"
    _refused(tcnzoo.SpecError, sentence, tcnzoo.create, {"kind": kind}, "numpy")


def test_unknown_preset_is_suggested():
    sentence = "unknown model 'deepepy'; did you mean 'deepepi'?"
    _refused(tcnzoo.SpecError, sentence, tcnzoo.load_spec, "deepepy")


def test_override_of_a_field_that_is_not_there():
    with pytest.raises(tcnzoo.SpecError, match="cannot set 'layers.conv15.stride': no 'conv15'; did you"):
        tcnzoo.load_spec("deepepi", **{"layers.conv15.stride": 1})


def test_spec_file_that_is_not_there(tmp_path):
    path = tmp_path / "none.yaml"
    _refused(tcnzoo.InputError, f"no spec at {str(path)!r}", tcnzoo.load_spec, path)


def test_spec_file_that_is_not_yaml(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("kind: [tcn")
    with pytest.raises(tcnzoo.SpecError, match="broken.yaml' is not valid YAML or JSON: "):
        tcnzoo.load_spec(path)


def test_wrong_channels(backend):
    model = tcnzoo.create(CONV, backend)
    sentence = "conv1d expects 3 channels on axis 1 of (batch, channels, time), but 4 came"
    _refused(tcnzoo.InputError, sentence, tcnzoo.predict, model, noise(2, 4, 9))


@pytest.mark.parametrize("shape", [(3,), (2, 3, 9, 1)])
def test_wrong_rank(backend, shape):
    model = tcnzoo.create(CONV, backend)
    sentence = (
        "the input must be (batch, channels, time), or (batch, channels) for a model of vectors, "
        f"but has shape {shape}"
    )
    _refused(tcnzoo.InputError, sentence, tcnzoo.predict, model, noise(*shape))


def test_vector_where_a_signal_is_needed(backend):
    sentence = "conv1d expects a signal (batch, channels, time), but a vector (batch, 3) came"
    _refused(tcnzoo.InputError, sentence, tcnzoo.predict, tcnzoo.create(CONV, backend), noise(2, 3))


def test_signal_too_short_for_a_valid_stack(backend):
    # Three strides of 2 and fourteen kernels of 5 need 125 steps; of 100, two reach the 13th layer.
    model = tcnzoo.create("deepepi", backend)
    sentence = (
        "layer 'conv13': conv1d with padding 'valid', kernel_size 5 and dilation 1 needs at least "
        "5 steps, but 2 came"
    )
    _refused(tcnzoo.InputError, sentence, tcnzoo.predict, model, noise(1, 1, 100))
    with pytest.raises(tcnzoo.InputError, match="layer 'conv14': .* needs at least 5 steps, but 4 came"):
        tcnzoo.predict(model, noise(1, 1, 124))
    assert tcnzoo.predict(model, noise(1, 1, 125)).shape == (1, 2)


@pytest.mark.parametrize("mode, shortest", [("reflect", 3), ("circular", 2)])
def test_signal_too_short_for_a_padding_mode(backend, mode, shortest):
    model = tcnzoo.create(CONV | {"padding_mode": mode}, backend)
    assert tcnzoo.predict(model, noise(1, 3, shortest)).shape == (1, 5, shortest)
    with pytest.raises(tcnzoo.InputError, match=f"{mode} padding by 2 steps needs .* {shortest - 1} came"):
        tcnzoo.predict(model, noise(1, 3, shortest - 1))


def test_wrong_embeddings(backend):
    model = tcnzoo.create(tcn("add"), backend)
    x = noise(2, 3, 9)
    _refused(tcnzoo.InputError, "the model takes 2 embeddings, but 0 came", tcnzoo.predict, model, x)
    wrong = [noise(2, 4), noise(2, 3)]
    sentence = "embedding 1 must have shape (2, 3, 9), but has (2, 3)"
    _refused(tcnzoo.InputError, sentence, tcnzoo.predict, model, x, embeddings=wrong)


def test_something_that_is_no_model():
    sentence = "expected a model made by tcnzoo.create or tcnzoo.load, but got dict"
    _refused(tcnzoo.InputError, sentence, tcnzoo.predict, {}, noise(1, 3, 9))


def test_unknown_loss_and_wrong_target(native):
    model, x = tcnzoo.create(CONV, native), noise(1, 3, 9)
    sentence = "loss must be one of mse, mae, bce, cross_entropy, but is 'l2'"
    _refused(tcnzoo.InputError, sentence, tcnzoo.gradients, model, x, noise(1, 5, 9), "l2")
    sentence = "the target of loss 'mse' must have shape (1, 5, 9), but has (1, 5, 8)"
    _refused(tcnzoo.InputError, sentence, tcnzoo.gradients, model, x, noise(1, 5, 8))


def test_gradients_of_the_reference():
    sentence = "backend 'numpy' has no gradients; use torch, mlx or keras"
    model = tcnzoo.create(CONV, "numpy")
    _refused(tcnzoo.InputError, sentence, tcnzoo.gradients, model, noise(1, 3, 9), noise(1, 5, 9))


@pytest.mark.parametrize(
    "name, package", [("torch", "torch"), ("mlx", "mlx.core"), ("keras", "keras"), ("tf", "keras")]
)
def test_backend_that_is_not_installed_says_what_to_install(monkeypatch, name, package):
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None)
    resolved = {"tf": "keras"}.get(name, name)
    sentence = (
        f"backend {resolved!r} needs {package}, which is not installed; "
        f"run: pip install 'tcnzoo[{resolved}]'"
    )
    _refused(tcnzoo.BackendMissing, sentence, tcnzoo.create, CONV, name)


def test_available_backends_tells_what_to_install(monkeypatch):
    true = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mlx.core" else true(name))
    table = tcnzoo.available_backends()
    assert (table["mlx"].installed, table["mlx"].note) == (False, "pip install 'tcnzoo[mlx]'")
    assert table["numpy"].installed


def test_unknown_backend_is_suggested():
    sentence = "unknown backend 'pytorhc'; did you mean 'pytorch'?"
    _refused(tcnzoo.BackendMissing, sentence, tcnzoo.create, CONV, "pytorhc")


def test_wrong_dtype(backend):
    with pytest.raises(tcnzoo.SpecError, match=f"backend '{backend}' computes in .*, not in 'int8'"):
        tcnzoo.create(CONV, backend, dtype="int8")


def test_wrong_device(backend):
    with pytest.raises(tcnzoo.InputError, match="'tpu:9'"):
        tcnzoo.create(CONV, backend, device="tpu:9")
