"""Keras models for the tests: filled with noise, saved, and their own output."""

import numpy as np
import pytest

import tcnzoo

keras = pytest.importorskip("keras")


def filled(model, seed=0):
    """The model with every variable off its start value."""
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        name = variable.path.rpartition("/")[2]
        if "seed" in name:
            continue
        if name in ("gamma", "moving_variance"):
            values = generator.uniform(0.4, 1.6, variable.shape)
        elif name.endswith("kernel"):
            scale = np.sqrt(1.0 / max(1, np.prod(variable.shape[:-1])))
            values = generator.normal(0.05, scale, variable.shape)
        else:
            values = generator.normal(0.1, 0.3, variable.shape)
        variable.assign(values)
    return model


def chain(shape, *layers, seed=0):
    """A Sequential of layers for inputs of a shape, filled."""
    return filled(keras.Sequential([keras.Input(shape), *layers]), seed)


def output(model, x):
    """What a Keras model gives for (batch, channels, time), in the neutral order."""
    x = np.asarray(x, np.float32)
    return channels_first(np.asarray(model(channels_first(x), training=False)))


def channels_first(y):
    """Swap channels and time of a signal; a vector is left as it is."""
    return y.swapaxes(1, 2) if y.ndim == 3 else y


def ours(directory, backend, x):
    """What our model in a checkpoint directory gives; the reference in float64."""
    dtype = "float64" if backend == "numpy" else "float32"
    return tcnzoo.predict(tcnzoo.load(directory, backend, dtype=dtype), x)
