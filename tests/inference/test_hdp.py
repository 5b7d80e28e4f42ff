"""The hierarchical Dirichlet process: weights, mixture, densities, posteriors, by formulas."""

import dataclasses
import importlib
import math

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError
from tcnzoo.inference import dirichlet
from tcnzoo.specs.hdp import annealed
from tests.support.cases import BLOCKS
from tests.support.compare import assert_close, assert_refused, noise, reference, weights_of

special = pytest.importorskip("scipy.special")
stats = pytest.importorskip("scipy.stats")

CLUSTERS = 6


def _module(name):
    return importlib.import_module(f"tcnzoo.backends.{name}.hdp")


def _array(name, values):
    """A tensor of a backend, float32 but for numpy."""
    if name == "numpy":
        return np.asarray(values)
    if name == "torch":
        import torch

        return torch.tensor(np.asarray(values, dtype=np.float32))
    if name == "mlx":
        import mlx.core as mx

        return mx.array(np.asarray(values, dtype=np.float32))
    from keras import ops

    return ops.convert_to_tensor(np.asarray(values, dtype=np.float32))


def _sticks(seed=0, spread=1.0):
    return spread * noise(CLUSTERS - 1, seed=seed)


def _rows(seed, own):
    """Logarithms of CLUSTERS rows that sum to 1, with or without a diagonal."""
    logits = noise(CLUSTERS, CLUSTERS, seed=seed)
    if not own:
        np.fill_diagonal(logits, -np.inf)
    return logits - special.logsumexp(logits, axis=1, keepdims=True)


def _beta(sticks):
    """Stick-breaking weights as a running product."""
    v = special.expit(sticks)
    left = np.cumprod(np.concatenate([[1.0], 1.0 - v]))
    return np.concatenate([v, [1.0]]) * left


@pytest.mark.parametrize("spread", [1.0, 30.0], ids=["near", "far"])
def test_weights_are_the_sticks_broken_off_one_after_the_other(backend, spread):
    sticks = _sticks(spread=spread)
    found = np.asarray(_module(backend).log_weights(_array(backend, sticks)))
    assert_close(np.exp(found.astype(np.float64)), _beta(sticks), 1e-6)
    assert np.exp(found.astype(np.float64)).sum() == pytest.approx(1.0, abs=1e-6)
    assert np.isfinite(found).all()  # weights of 1e-26 keep their logarithm


def test_density_of_the_sticks_in_the_basis_of_their_logits(backend):
    sticks, gamma = _sticks(3), 1.7
    v = special.expit(sticks)
    expected = -np.sum(stats.beta.logpdf(v, 1.0, gamma) + np.log(v) + np.log1p(-v))
    found = _module(backend).stick_penalty(_array(backend, sticks), gamma)
    assert_close(np.asarray(found), expected)


@pytest.mark.parametrize("sticky", [None, 0.0, 2.5], ids=["no diagonal", "plain", "sticky"])
@pytest.mark.parametrize("alpha", [0.3, 8.0])
def test_density_of_the_rows_in_the_basis_of_their_logits(backend, alpha, sticky):
    log_beta, rows = np.log(_beta(_sticks(1))), _rows(2, own=sticky is not None)
    expected = 0.0
    for j, row in enumerate(rows):
        held = [k for k in range(CLUSTERS) if sticky is not None or k != j]
        a = alpha * np.exp(log_beta[held])
        a[[k == j for k in held]] += sticky or 0.0
        chances = np.exp(row[held])
        expected -= stats.dirichlet.logpdf(chances / chances.sum(), a) + row[held].sum()
    arguments = (_array(backend, rows), _array(backend, log_beta), alpha, sticky)
    assert_close(np.asarray(_module(backend).row_penalty(*arguments)), expected)


def test_rows_without_their_diagonal_are_a_dirichlet_of_the_rest():
    # What the penalty rests on: pi_j ~ Dir(alpha beta), its own cluster taken out and the others
    # scaled up, is ~ Dir(alpha beta without it).
    a, generator = 3.0 * _beta(_sticks(4)), np.random.default_rng(0)
    drawn = generator.dirichlet(a, 200_000)
    rest = np.delete(drawn, 2, axis=1)
    rest = rest / rest.sum(axis=1, keepdims=True)
    law = stats.dirichlet(np.delete(a, 2))
    # Standard error of a mean of 200,000 values below 1, three times.
    assert np.abs(rest.mean(axis=0) - law.mean()).max() < 3 * 0.5 / math.sqrt(200_000)
    assert np.abs(rest.var(axis=0) - law.var()).max() < 5e-4


def test_the_first_sticks_law_by_drawing_it():
    # E[beta_1] = 1 / (1 + gamma) under GEM(gamma), and so on: v_k are independent.
    gamma, generator = 2.0, np.random.default_rng(1)
    drawn = np.array([_beta(special.logit(one)) for one in generator.beta(1, gamma, (50_000, 4))])
    expected = [(1 / 3) * (2 / 3) ** k for k in range(4)] + [(2 / 3) ** 4]
    assert np.abs(drawn.mean(axis=0) - expected).max() < 0.005
    start = tcnzoo.load_spec({"kind": "hdp", "clusters": 5, "channels": 2, "gamma": gamma})
    sticks = tcnzoo.specs.params.initial_weights(start.params())["stick_logits"]
    assert_close(_beta(sticks.astype(np.float64)), np.array(expected), 1e-6)


def test_no_row_makes_the_density_grow_without_bound(backend):
    # Its simplex density would: 1.9, 6.1, 14.4 as one weight goes to 1e-8.
    log_beta, module = np.log(_beta(_sticks(5))), _module(backend)
    found = []
    for small in (1e-2, 1e-4, 1e-8, 1e-30):
        row = np.full((1, CLUSTERS), math.log((1.0 - small) / (CLUSTERS - 1)))
        row[0, 3] = math.log(small)
        arguments = (_array(backend, row), _array(backend, log_beta), 0.5, None)
        found.append(float(np.asarray(module.row_penalty(*arguments))))
    assert all(after > before for before, after in zip(found[:-1], found[1:], strict=True))


def test_no_stick_makes_the_penalty_fall_without_bound(backend):
    module = _module(backend)
    rows = _array(backend, _rows(6, own=False))
    found = []
    for place in (0, 2):
        for size in (-60.0, -20.0, 20.0, 60.0):
            sticks = _sticks(7)
            sticks[place] = size
            logits = _array(backend, sticks)
            total = module.stick_penalty(logits, 2.0)
            total = total + module.row_penalty(rows, module.log_weights(logits), 4.0, None)
            found.append(float(np.asarray(total)))
    assert np.isfinite(found).all()
    plain = _array(backend, _sticks(7))
    here = module.stick_penalty(plain, 2.0)
    here = here + module.row_penalty(rows, module.log_weights(plain), 4.0, None)
    assert min(found) > float(np.asarray(here))


def test_mixture_by_its_formula():
    spec = tcnzoo.load_spec({**BLOCKS["hdp-cool"][0], "clusters": 4})
    weights, x = weights_of(spec), noise(2, 3, 7)
    weights = {name: array.astype(np.float64) for name, array in weights.items()}
    deviation = np.sqrt(0.2 + np.exp(weights["log_variances"]))
    scores = np.empty((2, 4, 7))
    for n, k, t in np.ndindex(scores.shape):
        density = stats.norm.logpdf(x[n, :, t], weights["means"][k], deviation[k]).sum()
        scores[n, k, t] = np.log(_beta(weights["stick_logits"])[k]) + density
    expected = special.softmax(scores / np.exp(weights["log_temperature"]), axis=1)
    assert_close(tcnzoo.predict(reference(spec, weights), x), expected, 1e-12)


def test_mixture_over_codes_by_its_formula():
    spec = tcnzoo.load_spec(BLOCKS["hdp-codes"][0])
    weights = weights_of(spec)
    codes = np.random.default_rng(0).integers(0, 6, (2, 9))
    x = np.moveaxis(np.eye(6)[codes], -1, 1)
    table = special.log_softmax(weights["code_logits"].astype(np.float64), axis=1)
    scores = np.log(_beta(weights["stick_logits"].astype(np.float64)))[:, None] + table[
        :, codes
    ].swapaxes(0, 1)
    expected = special.softmax(scores / np.exp(weights["log_temperature"].astype(float)), axis=1)
    assert_close(tcnzoo.predict(reference(spec, weights), x), expected, 1e-12)


def test_entropy_of_posteriors(backend):
    chances = np.random.default_rng(0).dirichlet(np.ones(4), (2, 5))
    chances[0, 0] = [1.0, 0.0, 0.0, 0.0]
    given = chances if backend in ("mlx", "keras") else np.moveaxis(chances, -1, 1)
    found = np.asarray(_module(backend).entropy(_array(backend, given)))
    assert_close(found, stats.entropy(chances, axis=-1).mean())


def test_digamma_and_log_gamma():
    x = np.geomspace(1e-6, 1e5, 500)
    np.testing.assert_allclose(dirichlet.digamma(x), special.digamma(x), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(dirichlet.log_gamma(x), special.gammaln(x), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", ["mlx", "keras"])
def test_log_gamma_of_frameworks_without_one(name, backends):
    if name not in backends:
        pytest.skip(f"{name} is not tested here")
    a = np.concatenate([[0.0], np.geomspace(1e-8, 1e4, 100)])
    found = np.asarray(_module(name).log_gamma_1p(_array(name, a)))
    # Sums of about 20 in float32 lie behind a value near 0.
    np.testing.assert_allclose(found, special.gammaln(1.0 + a), rtol=3e-6, atol=1e-5)


def _prior(sticky):
    return dirichlet.concentrations(np.log(_beta(_sticks(8))), CLUSTERS, 2.5, sticky)


@pytest.mark.parametrize("sticky", [None, 1.5], ids=["no diagonal", "sticky"])
def test_posterior_of_rows_is_exact(sticky):
    # E[log pi] and the divergence against numbers drawn from the very Dirichlet distributions.
    counts = np.random.default_rng(2).gamma(1.0, 4.0, (CLUSTERS, CLUSTERS))
    prior = _prior(sticky)
    omega = dirichlet.posterior_rows(prior, counts)
    held = prior > 0.0
    assert (omega[~held] == 0.0).all()
    np.testing.assert_allclose(omega[held], (prior + counts)[held])
    told = dirichlet.expected_log_rows(omega)
    assert np.isneginf(told[~held]).all()
    generator, bound = np.random.default_rng(3), 0.0
    for a, o, row, mine in zip(prior, omega, told, held, strict=True):
        drawn = generator.dirichlet(o[mine], 40_000)
        np.testing.assert_allclose(np.log(drawn).mean(axis=0), row[mine], atol=0.05)
        drawn = drawn.T / drawn.T.sum(axis=0)
        bound += np.mean(
            stats.dirichlet.logpdf(drawn, a[mine]) - stats.dirichlet.logpdf(drawn, o[mine])
        )
    assert dirichlet.rows_bound(omega, prior) == pytest.approx(bound, rel=0.02)
    assert dirichlet.rows_bound(prior, prior) == pytest.approx(0.0, abs=1e-12)


def test_the_closed_form_is_the_best_factor():
    counts = np.random.default_rng(4).gamma(1.0, 3.0, (CLUSTERS, CLUSTERS))
    prior = _prior(None)
    counts = np.where(prior > 0.0, counts, 0.0)
    best = dirichlet.posterior_rows(prior, counts)

    def bound(omega):
        told = np.where(prior > 0.0, dirichlet.expected_log_rows(omega), 0.0)
        return dirichlet.rows_bound(omega, prior) + np.sum(counts * told)

    generator = np.random.default_rng(5)
    for _ in range(20):
        moved = best * np.exp(0.1 * generator.standard_normal(best.shape))
        assert bound(moved) < bound(best)
    # With the rows summed out, the bound is the exact evidence of the counts.
    exact = sum(
        special.gammaln(a[a > 0].sum()) - special.gammaln(o[o > 0].sum())
        + special.gammaln(o[o > 0]).sum() - special.gammaln(a[a > 0]).sum()
        for a, o in zip(prior, best, strict=True)
    )  # fmt: skip
    assert bound(best) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("sticky", [None, 1.5], ids=["no diagonal", "sticky"])
def test_posteriors_in_torch_are_those_of_numpy(sticky):
    torch = pytest.importorskip("torch")
    twin = importlib.import_module("tcnzoo.backends.torch.kernels.dirichlet")
    log_beta, counts = np.log(_beta(_sticks(8))), np.random.default_rng(2).gamma(1.0, 4.0, (6, 6))
    beta = torch.tensor(log_beta, requires_grad=True)
    prior = twin.concentrations(beta, CLUSTERS, 2.5, sticky)
    omega = twin.posterior_rows(prior, torch.tensor(counts))
    expected = _prior(sticky)
    assert_close(prior.detach().numpy(), expected, 1e-12)
    known = dirichlet.posterior_rows(expected, counts)
    assert_close(omega.detach().numpy(), known, 1e-12)
    np.testing.assert_allclose(
        twin.expected_log_rows(omega.detach()).numpy(),
        dirichlet.expected_log_rows(known),
        rtol=1e-10,
    )
    bound = twin.rows_bound(omega.detach(), prior)
    assert float(bound.detach()) == pytest.approx(dirichlet.rows_bound(known, expected), rel=1e-10)
    (slope,) = torch.autograd.grad(bound, beta)
    assert torch.isfinite(slope).all()
    way = noise(CLUSTERS, seed=9)
    ends = [
        dirichlet.rows_bound(known, dirichlet.concentrations(log_beta + step * way, 6, 2.5, sticky))
        for step in (1e-6, -1e-6)
    ]
    assert float(slope @ torch.tensor(way)) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6)


def _gradient(name, module, sticks, rows):
    """Slopes of the whole penalty by sticks and rows, by a backend's own differentiation."""
    if name == "torch":
        import torch

        held = [_array(name, one).requires_grad_() for one in (sticks, rows)]
        total = module.stick_penalty(held[0], 2.0)
        total = total + module.row_penalty(held[1], module.log_weights(held[0]), 3.0, None)
        return [one.numpy() for one in torch.autograd.grad(total, held)]

    def total(one, other):
        return module.stick_penalty(one, 2.0) + module.row_penalty(
            other, module.log_weights(one), 3.0, None
        )

    held = [_array(name, one) for one in (sticks, rows)]
    if name == "mlx":
        import mlx.core as mx

        return [np.asarray(one) for one in mx.grad(total, argnums=(0, 1))(*held)]
    tf = pytest.importorskip("tensorflow")
    with tf.GradientTape() as tape:
        tape.watch(held)
        loss = total(*held)
    return [one.numpy() for one in tape.gradient(loss, held)]


def test_gradient_of_the_penalty_equals_central_differences(native):
    sticks, rows = _sticks(1), _rows(2, own=False)
    module, exact = _module(native), _module("numpy")
    slopes = _gradient(native, module, sticks, rows)

    def total(one, other):
        return exact.stick_penalty(one, 2.0) + exact.row_penalty(
            other, exact.log_weights(one), 3.0, None
        )

    assert all(np.isfinite(one).all() for one in slopes)
    for place in range(CLUSTERS - 1):
        step = np.eye(CLUSTERS - 1)[place] * 1e-6
        slope = (total(sticks + step, rows) - total(sticks - step, rows)) / 2e-6
        assert slopes[0][place] == pytest.approx(slope, rel=1e-4, abs=1e-4)
    way = noise(CLUSTERS, CLUSTERS, seed=3)
    slope = (total(sticks, rows + 1e-6 * way) - total(sticks, rows - 1e-6 * way)) / 2e-6
    off = ~np.eye(CLUSTERS, dtype=bool)
    assert np.sum(slopes[1][off] * way[off]) == pytest.approx(slope, rel=1e-4)


def test_variational_rows_of_a_semi_markov_model_never_lower_the_bound():
    # Forward-backward on exp E[log pi], then the closed form from its expected transitions.
    inference = pytest.importorskip("tcnzoo.inference.hsmm.inference")
    tables_of = importlib.import_module("tcnzoo.inference.hsmm.tables").tables_of
    spec = tcnzoo.load_spec({
        "kind": "hsmm", "states": CLUSTERS, "max_duration": 6, "emission": "none",
    })  # fmt: skip
    tables = tables_of(spec, weights_of(spec))
    # Only the first three states ever explain the signal.
    scores = 2.0 * noise(CLUSTERS, 400, seed=1)
    scores[np.repeat(np.arange(100) % 3, 4), np.arange(400)] += 6.0
    prior = dirichlet.concentrations(np.log(_beta(_sticks(8))), CLUSTERS, 3.0, None)
    omega, bounds = dirichlet.posterior_rows(prior, np.ones((CLUSTERS, CLUSTERS))), []
    for _ in range(6):
        rows = dirichlet.expected_log_rows(omega)
        found = inference.expected(
            dataclasses.replace(tables, transitions=rows), scores, "reference"
        )
        bounds.append(found.log_likelihood + dirichlet.rows_bound(omega, prior))
        omega = dirichlet.posterior_rows(prior, found.transitions)
    assert (np.diff(bounds) > -1e-9).all()
    assert bounds[-1] > bounds[0] + 1.0
    shares = omega / omega.sum(axis=1, keepdims=True)
    assert shares[:3, 3:].max() < 0.1  # rows of states in use lead to states in use


def test_temperature_falls_by_one_factor_a_step():
    found = [annealed(step, 4, 2.0, 0.125) for step in (0, 1, 2, 4, 9)]
    assert found == pytest.approx([2.0, 1.0, 0.5, 0.125, 0.125])
    sentence = (
        "annealing takes temperatures above 0, at least 1 step and no step before 0, but got "
        "1.0 to 0.0, steps 4, step 0"
    )
    assert_refused(InputError, sentence, annealed, 0, 4, 1.0, 0.0)


def test_a_lower_temperature_makes_posteriors_sharper(backend):
    spec = BLOCKS["hdp-gaussian"][0]
    weights, x = weights_of(spec), noise(2, 3, 11)
    sharp = []
    for temperature in (2.0, 1.0, 0.1):
        weights["log_temperature"] = np.log([temperature]).astype(np.float32)
        found = tcnzoo.predict(tcnzoo.create(spec, backend, weights=weights), x)
        sharp.append(found.max(axis=1).mean())
    assert sharp == sorted(sharp)
    assert tcnzoo.count_params(tcnzoo.load_spec(spec)).buffers == 1  # training may lower it


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"channels": None}, "field 'channels' is missing: gaussian components need it"),
        ({"codes": 4}, "field 'codes' means nothing for gaussian components"),
        ({"gamma": 0.0}, "field 'gamma': input should be greater than 0, but got 0.0"),
        (
            {"clusters": 1},
            "field 'clusters': input should be greater than or equal to 2, but got 1",
        ),
    ],
)
def test_specs_that_mean_nothing_are_refused(change, sentence):
    spec = {"kind": "hdp", "clusters": 3, "channels": 2, **change}
    with pytest.raises(SpecError) as caught:
        tcnzoo.load_spec(spec)
    assert str(caught.value) == sentence
