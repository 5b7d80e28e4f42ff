"""The behaviour model: its outputs, gradients, choices, and the part of it that goes on a chip."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError
from tcnzoo.runtimes.code_scores import code_scores
from tcnzoo.verification.choices import CLEAR, outputs_error
from tcnzoo.verification.parity import relative_error
from tests.support.compare import (
    assert_close,
    assert_gradients_close,
    assert_refused,
    noise,
    reference,
    weights_of,
)

SIGNAL = (2, 3, 2, 13)
SMALL = {
    "kind": "vq_hdp_hsmm",
    "encoder": {"kind": "sequential", "layers": {
        "tcn": {
            "kind": "tcn_2d", "in_channels": 3, "channels": [4, 6], "devices": 2, "dropout": 0.0,
        },
        "attention": {"kind": "device_attention", "channels": 6, "heads": 2},
        "together": {"kind": "device_pool", "mode": "concat", "devices": 2},
    }},
    "projection": {"kind": "conv1d", "in_channels": 12, "out_channels": 4, "kernel_size": 1},
    "vq": {
        "kind": "vector_quantizer", "channels": 4, "codes": 16,
        "initializer": {"name": "normal", "gain": 1.0},
    },
    "decoder": {"kind": "sequential", "layers": {
        "tcn": {
            "kind": "tcn", "in_channels": 4, "channels": [6], "kernel_size": 3,
            "norm": "weight_norm", "dropout": 0.0,
        },
        "sensors": {"kind": "conv1d", "in_channels": 6, "out_channels": 6, "kernel_size": 1},
        "devices": {"kind": "device_split", "devices": 2},
    }},
    "hdp": {"kind": "hdp", "clusters": 5, "channels": 4},
    "hsmm": {"kind": "hsmm", "states": 5, "max_duration": 7, "emission": "none"},
    "classifier": {"kind": "sequential", "layers": {
        "pool": {"kind": "pool"}, "logits": {"kind": "dense", "in_features": 4, "out_features": 3},
    }},
}  # fmt: skip
HSMM = {"kind": "hsmm", "states": 5, "max_duration": 7}
CODES = {"kind": "hdp", "clusters": 5, "components": "codes", "codes": 16}
VARIANTS = {
    "evidence": {},
    "features": {"hsmm": {**HSMM, "channels": 4}, "detach": False},
    "codes": {"hdp": CODES, "hsmm": {**HSMM, "emission": "categorical", "codes": 16}},
    "fsq": {  # whose evidence is of codes, and which is asked for a behaviour at each step
        "vq": {"kind": "fsq", "levels": [3, 4, 5, 3]},
        "hdp": {**CODES, "codes": 180},
        "classifier": {"kind": "conv1d", "in_channels": 4, "out_channels": 3, "kernel_size": 2},
    },
}  # fmt: skip
LOSSES = {
    "reconstructed": "mse", "vq_loss": "term", "behavior_logits": "cross_entropy",
    "hsmm_loss": "term", "hdp_penalty": "term", "hdp_loss": "term", "entropy": "term",
}  # fmt: skip
TARGETS = {
    "reconstructed": noise(*SIGNAL, seed=4),
    "behavior_logits": np.array([1, 2]),
}


def model_spec(name="evidence"):
    return tcnzoo.load_spec({**SMALL, **VARIANTS[name]})


@pytest.fixture(scope="module")
def known():
    """Output and gaps of the float64 reference, by variant."""
    found = {}

    def of(name):
        if name not in found:
            spec = model_spec(name)
            exact = reference(spec, weights_of(spec))
            found[name] = (tcnzoo.predict(exact, noise(*SIGNAL)), exact.gaps(noise(*SIGNAL)))
        return found[name]

    return of


@pytest.mark.parametrize("name", VARIANTS)
def test_every_output_equals_the_reference(backend, name, known):
    spec, (expected, gaps) = model_spec(name), known(name)
    found = tcnzoo.predict(tcnzoo.create(spec, backend, weights=weights_of(spec)), noise(*SIGNAL))
    assert tuple(found) == spec.output_names
    for choice in spec.discrete_outputs:
        assert found[choice].dtype == np.int32
    assert outputs_error(found, expected, gaps) <= 1e-5


@pytest.mark.parametrize("name", VARIANTS)
def test_shapes_are_those_of_the_spec(name, known):
    spec, (outputs, _) = model_spec(name), known(name)
    shapes = {key: (2, *shape) for key, shape in spec.output_shapes(SIGNAL[1:]).items()}
    assert {key: array.shape for key, array in outputs.items()} == {
        key: shapes.get(key, ()) for key in spec.output_names
    }
    assert spec.output_shape(SIGNAL[1:]) == SIGNAL[1:]


@pytest.mark.parametrize("name", ["evidence", "features", "codes"])
def test_outputs_hold_together(name, known):
    spec, (y, _) = model_spec(name), known(name)
    parts, weights = spec.children(), weights_of(spec)

    def part(path, x):
        own = {
            k.removeprefix(f"{path}."): a for k, a in weights.items() if k.startswith(f"{path}.")
        }
        return tcnzoo.predict(reference(parts[path], own), x)

    z = part("projection", part("encoder", noise(*SIGNAL)))
    q = part("vq", z)
    book = weights["vq.codebook"].astype(np.float64)
    distances = ((np.moveaxis(z, 1, -1)[:, :, None] - book) ** 2).sum(axis=-1)
    np.testing.assert_array_equal(y["codes"], distances.argmin(axis=-1))
    assert_close(np.moveaxis(q, 1, -1), book[y["codes"]], 1e-12)
    assert_close(y["reconstructed"], part("decoder", q), 1e-12)
    assert_close(y["behavior_logits"], part("classifier", q), 1e-12)
    seen = {"features": q, "codes": y["codes"][:, None].astype(float)}.get(name)
    one_hot = np.moveaxis(np.eye(16)[y["codes"]], -1, 1)
    clusters = part("hdp", one_hot if name == "codes" else q)
    assert_close(y["cluster_posterior"], clusters, 1e-12)
    assert_close(y["entropy"], -(clusters * np.log(clusters)).sum(axis=1).mean(), 1e-12)
    if seen is not None:
        assert_close(y["state_posterior"], part("hsmm", seen), 1e-12)
    counts = np.bincount(y["codes"].ravel(), minlength=16) / y["codes"].size
    assert_close(y["perplexity"], np.exp(-(counts[counts > 0] * np.log(counts[counts > 0])).sum()))
    assert_close(y["hsmm_loss"], -y["log_likelihood"].mean() / 13, 1e-12)


def test_expected_durations_lie_between_the_states_means(known):
    y, _ = known("evidence")
    weights = weights_of(model_spec())
    rate = np.exp(weights["hsmm.duration_log_rate"].astype(np.float64))
    steps = np.arange(1, 8)
    laws = rate[:, None] ** (steps - 1) / np.cumprod(np.maximum(steps - 1, 1))
    means = (laws / laws.sum(axis=1, keepdims=True)) @ steps
    assert_close(y["expected_duration"], np.einsum("nkt,k->nt", y["state_posterior"], means), 1e-12)


def test_path_is_a_segmentation_that_no_change_of_one_step_betters(known):
    y, gaps = known("evidence")
    assert (gaps["state_path"] >= 0.0).all()
    assert (gaps["codes"] >= 0.0).all()
    for path in y["state_path"]:
        edges = np.flatnonzero(np.diff(path)) + 1
        assert np.diff(np.r_[0, edges, len(path)]).max() <= 7


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", ["evidence", "features", "codes"])
def test_gradients_equal_those_of_float64(native, name, training):
    pytest.importorskip("torch")
    spec = model_spec(name)
    weights, x = weights_of(spec), noise(*SIGNAL)
    exact = tcnzoo.create(spec, "torch", weights=weights, dtype="float64")
    loss, expected = tcnzoo.gradients(exact, x, TARGETS, LOSSES, training=training)
    model = tcnzoo.create(spec, native, weights=weights)
    found_loss, found = tcnzoo.gradients(model, x, TARGETS, LOSSES, training=training)
    assert_close(found_loss, loss)
    assert_gradients_close(found, expected)
    after, wanted = tcnzoo.get_weights(model), tcnzoo.get_weights(exact)
    for key in weights:
        assert_close(after[key], wanted[key], 1e-5, key)
    assert training == (not np.array_equal(after["vq.codebook"], weights["vq.codebook"]))


def test_every_parameter_is_trained_by_some_loss():
    pytest.importorskip("torch")
    model = tcnzoo.create(model_spec(), "torch", weights=weights_of(model_spec()))
    _, found = tcnzoo.gradients(model, noise(*SIGNAL), TARGETS, LOSSES, training=True)
    assert [name for name, slope in found.items() if not np.abs(slope).max() > 0.0] == []


@pytest.mark.parametrize("detach", [True, False])
def test_the_encoder_hears_of_likelihoods_only_if_it_shall(native, detach):
    spec = tcnzoo.load_spec({**SMALL, "detach": detach})
    model = tcnzoo.create(spec, native, weights=weights_of(spec))
    _, found = tcnzoo.gradients(model, noise(*SIGNAL), {}, {"hsmm_loss": "term"})
    slope = np.abs(found["encoder.tcn.blocks.0.conv1.weight"]).max()
    assert (slope == 0.0) == detach
    assert np.abs(found["hdp.means"]).max() > 0.0
    assert np.abs(found["hsmm.duration_log_rate"]).max() > 0.0


def test_gradients_stay_finite_where_posteriors_are_exactly_zero(native):
    # Clusters so far apart that float32 gives all but one of them no chance at all.
    spec = model_spec()
    weights = weights_of(spec)
    weights["hdp.means"] = 100.0 * weights["hdp.means"]
    model = tcnzoo.create(spec, native, weights=weights)
    y = tcnzoo.predict(model, noise(*SIGNAL))
    assert (y["cluster_posterior"] == 0.0).any()
    loss, found = tcnzoo.gradients(model, noise(*SIGNAL), TARGETS, LOSSES)
    assert np.isfinite(loss)
    assert [name for name, slope in found.items() if not np.isfinite(slope).all()] == []


def test_training_leaves_out_what_no_loss_needs():
    torch = pytest.importorskip("torch")
    model = tcnzoo.create(model_spec(), "torch").train()
    outputs = model(torch.tensor(noise(*SIGNAL), dtype=torch.float32))
    missing = {"state_posterior", "state_path", "expected_duration"}
    assert [*outputs] == [name for name in model.spec.output_names if name not in missing]


def test_a_reconstruction_can_be_negative_and_differs_by_device(known):
    y, _ = known("evidence")
    assert y["reconstructed"].min() < -0.1
    assert np.abs(y["reconstructed"][:, :, 0] - y["reconstructed"][:, :, 1]).max() > 0.1


def test_the_encoder_does_not_look_ahead(backend):
    spec = tcnzoo.load_spec("vq-encoder-hailo")
    model = tcnzoo.create(spec, backend, weights=weights_of(spec))
    x = noise(1, 9, 2, 40)
    moved = x.copy()
    moved[..., 25:] += 1.0
    change = np.abs(tcnzoo.predict(model, moved) - tcnzoo.predict(model, x))
    assert change[..., :25].max() == 0.0
    assert change[..., 25].max() > 0.0


@pytest.mark.parametrize("name", ["small", "preset"])
def test_the_part_for_the_chip_chooses_the_same_codes(name):
    spec = model_spec() if name == "small" else tcnzoo.load_spec("vq-hdp-hsmm")
    weights, x = weights_of(spec), noise(2, *spec.signal_shape(30))
    cut, held = code_scores(spec, weights)
    if name == "preset":
        assert cut == tcnzoo.load_spec("vq-encoder-hailo")
    model = tcnzoo.create(cut, "numpy", weights=held, dtype="float64")
    whole = reference(spec, weights)
    clear = whole.gaps(x)["codes"] >= CLEAR
    assert clear.mean() > 0.5
    found = tcnzoo.predict(model, x).argmax(axis=1)
    np.testing.assert_array_equal(found[clear], tcnzoo.predict(whole, x)["codes"][clear])


def test_the_part_for_the_chip_is_refused_where_there_is_none():
    sentence = "code_scores takes a vq_hdp_hsmm, but got a conv1d"
    conv = tcnzoo.load_spec(SMALL["projection"])
    assert_refused(SpecError, sentence, code_scores, conv, weights_of(conv))
    sentence = (
        "code_scores takes a model whose vq is a vector_quantizer without cosine, but it is an fsq"
    )
    fsq = model_spec("fsq")
    assert_refused(SpecError, sentence, code_scores, fsq, weights_of(fsq))


def test_no_exporter_is_asked_for_segments(tmp_path):
    pytest.importorskip("onnx")
    sentence = (
        "a vq_hdp_hsmm gives several outputs, of which no exporter writes those over segments; "
        "export the part that scores codes (tcnzoo.runtimes.code_scores)"
    )
    assert_refused(SpecError, sentence, tcnzoo.export, SMALL, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_a_checkpoint_of_the_part_for_the_chip_is_exported(tmp_path):
    pytest.importorskip("onnxruntime")
    cut, held = code_scores(model := tcnzoo.load_spec("vq-hdp-hsmm"), weights_of(model))
    tcnzoo.save(tcnzoo.create(cut, "numpy", weights=held), tmp_path / "cut")
    report = tcnzoo.export(tmp_path / "cut", tmp_path / "a.onnx", rank=4)
    assert report.passed


def test_counts_by_hand():
    def block(a, b, taps):
        return taps * a * b + b + taps * b * b + b + (a * b + b if a != b else 0) + 4 * b

    encoder = block(9, 32, 5) + block(32, 64, 5) + block(64, 64, 5) + 2 * 64 * 64 + 64
    decoder = 2 * block(64, 64, 5) + 64 * 18 + 18
    classifier = 64 * 64 + 64 + 64 * 12 + 12
    hdp, hsmm = 19 + 2 * 20 * 64, 20 + 20 * 20 + 2 * 20
    statistics = 4 * (32 + 64 + 64) + 4 * 128 + 2 * 512 * 64 + 512 + 1
    trained = encoder + 64 * 64 + 64 + decoder + classifier + hdp + hsmm
    assert tcnzoo.count_params(tcnzoo.load_spec("vq-hdp-hsmm")) == (trained, statistics)


def test_parity_holds_choices_equal():
    report = tcnzoo.parity(SMALL, backends=["numpy"], input_length=17, layers=True, gradients=True)
    assert report.passed
    assert report.rows[0].gradient_error is None  # the quantiser hands on another gradient
    assert report.input_shape == (2, 3, 2, 17)
    assert "encoder.attention" in {row.path for row in report.layers}


def _told(codes, value, scalar=1.0):
    return {
        "codes": np.array(codes, dtype=np.int32),
        "value": np.array(value, dtype=np.float64),
        "scalar": np.array(scalar),
    }


def test_a_choice_may_differ_only_where_it_is_unclear():
    known = _told([[1, 2], [3, 4]], [[0.0, 0.5], [0.0, 0.5]])
    gaps = {"codes": np.array([[1.0, 0.5 * CLEAR], [1.0, 1.0]])}
    assert relative_error(known, known, gaps) == 0.0
    # Clear and different: never.
    assert relative_error(_told([[1, 2], [3, 9]], known["value"]), known, gaps) == np.inf
    # Unclear and different: what follows from it is not compared, the other signal is.
    other = _told([[1, 7], [3, 4]], [[9.0, 9.0], [0.0, 0.5]], scalar=7.0)
    assert relative_error(other, known, gaps) == 0.0
    other = _told([[1, 7], [3, 4]], [[9.0, 9.0], [0.25, 0.5]], scalar=7.0)
    assert relative_error(other, known, gaps) == 0.25
    # Where the choices are the same, numbers over the batch count.
    assert relative_error(_told(known["codes"], known["value"], 1.5), known, gaps) == 0.5
    # No signal is left to compare.
    both = {"codes": np.zeros((2, 2))}
    assert relative_error(_told([[0, 0], [0, 0]], known["value"]), known, both) == np.inf
    with pytest.raises(InputError, match="expected the outputs"):
        relative_error({"codes": known["codes"]}, known, gaps)


@pytest.mark.parametrize(
    "target, loss, sentence",
    [
        (TARGETS, "mse", "the model has several outputs, so target and loss must be dictionaries"),
        ({}, {"vq_loss": "mean"}, "loss must be one of mse, mae, bce, cross_entropy, term"),
        ({}, {"vq_los": "term"}, "no output 'vq_los'; did you mean 'vq_loss'?"),
        ({}, {"codes": "term"}, "loss 'term' takes a scalar output, but 'codes' is none"),
        ({}, {"reconstructed": "mse"}, "loss 'mse' of output 'reconstructed' needs a target"),
        (
            {"reconstructed": np.zeros((2, 3))},
            {"reconstructed": "mse"},
            "the target of loss 'mse' must have shape (2, 3, 2, 13), but has (2, 3)",
        ),
    ],
)
def test_losses_that_do_not_fit_are_refused(native, target, loss, sentence):
    model = tcnzoo.create(model_spec(), native)
    with pytest.raises(InputError) as caught:
        tcnzoo.gradients(model, noise(*SIGNAL), target, loss)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"hdp": {**SMALL["hdp"], "channels": 3}}, "hdp.channels must be 4 as the other parts say"),
        ({"hsmm": {**HSMM, "states": 6, "emission": "none"}}, "hsmm.states must be 5"),
        ({"hsmm": {**HSMM, "emission": "categorical", "codes": 9}}, "hsmm.codes must be 16"),
        (
            {"projection": {**SMALL["projection"], "out_channels": 3}},
            "encoder and projection must give (batch, 4, 1048576), one vector a step",
        ),
        (
            {"decoder": {"kind": "conv1d", "in_channels": 4, "out_channels": 6, "kernel_size": 1}},
            "the decoder must give the shape of the input (3, 2, 1048576), but gives (6, 1048576)",
        ),
        ({"classifier": {"kind": "glu"}, "decoder": {"kind": "pool"}}, "the decoder must give"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, sentence):
    with pytest.raises(SpecError) as caught:
        tcnzoo.load_spec({**SMALL, **change})
    assert sentence in str(caught.value)


def test_several_outputs_are_no_layer():
    with pytest.raises(SpecError, match="gives several outputs, so it must stand alone"):
        tcnzoo.load_spec({"kind": "sequential", "layers": {"model": SMALL}})


def test_it_does_not_stream(backend):
    model = tcnzoo.create(model_spec(), backend)
    with pytest.raises(InputError, match="its states are told from the whole signal"):
        tcnzoo.init_state(model)


def test_folding_keeps_the_outputs(known):
    spec = model_spec()
    folded, weights = tcnzoo.fold(spec, weights_of(spec))
    expected, gaps = known("evidence")
    found = tcnzoo.predict(
        tcnzoo.create(folded, "numpy", weights=weights, dtype="float64"), noise(*SIGNAL)
    )
    assert "decoder.tcn.blocks.0.conv1.weight_g" not in weights
    assert outputs_error(found, expected, gaps) < 1e-6


def test_a_checkpoint_goes_round(backend, tmp_path):
    spec = model_spec()
    model = tcnzoo.create(spec, backend, weights=weights_of(spec))
    tcnzoo.save(model, tmp_path / "kept")
    again = tcnzoo.load(tmp_path / "kept", backend)
    assert again.tcnzoo.spec == spec
    for name, array in tcnzoo.get_weights(model).items():
        np.testing.assert_array_equal(tcnzoo.get_weights(again)[name], array)
