"""Every kind of block: a case for each, and an independent answer for each (`ORACLES`).

An oracle takes a spec, its weights in float64 by name, a signal, and embeddings; it knows the
definition, and shares no code with a backend. Compositions are made of the oracles of their parts.
"""

import math

import numpy as np
from scipy import special, stats

import tcnzoo
from tcnzoo.specs.base import KINDS
from tests.support import hsmm_models, oracles
from tests.support.cases import BLOCKS
from tests.support.tcns import tcn


def registered_kinds(usages=("model", "node")):
    """Every kind of block that `tcnzoo.specs` defines; other packages and tests may add theirs."""
    return {
        kind
        for kind, spec_class in KINDS.items()
        if spec_class.usage in usages and spec_class.__module__.startswith("tcnzoo.specs.")
    }


# --- Cases ----------------------------------------------------------------------------------------


def _behaviour(**fields):
    """A vq_hdp_hsmm of few states."""
    conv = {"kind": "conv1d", "in_channels": 3, "out_channels": 4, "kernel_size": 2}
    spread = {"name": "normal", "gain": 1.0}
    vq = {"kind": "vector_quantizer", "channels": 4, "codes": 7, "initializer": spread}
    return {
        "kind": "vq_hdp_hsmm",
        "encoder": conv,
        "projection": {"kind": "dense", "in_features": 4, "out_features": 4},
        "vq": vq,
        "decoder": {**conv, "in_channels": 4, "out_channels": 3},
        "hdp": {"kind": "hdp", "clusters": 3, "channels": 4},
        "hsmm": {"kind": "hsmm", "states": 3, "max_duration": 6, "emission": "none"},
        "classifier": {"kind": "pool"},
        **fields,
    }


def _models():
    conditioned = tcn("concat", "cumulative", norm="batch_norm", gate=True)
    whole = {"skip_connections": True, "output_projection": 2, "output_activation": "tanh"}
    yield "tcn", tcn(), (2, 3, 37)
    yield "tcn-conditioned", {**conditioned, **whole, "channels": [4, 4]}, (2, 3, 37)
    added = tcn("add", "global", norm="weight_norm", causal=False, **whole)
    yield "tcn-added", added, (2, 3, 37)
    dropped = {"channels": 3, "mamba": {"expand": 4, "head_dim": 2, "d_state": 5}, "dropout": 0.1}
    yield "bi_mamba2_layer-dropout", {"kind": "bi_mamba2_layer", **dropped}, (2, 3, 13)
    yield "vq_hdp_hsmm", _behaviour(), (2, 3, 7)
    hsmm = {"kind": "hsmm", "states": 3, "max_duration": 6}
    yield "vq_hdp_hsmm-features", _behaviour(hsmm={**hsmm, "channels": 4}), (2, 3, 7)
    codes = {
        "vq": {"kind": "fsq", "levels": [3, 4, 3, 5]},
        "hdp": {"kind": "hdp", "clusters": 3, "components": "codes", "codes": 180},
        "hsmm": {**hsmm, "emission": "categorical", "codes": 180},
    }
    yield "vq_hdp_hsmm-codes", _behaviour(**codes), (2, 3, 7)


# Whole models beside the single blocks: with them, every kind has a case.
CASES = BLOCKS | {name: (spec, shape) for name, spec, shape in _models()}


def parts_of_kind(kind):
    """(model, part) for every block of a kind in the cases; both are specs."""
    models = [tcnzoo.load_spec(spec) for spec, _ in CASES.values()]
    return [(model, part) for model in models for _, part in model.walk() if part.kind == kind]


def gradient_obstacle(spec):
    """Why differences of the reference do not check gradients, or None where they do."""
    for path, part in spec.walk():
        if part.surrogate_gradient:
            return f"{path or part.kind} passes on the gradient of something else"
    return None


def proved_kind(name):
    """The kind that a case is first of all about: its own, but of merges, which stand in graphs."""
    merges = ("graph-add", "graph-multiply", "graph-concat")
    return "merge" if name in merges else CASES[name][0]["kind"]


# --- Oracles --------------------------------------------------------------------------------------


def oracle_answer(spec, weights, x, embeddings=()):
    """What a model gives, from its definition: an array, or a dictionary of them."""
    wide = {name: np.asarray(array, dtype=np.float64) for name, array in weights.items()}
    return _run(tcnzoo.load_spec(spec), wide, np.asarray(x, dtype=np.float64), embeddings)


def _run(spec, w, x, embeddings=()):
    if spec.embedding_specs:
        return ORACLES[spec.kind](spec, w, x, embeddings)
    return ORACLES[spec.kind](spec, w, x)


def _of(w, name):
    """The weights of a part."""
    return {key.removeprefix(f"{name}."): a for key, a in w.items() if key.startswith(f"{name}.")}


def _chain(spec, w, x, *names):
    """The parts that a block has, one after the other."""
    parts = spec.children()
    for name in names:
        if name in parts:
            x = _run(parts[name], _of(w, name), x)
    return x


def _as_signal(function):
    """Let an oracle of (batch, channels, time) take any axes after the channels."""

    def oracle(spec, w, x):
        flat = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
        y = function(spec, w, flat)
        return y.reshape(*y.shape[:2], *x.shape[2:])

    return oracle


ACTIVATIONS = {
    "linear": lambda v, spec: v,
    "relu": lambda v, spec: max(v, 0.0),
    "leaky_relu": lambda v, spec: v if v > 0.0 else spec.slope * v,
    "elu": lambda v, spec: v if v > 0.0 else spec.alpha * (math.exp(v) - 1.0),
    "selu": lambda v, spec: (
        1.0507009873554805 * (v if v > 0.0 else 1.6732632423543772 * (math.exp(v) - 1.0))
    ),
    "gelu": lambda v, spec: v * stats.norm.cdf(v),
    "silu": lambda v, spec: v * oracles.sigmoid(v),
    "tanh": lambda v, spec: math.tanh(v),
    "sigmoid": lambda v, spec: oracles.sigmoid(v),
    "softplus": lambda v, spec: math.log(1.0 + math.exp(v)),
    "gelu_tanh": lambda v, spec: (
        0.5 * v * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (v + 0.044715 * v**3)))
    ),
    "relu6": lambda v, spec: min(max(v, 0.0), 6.0),
    "hard_sigmoid": lambda v, spec: min(max(v + 3.0, 0.0), 6.0) / 6.0,
    "hard_swish": lambda v, spec: v * min(max(v + 3.0, 0.0), 6.0) / 6.0,
    "square": lambda v, spec: v**2,
    "safe_log": lambda v, spec: math.log(v if v > spec.floor else spec.floor),
}


def _activation(spec, w, x):
    if spec.name in ("softmax", "log_softmax"):
        return getattr(special, spec.name)(x, axis=1)
    return np.vectorize(lambda v: ACTIVATIONS[spec.name](v, spec), otypes=[float])(x)


def _glu(spec, w, x):
    half = x.shape[1] // 2
    return x[:, :half] * np.vectorize(oracles.sigmoid)(x[:, half:])


def _identity(spec, w, x):
    return x


def _batch_norm(spec, w, x):
    return oracles.batch_norm(x, {f"norm.{name}": a for name, a in w.items()}, "norm", spec.eps)


def _layer_norm(spec, w, x):
    return oracles.layer_norm(x, {f"norm.{name}": a for name, a in w.items()}, "norm", spec.eps)


def _rms_norm(spec, w, x):
    return oracles.rms_norm(x, w["weight"], spec.eps, spec.groups)


def _kernel(w, out_axis=0):
    if "weight" in w:
        return w["weight"]
    return oracles.weight_norm(w["weight_v"], w["weight_g"], out_axis)


def _conv1d(spec, w, x):
    options = {name: getattr(spec, name) for name in ("stride", "dilation", "groups", "padding")}
    return oracles.conv1d(x, _kernel(w), w.get("bias"), mode=spec.padding_mode, **options)


def _conv_transpose1d(spec, w, x):
    options = {name: getattr(spec, name) for name in ("stride", "dilation", "padding")}
    return oracles.conv_transpose1d(x, _kernel(w, 1), w.get("bias"), **options)


def _conv2d(spec, w, x):
    options = {name: getattr(spec, name) for name in ("dilation", "groups", "padding")}
    return oracles.conv2d(x, w["weight"], w.get("bias"), **options)


def _dense(spec, w, x):
    return oracles.conv1d(x, w["weight"][:, :, None], w.get("bias"))


def _conv_block(spec, w, x):
    return _chain(spec, w, x, "conv", "norm", "activation", "dropout")


def _dense_block(spec, w, x):
    return _chain(spec, w, x, "dense", "norm", "activation", "dropout")


def _squeeze_excitation(spec, w, x):
    cumulative = spec.pool == "cumulative"
    return oracles.squeeze_excitation(x, w, spec.reduction > 0, spec.residual, cumulative)


def _temporal_block(spec, w, x, embeddings=()):
    out = _chain(spec, w, x, "conv1", "norm1")
    if embeddings:
        steps = np.zeros(x.shape[2])
        wide = [e[:, :, None] + steps if e.ndim == 2 else e for e in embeddings]
        projected = _chain(spec, w, np.concatenate(wide, axis=1), "embedding1")
        if spec.embedding_mode == "add":
            out = out + projected
        else:
            out = _chain(spec, w, np.concatenate([out, projected], axis=1), "embedding2")
    out = _chain(spec, w, out, "activation1", "conv2", "norm2", "activation2", "se")
    y = _chain(spec, w, _chain(spec, w, x, "residual") + out, "activation")
    return {"output": y, "out": out}


def _tcn(spec, w, x, embeddings=()):
    blocks = [part for name, part in spec.children().items() if name.startswith("blocks.")]
    skips = []
    for level, block in enumerate(blocks):
        y = _run(block, _of(w, f"blocks.{level}"), x, embeddings)
        skips.append(_chain(spec, w, y["out"], f"skips.{level}"))
        x = y["output"]
    if spec.skip_connections:
        x = _chain(spec, w, sum(skips[:-1], start=x), "activation")
    return _chain(spec, w, x, "output", "output_activation")


def _temporal_block_2d(spec, w, x):
    out = _chain(spec, w, x, "conv1", "norm1", "activation1", "conv2", "norm2", "activation2")
    return _chain(spec, w, _chain(spec, w, x, "residual") + out, "activation")


def _parts_in_order(spec, w, x):
    return _chain(spec, w, x, *spec.children())


def _mamba2(spec, w, x):
    return np.stack([oracles.mamba2(signal, w, spec) for signal in x])


def _bi_mamba2_layer(spec, w, x):
    backward = "forward_mamba" if spec.shared else "backward_mamba"
    both = [_chain(spec, w, x, "forward_mamba"), _chain(spec, w, x[:, :, ::-1], backward)]
    both[1] = both[1][:, :, ::-1]
    return _chain(spec, w, x + _chain(spec, w, np.concatenate(both, axis=1), "projection"), "norm")


def _device_attention(spec, w, x):
    y = oracles.attention(x, w, spec.heads)
    return x + y if spec.residual else y


def _device_pool(spec, w, x):
    batch, channels, devices, length = x.shape
    if spec.mode == "concat":
        y = np.zeros((batch, channels * devices, length))
        for d, c in np.ndindex(devices, channels):
            y[:, d * channels + c] = x[:, c, d]
        return y
    y = np.zeros((batch, channels, length))
    for n, c, t in np.ndindex(y.shape):
        values = list(x[n, c, :, t])
        y[n, c, t] = max(values) if spec.mode == "max" else sum(values) / devices
    return y


def _device_split(spec, w, x):
    channels = x.shape[1] // spec.devices
    y = np.zeros((len(x), channels, spec.devices, x.shape[2]))
    for d, c in np.ndindex(spec.devices, channels):
        y[:, c, d] = x[:, d * channels + c]
    return y


def _pool(spec, w, x):
    size = spec.output_size if spec.mode.startswith("adaptive") else None
    return oracles.pool(x, spec.mode, size)


def _window_pool(spec, w, x):
    stride = spec.size if spec.stride is None else spec.stride
    return oracles.window_pool(x, spec.mode, spec.size, stride, spec.padding, spec.count_padding)


def _upsample(spec, w, x):
    return oracles.upsample(x, spec.mode, spec.factor)


def _flatten(spec, w, x):
    batch, channels, length = x.shape
    y = np.zeros((batch, channels * length))
    for n, c, t in np.ndindex(x.shape):
        y[n, c * length + t if spec.order == "channels" else t * channels + c] = x[n, c, t]
    return y


def _pad(spec, w, x):
    kept = x[:, :, max(0, -spec.left) : x.shape[2] - max(0, -spec.right)]
    left, steps = max(0, spec.left), x.shape[2] + spec.left + spec.right
    y = np.zeros((*x.shape[:2], steps))
    for n, c, t in np.ndindex(y.shape):
        y[n, c, t] = oracles.padded_value(kept[n, c], t - left, spec.mode)
    return y


def _merge(spec, w, signals):
    if spec.mode == "concat":
        return np.concatenate(signals, axis=1)
    longest = max(signals, key=np.ndim)
    y = np.zeros(longest.shape) if spec.mode == "add" else np.ones(longest.shape)
    for signal in signals:
        for t in range(longest.shape[2]):
            value = signal if signal.ndim == 2 else signal[:, :, t]
            y[:, :, t] = y[:, :, t] + value if spec.mode == "add" else y[:, :, t] * value
    return y


def _graph(spec, w, x):
    outputs = {"input": x}
    for name, node in spec.nodes.items():
        inputs = [outputs[source] for source in node.inputs]
        given = inputs if node.layer.kind == "merge" else inputs[0]
        outputs[name] = _run(node.layer, _of(w, name), given)
    return outputs[name]


def _vectors(x):
    """Steps as vectors, (batch * time, channels)."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def _back(values, x):
    """Vectors in the shape of the signal that they come from."""
    return np.moveaxis(values.reshape(np.moveaxis(x, 1, -1).shape), -1, 1)


def _vector_quantizer(spec, w, x):
    return _back(oracles.nearest_codes(_vectors(x), w["codebook"], spec.cosine)[0], x)


def _residual_vq(spec, w, x):
    left, total = _vectors(x), 0.0
    for level in range(spec.levels):
        book = w[f"levels.{0 if spec.shared else level}.codebook"]
        codes, _, _ = oracles.nearest_codes(left, book, spec.quantizer.cosine)
        left, total = left - codes, total + codes
    return _back(total, x)


def _fsq(spec, w, x):
    y = np.zeros_like(x)
    for c, level in enumerate(spec.levels):
        half = (level - 1) * 1.001 / 2.0
        offset = 0.5 if level % 2 == 0 else 0.0
        bounded = half * np.tanh(x[:, c] + np.arctanh(offset / half)) - offset
        y[:, c] = np.floor(bounded + 0.5) / (level // 2)
    return y


def _hdp_scores(spec, w, x):
    """Log-likelihood of each step under each cluster."""
    if spec.components == "codes":
        chances = special.log_softmax(w["code_logits"], axis=1)
        return np.stack([chances @ signal for signal in x])
    deviation = np.sqrt(spec.variance_floor + np.exp(w["log_variances"]))
    scores = np.zeros((len(x), spec.clusters, x.shape[2]))
    for n, k, t in np.ndindex(scores.shape):
        scores[n, k, t] = stats.norm.logpdf(x[n, :, t], w["means"][k], deviation[k]).sum()
    return scores


def _hdp(spec, w, x):
    scores = np.log(oracles.stick_weights(w["stick_logits"]))[:, None] + _hdp_scores(spec, w, x)
    return special.softmax(scores / np.exp(w["log_temperature"]), axis=1)


def _hsmm_answers(spec, w, x):
    """Enumerations of every signal; see hsmm_models.enumerated."""
    if spec.emission == "neural":
        x = special.log_softmax(_chain(spec, w, x, "network"), axis=1)
        spec = spec.model_copy(update={"emission": "none"})
    if spec.output == "posterior":
        return [hsmm_models.enumerated(spec, w, signal) for signal in x]
    spec = spec.model_copy(update={"end": "censored"})  # what goes on may last longer
    return [
        [hsmm_models.enumerated(spec, w, signal[:, : t + 1]) for t in range(signal.shape[1])]
        for signal in x
    ]


def _hsmm(spec, w, x):
    answers = _hsmm_answers(spec, w, x)
    if spec.output == "posterior":
        return np.stack([posterior for _, posterior, *_ in answers])
    return np.stack([np.stack([step[1][:, -1] for step in steps], axis=1) for steps in answers])


def _log_density_of_row(chances, a):
    """Of a Dirichlet distribution, in the basis of the row's logits."""
    return stats.dirichlet.logpdf(chances / chances.sum(), a) + np.log(chances).sum()


def _hdp_penalty(spec, w, transitions, initial):
    sticks = special.expit(w["stick_logits"])
    total = np.sum(stats.beta.logpdf(sticks, 1.0, spec.gamma) + np.log(sticks * (1.0 - sticks)))
    a = spec.alpha * oracles.stick_weights(w["stick_logits"])
    for state, row in enumerate(transitions):
        total += _log_density_of_row(np.delete(row, state), np.delete(a, state))
    return -(total + _log_density_of_row(initial, a))


def _vq_hdp_hsmm(spec, w, x):
    parts = {name: _of(w, name) for name in spec.children()}
    z = _chain(spec, w, x, "encoder", "projection")
    quantized, values = _chain(spec, w, z, "vq"), _vectors(z)
    if spec.vq.kind == "fsq":
        digits = [
            np.rint(quantized[:, c] * (level // 2)).astype(int) + level // 2
            for c, level in enumerate(spec.vq.levels)
        ]
        codes, loss = np.ravel_multi_index(digits[::-1], spec.vq.levels[::-1]), 0.0
    else:
        vectors, chosen, compared = oracles.nearest_codes(
            values, parts["vq"]["codebook"], spec.vq.cosine
        )
        codes = chosen.reshape(len(x), -1)
        weight = spec.vq.commitment + (spec.vq.update == "gradient")
        loss = weight * np.mean((compared - vectors) ** 2)
    one_hot = np.moveaxis(np.eye(spec.vq.codes)[codes], -1, 1)
    taken = one_hot if spec.hdp.components == "codes" else quantized
    evidence, clusters = _hdp_scores(spec.hdp, parts["hdp"], taken), _chain(spec, w, taken, "hdp")
    emissions = {"none": evidence, "gaussian": quantized, "categorical": codes[:, None]}
    answers = _hsmm_answers(spec.hsmm, parts["hsmm"], emissions[spec.hsmm.emission])
    likelihood, posterior = (np.array([answer[i] for answer in answers]) for i in (0, 1))
    durations = hsmm_models.duration_chances(spec.hsmm, parts["hsmm"])
    means = durations @ np.arange(1, spec.hsmm.max_duration + 1)
    share = np.unique(codes, return_counts=True)[1] / codes.size
    log_weights = np.log(oracles.stick_weights(parts["hdp"]["stick_logits"]))
    return {
        "reconstructed": _chain(spec, w, quantized, "decoder"),
        "codes": codes,
        "vq_loss": np.asarray(loss),
        "perplexity": np.exp(stats.entropy(share)),
        "cluster_posterior": clusters,
        "state_posterior": posterior,
        "state_path": np.array([path for *_, path in answers]),
        "expected_duration": np.einsum("nkt,k->nt", posterior, means),
        "log_likelihood": likelihood,
        "behavior_logits": _chain(spec, w, quantized, "classifier"),
        "hdp_penalty": _hdp_penalty(
            spec.hdp,
            parts["hdp"],
            hsmm_models.transition_chances(parts["hsmm"]),
            hsmm_models.softmax(parts["hsmm"]["initial_logits"]),
        ),
        "hdp_loss": -special.logsumexp(evidence + log_weights[:, None], axis=1).mean(),
        "entropy": stats.entropy(clusters, axis=1).mean(),
        "hsmm_loss": -likelihood.mean() / x.shape[-1],
    }


ORACLES = {
    "activation": _activation,
    "batch_norm": _as_signal(_batch_norm),
    "bi_mamba2": _parts_in_order,
    "bi_mamba2_layer": _bi_mamba2_layer,
    "conv1d": _conv1d,
    "conv2d": _conv2d,
    "conv_block": _conv_block,
    "conv_transpose1d": _conv_transpose1d,
    "dense": _as_signal(_dense),
    "dense_block": _dense_block,
    "device_attention": _device_attention,
    "device_pool": _device_pool,
    "device_split": _device_split,
    "dropout": _identity,
    "flatten": _flatten,
    "fsq": _fsq,
    "glu": _glu,
    "graph": _graph,
    "hdp": _hdp,
    "hsmm": _hsmm,
    "layer_norm": _as_signal(_layer_norm),
    "mamba2": _mamba2,
    "merge": _merge,
    "pad": _pad,
    "pool": _pool,
    "residual_vq": _residual_vq,
    "rms_norm": _as_signal(_rms_norm),
    "sequential": _parts_in_order,
    "squeeze_excitation": _squeeze_excitation,
    "tcn": _tcn,
    "tcn_2d": _parts_in_order,
    "temporal_block": _temporal_block,
    "temporal_block_2d": _temporal_block_2d,
    "upsample": _upsample,
    "vector_quantizer": _vector_quantizer,
    "vq_hdp_hsmm": _vq_hdp_hsmm,
    "window_pool": _window_pool,
}

# Steps of a signal for oracles whose cost grows steeply with them; the case's own otherwise.
FEW_STEPS = {"hsmm": 5, "vq_hdp_hsmm": 5}


def twice(y):
    """An output that is wrong: twice as large, in all that a block gives."""
    if isinstance(y, dict):
        return {name: twice(value) for name, value in y.items()}
    if isinstance(y, tuple):
        return tuple(twice(value) for value in y)
    return y * 2
