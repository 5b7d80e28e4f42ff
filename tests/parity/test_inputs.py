"""Arrays of every type, layout and framework are one signal; others are refused in a sentence."""

import ml_dtypes
import numpy as np
import pytest

import tcnzoo
from tcnzoo.arrays import to_real
from tcnzoo.errors import InputError
from tcnzoo.inference import hsmm
from tcnzoo.inference.quantization import quantize
from tcnzoo.training.data.dataset import ArrayDataset
from tests.support.cases import conv1d, mamba2, vector_quantizer
from tests.support.compare import assert_close, assert_refused, noise, weights_of

# Whole numbers that even bool holds.
BITS = np.random.default_rng(0).integers(0, 2, (2, 3, 12))
TYPES = [
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16",
    "float64", "longdouble", ">f4", ">f8", ">i2", ">i8", "<f4", ml_dtypes.bfloat16,
]  # fmt: skip
MODELS = {
    "conv1d": conv1d(),
    "mamba2": mamba2(),
    "hsmm": {"kind": "hsmm", "states": 3, "channels": 3, "max_duration": 4},
    "vector_quantizer": vector_quantizer(),
    "sequential": {"kind": "sequential", "layers": {"a": {"kind": "activation", "name": "relu"}}},
}


def _layouts(x):
    """The same float32 values in other layouts of memory."""
    wide = np.zeros((*x.shape[:2], 2 * x.shape[2]), np.float32)
    wide[:, :, ::2] = x
    fixed = x.copy()
    fixed.flags.writeable = False
    yield "strided", wide[:, :, ::2]
    yield "fortran", np.asfortranarray(x)
    yield "backwards", x[:, :, ::-1].copy()[:, :, ::-1]
    yield "read-only", fixed
    yield "list", x.tolist()
    yield "rows of arrays", [list(one) for one in x]
    yield "unmasked", np.ma.masked_array(x)
    yield "subclass", x.view(type("Signal", (np.ndarray,), {}))


def first(y):
    """The first of several outputs."""
    return next(iter(y.values())) if isinstance(y, dict) else y


@pytest.mark.parametrize("name", MODELS)
def test_every_type_and_layout_gives_the_same_bits(backend, name):
    model = tcnzoo.create(MODELS[name], backend, weights=weights_of(MODELS[name]))
    x = BITS.astype(np.float32)
    expected = first(tcnzoo.predict(model, x))
    for one in TYPES:
        found = first(tcnzoo.predict(model, x.astype(one)))
        np.testing.assert_array_equal(found, expected, err_msg=str(one))
    for label, one in _layouts(x):
        np.testing.assert_array_equal(first(tcnzoo.predict(model, one)), expected, err_msg=label)


def test_streams_gradients_and_embeddings_take_every_type(backend):
    spec = conv1d()
    model, x = tcnzoo.create(spec, backend, weights=weights_of(spec)), BITS.astype(np.float32)
    expected = tcnzoo.predict(model, x)
    target = np.zeros(expected.shape)
    slopes = None if backend == "numpy" else tcnzoo.gradients(model, x, target)
    for one in ("int16", "bool", ">f4", ">f8"):
        given, state = x.astype(one), tcnzoo.init_state(model, 2)
        swapped = {
            key: np.asarray(value).astype(np.asarray(value).dtype.newbyteorder(">"))
            for key, value in state.items()
        }
        y, _ = tcnzoo.step(model, given, swapped)
        assert_close(y, expected, label=one)
        if slopes is not None:
            value, found = tcnzoo.gradients(model, given, target.astype(one))
            assert value == slopes[0]
            assert_close(found, slopes[1], 0.0, one)


def test_weights_in_another_byte_order(backend):
    spec = conv1d()
    weights, x = weights_of(spec), noise(2, 3, 9)
    expected = tcnzoo.predict(tcnzoo.create(spec, backend, weights=weights), x)
    swapped = {name: one.astype(">f4") for name, one in weights.items()}
    model = tcnzoo.create(spec, backend, weights=swapped)
    np.testing.assert_array_equal(tcnzoo.predict(model, x), expected)
    tcnzoo.set_weights(model, swapped)
    np.testing.assert_array_equal(tcnzoo.predict(model, x), expected)


@pytest.mark.parametrize("dtype", ["int16", ">f8", "bool", "uint8"])
def test_functions_of_an_hsmm_and_quantisers_take_every_type(backend, dtype):
    spec, x = tcnzoo.load_spec(MODELS["hsmm"]), BITS.astype(np.float32)
    model = tcnzoo.create(spec, backend, weights=weights_of(spec))
    for call in (hsmm.log_likelihood, lambda *given: hsmm.posteriors(*given).posterior):
        np.testing.assert_array_equal(call(model, x.astype(dtype)), call(model, x))
    model = tcnzoo.create(MODELS["vector_quantizer"], backend, seed=3)
    found, expected = quantize(model, x.astype(dtype)), quantize(model, x)
    np.testing.assert_array_equal(found["indices"], expected["indices"])


def test_fits_take_every_type():
    spec = tcnzoo.load_spec(
        {**MODELS["hsmm"], "emission": "categorical", "channels": None, "codes": 2}
    )
    codes = np.random.default_rng(1).integers(0, 2, (1, 200))
    start = hsmm.from_data(spec, [codes.astype(np.float64)])
    expected = hsmm.fit_em(spec, start, [codes.astype(np.float64)], iterations=2)
    for dtype in ("int16", ">i4", "bool", "float16"):
        given = [codes.astype(dtype)]
        assert_close(hsmm.from_data(spec, given), start, 0.0)
        found = hsmm.fit_em(spec, start, given, iterations=2)
        assert_close(found.weights, expected.weights, 0.0)


def test_tensors_of_the_framework_are_taken(native):
    spec, x = conv1d(), BITS.astype(np.float32)
    model = tcnzoo.create(spec, native, weights=weights_of(spec))
    expected = tcnzoo.predict(model, x)
    for given in _tensors(native, x):
        np.testing.assert_array_equal(tcnzoo.predict(model, given), expected)


def _tensors(native, x):
    """The same values as tensors of a framework, of several types."""
    if native == "torch":
        import torch

        plain = torch.from_numpy(x)
        return [
            plain, plain.clone().requires_grad_(), plain.to(torch.bfloat16), plain.to(torch.int16),
            plain.mT.contiguous().mT,
        ]  # fmt: skip
    if native == "mlx":
        import mlx.core as mx

        plain = mx.array(x)
        return [plain, plain.astype(mx.bfloat16), plain.astype(mx.int8)]
    from keras import ops

    return [ops.convert_to_tensor(x), ops.convert_to_tensor(x.astype(np.int16))]


OBJECTS = np.empty((1, 3, 4), dtype=object)
REFUSED = {
    "complex": (
        np.zeros((1, 3, 4), complex),
        "the input must hold real numbers, but its type is complex128; take the real part, the "
        "magnitude or two channels",
    ),
    "objects": (
        OBJECTS,
        "the input must hold real numbers, but its type is object; convert it to floats first",
    ),
    "words": (
        np.full((1, 3, 4), "1.0"),
        "the input must hold real numbers, but its type is <U3",
    ),
    "times": (
        np.zeros((1, 3, 4), "datetime64[s]"),
        "the input must hold real numbers, but its type is datetime64[s]",
    ),
    "masked": (
        np.ma.masked_array(np.zeros((1, 3, 4)), np.arange(4) == 2 + np.zeros((1, 3, 1))),
        "the input is a masked array, whose masked values would be read as numbers; "
        "fill them in first",
    ),
    "beyond": (
        np.where(np.arange(4) == 2, 1e39, np.zeros((1, 3, 4))),
        "the input holds 1e+39 at [0, 0, 2], which float32 cannot hold (its largest number is "
        "3.40282e+38); scale it first",
    ),
    "no signals": (np.zeros((0, 3, 4)), "the input holds no signals: its shape is (0, 3, 4)"),
    "no steps": (np.zeros((1, 3, 0)), "the input holds no time steps: its shape is (1, 3, 0)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_signal_is_refused(backend, case):
    given, sentence = REFUSED[case]
    model = tcnzoo.create(conv1d(), backend)
    assert_refused(InputError, sentence, tcnzoo.predict, model, given)
    if backend != "numpy":
        target = np.zeros((len(given), 5, given.shape[2]))
        assert_refused(InputError, sentence, tcnzoo.gradients, model, given, target)
    if case != "no steps":  # which a stream takes
        sentence = sentence.replace("the input", "the chunk")
        state = tcnzoo.init_state(model)
        assert_refused(InputError, sentence, tcnzoo.step, model, given, state)


def test_ragged_lists_are_refused(backend):
    model = tcnzoo.create(conv1d(), backend)
    with pytest.raises(InputError, match="^the input must be an array of numbers, but list is not"):
        tcnzoo.predict(model, [[[1.0, 2.0], [1.0], [2.0]]])


@pytest.mark.parametrize("dtype, value", [("float16", 1e5), ("bfloat16", 3.4e38)])
def test_what_16_bits_cannot_hold_is_refused(native, dtype, value):
    model = tcnzoo.create(conv1d(), native, dtype=dtype)
    x = np.zeros((1, 3, 4), np.float32)
    assert np.isfinite(np.asarray(tcnzoo.predict(model, x), np.float32)).all()
    x[0, 1, 3] = value
    with pytest.raises(InputError, match=rf"holds .* at \[0, 1, 3\], which {dtype} cannot hold"):
        tcnzoo.predict(model, x)


def test_float64_models_keep_float64(backends):
    assert to_real([1e300, 2**53 - 1], "float64").tolist() == [1e300, 2**53 - 1]
    assert to_real(np.array([2**24 + 1])).tolist() == [2**24]
    x = noise(2, 3, 9)
    assert to_real(x, "float64") is x
    x = x.astype(np.float32)
    assert to_real(x) is x


@pytest.mark.parametrize(
    "odd, shown", [(5, "5"), (-100, "-100"), (-1, "-1"), (1.5, "1.5"), (np.nan, "nan")]
)
def test_classes_that_there_are_not_are_refused(native, odd, shown):
    # torch leaves out -100, and other frameworks take any number for some class.
    model, x = tcnzoo.create(conv1d(), native), noise(2, 3, 4)
    target = np.zeros((2, 4))
    expected = tcnzoo.gradients(model, x, target.astype(int), "cross_entropy")[0]
    assert tcnzoo.gradients(model, x, target.astype("uint8"), "cross_entropy")[0] == expected
    target[1, 2] = odd
    sentence = f"the target of loss 'cross_entropy' must be classes 0 .. 4, but holds {shown}"
    given = (model, x, target, "cross_entropy")
    assert_refused(InputError, sentence, tcnzoo.gradients, *given)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "int16", "bool", "uint8"])
def test_examples_of_training_are_float32(dtype):
    y = np.array([0, 1], ">i8")
    batch = ArrayDataset({"x": BITS.astype(dtype), "y": y}).batch(np.array([1, 0]))
    assert batch["x"].dtype == np.dtype("=f4")
    np.testing.assert_array_equal(batch["x"], BITS[::-1])
    assert batch["y"].dtype.isnative
    assert batch["y"].tolist() == [1, 0]
    wide = ArrayDataset({"x": np.full((2, 3, 4), 1e39), "y": y})
    with pytest.raises(InputError, match="^x holds 1e\\+39 at"):
        wide.batch(np.array([0]))
