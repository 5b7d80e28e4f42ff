"""The HDP-HSMM: as many states are left as the data need, whatever number there may be."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.behaviour import matched
from tcnzoo.errors import InputError
from tcnzoo.inference import hsmm
from tcnzoo.inference.hsmm import hdp_em
from tcnzoo.inference.hsmm.em import expect
from tcnzoo.inference.hsmm.initial import checked_sequences
from tests.support.hsmm_models import MEANS, drawn, known

pytest.importorskip("numba")  # thirty times slower without


def fitted(states, steps, **options):
    """A fit of so many states at most to a signal of five, and the true states."""
    spec, weights = known("poisson")
    _, sample = drawn(spec, weights, steps)
    signal = sample.observations[0]
    wide = tcnzoo.load_spec({**spec.model_dump(), "states": states})
    fit = hsmm.fit_hdp(wide, hsmm.from_data(wide, [signal], seed=1), [signal], **options)
    return wide, signal, sample.states[0], fit


@pytest.mark.parametrize("states, steps, tolerance", [(10, 2000, 0.10), (20, 20_000, 0.05)])
def test_five_states_are_left(states, steps, tolerance):
    spec, signal, truth, fit = fitted(states, steps, iterations=10)
    assert len(fit.active) == 5
    assert np.diff(fit.bounds).min() >= 0
    assert fit.beta.sum() == pytest.approx(1.0)
    assert fit.beta[fit.active].min() > 0.1
    model = tcnzoo.create(spec, "numpy", weights=fit.weights)
    path = hsmm.viterbi(model, signal[None]).path[0]
    assert matched(path, truth, by="one_to_one").accuracy > 0.95
    # With 2,000 steps each state has about 20 segments: a standard error of 5 % of the mean.
    lasting = np.sort(hsmm.mean_durations(model)[fit.active])
    assert np.abs(lasting / np.sort(MEANS) - 1.0).max() < tolerance


def test_what_two_states_hold_is_one_states_afterwards():
    """Moments around two means, added, are those of the two together around the mean kept."""
    spec, weights = known("poisson")
    _, sample = drawn(spec, weights, 300)
    held = {name: np.asarray(one, np.float64) for name, one in weights.items()}
    batches = checked_sequences(spec, [sample.observations[0]], None)
    counts = expect(spec, held, batches)
    point = hdp_em._Point(held, counts, np.zeros(5), 0.0)
    found = hdp_em._together(point, 1, 3)
    centre = held["means"][1] + found.sums[1] / found.weight[1]
    both = [held["means"][k] + counts.sums[k] / counts.weight[k] for k in (1, 3)]
    shares = counts.weight[[1, 3]] / counts.weight[[1, 3]].sum()
    np.testing.assert_allclose(centre, shares @ both, rtol=1e-10)
    second = [
        counts.squares[k] / counts.weight[k]
        + 2 * held["means"][k] * counts.sums[k] / counts.weight[k]
        + held["means"][k] ** 2
        for k in (1, 3)
    ]
    merged = found.squares[1] / found.weight[1] + 2 * held["means"][1] * (
        found.sums[1] / found.weight[1]
    )
    np.testing.assert_allclose(merged + held["means"][1] ** 2, shares @ second, rtol=1e-10)
    between = counts.transitions[1, 3] + counts.transitions[3, 1]
    assert found.transitions.sum() == pytest.approx(counts.transitions.sum() - between)
    assert not found.transitions[3].any()
    assert not found.transitions[:, 3].any()
    assert counts.weight[3] > 0, "what was counted before is left as it is"


def test_codes_can_be_merged_too():
    spec = tcnzoo.load_spec(
        {"kind": "hsmm", "states": 4, "max_duration": 12, "emission": "categorical", "codes": 3}
    )
    truth = np.repeat(np.tile([0, 1, 2], 20), 6)
    signal = truth[None].astype(np.float64)
    fit = hsmm.fit_hdp(spec, hsmm.from_data(spec, [signal]), [signal], iterations=5)
    assert len(fit.active) == 3


@pytest.mark.parametrize("change", [{"alpha": 0.0}, {"gamma": -1.0}, {"iterations": 0}])
def test_bad_settings_are_refused(change):
    with pytest.raises(InputError, match="concentrations above 0 and at least 1 iteration"):
        fitted(6, 50, **change)
