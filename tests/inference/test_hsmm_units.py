"""Fits in any unit of the signal: the same with a floor in that unit, and a warning without."""

import warnings

import numpy as np
import pytest

import tcnzoo
from tcnzoo.inference import hsmm
from tcnzoo.inference.hsmm.floors import warn_of_large_floor

SCORED = {"kind": "hsmm", "states": 3, "max_duration": 4, "emission": "none"}
TRUTH = np.repeat([place % 2 for place in range(16)], 50)


def bouts(scale):
    """Two states of deviations `scale` and three times that, around (0, 0, 500 scale)."""
    generator = np.random.default_rng(0)
    spread = np.where(TRUTH, scale, 3.0 * scale)
    return generator.standard_normal((3, len(TRUTH))) * spread + [[0.0], [0.0], [500.0 * scale]]


def spec_of(floor=1e-4, **fields):
    fields = {"states": 2, "max_duration": 80, "variance_floor": floor} | fields
    return tcnzoo.load_spec({"kind": "hsmm", "channels": 3, **fields})


def agreement(spec, weights, x):
    """Share of the steps whose state is right, up to the states' order."""
    model = tcnzoo.create(spec, "numpy", weights=weights)
    share = (hsmm.viterbi(model, x[None]).path[0] == TRUTH).mean()
    return max(share, 1.0 - share)


@pytest.mark.parametrize("scale", [1e-6, 2e-3, 1.0, 1e6])
def test_a_floor_in_the_unit_of_the_signal_gives_the_same_fit(scale):
    fits = []
    for one in (1.0, scale):
        spec, x = spec_of(1e-4 * one**2), bouts(one)
        fit = hsmm.fit_em(spec, hsmm.from_data(spec, [x]), [x], iterations=30)
        assert agreement(spec, fit.weights, x) > 0.9
        fits.append(fit)
    first, other = fits
    # Means and variances are rounded to float32 at the start, each in its own unit.
    np.testing.assert_allclose(other.weights["means"], first.weights["means"] * scale, rtol=1e-4)
    shift = 2.0 * np.log(scale)
    found = other.weights["log_variances"] - shift
    np.testing.assert_allclose(found, first.weights["log_variances"], atol=1e-3)
    gains = [np.diff(one.log_likelihoods) for one in fits]
    assert len(gains[0]) == len(gains[1])
    np.testing.assert_allclose(gains[0], gains[1], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("fit", [hsmm.fit_em, hsmm.fit_hdp])
def test_a_floor_above_the_variances_is_warned_of(fit):
    spec, x = spec_of(), bouts(0.002)
    with pytest.warns(UserWarning, match="variance_floor is 0.0001, but channel . has a variance"):
        weights = hsmm.from_data(spec, [x])
    with pytest.warns(UserWarning, match="variance_floor") as caught:
        fit(spec, weights, [x], iterations=3)
    words = [str(one.message) for one in caught]
    assert any("set variance_floor to 2e-09" in one for one in words)
    assert any("variances are held up by variance_floor" in one for one in words)
    assert all(one.filename == __file__ for one in caught), "the warning is not at the call"
    good = spec_of(2e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = fit(good, hsmm.from_data(good, [x]), [x], iterations=30)
    assert agreement(good, fitted.weights, x) > 0.9


def test_what_is_not_observed_or_does_not_move_is_not_counted():
    spec, x = spec_of(), bouts(1.0)
    x[0] = 3.0  # a constant channel has no variance to lose
    mask = np.arange(len(TRUTH)) < 700
    x[:, ~mask] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weights = hsmm.from_data(spec, [x], masks=[mask])
    assert all(np.isfinite(one).all() for one in weights.values())


@pytest.mark.parametrize(
    "spec, told",
    [
        (spec_of(), True),
        (spec_of(1e-10), False),
        (tcnzoo.load_spec({"kind": "hdp", "clusters": 4, "channels": 3}), True),
        (
            tcnzoo.load_spec(
                {"kind": "sequential", "layers": {"states": spec_of().model_dump(mode="json")}}
            ),
            True,
        ),
        (tcnzoo.load_spec(SCORED), False),
    ],
)  # fmt: skip
def test_every_block_with_a_floor_on_its_input_is_warned_of(spec, told):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_large_floor(spec, bouts(0.001))
    assert bool(caught) == told
