"""The torch module: all ways through its recursions, gradients without a tape, streams, floats."""

import importlib
import itertools

import numpy as np
import pytest

import tcnzoo
from tcnzoo import engines
from tcnzoo.errors import InputError
from tcnzoo.inference import hsmm
from tests.inference.test_hsmm_zeros import ZEROS, with_zeros
from tests.support.compare import (
    assert_close,
    assert_gradients_close,
    reference,
    stream,
    weights_of,
)
from tests.support.hsmm_models import (
    EMISSIONS,
    ENDS,
    LAWS,
    STARTS,
    assert_found,
    drawn,
    hsmm_spec,
    known,
    random_weights,
    signal_for,
)

torch = pytest.importorskip("torch")
hsmm_likelihood = importlib.import_module("tcnzoo.backends.torch.kernels.hsmm.likelihood")
hsmm_scan = importlib.import_module("tcnzoo.backends.torch.kernels.hsmm.scan")

MODES = list(itertools.product(STARTS, ENDS))
LENGTHS = np.array([37, 20, 3])


@pytest.fixture(params=["plain", "scaled", "torch"])
def way(request, monkeypatch):
    """All ways: numba's loops over logarithms and over probabilities, and torch's operations."""
    compiled = request.param != "torch"
    monkeypatch.setattr(hsmm_likelihood, "runs_compiled", lambda scores: compiled)
    if compiled:
        monkeypatch.setenv(engines.ENGINE, request.param)
    return request.param


def gapped(spec):
    """Three sequences of different lengths with steps that are missing."""
    x = signal_for(spec, 3, 37)
    mask = np.random.default_rng(0).random((3, 37)) < 0.8
    mask[:, 1] = True
    return np.where(mask[:, None], x, np.nan), LENGTHS, mask


def tensors(x, lengths, mask):
    x = torch.tensor(x).requires_grad_()
    return x, torch.tensor(lengths), torch.tensor(mask)


def relative(found, expected):
    return np.abs(found - expected).max() / max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("start, end", MODES)
@pytest.mark.parametrize("law", LAWS)
def test_equals_reference(law, start, end, way):
    spec = hsmm_spec(4, 7, duration=law, start=start, end=end)
    weights, given = weights_of(spec), gapped(spec)
    expected = reference(spec, weights)
    # float32: rounding of the scores only, since the recursions run in float64.
    for dtype, room in (("float64", 1e-11), ("float32", 1e-5)):
        model = tcnzoo.create(spec, "torch", weights=weights, dtype=dtype)
        for call in (hsmm.posteriors, hsmm.filter):
            one, other = vars(call(model, *given)), vars(call(expected, *given))
            assert list(one) == list(other)
            for name in other:
                assert one[name].shape == other[name].shape, name
                assert relative(one[name], other[name]) < room, name
        assert relative(
            hsmm.log_likelihood(model, *given), hsmm.log_likelihood(expected, *given)
        ) < room  # fmt: skip
        one, other = hsmm.viterbi(model, *given), hsmm.viterbi(expected, *given)
        assert one.segments == other.segments
        assert relative(one.score, other.score) < room


@pytest.mark.parametrize("start, end", MODES)
@pytest.mark.parametrize("law", LAWS)
def test_backward_equals_autograd(law, start, end, way):
    spec = hsmm_spec(4, 7, duration=law, start=start, end=end)
    model = tcnzoo.create(spec, "torch", weights=weights_of(spec), dtype="float64")
    x, lengths, mask = tensors(*gapped(spec))
    share = torch.tensor([1.0, -0.7, 0.3], dtype=torch.float64)
    inputs = {"x": x, **dict(model.named_parameters())}
    value = (model.log_likelihood(x, lengths, mask) * share).sum()
    found = torch.autograd.grad(value, list(inputs.values()))
    tape = (hsmm_scan.plain(*model._given(x, lengths, mask)) * share).sum()
    expected = torch.autograd.grad(tape, list(inputs.values()))
    assert abs((value - tape).item()) < 1e-10
    for name, one, other in zip(inputs, found, expected, strict=True):
        assert torch.isfinite(one).all(), name
        size = float(other.abs().max())
        assert size > 1e-3, f"{name} has no gradient"
        assert float((one - other).abs().max()) < 1e-10 * max(1.0, size), name


@pytest.mark.parametrize("name", EMISSIONS)
def test_emissions_equal_reference(name, way):
    spec = hsmm_spec(4, 7, **EMISSIONS[name])
    weights, x = weights_of(spec), signal_for(spec, 2, 37)
    for output in ("posterior", "filtered"):
        one = spec.model_copy(update={"output": output})
        found = tcnzoo.predict(tcnzoo.create(one, "torch", weights=weights), x)
        assert_close(found, tcnzoo.predict(reference(one, weights), x))


@pytest.mark.parametrize("output", ["posterior", "filtered"])
def test_probabilities_can_be_differentiated(output):
    spec = hsmm_spec(3, 4, output=output, start="stationary")
    weights, x = random_weights(spec), signal_for(spec, 2, 9)
    target = np.random.default_rng(1).random((2, 3, 9))
    model = tcnzoo.create(spec, "torch", weights=weights, dtype="float64")
    _, found = tcnzoo.gradients(model, x, target)
    expected = {name: np.zeros(one.shape) for name, one in found.items()}

    def loss(held):
        given = {name: one for name, one in held.items() if name != "input"}
        y = tcnzoo.predict(reference(spec, given), held["input"])
        return np.mean((y - target) ** 2)

    held = {**weights, "input": x}
    for name, slope in expected.items():
        for place in np.ndindex(slope.shape):
            for step in (1e-5, -1e-5):
                moved = {**held, name: held[name].copy()}
                moved[name][place] += step
                slope[place] += loss(moved) / (2.0 * step)
    assert_gradients_close(found, expected)


def test_peaked_scores_have_the_gradient_of_a_tape(way):
    # Windows are settled at most steps, and a state that is left comes back.
    spec = hsmm_spec(3, 6, emission="none", start="stationary")
    model = tcnzoo.create(spec, "torch", weights=random_weights(spec), dtype="float64")
    x = torch.tensor(80.0 * signal_for(spec, 2, 31)).requires_grad_()
    inputs = [x, *model.parameters()]
    value = model.log_likelihood(x)
    found = torch.autograd.grad(value.sum(), inputs)
    tape = hsmm_scan.plain(*model._given(x, None, None))
    # 1e-11 relative: the tape adds up scores of some 1e4.
    apart, size = (value - tape).detach().abs().max(), tape.detach().abs().max()
    assert float(apart) < 1e-11 * float(size)
    for one, other in zip(found, torch.autograd.grad(tape.sum(), inputs), strict=True):
        assert float((one - other).abs().max()) < 1e-10 * max(1.0, float(other.abs().max()))


def test_float32_stays_near_on_long_signals(way):
    spec = hsmm_spec(10, 50, channels=8, expected_duration=12.0)
    weights, x = weights_of(spec), 3.0 * signal_for(spec, 2, 1000)
    expected = hsmm.log_likelihood(reference(spec, weights), x)
    found = hsmm.log_likelihood(tcnzoo.create(spec, "torch", weights=weights), x)
    # Needed: 1e-7, the rounding of the scores.
    assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("start", STARTS)
def test_stream_equals_offline_and_goes_on_in_numpy(start):
    spec = hsmm_spec(4, 7, start=start, output="filtered")
    weights, x = weights_of(spec), signal_for(spec, 2, 40)
    model, other = tcnzoo.create(spec, "torch", weights=weights), reference(spec, weights)
    expected = tcnzoo.predict(other, x)
    found, _ = stream(model, x, [1, 2, 9, 9, 30])
    assert_close(found, expected)
    first, state = stream(model, x[:, :, :13], [5])
    middle, state = stream(other, x[:, :, 13:30], [1], state=state)
    last, state = stream(model, x[:, :, 30:], [3], state=state)
    assert_close(np.concatenate([first, middle, last], axis=2), expected)


def test_float32_stream_keeps_its_sum():
    spec = hsmm_spec(3, 6, output="filtered")
    weights, x = weights_of(spec), signal_for(spec, 1, 3000)
    model = tcnzoo.create(spec, "torch", weights=weights)
    found, state = stream(model, x, range(500, 3000, 500))
    whole = hsmm.filter(reference(spec, weights), x)
    assert_close(found, whole.filtered)
    laws = model.laws()
    alive = torch.logsumexp((state["ages"] + laws.survival)[0].flatten(), 0)
    value = float(state["scale"][0, 0].double() - state["scale"][0, 1].double() + alive.detach())
    # A plain sum of 3000 steps would be off by some 1e-6 of its size.
    assert abs(value - whole.log_likelihood[0, -1]) < 2e-7 * abs(value)


def test_gradients_take_a_long_signal_apart():
    spec, weights = known("poisson", "stationary")
    truth, sample = drawn(spec, weights, 20_000)
    pieces = np.stack(np.split(sample.observations[0], 40, axis=1))
    model = tcnzoo.create(spec, "torch", weights=hsmm.from_data(spec, list(pieces)))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.03)
    batches = torch.tensor(pieces, dtype=torch.float32).split(8)
    for turn in range(110):
        if turn == 80:
            optimiser.param_groups[0]["lr"] = 0.01
        optimiser.zero_grad()
        loss = -model.log_likelihood(batches[turn % 5]).mean() / 500
        loss.backward()
        optimiser.step()
    assert_found(spec, tcnzoo.get_weights(model), truth, sample)


@pytest.mark.parametrize("name", ZEROS)
@pytest.mark.parametrize("start, end", [("fresh", "censored"), ("stationary", "none")])
def test_loops_in_torch_take_probabilities_of_0(name, start, end, monkeypatch):
    # What runs on a GPU, where numba's loops do not.
    spec, weights = with_zeros(name, start, end, emission="categorical", codes=4)
    weights["code_logits"][[0, 1], [3, 2]] = -np.inf
    x = np.array([[[0, 0, 1, 1, 2, -1]], [[1, 0, 0, 3, 1, 0]]], dtype=np.float32)
    model = tcnzoo.create(spec, "torch", weights=weights)
    expected = hsmm.posteriors(model, x)
    monkeypatch.setattr(hsmm_likelihood, "runs_compiled", lambda scores: False)
    found = hsmm.posteriors(model, x)
    for key, value in vars(expected).items():
        assert_close(getattr(found, key), value, 1e-10, key)
    impossible = np.full((1, 1, 3), 3.0, dtype=np.float32)
    if name in ("start", "left-to-right"):  # which begins with state 0, and that never makes code 3
        with pytest.raises(InputError, match="no segmentation of 3 steps is possible"):
            hsmm.posteriors(model, impossible)


def test_the_filters_likelihood_is_the_same_with_gradients():
    spec, weights = with_zeros("short")
    model = tcnzoo.create(spec, "torch", weights=weights)
    x = torch.randn(2, 2, 7)
    with torch.no_grad():
        expected = model.filtered(x)
    for found, one in zip(model.filtered(x), expected, strict=True):
        assert (found - one).abs().max() < 1e-6
