"""Gradients of the log-likelihoods of an hsmm by each framework, and by differences in float64."""

import numpy as np

import tcnzoo
from tcnzoo.inference import hsmm
from tests.support.compare import reference

# Rounding of the log-likelihood (1e-13 / 1e-5) and its third derivative (1e-10) stay below 1e-7.
STEP = 1e-5


def differences(spec, weights, x, lengths, mask, share):
    """Central differences of sum(share * log_likelihood) by every weight, in float64."""
    model, slopes = reference(spec, weights), {}
    model.engine = "reference"
    for name, array in weights.items():
        slopes[name] = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            for step in (STEP, -STEP):
                moved = array.astype(np.float64)
                moved[place] += step
                tcnzoo.set_weights(model, {**weights, name: moved})
                value = share @ hsmm.log_likelihood(model, x, lengths, mask)
                slopes[name][place] += value / (2.0 * step)
    return slopes


def slopes(model, x, lengths, mask, share):
    """The same of a native model, by its own differentiation: (value, {name: gradient})."""
    steps = x.shape[2]
    lengths = np.full(len(x), steps) if lengths is None else lengths
    mask = np.ones((len(x), steps), dtype=bool) if mask is None else mask
    return _BRANCHES[model.tcnzoo.backend](model, x, lengths.astype(np.int32), mask, share)


def _torch(model, x, lengths, mask, share):
    import torch

    held = dict(model.named_parameters())
    arguments = (torch.from_numpy(one) for one in (x.astype(np.float32), lengths, mask))
    value = (model.log_likelihood(*arguments) * torch.from_numpy(share)).sum()
    found = torch.autograd.grad(value, held.values())
    named = zip(held, found, strict=True)
    return value.item(), {name: one.numpy() for name, one in named}


def _mlx(model, x, lengths, mask, share):
    import mlx.core as mx
    import mlx.nn as nn

    from tcnzoo.backends.mlx.weights import neutral

    signal = mx.array(np.moveaxis(x, 1, -1).astype(np.float32))
    lengths, mask, share = mx.array(lengths), mx.array(mask), mx.array(share.astype(np.float32))

    def value_of():
        return (model.log_likelihood(signal, lengths, mask) * share).sum()

    value, tree = nn.value_and_grad(model, value_of)()
    return float(value), neutral(tree, model.tcnzoo.params)


def _keras(model, x, lengths, mask, share):
    from keras import ops

    from tcnzoo.backends.keras import weights
    from tcnzoo.backends.keras.gradients import differentiate

    held = dict(model.root.named_variables())
    signal = ops.convert_to_tensor(np.moveaxis(x, 1, -1).astype(np.float32))
    given = [ops.convert_to_tensor(one) for one in (lengths, mask)]
    share = ops.convert_to_tensor(share.astype(np.float32))

    def value_of(_):
        return ops.sum(model.root.log_likelihood(signal, *given) * share)

    inputs = {"x": signal[:, :1], "embeddings": ()}
    value, found, _ = differentiate(model, list(held.values()), inputs, value_of, False)
    table = tcnzoo.load_spec(model.tcnzoo.spec).params()
    return float(value), {
        name: weights.to_neutral(one, table[name].axes)
        for name, one in zip(held, found, strict=True)
    }


_BRANCHES = {"torch": _torch, "mlx": _mlx, "keras": _keras}
