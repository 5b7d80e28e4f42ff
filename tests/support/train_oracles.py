"""Losses and optimisers in numpy float64 from their definitions, and helpers of training tests."""

import contextlib
from importlib import import_module

import numpy as np
from pydantic import TypeAdapter

from tcnzoo.models.backend import backend_modules
from tcnzoo.training.losses import Loss
from tcnzoo.training.optimizers import Optimizer
from tcnzoo.training.stepper import Plan


def read(kind, told):
    """A part of a configuration."""
    return TypeAdapter(kind).validate_python(told)


def plan_of(optimizer, *losses, **more):
    """A plan from plain dictionaries."""
    return Plan(
        read(Optimizer, optimizer), tuple(read(Loss, loss) for loss in losses or ("mse",)), **more
    )


def stepper_of(backend, model, plan):
    """The stepper of a native model."""
    return import_module(f"{backend_modules()[backend]}.training").stepper(model, plan)


def softmax(y):
    """Probabilities over axis 1."""
    e = np.exp(y - y.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def sigmoid(y):
    """Of each value."""
    return 1.0 / (1.0 + np.exp(-y))


def loss_in_numpy(told, y, batch):
    """A loss from its definition, one example and step after the other."""
    target, kind = batch["y"], told["kind"]
    mask = batch[told["mask"]] if told.get("mask") else np.ones(len(y))
    total, count = 0.0, 0.0
    for place in np.ndindex(y.shape[0], *y.shape[2:]):
        row, steps = place[0], place[1:]
        m = mask[place] if mask.ndim > 1 else mask[row]
        here = (row, slice(None), *steps)
        if kind == "cross_entropy" or told.get("activation") == "softmax":
            label = target[place]
            if label == told.get("ignore"):
                continue
            value, weight = _of_class(told, y[here], label)
        else:
            value, weight = _of_values(told, y[here], target[here]), 1.0
        total, count = total + m * value, count + m * weight
    return total / count if count else 0.0


def _of_class(told, logits, label):
    """(value, what it counts) of one example and step with a class."""
    p = softmax(logits[None])[0]
    if told["kind"] == "focal":
        alpha = told["alpha"][label] if told.get("alpha") else 1.0
        return -alpha * (1 - p[label]) ** told.get("gamma", 2.0) * np.log(p[label]), 1.0
    weights = np.asarray(told.get("class_weights") or np.ones(len(p)))
    spread = told.get("label_smoothing", 0.0)
    aim = (1 - spread) * np.eye(len(p))[label] + spread / len(p)
    return -np.sum(aim * weights * np.log(p)), weights[label]


def _of_values(told, z, t):
    """Mean over channels of one example and step with values."""
    gap = np.abs(z - t)
    if told["kind"] == "huber":
        d = told["delta"]
        return np.where(gap < d, 0.5 * gap**2, d * (gap - 0.5 * d)).mean()
    if told["kind"] in ("mse", "mae"):
        return (gap ** {"mse": 2, "mae": 1}[told["kind"]]).mean()
    positive = np.asarray(told.get("pos_weight", 1.0))
    bce = -positive * t * np.log(sigmoid(z)) - (1 - t) * np.log(sigmoid(-z))
    if told["kind"] == "bce":
        return bce.mean()
    right = np.where(t == 1, sigmoid(z), sigmoid(-z))
    alpha = told.get("alpha")
    share = 1.0 if alpha is None else np.where(t == 1, alpha, 1 - alpha)
    return (share * (1 - right) ** told.get("gamma", 2.0) * bce).mean()


class NumpyOptimizer:
    """torch.optim's update of named float64 arrays, each with its own count of steps."""

    def __init__(self, told):
        self.told, self.held, self.counts = told, {}, {}

    def step(self, weights, gradients, rate):
        """Weights after a step; those without gradient rest."""
        after = dict(weights)
        for name, g in gradients.items():
            self.counts[name] = self.counts.get(name, 0) + 1
            after[name] = self._one(name, weights[name], g, rate)
        return after

    def _one(self, name, w, g, rate):
        told = self.told
        decay = told.get("weight_decay", 0.01 if told["kind"] == "adamw" else 0.0)
        decay = 0.0 if name in told.get("no_decay", ()) else decay
        if told["kind"] == "adamw":
            w = w - rate * decay * w
        else:
            g = g + decay * w
        if told["kind"] == "sgd":
            momentum = told.get("momentum", 0.0)
            buffer = self.held.get(name)
            buffer = g if buffer is None else momentum * buffer + g
            self.held[name] = buffer
            return w - rate * (g + momentum * buffer if told.get("nesterov") else buffer)
        b1, b2 = told.get("betas", (0.9, 0.999))
        m, v = self.held.get(name, (0.0, 0.0))
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        self.held[name] = (m, v)
        n = self.counts[name]
        m, v = m / (1 - b1**n), v / (1 - b2**n)
        return w - rate * m / (np.sqrt(v) + told.get("eps", 1e-8))


@contextlib.contextmanager
def uncompiled(backend):
    """Steps that run as they are: for many small cases, building each costs more than running it.

    MLX calls a C++ compiler on a CPU, TensorFlow traces.
    """
    if backend == "mlx":
        mx = import_module("mlx.core")
        mx.disable_compile()
        yield
        mx.enable_compile()
    elif backend == "keras" and import_module("keras").backend.backend() == "tensorflow":
        tf = import_module("tensorflow")
        tf.config.run_functions_eagerly(True)
        yield
        tf.config.run_functions_eagerly(False)
    else:
        yield
