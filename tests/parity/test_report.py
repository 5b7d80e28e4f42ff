"""The checks can fail: `parity`, and the helpers that the other tests rely on."""

import json
import sys

import numpy as np
import pytest

import tcnzoo
from tcnzoo import engines
from tcnzoo.models.outputs import ROOT
from tcnzoo.specs.params import varied_weights
from tests.support import compare
from tests.support.tcns import tcn

SPEC = tcn(norm="batch_norm", skip_connections=True, activation="tanh")


def _varied(spec=SPEC):
    return varied_weights(tcnzoo.load_spec(spec).params())


def _changed(name, by=0.01):
    weights = _varied()
    weights[name] = weights[name].copy()
    weights[name].flat[0] += by
    return weights


def test_agreeing_backends_pass(backends):
    report = tcnzoo.parity(SPEC, backends=backends, input_length=21, layers=True)
    assert report.passed
    assert report.first_divergence == {}
    assert [row.backend for row in report.rows] == backends
    assert all(0 <= row.output_error <= 1e-6 for row in report.rows)
    assert all(0 <= row.stream_error <= 1e-6 for row in report.rows)
    assert report.layers[-1].path == ROOT
    assert {layer.path for layer in report.layers} >= {
        "blocks.1.conv1",
        "blocks.1.norm2",
        "skips.0",
    }


def test_gradients_are_checked_when_asked_for(native):
    report = tcnzoo.parity(SPEC, backends=[native], input_length=21, gradients=True)
    assert report.passed
    assert 0 < report.rows[0].gradient_error <= 1e-4


def test_a_model_that_cannot_stream_has_no_stream_error():
    report = tcnzoo.parity(tcn(causal=False), backends=["numpy"], input_length=21)
    assert report.passed
    assert report.rows[0].stream_error is None


@pytest.mark.parametrize(
    "name, layer",
    [
        ("blocks.0.conv2.weight", "blocks.0.conv2"),
        ("blocks.1.norm1.running_mean", "blocks.1.norm1"),
        ("blocks.2.residual.bias", "blocks.2.residual"),
        ("skips.0.weight", "skips.0"),
    ],
)
def test_two_checkpoints_first_diverge_where_a_weight_was_changed(tmp_path, backend, name, layer):
    for folder, weights in (("good", _varied()), ("bad", _changed(name))):
        tcnzoo.save(tcnzoo.create(SPEC, "numpy", weights=weights), tmp_path / folder)
    report = tcnzoo.parity(
        tmp_path / "good", tmp_path / "bad", backends=[backend], input_length=21, layers=True
    )
    assert not report.passed
    assert report.first_divergence == {backend: layer}


def test_native_model_with_a_changed_weight_is_found(native):
    model = tcnzoo.create(SPEC, native, weights=_changed("blocks.1.conv2.bias"))
    report = tcnzoo.parity(SPEC, backends=["numpy", model], input_length=21, layers=True)
    assert [row.passed for row in report.rows] == [True, False]
    assert report.first_divergence == {native: "blocks.1.conv2"}


def test_wrong_eps_is_found_although_all_weights_are_right(native):
    keras_like = tcnzoo.load_spec(SPEC, norm={"kind": "batch_norm", "eps": 1e-3})
    model = tcnzoo.create(keras_like, native, weights=_varied())
    report = tcnzoo.parity(SPEC, backends=[model], input_length=21, layers=True)
    assert not report.passed
    assert report.first_divergence == {native: "blocks.0.norm1"}


def test_wrong_activation_slope_is_found(native):
    spec = tcn(activation={"name": "leaky_relu", "slope": 0.01})
    other = tcn(activation={"name": "leaky_relu", "slope": 0.3})
    model = tcnzoo.create(other, native, weights=_varied(spec))
    report = tcnzoo.parity(spec, backends=[model], input_length=21, layers=True)
    assert report.first_divergence == {native: "blocks.0.activation1"}


def test_wrong_gradients_are_found(native, monkeypatch):
    module = sys.modules["tcnzoo.verification.parity"]  # the name in the package is the function
    true = module.backend_gradients

    def doubled(*args, **options):
        loss, table = true(*args, **options)
        return loss, table | {"blocks.1.conv1.bias": 1.01 * table["blocks.1.conv1.bias"]}

    monkeypatch.setattr(module, "backend_gradients", doubled)
    report = tcnzoo.parity(SPEC, backends=[native], input_length=21, gradients=True)
    assert not report.passed
    assert report.rows[0].gradient_error > 1e-3


def test_wrong_streaming_is_found(monkeypatch):
    from tcnzoo.backends.numpy import conv

    true = conv.Conv1d._continue

    def forgetful(self, x, stream):
        y, start, steps = true(self, x, stream)
        y[:, :, : self.spec.reach] = 0.0
        return y, start, steps

    monkeypatch.setattr(conv.Conv1d, "_continue", forgetful)
    monkeypatch.setenv(engines.ENGINE, engines.PLAIN)  # the compiled step does not go through it
    spec = {"kind": "conv1d", "in_channels": 3, "out_channels": 5, "kernel_size": 3}
    report = tcnzoo.parity(spec, backends=["numpy"], input_length=21)
    assert report.rows[0].output_error < 1e-6
    assert report.rows[0].stream_error > 1e-2
    assert not report.passed


def test_nan_does_not_pass(backend):
    model = tcnzoo.create(SPEC, backend, weights=_changed("blocks.0.conv1.weight", by=np.nan))
    assert not tcnzoo.parity(SPEC, backends=[model], input_length=21).passed


def test_the_report_is_plain_data(backends):
    report = tcnzoo.parity(SPEC, backends=backends, input_length=21, layers=True)
    document = json.loads(json.dumps(report.to_dict()))
    assert document["passed"] is True
    assert len(document["rows"]) == len(backends)


def test_assert_close_can_fail():
    compare.assert_close(np.ones(3), np.ones(3))
    for wrong in (
        np.array([1, 1, 1 + 2e-5]),
        np.array([1, 1, np.nan]),
        np.ones(4),
        np.ones((3, 1)),
    ):
        with pytest.raises(AssertionError):
            compare.assert_close(wrong, np.ones(3))
    with pytest.raises(AssertionError, match="instead of"):
        compare.assert_close({"a": np.ones(3)}, {"b": np.ones(3)})
    with pytest.raises(AssertionError, match=r"y: error 1\.0\de-01 is above"):
        compare.assert_close({"y": np.full(3, 110.0)}, {"y": np.full(3, 100.0)})


def test_assert_same_bits_can_fail():
    zero = {"a": np.zeros(3, np.float32)}
    compare.assert_same_bits(zero, {"a": np.zeros(3, np.float32)})
    for wrong in (np.full(3, -0.0, np.float32), np.zeros(3), np.zeros((3, 1), np.float32)):
        with pytest.raises(AssertionError):
            compare.assert_same_bits(zero, {"a": wrong})
    with pytest.raises(AssertionError):
        compare.assert_same_bits(zero, {"b": zero["a"]})


def test_assert_refused_can_fail():
    def call():
        raise tcnzoo.InputError("no")

    compare.assert_refused(tcnzoo.InputError, "no", call)
    for error, sentence in ((tcnzoo.InputError, "no!"), (tcnzoo.TcnzooError, "no")):
        with pytest.raises(AssertionError):
            compare.assert_refused(error, sentence, call)
    with pytest.raises(pytest.fail.Exception):
        compare.assert_refused(tcnzoo.InputError, "no", len, "")


def test_assert_parity_can_fail(native, monkeypatch):
    from tcnzoo.backends.numpy import activation

    spec = {"kind": "activation", "name": "selu"}
    compare.assert_parity(spec, native, 2, 3, 11)
    monkeypatch.setattr(activation, "SELU_ALPHA", 1.673)  # 1.67326 is right
    with pytest.raises(AssertionError):
        compare.assert_parity(spec, native, 2, 3, 11)


def test_stream_can_fail():
    spec = {"kind": "conv1d", "in_channels": 3, "out_channels": 5, "kernel_size": 3}
    model, x = tcnzoo.create(spec, "numpy"), compare.noise(1, 3, 9)
    whole, _ = compare.stream(model, x, [4])
    fresh = np.concatenate(
        [compare.stream(model, part, [])[0] for part in (x[..., :4], x[..., 4:])], 2
    )
    compare.assert_close(whole, tcnzoo.predict(model, x))
    with pytest.raises(AssertionError):
        compare.assert_close(fresh, tcnzoo.predict(model, x))


def test_assert_gradients_close_can_fail():
    true = {"w": np.array([1.0, 2.0]), "b": np.array([0.0])}
    compare.assert_gradients_close(true, true)
    for wrong in ({"w": np.array([1.0, 2.001])}, {"b": np.array([1e-4])}, {"w": np.ones((2, 1))}):
        with pytest.raises(AssertionError):
            compare.assert_gradients_close(true | wrong, true)
