"""Axes that change places: for any shape, type and strides, what comes back is what was sent."""

import importlib
import io
import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tcnzoo
from tcnzoo.arrays import DTYPES
from tcnzoo.checkpoints.directory import read_safetensors, write_safetensors
from tcnzoo.errors import SpecError
from tcnzoo.formats.protocol import get_format
from tcnzoo.specs.params import permute
from tcnzoo.weights_convert.containers.npz import read_npz, write_npz
from tcnzoo.weights_convert.containers.own import to_neutral, to_stored
from tests.support.compare import assert_same_bits

# Formats of ours, each with the places that its files hold a model in.
OWN = {
    "torch": ("net.pt", "net.safetensors"),
    "mlx": ("net.npz", "net.safetensors"),
    "keras": ("net.keras", "net.weights.h5"),
}
NEEDS = {"net.pt": "torch", "net.keras": "h5py", "net.weights.h5": "h5py"}
LAYOUTS = {name: get_format(name).LAYOUT for name in OWN}
KINDS = sorted({axes for layout in LAYOUTS.values() for axes in layout})
each_layout = pytest.mark.parametrize("layout", OWN)
each_file = pytest.mark.parametrize(
    "name, file", [(name, file) for name, files in OWN.items() for file in files]
)


@st.composite
def arrays(draw, shape=None, rank=None, dtype=None):
    """An array of any float type and any strides, with any bits in it."""
    if shape is None:
        least, most = (0, 4) if rank is None else (rank, rank)
        shape = draw(st.lists(st.integers(0, 5), min_size=least, max_size=most))
    steps = [draw(st.sampled_from((1, 2, 3, -1, -2))) for _ in shape]
    order = draw(st.permutations(range(len(shape))))
    dtype = DTYPES[dtype or draw(st.sampled_from(sorted(DTYPES)))]
    held = [shape[axis] * abs(steps[axis]) for axis in order]
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    raw = generator.bytes(int(np.prod(held)) * dtype.itemsize)
    turned = np.frombuffer(raw, dtype).reshape(held).transpose(np.argsort(order))
    return turned[tuple(slice(None, None, step) for step in steps)]


def layer(kind, **fields):
    return {"kind": kind, **fields}


@st.composite
def specs(draw):
    """A chain of layers of every kind of axes, of any small sizes."""
    size = st.integers(1, 6)
    width = [draw(size) for _ in range(6)]
    flag = st.booleans()
    layers = {
        "conv": layer(
            "conv1d", in_channels=width[0], out_channels=width[1], kernel_size=draw(size),
            weight_norm=draw(flag), bias=draw(flag),
        ),
        "norm": layer("batch_norm", channels=width[1]),
        "up": layer(
            "conv_transpose1d", in_channels=width[1], out_channels=width[2],
            kernel_size=draw(size), weight_norm=draw(flag),
        ),
        "body": layer(
            "tcn", in_channels=width[2], channels=[width[3], width[4]], kernel_size=draw(size),
            gate=draw(flag), skip_connections=draw(flag),
        ),
        "head": layer("dense", in_features=width[4], out_features=2 * width[5], bias=draw(flag)),
        "apart": layer("device_split"),
        "between": layer(
            "conv2d", in_channels=width[5], out_channels=width[0], devices=2,
            kernel_size=[draw(st.integers(1, 2)), draw(size)], bias=draw(flag),
        ),
    }  # fmt: skip
    return tcnzoo.load_spec({"kind": "sequential", "layers": layers})


@st.composite
def models(draw):
    """A spec, and weights of any strides for it, all of one type."""
    spec, dtype = draw(specs()), draw(st.sampled_from(sorted(DTYPES)))
    table = spec.params()
    return spec, {name: draw(arrays(param.shape, dtype=dtype)) for name, param in table.items()}


# One array


@each_layout
@pytest.mark.parametrize("axes", KINDS)
@settings(max_examples=60)
@given(data=st.data())
def test_there_and_back_is_the_same_array(layout, axes, data):
    array, stored = data.draw(arrays(rank=len(axes))), LAYOUTS[layout][axes]
    there = permute(array, axes, stored)
    back = permute(there, stored, axes)
    assert_same_bits({"array": back}, {"array": array})
    assert back.strides == array.strides
    assert there.shape == tuple(array.shape[axes.index(letter)] for letter in stored)


@settings(max_examples=100)
@given(data=st.data())
def test_every_value_goes_where_its_letters_say(data):
    axes = data.draw(st.sampled_from(("C", "OI", "OIK", "IOK", "ABCD")))
    stored = "".join(data.draw(st.permutations(axes)))
    array = data.draw(arrays(rank=len(axes)))
    there = permute(array, axes, stored)
    for place in itertools.product(*(range(extent) for extent in array.shape)):
        moved = tuple(dict(zip(axes, place, strict=True))[letter] for letter in stored)
        assert there[moved].tobytes() == array[place].tobytes()


@settings(max_examples=40)
@given(st.text("OIKC", max_size=4).flatmap(lambda axes: st.tuples(st.just(axes), st.text("OIKC"))))
def test_other_letters_are_refused(pair):
    axes, stored = pair
    array = np.zeros((1,) * len(axes))
    if sorted(axes) == sorted(stored):
        assert permute(array, axes, stored).shape == array.shape
    else:
        with pytest.raises(SpecError, match="the letters differ"):
            permute(array, axes, stored)


@pytest.mark.parametrize("name", OWN)
def test_files_and_backends_store_alike(name):
    pytest.importorskip({"mlx": "mlx.core"}.get(name, name))
    assert LAYOUTS[name] == importlib.import_module(f"tcnzoo.backends.{name}.weights").LAYOUT


# All tensors of a model


@each_layout
@given(models())
def test_stored_and_neutral_are_inverse(layout, model):
    spec, weights = model
    table = spec.params()
    stored = to_stored(table, weights, LAYOUTS[layout])
    assert_same_bits(to_neutral(table, stored, LAYOUTS[layout]), weights)
    for name, param in table.items():
        letters = LAYOUTS[layout][param.axes]
        assert stored[name].shape == tuple(param.shape[param.axes.index(one)] for one in letters)
        assert stored.facts[name].shape == stored[name].shape


@given(models())
def test_two_layouts_may_follow_each_other(model):
    # As from torch's file to Keras's and back, without a neutral copy between.
    spec, weights = model
    table, held = spec.params(), weights
    for layout in [*LAYOUTS.values(), *reversed(LAYOUTS.values())]:
        held = to_neutral(table, to_stored(table, held, layout), layout)
    assert_same_bits(held, weights)


# Files


def _h5(tensors, path):
    h5py = pytest.importorskip("h5py")
    from tcnzoo.weights_convert.containers.h5 import read_h5, write_h5

    with h5py.File(io.BytesIO(), "w") as file:
        write_h5(file, tensors)
        return read_h5(path, file)


def _pt(tensors, path):
    pytest.importorskip("torch")
    from tcnzoo.weights_convert.containers.pt import arrays_of, read_pt, state_dict_of, write_pt

    write_pt(path, state_dict_of(tensors))
    return arrays_of(path, read_pt(path))


def _safetensors(tensors, path):
    write_safetensors(path, tensors)
    return read_safetensors(path)[0]


def _npz(tensors, path):
    write_npz(path, tensors, "")
    return read_npz(path)[0]


WRITERS = {"h5": _h5, "npz": _npz, "pt": _pt, "safetensors": _safetensors}


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=40)
@given(drawn=st.lists(arrays(), min_size=1, max_size=4))
def test_any_strides_are_written_and_read_back(writer, drawn, tmp_path_factory):
    tensors = {f"array{number}": array for number, array in enumerate(drawn)}
    path = tmp_path_factory.mktemp("written") / "file"
    held = WRITERS[writer](tensors, path)
    assert_same_bits({name: held[name] for name in tensors}, tensors)
    assert held.keys() == tensors.keys()


@each_file
@given(model=models())
def test_a_model_of_any_strides_comes_back_from_a_file(name, file, model, tmp_path_factory):
    pytest.importorskip(NEEDS.get(file, "numpy"))
    spec, weights = model
    path = tmp_path_factory.mktemp("written") / file
    get_format(name).write(path, spec, weights)
    found = get_format(name).read(path, {})
    assert found.spec == spec
    assert_same_bits(found.weights, weights)


def test_the_arrays_above_find_a_wrong_writer():
    # What safetensors 0.8.0 did: the bytes in memory under the shape that was asked for.
    wrong = []

    @settings(max_examples=40)
    @given(arrays(rank=3))
    def look(array):
        base = np.asarray(array, order="K").ravel(order="K").reshape(array.shape)
        wrong.append(base.tobytes() != array.tobytes())

    look()
    assert sum(wrong) >= 5
