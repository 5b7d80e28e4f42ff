"""Bad input, one test each: the error's type, and the sentence that says what to do."""

import importlib.util

import pytest

import tcnzoo
from tcnzoo.models import backend
from tests.support.compare import assert_refused, noise
from tests.support.tcns import tcn

CONV = {"kind": "conv1d", "in_channels": 3, "out_channels": 5, "kernel_size": 3}


def test_wrong_channels(backend):
    model = tcnzoo.create(CONV, backend)
    sentence = "conv1d expects 3 channels on axis 1 of (batch, channels, time), but 4 came"
    assert_refused(tcnzoo.InputError, sentence, tcnzoo.predict, model, noise(2, 4, 9))


@pytest.mark.parametrize("shape", [(3,), (2, 3, 9, 1)])
def test_wrong_rank(backend, shape):
    model = tcnzoo.create(CONV, backend)
    sentence = (
        "the input must be (batch, channels, time), or (batch, channels) for a model of vectors, "
        f"but has shape {shape}"
    )
    assert_refused(tcnzoo.InputError, sentence, tcnzoo.predict, model, noise(*shape))


def test_vector_where_a_signal_is_needed(backend):
    sentence = "conv1d expects a signal (batch, channels, time), but a vector (batch, 3) came"
    assert_refused(
        tcnzoo.InputError, sentence, tcnzoo.predict, tcnzoo.create(CONV, backend), noise(2, 3)
    )


def test_signal_too_short_for_a_valid_stack(backend):
    # Three strides of 2 and fourteen kernels of 5 need 125 steps; of 100, two reach the 13th layer.
    model = tcnzoo.create("deepepi", backend)
    sentence = (
        "layer 'conv13': conv1d with padding 'valid', kernel_size 5 and dilation 1 needs at least "
        "5 steps, but 2 came"
    )
    assert_refused(tcnzoo.InputError, sentence, tcnzoo.predict, model, noise(1, 1, 100))
    with pytest.raises(
        tcnzoo.InputError, match="layer 'conv14': .* needs at least 5 steps, but 4 came"
    ):
        tcnzoo.predict(model, noise(1, 1, 124))
    assert tcnzoo.predict(model, noise(1, 1, 125)).shape == (1, 2)


@pytest.mark.parametrize("mode, shortest", [("reflect", 3), ("circular", 2)])
def test_signal_too_short_for_a_padding_mode(backend, mode, shortest):
    model = tcnzoo.create(CONV | {"padding_mode": mode}, backend)
    assert tcnzoo.predict(model, noise(1, 3, shortest)).shape == (1, 5, shortest)
    with pytest.raises(
        tcnzoo.InputError, match=f"{mode} padding by 2 steps needs .* {shortest - 1} came"
    ):
        tcnzoo.predict(model, noise(1, 3, shortest - 1))


def test_wrong_embeddings(backend):
    model = tcnzoo.create(tcn("add"), backend)
    x = noise(2, 3, 9)
    assert_refused(
        tcnzoo.InputError, "the model takes 2 embeddings, but 0 came", tcnzoo.predict, model, x
    )
    wrong = [noise(2, 4), noise(2, 3)]
    sentence = "embedding 1 must have shape (2, 3, 9), but has (2, 3)"
    assert_refused(tcnzoo.InputError, sentence, tcnzoo.predict, model, x, embeddings=wrong)


def test_something_that_is_no_model():
    sentence = "expected a model made by tcnzoo.create or tcnzoo.load, but got dict"
    assert_refused(tcnzoo.InputError, sentence, tcnzoo.predict, {}, noise(1, 3, 9))


def test_unknown_loss_and_wrong_target(native):
    model, x = tcnzoo.create(CONV, native), noise(1, 3, 9)
    sentence = "loss must be one of mse, mae, bce, cross_entropy, but is 'l2'"
    assert_refused(tcnzoo.InputError, sentence, tcnzoo.gradients, model, x, noise(1, 5, 9), "l2")
    sentence = "the target of loss 'mse' must have shape (1, 5, 9), but has (1, 5, 8)"
    assert_refused(tcnzoo.InputError, sentence, tcnzoo.gradients, model, x, noise(1, 5, 8))


def test_gradients_of_the_reference():
    sentence = "backend 'numpy' has no gradients; use torch, mlx or keras"
    model = tcnzoo.create(CONV, "numpy")
    assert_refused(
        tcnzoo.InputError, sentence, tcnzoo.gradients, model, noise(1, 3, 9), noise(1, 5, 9)
    )


@pytest.mark.parametrize(
    "name, package", [("torch", "torch"), ("mlx", "mlx.core"), ("keras", "keras"), ("tf", "keras")]
)
def test_backend_that_is_not_installed_says_what_to_install(monkeypatch, name, package):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(backend, "backend_of", absent)
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None)
    resolved = {"tf": "keras"}.get(name, name)
    sentence = (
        f"backend {resolved!r} needs {package}, which is not installed; "
        f"run: pip install 'tcnzoo[{resolved}]'"
    )
    assert_refused(tcnzoo.BackendMissing, sentence, tcnzoo.create, CONV, name)


def test_available_backends_tells_what_to_install(monkeypatch):
    true = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "mlx.core" else true(name)
    )
    table = tcnzoo.available_backends()
    assert (table["mlx"].installed, table["mlx"].note) == (False, "pip install 'tcnzoo[mlx]'")
    assert table["numpy"].installed


def test_unknown_backend_is_suggested():
    sentence = "unknown backend 'pytorhc'; did you mean 'pytorch'?"
    assert_refused(tcnzoo.BackendMissing, sentence, tcnzoo.create, CONV, "pytorhc")


def test_wrong_dtype(backend):
    with pytest.raises(
        tcnzoo.SpecError, match=f"backend '{backend}' computes in .*, not in 'int8'"
    ):
        tcnzoo.create(CONV, backend, dtype="int8")


def test_wrong_device(backend):
    with pytest.raises(tcnzoo.InputError, match="'tpu:9'"):
        tcnzoo.create(CONV, backend, device="tpu:9")
