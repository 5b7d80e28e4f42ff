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
    left = {"causal": reach, "same": reach // 2, "valid": 0}[padding]
    total = length + (0 if padding == "valid" else reach)
    steps = len(range(0, total - reach, stride))
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
