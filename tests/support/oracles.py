"""Independent answers: definitions written as loops, sharing no code with any backend."""

import math

import numpy as np


def padded_value(row, place, mode):
    """Value of a 1-d signal at any place, before its start and after its end as `mode` says."""
    length = len(row)
    if 0 <= place < length:
        return row[place]
    if mode == "zeros":
        return 0.0
    if mode == "replicate":
        return row[0] if place < 0 else row[-1]
    if mode == "circular":
        return row[place % length]
    return row[-place] if place < 0 else row[2 * (length - 1) - place]


def conv1d(x, w, b, stride=1, dilation=1, groups=1, padding="causal", mode="zeros"):
    """Every output value as a sum over input channels and taps; w is (out, in / groups, K)."""
    batch, _, length = x.shape
    outs, ins, taps = w.shape
    reach = (taps - 1) * dilation
    added = {"causal": reach, "same": reach, "valid": 0}.get(padding)
    if added is None:  # same_upper: so many that there is an output for each `stride` of the input
        added = max(0, (math.ceil(length / stride) - 1) * stride + reach + 1 - length)
    left = reach if padding == "causal" else added // 2
    steps = len(range(0, length + added - reach, stride))
    y = np.zeros((batch, outs, steps))
    for n, o, t in np.ndindex(batch, outs, steps):
        first = o // (outs // groups) * ins
        y[n, o, t] = 0.0 if b is None else b[o]
        for i, j in np.ndindex(ins, taps):
            place = t * stride + j * dilation - left
            y[n, o, t] += w[o, i, j] * padded_value(x[n, first + i], place, mode)
    return y


def conv_transpose1d(x, w, b, stride=1, dilation=1, padding="causal"):
    """Every input value scattered over its taps; w is (in, out, K)."""
    batch, ins, length = x.shape
    outs, taps = w.shape[1:]
    span = (taps - 1) * dilation + 1
    left = (span - stride) // 2 if padding == "same" else 0
    steps = (length - 1) * stride + span if padding == "valid" else length * stride
    y = np.zeros((batch, outs, steps))
    for n, i, t, o, j in np.ndindex(batch, ins, length, outs, taps):
        place = t * stride + j * dilation - left
        if 0 <= place < steps:
            y[n, o, place] += w[i, o, j] * x[n, i, t]
    return y if b is None else y + np.asarray(b)[None, :, None]


def weight_norm(v, g, out_axis=0):
    """g * v / ||v||, one output channel at a time."""
    w = np.array(v, dtype=np.float64)
    for o in range(v.shape[out_axis]):
        place = (slice(None),) * out_axis + (o,)
        gain = np.asarray(g, dtype=np.float64)[place].item()
        w[place] *= gain / math.sqrt(sum(float(one) ** 2 for one in w[place].ravel()))
    return w


def sigmoid(value):
    """Logistic function of a number."""
    return 1.0 / (1.0 + math.exp(-value))


def squeeze_excitation(x, w, reduction=True, residual=False, cumulative=False):
    """SE by hand; `w` has weight and bias of `expand` and, with a reduction, of `reduce`."""
    y = np.zeros_like(x)
    for n, t in np.ndindex(x.shape[0], x.shape[2]):
        seen = x[n, :, : t + 1] if cumulative else x[n]
        inner = [sum(row) / len(row) for row in seen]
        if reduction:
            inner = [max(0.0, value) for value in _affine(w, "reduce", inner)]
        for c, value in enumerate(_affine(w, "expand", inner)):
            y[n, c, t] = x[n, c, t] * (sigmoid(value) + residual)
    return y


def _affine(w, name, vector):
    weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
    return [
        float(b) + sum(float(one) * value for one, value in zip(row, vector, strict=True))
        for row, b in zip(weight, bias, strict=True)
    ]


def batch_norm(x, w, name, eps):
    """Normalise with running statistics, channel by channel."""
    y = np.zeros_like(x)
    for c in range(x.shape[1]):
        mean, variance = float(w[f"{name}.running_mean"][c]), float(w[f"{name}.running_var"][c])
        scaled = (x[:, c] - mean) / math.sqrt(variance + eps)
        y[:, c] = scaled * float(w[f"{name}.weight"][c]) + float(w[f"{name}.bias"][c])
    return y


def layer_norm(x, w, name, eps):
    """Normalise the channels of each step by themselves."""
    y = np.zeros_like(x)
    for n, t in np.ndindex(x.shape[0], x.shape[2]):
        column = x[n, :, t]
        mean = sum(column) / len(column)
        variance = sum((value - mean) ** 2 for value in column) / len(column)
        for c, value in enumerate(column):
            scaled = (value - mean) / math.sqrt(variance + eps)
            y[n, c, t] = scaled * float(w[f"{name}.weight"][c]) + float(w[f"{name}.bias"][c])
    return y


def rms_norm(x, weight, eps, groups=1):
    """Divide the channels of each group by the root of their mean square."""
    y = np.zeros_like(x)
    width = x.shape[1] // groups
    for n, c, t in np.ndindex(x.shape):
        first = c // width * width
        size = math.sqrt(sum(value**2 for value in x[n, first : first + width, t]) / width + eps)
        y[n, c, t] = x[n, c, t] / size * weight[c]
    return y


def conv2d(x, w, b, dilation=1, groups=1, padding="causal"):
    """Every output value as a sum over input channels, devices and taps; w is (out, in, H, K)."""
    batch, _, devices, length = x.shape
    outs, ins, height, taps = w.shape
    reach = (taps - 1) * dilation
    left = {"causal": reach, "same": reach // 2, "valid": 0}[padding]
    steps = length - reach if padding == "valid" else length
    y = np.zeros((batch, outs, devices - height + 1, steps))
    for n, o, h, t in np.ndindex(y.shape):
        first = o // (outs // groups) * ins
        y[n, o, h, t] = 0.0 if b is None else b[o]
        for i, g, j in np.ndindex(ins, height, taps):
            step = t + j * dilation - left
            if 0 <= step < length:
                y[n, o, h, t] += w[o, i, g, j] * x[n, first + i, h + g, step]
    return y


def window_pool(x, mode, size, stride, padding="valid", count_padding=False):
    """Mean or maximum of the steps of each window; added steps are no values, or counted as 0."""
    length = x.shape[2]
    total = {"valid": 0, "same": size - 1}.get(padding)
    if total is None:  # so many that there is an output for each `stride` of the input
        total = max(0, (math.ceil(length / stride) - 1) * stride + size - length)
    steps = (length + total - size) // stride + 1
    y = np.zeros((*x.shape[:2], steps))
    for n, c, t in np.ndindex(y.shape):
        first = t * stride - total // 2
        values = [x[n, c, step] for step in range(first, first + size) if 0 <= step < length]
        y[n, c, t] = max(values) if mode == "max" else sum(values)
        if mode == "average":
            y[n, c, t] /= size if count_padding else len(values)
    return y


def pool(x, mode, size=None):
    """One value for a whole signal, or for each of `size` parts of it."""
    if mode in ("first", "last", "middle"):
        return x[:, :, {"first": 0, "last": -1, "middle": x.shape[2] // 2}[mode]]
    reduce = max if mode.endswith("max") else lambda values: sum(values) / len(values)
    length, parts = x.shape[2], size or 1
    y = np.zeros((*x.shape[:2], parts))
    for n, c, part in np.ndindex(y.shape):
        first, end = math.floor(part * length / parts), math.ceil((part + 1) * length / parts)
        y[n, c, part] = reduce(list(x[n, c, first:end]))
    return y[:, :, 0] if mode.startswith("global") else y


def upsample(x, mode, factor):
    """Each step repeated, or a line through the centres of the steps, flat beyond the outer two."""
    length = x.shape[2]
    y = np.zeros((*x.shape[:2], length * factor))
    for n, c, t in np.ndindex(y.shape):
        if mode == "nearest":
            y[n, c, t] = x[n, c, t // factor]
        else:
            y[n, c, t] = np.interp((t + 0.5) / factor - 0.5, np.arange(length), x[n, c])
    return y


def attention(x, w, heads):
    """Softmax attention between the devices of each step, before the residual."""
    batch, channels, devices, length = x.shape
    width, y = channels // heads, np.zeros_like(x)
    for n, t in np.ndindex(batch, length):
        tokens = [x[n, :, d, t] + w["embedding"][d] for d in range(devices)]
        mapped = [w["projection_in.weight"] @ token + w["projection_in.bias"] for token in tokens]
        query, key, value = (
            [token[part * channels : (part + 1) * channels] for token in mapped]
            for part in range(3)
        )
        for d in range(devices):
            mixed = np.zeros(channels)
            for head in range(heads):
                mine = slice(head * width, (head + 1) * width)
                scores = [query[d][mine] @ other[mine] / math.sqrt(width) for other in key]
                shares = [math.exp(score) for score in scores]
                for share, other in zip(shares, value, strict=True):
                    mixed[mine] += share / sum(shares) * other[mine]
            y[n, :, d, t] = w["projection_out.weight"] @ mixed + w["projection_out.bias"]
    return y


def silu(x):
    """x / (1 + exp(-x))."""
    return x / (1.0 + np.exp(-x))


def mamba2(x, w, spec):
    """Mamba-2 of one signal (channels, time), one step of one head at a time; the result too."""
    heads, size, state_size = spec.heads, spec.head_dim, spec.d_state
    passing, width = spec.inner - spec.width, spec.width
    states = np.zeros((heads, size, state_size))
    projected = w["in_proj.weight"] @ x + w.get("in_proj.bias", np.zeros(1))[:, None]
    ends = np.cumsum([passing, passing, width, spec.convolved, heads])
    z0, x0, z, xbc, dt = np.split(projected, ends[:-1])
    taps, y = w["conv1d.weight"][:, 0], []
    for t in range(x.shape[1]):
        mixed = w.get("conv1d.bias", np.zeros(len(xbc))).copy()
        for j in range(spec.d_conv):
            if t - spec.d_conv + 1 + j >= 0:
                mixed += taps[:, j] * xbc[:, t - spec.d_conv + 1 + j]
        mixed, out = silu(mixed), np.zeros(width)
        for h in range(heads):
            group = h // (heads // spec.groups)
            first = width + group * state_size
            b = mixed[first : first + state_size]
            c = mixed[first + spec.groups * state_size :][:state_size]
            step = np.log1p(np.exp(dt[h, t] + w["dt_bias"][h]))
            step = min(max(step, spec.dt_limit[0]), spec.dt_limit[1] or np.inf)
            u = mixed[h * size : (h + 1) * size]
            states[h] = np.exp(-np.exp(w["A_log"][h]) * step) * states[h] + step * np.outer(u, b)
            skip = w["D"][h * size : (h + 1) * size] if spec.d_per_channel else w["D"][h]
            out[h * size : (h + 1) * size] = states[h] @ c + skip * u
        groups = spec.groups if spec.grouped_norm else 1
        gate = silu(z[:, t])
        if not spec.rms_norm:
            out = out * gate
        elif spec.norm_before_gate:
            out = _normed(out, w["norm.weight"], groups, spec.norm_eps) * gate
        else:
            out = _normed(out * gate, w["norm.weight"], groups, spec.norm_eps)
        out = np.concatenate([silu(z0[:, t]) * x0[:, t], out])
        y.append(w["out_proj.weight"] @ out + w.get("out_proj.bias", 0.0))
    return np.stack(y, axis=1)


def _normed(values, weight, groups, eps):
    return rms_norm(values[None, :, None], weight, eps, groups)[0, :, 0]


def stick_weights(logits):
    """Global weights of clusters: what each stick breaks off, and the rest."""
    weights, left = [], 1.0
    for logit in logits:
        weights.append(left * sigmoid(logit))
        left *= 1.0 - sigmoid(logit)
    return np.array([*weights, left])


def nearest_codes(values, codes, cosine=False):
    """The code nearest to each of `values` (n, channels), by trying all; of length 1 if cosine."""
    unit = (lambda v: v / math.sqrt(sum(v**2))) if cosine else (lambda v: v)
    values, codes = [unit(value) for value in values], [unit(code) for code in codes]
    chosen = [
        min(range(len(codes)), key=lambda k: sum((value - codes[k]) ** 2)) for value in values
    ]
    return np.array([codes[k] for k in chosen]), np.array(chosen), np.array(values)
