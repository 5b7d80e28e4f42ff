"""Signals of any length and number: one model takes all, and refuses the same in each backend."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, WeightError
from tcnzoo.inference import hsmm
from tests.support.cases import BLOCKS, conv1d, mamba2, vector_quantizer
from tests.support.compare import assert_close, assert_refused, noise, reference, weights_of
from tests.support.streams import STREAMED

# One of each kind of block, with its longest and shortest signals.
KINDS = {spec["kind"]: (spec, shape) for spec, shape in reversed(BLOCKS.values())}
MORE = {
    "mamba2-chunks": (mamba2(chunk_size=4), (2, 3, 37)),
    "mamba2-groups": (mamba2(groups=2, d_state=16), (2, 3, 37)),
    "conv1d-strided": (conv1d(stride=2, dilation=3), (2, 3, 37)),
    "hsmm-filtered": BLOCKS["hsmm-filtered"],
}
HSMM = {"kind": "hsmm", "states": 3, "channels": 3, "max_duration": 4}


def answer(model, x):
    """The outputs, or the refusal in words."""
    try:
        return tcnzoo.predict(model, x)
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("name", [*KINDS, *MORE])
def test_one_model_takes_signals_of_several_lengths_and_numbers(backend, name):
    spec, (batch, *axes) = (KINDS | MORE)[name]
    weights = weights_of(spec)
    model, true = tcnzoo.create(spec, backend, weights=weights), reference(spec, weights)
    sizes = [(batch, axes[-1]), (batch, axes[-1] - 1), (3, 5), (1, 1)]
    if len(axes) == 1:
        sizes = [(batch, axes[0]), (1, axes[0]), (5, axes[0])]
    for number, length in sizes:
        x = noise(number, *axes[:-1], length)
        found, expected = answer(model, x), answer(true, x)
        if isinstance(expected, str) or isinstance(found, str):
            assert found == expected
        else:
            assert_close(found, expected, label=f"{number} of {length}")


@pytest.mark.parametrize("name", KINDS)
def test_no_signals_and_no_steps_are_refused(backend, name):
    spec, shape = KINDS[name]
    if tcnzoo.load_spec(spec).embedding_specs:
        return
    model = tcnzoo.create(spec, backend)
    for axis, lacks in ((0, "signals"), (len(shape) - 1, "time steps")):
        if axis > 1 or axis == 0:
            empty = (*shape[:axis], 0, *shape[axis + 1 :])
            sentence = f"the input holds no {lacks}: its shape is {empty}"
            assert_refused(InputError, sentence, tcnzoo.predict, model, np.zeros(empty))


@pytest.mark.parametrize("name", list(STREAMED))
def test_steps_of_no_and_of_one_sample(backend, name):
    spec = tcnzoo.load_spec(STREAMED[name])
    if spec.embedding_specs:
        return
    model = tcnzoo.create(spec, backend)
    state, x = tcnzoo.init_state(model, 2), noise(2, *spec.signal_shape(1, 3))
    y, state = tcnzoo.step(model, x[..., :0], state)
    assert y.shape[-1] == 0
    y, state = tcnzoo.step(model, x, state)
    assert np.isfinite(y).all()
    sentence = f"the chunk holds no signals: its shape is {x[:0].shape}"
    assert_refused(InputError, sentence, tcnzoo.step, model, x[:0], state)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_in_an_hsmm_is_refused_by_its_place(backend, value):
    x = noise(2, 3, 9)
    x[1, 2, 4] = value
    where = f"takes finite values only, but the input holds {value} at [1, 2, 4]"
    inside = {"kind": "sequential", "layers": {"a": conv1d(out_channels=3), "b": HSMM}}
    for spec in (HSMM, {**HSMM, "output": "filtered"}, inside):
        model = tcnzoo.create(spec, backend)
        assert_refused(InputError, f"an hsmm {where}", tcnzoo.predict, model, x)
        if backend != "numpy":
            target = np.zeros((2, 3, 9))
            assert_refused(InputError, f"an hsmm {where}", tcnzoo.gradients, model, x, target)
    model = tcnzoo.create({**HSMM, "output": "filtered"}, backend)
    _, state = tcnzoo.step(model, noise(2, 3, 4), tcnzoo.init_state(model, 2))
    assert_refused(InputError, f"an hsmm {where}", tcnzoo.step, model, x, state)
    assert np.isfinite(tcnzoo.step(model, noise(2, 3, 4), state)[0]).all()
    model = tcnzoo.create(vector_quantizer(), backend)
    assert_refused(InputError, f"a quantiser {where}", tcnzoo.predict, model, x)


def test_codes_beyond_the_last_are_refused(backend):
    spec = {"kind": "hsmm", "states": 3, "emission": "categorical", "codes": 5, "max_duration": 4}
    model = tcnzoo.create({**spec, "output": "filtered"}, backend)
    x = np.array([[[0, 4, -1, 5, 2]]])
    sentence = "a code must be below 5, the number of codes, but 5 came"
    assert_refused(InputError, sentence, tcnzoo.predict, model, x)
    assert_refused(InputError, sentence, tcnzoo.step, model, x, tcnzoo.init_state(model))
    assert np.isfinite(tcnzoo.predict(model, x[:, :, :3])).all()


def test_weights_that_are_nan_are_named(backend):
    weights = weights_of(HSMM)
    weights["means"][1, 2] = np.nan
    model = tcnzoo.create(HSMM, backend, weights=weights)
    sentence = "the weights of the model hold NaN, so that no segments can be found"
    assert_refused(WeightError, sentence, tcnzoo.predict, model, noise(1, 3, 9))
    assert_refused(WeightError, sentence, hsmm.posteriors, model, noise(1, 3, 9))
    assert_refused(WeightError, sentence, hsmm.viterbi, model, noise(1, 3, 9))
