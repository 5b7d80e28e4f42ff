"""The hsmm's streaming filter: equal to the offline one, of constant size, and handed over."""

import numpy as np
import pytest
from scipy.special import logsumexp

import tcnzoo
from tcnzoo.arrays import to_numpy
from tcnzoo.errors import InputError
from tcnzoo.inference import hsmm
from tcnzoo.inference.hsmm.tables import tables_of
from tests.support.compare import assert_close, assert_refused, reference, stream
from tests.support.hsmm_models import EMISSIONS, hsmm_spec, random_weights, signal_for

# Each law and both starts; the end means nothing to a filter.
MODELS = {
    f"{law}-{start}-{emission}": hsmm_spec(
        4, 7, duration=law, start=start, output="filtered", **EMISSIONS[emission]
    )
    for law, start, emission in (
        ("poisson", "fresh", "gaussian"),
        ("negative_binomial", "stationary", "none"),
        ("gaussian", "fresh", "categorical"),
        ("categorical", "stationary", "neural"),
    )
}
LENGTH, CUT = 23, 9
# One step at a time, none, and more than the longest duration at once.
RAGGED = (1, 2, 2, 5, 14, 15)


def weights_for(spec):
    """Float32 weights that are all noise."""
    return {name: array.astype(np.float32) for name, array in random_weights(spec, 3, 0.8).items()}


@pytest.fixture(scope="module")
def models():
    """Build each model once."""
    kept = {}

    def build(name, backend):
        if (name, backend) not in kept:
            spec = MODELS[name]
            kept[name, backend] = tcnzoo.create(spec, backend, weights=weights_for(spec))
        return kept[name, backend]

    return build


@pytest.fixture(params=MODELS)
def signal(request):
    """(name, x, float64 filter over all of it)."""
    name = request.param
    spec = MODELS[name]
    x = signal_for(spec, 2, LENGTH)
    return name, x, hsmm.filter(reference(spec, weights_for(spec)), x)


def test_chunks_equal_the_offline_filter(backend, models, signal):
    name, x, answer = signal
    found, state = stream(models(name, backend), x, RAGGED)
    assert_close(found, answer.filtered)
    assert_close(found, tcnzoo.predict(models(name, backend), x))
    spec = MODELS[name]
    survival = tables_of(spec, weights_for(spec)).survival
    ages, (total, lost) = to_numpy(state["ages"]), to_numpy(state["scale"]).T
    # What the state knows of the likelihood, without the signal that made it.
    known = (total - lost) + logsumexp(ages + survival, axis=(1, 2))
    assert_close(known, answer.log_likelihood[:, -1])


def test_the_state_is_as_large_after_any_number_of_steps(backend, models):
    model, sizes = models("poisson-fresh-gaussian", backend), []
    state = tcnzoo.init_state(model, 2)
    x = signal_for(MODELS["poisson-fresh-gaussian"], 2, 40)
    for start, stop in ((0, 1), (1, 2), (2, 40)):
        _, state = tcnzoo.step(model, x[:, :, start:stop], state)
        sizes.append({name: to_numpy(array).shape for name, array in state.items()})
    assert sizes == [{"ages": (2, 4, 7), "scale": (2, 2), "count": ()}] * 3
    assert to_numpy(state["count"]) > 0


@pytest.mark.parametrize("name", list(MODELS)[::3])
def test_any_backend_continues_what_another_began(backend, backends, models, name):
    x = signal_for(MODELS[name], 2, LENGTH)
    answer = hsmm.filter(reference(MODELS[name], weights_for(MODELS[name])), x)
    first, state = stream(models(name, backend), x[:, :, :CUT], [4])
    for receiver in backends:
        rest, _ = stream(models(name, receiver), x[:, :, CUT:], [2], state=state)
        found = np.concatenate([first, rest], axis=2)
        assert_close(found, answer.filtered, label=f"{backend} to {receiver}")


def test_a_state_before_the_first_step_is_handed_over(backend, models):
    name = "negative_binomial-stationary-none"
    state = tcnzoo.init_state(models(name, "numpy"), 2)
    x = signal_for(MODELS[name], 2, 3)
    found, _ = tcnzoo.step(models(name, backend), x, state)
    expected = hsmm.filter(reference(MODELS[name], weights_for(MODELS[name])), x).filtered
    assert_close(found, expected)


def test_the_scale_keeps_what_float32_would_lose(backend):
    # 400 steps of -100.3 each: near -40,000 a float32 has steps of 4e-3, and a plain sum would lose
    # about a tenth in all; the compensated one loses only what each addend was rounded by.
    spec = hsmm_spec(2, 2, emission="none", output="filtered")
    weights = weights_for(spec)
    x = np.full((1, 2, 400), -100.3, dtype=np.float32)
    model = tcnzoo.create(spec, backend, weights=weights)
    found, state = stream(model, x, range(50, 400, 50))
    answer = hsmm.filter(reference(spec, weights), x)
    assert_close(found, answer.filtered, 1e-4)  # -100.3 takes 4e-6 off each weight, every step anew
    survival = tables_of(spec, weights).survival
    total, lost = to_numpy(state["scale"]).astype(np.float64)[0]
    known = (total - lost) + logsumexp(to_numpy(state["ages"])[0] + survival)
    assert abs(known - answer.log_likelihood[0, -1]) < 400 * 2.0**-18


def test_posteriors_do_not_stream(backend):
    spec = hsmm_spec(3, 4)
    model = tcnzoo.create(spec, backend, weights=weights_for(spec))
    sentence = (
        "this model cannot stream: hsmm: posteriors need the whole signal; with 'output: filtered' "
        "the states are told from the signal so far"
    )
    assert_refused(InputError, sentence, tcnzoo.init_state, model)
