"""Hidden semi-Markov models for tests, and their definition as an enumeration of segmentations."""

import numpy as np
from scipy import stats
from scipy.optimize import linear_sum_assignment

import tcnzoo
from tcnzoo.inference import hsmm

LAWS = ("poisson", "negative_binomial", "gaussian", "categorical")
STARTS = ("fresh", "stationary")
ENDS = ("censored", "none")
MEANS = np.array([5.0, 9.0, 15.0, 24.0, 36.0])
EMISSIONS = {
    "gaussian": {"emission": "gaussian", "channels": 3},
    "categorical": {"emission": "categorical", "codes": 5},
    "one_hot": {"emission": "categorical", "codes": 3, "encoding": "one_hot"},
    "neural": {"emission": "neural", "channels": 3, "hidden": [5]},
    "none": {"emission": "none"},
}


def hsmm_spec(states=3, max_duration=4, **fields):
    """A spec; gaussian emissions of two channels unless the fields say otherwise."""
    fields = {"emission": "gaussian", "channels": 2} | fields
    if fields["emission"] != "gaussian" and fields["channels"] == 2:
        del fields["channels"]
    return tcnzoo.load_spec(
        {"kind": "hsmm", "states": states, "max_duration": max_duration, **fields}
    )


def random_weights(spec, seed=0, scale=1.0):
    """Float64 weights that are all noise."""
    generator = np.random.default_rng(seed)
    return {
        name: scale * generator.standard_normal(param.shape)
        for name, param in spec.params().items()
    }


def signal_for(spec, batch, time, seed=0):
    """A signal that the model takes: noise, or codes of which some are missing."""
    generator = np.random.default_rng([seed, batch, time])
    if spec.emission == "categorical" and spec.encoding == "index":
        return generator.integers(-1, spec.codes, (batch, 1, time)).astype(np.float64)
    return 2.0 * generator.standard_normal((batch, spec.input_channels, time))


def softmax(x):
    """Along the last axis."""
    found = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return found / found.sum(axis=-1, keepdims=True)


def duration_chances(spec, weights):
    """Chance of each duration, (K, D), by scipy's own laws."""
    d = np.arange(1, spec.max_duration + 1)

    def column(name):
        return weights[f"duration_{name}"][:, None]

    if spec.duration == "poisson":
        found = stats.poisson.pmf(d - 1, np.exp(column("log_rate")))
    elif spec.duration == "negative_binomial":
        stop = 1.0 / (1.0 + np.exp(column("logit")))
        found = stats.nbinom.pmf(d - 1, np.exp(column("log_size")), stop)
    elif spec.duration == "gaussian":
        deviation = np.exp(0.5 * column("log_variance"))
        found = stats.norm.pdf(d, np.exp(column("log_mean")), deviation)
    else:
        found = softmax(weights["duration_logits"])
    return found / found.sum(axis=1, keepdims=True)


def emission_scores(spec, weights, x):
    """Log-likelihood of each step of one sequence (channels, time), (K, time)."""
    if spec.emission == "none":
        return x
    if spec.emission == "gaussian":
        deviation = np.sqrt(spec.variance_floor + np.exp(weights["log_variances"]))
        density = stats.norm.logpdf(x, weights["means"][:, :, None], deviation[:, :, None])
        return density.sum(axis=1)
    if spec.emission == "categorical":
        chances = np.log(np.maximum(softmax(weights["code_logits"]), 1e-300))
        if spec.encoding == "one_hot":
            return chances @ x
        missing = np.zeros(spec.states)
        return np.stack([chances[:, int(c)] if c >= 0 else missing for c in x[0]], axis=1)
    raise ValueError(spec.emission)


def transition_chances(weights):
    """Chance of each state after each other, (K, K)."""
    logits = weights["transition_logits"].copy()
    np.fill_diagonal(logits, -np.inf)
    return softmax(logits)


def segmentations(steps, states, longest, before=None):
    """Every way to cut `steps` into segments (state, duration) with no state twice in a row."""
    if steps == 0:
        yield []
        return
    for state in range(states):
        if state == before:
            continue
        for duration in range(1, min(longest, steps) + 1):
            for rest in segmentations(steps - duration, states, longest, state):
                yield [(state, duration), *rest]


def weigh(spec, weights, cut):
    """Probability of a segmentation, before anything is observed."""
    chances, swap = duration_chances(spec, weights), transition_chances(weights)
    found = softmax(weights["initial_logits"])[cut[0][0]]
    for place, (state, duration) in enumerate(cut):
        law = chances[state]
        if place == 0 and spec.start == "stationary":
            tails = np.array([law[d:].sum() for d in range(len(law))])
            law = tails / tails.sum()
        over = place == len(cut) - 1 and spec.end == "censored"
        found *= law[duration - 1 :].sum() if over else law[duration - 1]
        if place:
            found *= swap[cut[place - 1][0], state]
    return found


def enumerated(spec, weights, x):
    """(log-likelihood, posterior (K, T), transitions, best log-probability, best path) of one x."""
    scores = emission_scores(spec, weights, x)
    steps = scores.shape[1]
    total, best = 0.0, (-np.inf, None)
    posterior, changes = np.zeros(scores.shape), np.zeros((spec.states, spec.states))
    for cut in segmentations(steps, spec.states, spec.max_duration):
        path = np.concatenate([np.full(duration, state) for state, duration in cut])
        seen = scores[path, np.arange(steps)].sum()
        weight = weigh(spec, weights, cut) * np.exp(seen)
        total += weight
        posterior[path, np.arange(steps)] += weight
        for (one, _), (other, _) in zip(cut[:-1], cut[1:], strict=True):
            changes[one, other] += weight
        if weight > 0.0 and np.log(weight) > best[0]:
            best = (np.log(weight), path)
    return np.log(total), posterior / total, changes / total, *best


def expanded_chain(spec, weights):
    """The same model as a Markov chain over (state, steps left): (start, transitions).

    State (k, r) has place k * D + r - 1. A chain ends anywhere, so it is censored.
    """
    states, longest = spec.states, spec.max_duration
    chances, swap = duration_chances(spec, weights), transition_chances(weights)
    first = chances
    if spec.start == "stationary":
        tails = np.cumsum(chances[:, ::-1], axis=1)[:, ::-1]
        first = tails / tails.sum(axis=1, keepdims=True)
    start = (softmax(weights["initial_logits"])[:, None] * first).ravel()
    moves = np.zeros((states, longest, states, longest))
    for k in range(states):
        moves[k, 0] = swap[k][:, None] * chances
        for left in range(1, longest):
            moves[k, left, k, left - 1] = 1.0
    return start / start.sum(), moves.reshape(states * longest, states * longest)


def known(law, start="fresh", **fields):
    """Five states with durations of their own, at the corners of a pentagon, and their weights."""
    spec = hsmm_spec(5, 60, duration=law, start=start, **fields)
    weights = random_weights(spec, seed=1)
    if law == "poisson":
        weights["duration_log_rate"] = np.log(MEANS - 1.0)
    elif law == "negative_binomial":
        weights["duration_log_size"] = np.full(5, np.log(20.0))
        weights["duration_logit"] = np.log((MEANS - 1.0) / 20.0)
    elif law == "gaussian":
        weights["duration_log_mean"] = np.log(MEANS)
        weights["duration_log_variance"] = 2.0 * np.log(MEANS / 5.0)
    else:
        apart = (np.arange(1, 61) - MEANS[:, None]) / (MEANS[:, None] / 5.0)
        weights["duration_logits"] = -0.5 * apart**2
    if spec.emission == "gaussian":
        angle = 2.0 * np.pi * np.arange(5) / 5.0
        weights["means"] = 2.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        weights["log_variances"] = np.zeros((5, 2))
    return spec, weights


def drawn(spec, weights, *sizes, seed=3):
    model = tcnzoo.create(spec, "numpy", weights=weights, dtype="float64")
    return model, hsmm.sample_prior(model, np.random.default_rng(seed), *sizes)


def assert_found(spec, weights, truth, sample):
    """Hold states within 95 % and mean durations within 5 % of what the data were drawn from."""
    found = tcnzoo.create(spec, "numpy", weights=weights)
    path = hsmm.viterbi(found, sample.observations).path
    table = np.zeros((5, 5))
    np.add.at(table, (sample.states, path), 1)
    rows, order = linear_sum_assignment(-table)
    assert table[rows, order].sum() > 0.95 * sample.states.size
    lasting = hsmm.mean_durations(found)[order] / hsmm.mean_durations(truth)
    assert np.abs(lasting - 1.0).max() < 0.05, lasting
