"""Quantisers beside vector-quantize-pytorch: codes, losses, gradients, averages, restarts."""

import numpy as np
import pytest

import tcnzoo
from tests.support.compare import GRADIENT_TOLERANCE, assert_close, noise
from tests.support.quantizers import signal, train_step

torch = pytest.importorskip("torch")
vqp = pytest.importorskip("vector_quantize_pytorch")

# The library's defaults, as ours are named.
THEIRS = {"decay": 0.8, "commitment": 1.0, "dead_code_threshold": 0.0, "gradient": "rotation"}
SHAPE = (3, 5, 23)
# Both sum in float32, each in its own order.
AVERAGES = 1e-6


def spread(codebook, cosine=False):
    """Give a codebook of theirs codes and averages that hide nothing."""
    generator = torch.Generator().manual_seed(3)
    codes = torch.randn(codebook.embed.shape, generator=generator)
    if cosine:
        codes = torch.nn.functional.normalize(codes, dim=-1)
    codebook.embed.data.copy_(codes)
    codebook.embed_avg.copy_(codes * 1.3)
    codebook.cluster_size.copy_(
        torch.rand(codebook.cluster_size.shape, generator=generator) * 3 + 0.5
    )


def ours_of(codebook, prefix=""):
    """Neutral weights of one of their codebooks."""
    names = {
        "codebook": codebook.embed,
        "cluster_size": codebook.cluster_size,
        "embed_avg": codebook.embed_avg,
    }
    return {prefix + name: one[0].detach().numpy().copy() for name, one in names.items()}


def their_step(module, x, slope, mask=None):
    """Their output, indices, loss and gradient for a training step, channels first."""
    values = torch.from_numpy(x).mT.requires_grad_()
    kept = None if mask is None else torch.from_numpy(mask)
    output, indices, loss = module.train()(values, mask=kept)
    ((output * torch.from_numpy(slope).mT).sum() + loss.sum()).backward()
    indices = indices.mT if indices.ndim == 3 else indices
    return output.detach().mT.numpy(), indices.numpy(), loss.sum().item(), values.grad.mT.numpy()


def assert_same_step(step, theirs):
    output, indices, loss, gradient = theirs
    np.testing.assert_array_equal(step.found.indices, indices)
    assert_close(step.found.output, output)
    assert_close(step.found.vq_loss, loss)
    assert_close(step.gradients["input"], gradient, GRADIENT_TOLERANCE)


# Without a mask and cosine together: there the library takes the loss against the raw input.
@pytest.mark.parametrize(
    "cosine, masked",
    [(False, False), (False, True), (True, False)],
    ids=["plain", "mask", "cosine"],
)
@pytest.mark.parametrize("gradient", ["straight_through", "rotation"])
def test_steps_equal_the_librarys(native, gradient, cosine, masked):
    theirs = vqp.VectorQuantize(5, 7, rotation_trick=gradient == "rotation", use_cosine_sim=cosine)
    spread(theirs._codebook, cosine)
    spec = {"kind": "vector_quantizer", "channels": 5, "codes": 7, **THEIRS}
    spec |= {"gradient": gradient, "cosine": cosine}
    model = tcnzoo.create(spec, native, weights=ours_of(theirs._codebook))
    mask = noise(3, 23, seed=2) > -0.5 if masked else None
    for seed in range(3):
        x, slope = signal(*SHAPE, seed=seed), signal(*SHAPE, seed=seed + 10)
        step = train_step(native, model, x, slope, mask)
        assert_same_step(step, their_step(theirs, x, slope, mask))
        for name, array in ours_of(theirs._codebook).items():
            assert_close(step.weights[name], array, AVERAGES, name)


@pytest.mark.parametrize("shared", [False, True], ids=["apart", "shared"])
def test_residual_steps_equal_the_librarys(native, shared):
    theirs = vqp.ResidualVQ(dim=5, codebook_size=7, num_quantizers=3, shared_codebook=shared)
    inner = {"channels": 5, "codes": 7, **THEIRS}
    spec = {"kind": "residual_vq", "levels": 3, "shared": shared, "quantizer": inner}

    def state():
        books = [theirs.layers[level]._codebook for level in range(1 if shared else 3)]
        tables = [ours_of(book, f"levels.{level}.") for level, book in enumerate(books)]
        return {name: array for table in tables for name, array in table.items()}

    for layer in theirs.layers:
        spread(layer._codebook)
    model = tcnzoo.create(spec, native, weights=state())
    for seed in range(2):
        x, slope = signal(*SHAPE, seed=seed), signal(*SHAPE, seed=seed + 10)
        step = train_step(native, model, x, slope)
        assert_same_step(step, their_step(theirs, x, slope))
        for name, array in state().items():
            assert_close(step.weights[name], array, AVERAGES, name)


@pytest.mark.parametrize("levels", [[8, 5, 3, 6, 4], [3, 3, 3, 3, 3]])
def test_scalars_are_rounded_as_in_the_library(native, levels):
    x, slope = 2.0 * signal(*SHAPE), signal(*SHAPE, seed=1)
    values = torch.from_numpy(x).mT.requires_grad_()
    output, indices = vqp.FSQ(levels)(values)
    (output * torch.from_numpy(slope).mT).sum().backward()
    model = tcnzoo.create({"kind": "fsq", "levels": levels}, native)
    step = train_step(native, model, x, slope)
    theirs = output.detach().mT.numpy(), indices.numpy(), 0.0, values.grad.mT.numpy()
    assert_same_step(step, theirs)


def test_dead_codes_are_those_of_the_library(native):
    theirs = vqp.VectorQuantize(5, 16, threshold_ema_dead_code=2)
    spread(theirs._codebook)
    weights = ours_of(theirs._codebook)
    spec = {"kind": "vector_quantizer", "channels": 5, "codes": 16, **THEIRS}
    model = tcnzoo.create({**spec, "dead_code_threshold": 2.0}, native, weights=weights)
    x, slope = signal(*SHAPE), signal(*SHAPE, seed=1)
    step = train_step(native, model, x, slope)
    their_step(theirs, x, slope)
    expected = ours_of(theirs._codebook)
    # Which values the dead start at is chance there and a rule here; all else is the same.
    assert_close(step.weights["cluster_size"], expected["cluster_size"], AVERAGES)
    dead = expected["cluster_size"] == 2.0
    assert 2 < dead.sum() < 14
    for name in ("codebook", "embed_avg"):
        assert_close(step.weights[name][~dead], expected[name][~dead], AVERAGES)
    rows = np.moveaxis(x, 1, -1).reshape(-1, 5)
    places = [(2 * rank + 1) * 69 // (2 * dead.sum()) for rank in range(dead.sum())]
    np.testing.assert_array_equal(step.weights["codebook"][dead], rows[places])
    assert_close(step.weights["embed_avg"][dead], 2.0 * rows[places])


def test_trained_by_gradients_as_in_the_library(native):
    # There one loss with one weight trains both, here each has its own: of weight 1 they agree.
    theirs = vqp.VectorQuantize(5, 7, learnable_codebook=True, ema_update=False)
    spread(theirs._codebook)
    weights = {"codebook": ours_of(theirs._codebook)["codebook"]}
    spec = {"kind": "vector_quantizer", "channels": 5, "codes": 7, **THEIRS, "update": "gradient"}
    x, slope = signal(*SHAPE), signal(*SHAPE, seed=1)
    step = train_step(native, tcnzoo.create(spec, native, weights=weights), x, slope)
    *_, gradient = their_step(theirs, x, slope)
    assert_close(step.gradients["input"], gradient, GRADIENT_TOLERANCE)
    found = theirs._codebook.embed.grad[0].numpy()
    # Neither output hands a gradient to the codes: they have that of the loss alone.
    assert_close(step.gradients["codebook"], found, GRADIENT_TOLERANCE)
