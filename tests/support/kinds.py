"""Every kind of block: a case for each, and an independent answer for each (`ORACLES`).

An oracle takes a spec, its weights in float64 by name, a signal, and embeddings; it knows the
definition, and shares no code with a backend. Compositions are made of the oracles of their parts.
"""

import cmath
import itertools
import math

import numpy as np
import pytest
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


def _parts_in_order(spec, w, x, embeddings=()):
    for name, part in spec.children().items():
        x = _run(part, _of(w, name), _main(x), _beside(spec, part, embeddings))
    return x


def _main(y):
    """The output that the next layer reads."""
    return next(iter(y.values())) if isinstance(y, dict) else y


def _beside(spec, part, arrays):
    """What a part of a composition takes beside its signal, by name or one after the other."""
    known = list(zip(spec.embedding_specs, arrays, strict=True))
    named = {wanted.name: array for wanted, array in known if wanted.name is not None}
    unnamed = iter([array for wanted, array in known if wanted.name is None])
    return [
        next(unnamed) if wanted.name is None else named[wanted.name]
        for wanted in part.embedding_specs
    ]


def _cls_token(spec, w, x):
    y = np.empty((x.shape[0], x.shape[1], x.shape[2] + 1))
    for step in range(y.shape[2]):
        y[:, :, step] = w["token"] if step == 0 else x[:, :, step - 1]
    return y


ROWS_1020 = {"CZ": 41, "FP2": 2, "P8-O2": 127, "T3": 88}  # counted by hand in LaBraM's list


def _electrode_embedding(spec, w, x):
    leading = 0 if spec.cls == "none" else 1
    patches = (x.shape[2] - leading) // len(spec.electrodes)
    y = x.copy()
    for token in range(x.shape[2]):
        electrode = spec.electrodes[max(0, token - leading) // patches]
        known = [name.upper() for name in spec.table] if spec.table != "labram-128" else None
        row = known.index(electrode.upper()) if known else ROWS_1020[electrode.upper()]
        if spec.cls == "own":
            row = 0 if token == 0 else row + 1
        y[:, :, token] += w["weight"][row]
    return y


def _time_embedding(spec, w, x):
    leading = int(spec.cls)
    patches = (x.shape[2] - leading) // spec.electrodes
    y = x.copy()
    for token in range(leading, x.shape[2]):
        place = (token - leading) % patches
        for channel in range(spec.channels):
            if spec.form == "learned":
                y[:, channel, token] += w["weight"][place, channel]
                continue
            angle = place / 10000.0 ** ((channel - channel % 2) / spec.channels)
            y[:, channel, token] += math.cos(angle) if channel % 2 else math.sin(angle)
    return y


def _projection_head(spec, w, x):
    y = _parts_in_order(spec, w, x)
    return y / np.sqrt((y * y).sum(axis=1, keepdims=True) + spec.eps) if spec.normalize else y


def _recurrent(spec, w, x):
    """One value after the other, of the layers and directions that torch.nn documents."""
    for layer in range(spec.layers):
        ways = [
            _recurred(spec, w, x[:, :, ::step], f"l{layer}{way}")[:, :, ::step]
            for way, step in zip(spec.directions, (1, -1), strict=False)
        ]
        x = np.concatenate(ways, axis=1)
    return x


def _recurred(spec, w, x, suffix):
    size = spec.hidden
    zeros = np.zeros(spec.gates * size)
    inner, outer = w.get(f"bias_ih_{suffix}", zeros), w.get(f"bias_hh_{suffix}", zeros)
    y = np.zeros((len(x), size, x.shape[2]))
    for b in range(len(x)):
        h, c = np.zeros(size), np.zeros(size)
        for t in range(x.shape[2]):
            a = w[f"weight_ih_{suffix}"] @ x[b, :, t] + inner
            u = w[f"weight_hh_{suffix}"] @ h + outer
            if spec.kind == "lstm":
                i, f, g, o = (a + u).reshape(4, size)
                c = special.expit(f) * c + special.expit(i) * np.tanh(g)
                h = special.expit(o) * np.tanh(c)
            else:
                (r, z, n), (ur, uz, un) = a.reshape(3, size), u.reshape(3, size)
                n = np.tanh(n + special.expit(r + ur) * un)
                h = n + special.expit(z + uz) * (h - n)
            y[b, :, t] = h
    return y


def _channel_adapter(spec, w, x):
    """Sums over sources, one target, patch and head after the other."""
    names = [name.upper() for name in spec.source]
    y = np.zeros((len(x), len(spec.target), x.shape[2]))
    if spec.method in ("select", "pad"):
        for row, name in enumerate(spec.target):
            source = names.index(name.upper()) if name.upper() in names else None
            if source is not None:
                y[:, row] = x[:, source]
        return y
    places = {**spec.source, **spec.target}
    points = np.array(list(spec.source.values()))
    middle = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(1))[0][:3]
    unit = {name: (p - middle) / math.dist(p, middle) for name, p in places.items()}
    if spec.method == "spline":
        return _spline(spec, unit, x, y)
    linear = {part: (w[f"{part}.weight"], w[f"{part}.bias"]) for part in _parts_with(w, "bias")}

    def dense(part, v):
        return linear[part][0] @ v + linear[part][1]

    if spec.method == "attend":
        for row, target in enumerate(spec.target):
            query = dense("query", unit[target])
            keys = [dense("key", unit[source]) for source in spec.source]
            scores = [query @ key / math.sqrt(spec.width) for key in keys]
            y[:, row] = np.einsum("s,bst->bt", special.softmax(scores), x)
        return y
    each = spec.width // spec.heads
    for b, start in itertools.product(range(len(x)), range(0, x.shape[2], spec.patch)):
        tokens = [
            dense("value", x[b, s, start : start + spec.patch]) + dense("direction", unit[name])
            for s, name in enumerate(spec.source)
        ]
        for row, query in enumerate(w["queries"]):
            taken = []
            for h in range(0, spec.width, each):
                head = slice(h, h + each)
                scores = [query[head] @ dense("key", t)[head] / math.sqrt(each) for t in tokens]
                shares = special.softmax(scores)
                contents = np.array([dense("content", token)[head] for token in tokens])
                taken.append(shares @ contents)
            v = np.concatenate(taken) + query
            v = (v - v.mean()) / math.sqrt(v.var() + 1e-5) * w["norm.weight"] + w["norm.bias"]
            y[b, row, start : start + spec.patch] = dense("output", v)
    return y


def _parts_with(w, name):
    return [key.rpartition(".")[0] for key in w if key.endswith(f".{name}")]


def _spline(spec, unit, x, y):
    """Solve for the spline of each step, and evaluate it at each target."""

    def g(a, b):
        m = spec.stiffness
        return sum(
            (2 * n + 1) / (n * (n + 1)) ** m / (4 * math.pi) * special.eval_legendre(n, a @ b)
            for n in range(1, spec.terms + 1)
        )

    sources = [unit[name] for name in spec.source]
    count = len(sources)
    table = np.ones((count + 1, count + 1))
    table[:count, :count] = [[g(a, b) for b in sources] for a in sources]
    table[:count, :count] += spec.alpha * np.eye(count)
    table[count, count] = 0.0
    for row, name in enumerate(spec.target):
        nearest = max(unit[name] @ source for source in sources)
        if (
            spec.max_angle is not None
            and math.degrees(math.acos(min(1.0, nearest))) > spec.max_angle
        ):
            continue
        for b, t in itertools.product(range(len(x)), range(x.shape[2])):
            *terms, constant = np.linalg.solve(table, [*x[b, :, t], 0.0])
            y[b, row, t] = constant + sum(
                c * g(unit[name], source) for c, source in zip(terms, sources, strict=True)
            )
    return y


def _group_norm(spec, w, x):
    y = np.empty_like(x)
    width = spec.channels // spec.groups
    for signal, channel in np.ndindex(x.shape[:2]):
        first = channel // width * width
        group = x[signal, first : first + width]
        scale = w["weight"][channel] / math.sqrt(group.var() + spec.eps)
        y[signal, channel] = (x[signal, channel] - group.mean()) * scale + w["bias"][channel]
    return y


def _patch_embed(spec, w, x):
    """With torch's own 2-d convolutions and group norm over patches as the rows of an image."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    tensors = {name: torch.from_numpy(array) for name, array in w.items()}
    rows = torch.from_numpy(x).reshape(len(x), -1, spec.patch)
    if spec.stem == "conv":
        image = rows[:, None]
        for place in (1, 2, 3):
            reach = (spec.kernel_size if place == 1 else 3) - 1
            image = functional.pad(image, (reach // 2, reach - reach // 2))
            stride = (1, spec.stride if place == 1 else 1)
            kernel, bias = (tensors[f"conv{place}.{name}"] for name in ("weight", "bias"))
            image = functional.conv2d(image, kernel[:, :, None], bias, stride)
            vectors = [tensors[f"norm{place}.{name}"] for name in ("weight", "bias")]
            image = functional.group_norm(image, spec.groups, *vectors, spec.eps)
            image = functional.gelu(image)
        rows = image.permute(0, 2, 3, 1).flatten(2)
    if "proj.weight" in tensors:
        rows = functional.linear(rows, tensors["proj.weight"], tensors["proj.bias"])
    return rows.transpose(1, 2).numpy()


def _spectrum(spec, w, x):
    """The sum that defines each bin, with the numbers of Python's cmath."""
    tokens = x.reshape(len(x), -1, spec.patch)
    bins = spec.patch if spec.bins == "full" else spec.patch // 2 + 1
    y = np.empty((len(x), bins, tokens.shape[1]))
    for signal, k, token in np.ndindex(y.shape):
        turn = -2j * math.pi * k / spec.patch
        total = sum(value * cmath.exp(turn * t) for t, value in enumerate(tokens[signal, token]))
        if 2 * k % spec.patch == 0:
            total = complex(total.real, 0.0)
        y[signal, k, token] = abs(total) if spec.value == "amplitude" else cmath.phase(total)
    if not spec.normalized:
        return y
    return np.stack([(values - values.mean()) / values.std(ddof=1) for values in y])


def _heads(spec, w, x, embeddings=()):
    return {
        name: _main(_run(head, _of(w, name), x, _beside(spec, head, embeddings)))
        for name, head in spec.heads.items()
    }


def _mask_token(spec, w, x, embeddings):
    mask = embeddings[0][:, None]
    return x * (1.0 - mask) + w["token"][:, None] * mask


def _mamba2(spec, w, x):
    return np.stack([oracles.mamba2(signal, w, spec) for signal in x])


def _bi_mamba2_layer(spec, w, x):
    backward = "forward_mamba" if spec.shared else "backward_mamba"
    both = [_chain(spec, w, x, "forward_mamba"), _chain(spec, w, x[:, :, ::-1], backward)]
    both[1] = both[1][:, :, ::-1]
    return _chain(spec, w, x + _chain(spec, w, np.concatenate(both, axis=1), "projection"), "norm")


def _attention(spec, w, x, embeddings=()):
    inner, width = spec.heads * spec.width, spec.width
    biases = {part: w.get(f"qkv.{part}_bias", np.zeros(inner)) for part in "qkv"}
    kernels = dict(zip("qkv", np.split(w["qkv.weight"], 3), strict=True))
    masks = list(embeddings)
    seen = masks.pop(0) if spec.key_mask else np.ones((len(x), x.shape[2]))
    pairs = masks.pop(0) if spec.pair_mask else np.ones((len(x), x.shape[2], x.shape[2]))
    norms = {"q": "q_norm", "k": "k_norm"}

    def part_of(letter, token, mine):
        values = (kernels[letter] @ token + biases[letter])[mine]
        return _chain(spec, w, values[None], *[norms[letter]] if letter in norms else [])[0]

    y = np.zeros((len(x), inner, x.shape[2]))
    for n, head, t in np.ndindex(len(x), spec.heads, x.shape[2]):
        mine = slice(head * width, (head + 1) * width)
        query, shares, answers = part_of("q", x[n, :, t], mine), [], []
        for s in range(x.shape[2]):
            late = spec.causal and (s > t or (spec.window and s <= t - spec.window))
            if late or not seen[n, s] or not pairs[n, t, s]:
                continue
            product = query @ part_of("k", x[n, :, s], mine)
            shares.append(math.exp(product * (spec.scale or 1.0 / math.sqrt(width))))
            answers.append(part_of("v", x[n, :, s], mine))
        if shares:
            y[n, mine, t] = np.array(shares) @ np.array(answers) / sum(shares)
    return _chain(spec, w, y, "proj")


def _transformer_block(spec, w, x, embeddings=()):
    def attended(x):
        part = spec.children()["attention"]
        return w.get("layer_scale1", np.ones(x.shape[1]))[:, None] * _run(
            part, _of(w, "attention"), x, embeddings
        )

    def mapped(x):
        hidden = _chain(spec, w, x, "fc1")
        if spec.mlp.gated:
            hidden = _chain(spec, w, x, "gate", "activation") * hidden
        else:
            hidden = _chain(spec, w, hidden, "activation")
        scale = w.get("layer_scale2", np.ones(x.shape[1]))[:, None]
        return scale * _chain(spec, w, hidden, "fc2")

    for norm, path in (("norm1", attended), ("norm2", mapped)):
        if spec.norm_first:
            x = x + path(_chain(spec, w, x, norm))
        else:
            x = _chain(spec, w, x + path(x), norm)
    return x


def _transformer(spec, w, x, embeddings=()):
    for name, part in spec.children().items():
        inputs = embeddings if part.embedding_specs else ()
        x = _run(part, _of(w, name), x, inputs)
    return x


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


def _graph(spec, w, x, embeddings=()):
    outputs = {"input": x}
    for name, node in spec.nodes.items():
        inputs = [outputs[source] for source in node.inputs]
        given = inputs if node.layer.kind == "merge" else inputs[0]
        beside = _beside(spec, node.layer, embeddings)
        outputs[name] = _run(node.layer, _of(w, name), given, beside)
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
    "attention": _attention,
    "drop_path": _identity,
    "transformer": _transformer,
    "transformer_block": _transformer_block,
    "activation": _activation,
    "batch_norm": _as_signal(_batch_norm),
    "bi_mamba2": _parts_in_order,
    "bi_mamba2_layer": _bi_mamba2_layer,
    "cls_token": _cls_token,
    "channel_adapter": _channel_adapter,
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
    "electrode_embedding": _electrode_embedding,
    "flatten": _flatten,
    "fsq": _fsq,
    "glu": _glu,
    "graph": _graph,
    "gru": _recurrent,
    "hdp": _hdp,
    "heads": _heads,
    "hsmm": _hsmm,
    "group_norm": _group_norm,
    "layer_norm": _as_signal(_layer_norm),
    "lstm": _recurrent,
    "mamba2": _mamba2,
    "mask_token": _mask_token,
    "merge": _merge,
    "pad": _pad,
    "patch_embed": _patch_embed,
    "pool": _pool,
    "projection_head": _projection_head,
    "residual_vq": _residual_vq,
    "rms_norm": _as_signal(_rms_norm),
    "sequential": _parts_in_order,
    "spectrum": _spectrum,
    "squeeze_excitation": _squeeze_excitation,
    "tcn": _tcn,
    "tcn_2d": _parts_in_order,
    "temporal_block": _temporal_block,
    "temporal_block_2d": _temporal_block_2d,
    "time_embedding": _time_embedding,
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
