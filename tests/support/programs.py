"""A stream's program by plain loops over steps in float64: the oracle of lowerings and engines."""

import math

import numpy as np

from tcnzoo.models.streaming import initial_state

ACTIVATIONS = {
    "linear": lambda x, spec: x,
    "relu": lambda x, spec: np.maximum(x, 0),
    "leaky_relu": lambda x, spec: np.where(x > 0, x, spec.slope * x),
    "elu": lambda x, spec: np.where(x > 0, x, spec.alpha * np.expm1(np.minimum(x, 0))),
    "selu": lambda x, spec: (
        1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))
    ),
    "gelu": lambda x, spec: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_tanh": lambda x, spec: (
        x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "silu": lambda x, spec: x / (1 + np.exp(-x)),
    "tanh": lambda x, spec: np.tanh(x),
    "sigmoid": lambda x, spec: 1 / (1 + np.exp(-x)),
    "softplus": lambda x, spec: np.logaddexp(x, 0),
    "softmax": lambda x, spec: np.exp(x - np.logaddexp.reduce(x)),
    "log_softmax": lambda x, spec: x - np.logaddexp.reduce(x),
    "relu6": lambda x, spec: np.clip(x, 0, 6),
    "hard_sigmoid": lambda x, spec: np.clip(x / 6 + 0.5, 0, 1),
    "hard_swish": lambda x, spec: x * np.clip(x / 6 + 0.5, 0, 1),
    "square": lambda x, spec: x**2,
    "safe_log": lambda x, spec: np.log(np.where(x < spec.floor, spec.floor, x)),
}


def activated(x, spec):
    """An activation of one row; None is the identity."""
    return x if spec is None else ACTIVATIONS[spec.name](x, spec)


class Interpreter:
    """Runs the operations of one stream; `state` is neutral, of batch 1."""

    def __init__(self, program, state=None):
        self.program = program
        start = initial_state(program.state, 1, "float64")
        self.state = {
            name: array.astype(np.float64) if array.ndim else int(array)
            for name, array in (state or start).items()
        }

    def step(self, chunk, embeddings=()):
        """(channels, time) and one array for each embedding -> (channels, time')."""
        signals = {}
        for signal, array in zip(self.program.inputs, [chunk, *embeddings], strict=True):
            signals[signal.index] = np.asarray(array, np.float64).T
        for one in self.program.operations:
            rows = getattr(self, f"_{type(one).__name__.lower()}")(one, signals)
            rows = np.asarray(rows, np.float64).reshape(-1, one.target.channels)
            signals[one.target.index] = rows
        return signals[self.program.output.index].T

    def _log(self, one, x):
        """Context and chunk, one row a step; the context moves on."""
        if one.context is None:
            return x
        past = self.state[one.context][0].T
        if getattr(one, "started", None) is not None and len(x):
            if not self.state[one.started]:
                past = np.repeat(x[:1], len(past), axis=0)
            self.state[one.started] = 1
        log = np.concatenate([past, x])
        self.state[one.context] = log[len(log) - len(past) :].T[None]
        return log

    def _starts(self, one, x, stride):
        """Rows of the log at which the outputs of this chunk begin."""
        starts, due = [], 0 if one.skip is None else self.state[one.skip]
        for t in range(len(x)):
            if due == 0:
                starts.append(t)
                due = stride
            due -= 1
        if one.skip is not None:
            self.state[one.skip] = due
        return starts

    def _conv(self, one, signals):
        x = signals[one.source.index]
        starts, log = self._starts(one, x, one.stride), self._log(one, x)
        out, taps, inside = one.weight.shape
        rows = []
        for t in starts:
            row = one.bias.astype(np.float64).copy()
            for o in range(out):
                group = o // (out // one.groups) * inside
                for j in range(taps):
                    row[o] += one.weight[o, j] @ log[t + j * one.dilation, group : group + inside]
            rows.append(activated(row, one.activation))
        return rows

    def _convtranspose(self, one, signals):
        out, taps, _ = one.weight.shape
        overlap = 0 if one.tail is None else self.program.state[one.tail].shape[1]
        ahead = np.zeros((max(overlap, 0), out))
        if one.tail is not None:
            ahead = self.state[one.tail][0].T
        rows = []
        for x in signals[one.source.index]:
            window = np.zeros((max(len(ahead) + one.stride, (taps - 1) * one.dilation + 1), out))
            window[: len(ahead)] += ahead
            for j in range(taps):
                window[j * one.dilation] += one.weight[:, j] @ x
            rows.extend(window[: one.stride] + one.bias)
            ahead = window[one.stride : one.stride + overlap]
        if one.tail is not None:
            self.state[one.tail] = ahead.T[None]
        return rows

    def _affine(self, one, signals):
        return signals[one.source.index] * one.scale + one.shift

    def _activate(self, one, signals):
        return [activated(row, one.activation) for row in signals[one.source.index]]

    def _gate(self, one, signals):
        x, half = signals[one.source.index], one.target.channels
        return x[:, :half] / (1 + np.exp(-x[:, half:]))

    def _select(self, one, signals):
        return signals[one.source.index][:, one.first : one.first + one.target.channels]

    def _spread(self, one, signals):
        return np.repeat(signals[one.source.index][None], len(signals[one.like.index]), axis=0)

    def _merge(self, one, signals):
        parts = [signals[signal.index] for signal in (one.source, *one.others)]
        if one.mode == "concat":
            total = np.concatenate(parts, axis=1)
        else:
            total = np.sum(parts, axis=0) if one.mode == "add" else np.prod(parts, axis=0)
        return [activated(row, one.activation) for row in total]

    def _layernorm(self, one, signals):
        x = signals[one.source.index]
        centred = x - x.mean(axis=1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + one.eps)
        return centred / deviation * one.weight + one.bias

    def _rmsnorm(self, one, signals):
        x = signals[one.source.index]
        groups = x.reshape(len(x), one.groups, x.shape[1] // one.groups)
        size = np.sqrt((groups**2).mean(axis=2, keepdims=True) + one.eps)
        return (groups / size).reshape(x.shape) * one.weight

    def _squeezeexcitation(self, one, signals):
        mean = self.state[one.mean][0] + self.state[one.mean_low][0]
        rows = []
        for x in signals[one.source.index]:
            self.state[one.count] += 1
            mean = mean + (x - mean) / self.state[one.count]
            inner = mean
            if one.reduce is not None:
                inner = np.maximum(one.reduce[0] @ mean + one.reduce[1], 0)
            rows.append(x / (1 + np.exp(-(one.expand[0] @ inner + one.expand[1]))))
            if one.residual:
                rows[-1] = rows[-1] + x
        self.state[one.mean] = mean[None]
        self.state[one.mean_low] = np.zeros_like(mean)[None]
        return rows

    def _windowpool(self, one, signals):
        x = signals[one.source.index]
        starts, log = self._starts(one, x, one.step), self._log(one, x)
        reduce = np.max if one.mode == "max" else np.mean
        return [reduce(log[t : t + one.size], axis=0) for t in starts]

    def _repeat(self, one, signals):
        return np.repeat(signals[one.source.index], one.factor, axis=0)

    def _scan(self, one, signals):
        state, share = self.state[one.state][0], one.heads // one.groups
        width = one.heads * one.head_dim
        rows = []
        for row, raw in zip(signals[one.source.index], signals[one.dt.index], strict=True):
            dt = np.clip(np.logaddexp(raw + one.dt_bias, 0), *one.limit)
            x = row[:width].reshape(one.heads, one.head_dim)
            b, c = row[width:].reshape(2, one.groups, one.d_state)
            for h in range(one.heads):
                added = dt[h] * np.outer(x[h], b[h // share])
                state[h] = np.exp(dt[h] * one.decay[h]) * state[h] + added
            y = np.stack([state[h] @ c[h // share] for h in range(one.heads)])
            rows.append(y.ravel() + one.skip * row[:width])
        self.state[one.state] = state[None]
        return rows
