"""Our own formats: round trips to the bit, and files that the frameworks load as they are."""

import importlib

import ml_dtypes
import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.formats import protocol as formats
from tcnzoo.formats.protocol import convert
from tests.support.checkpoints import FILES, SPEC, held_in
from tests.support.compare import assert_same_bits, weights_of

torch = pytest.importorskip("torch")
pytest.importorskip("h5py")

each_file = pytest.mark.parametrize("name, to_format", FILES)
DTYPES = ("float32", "float16", "bfloat16", "float64", "mixed")


def bits(dtype, seed=0):
    """Weights of any bits at all, NaN and infinities among them."""
    generator = np.random.default_rng(seed)
    weights = {}
    for place, (name, param) in enumerate(SPEC.params().items()):
        chosen = DTYPES[place % 4] if dtype == "mixed" else dtype
        kind = np.dtype(getattr(ml_dtypes, chosen, chosen))
        raw = generator.integers(0, 256, param.size * kind.itemsize, dtype=np.uint8)
        weights[name] = raw.view(kind).reshape(param.shape)
    return weights


# Round trips


@each_file
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_file_keeps_every_bit(name, to_format, dtype, tmp_path):
    weights = bits(dtype)
    write_checkpoint(tmp_path / "start", SPEC, weights)
    report = convert(tmp_path / "start", tmp_path / name, to_format=to_format)
    assert report.tensors == len(weights)
    spec, found = held_in(tmp_path / name, tmp_path)
    assert spec == SPEC
    assert_same_bits(found, weights)


@pytest.mark.parametrize("dtype", DTYPES)
def test_chain_through_all_formats_keeps_every_bit(dtype, tmp_path):
    weights = bits(dtype)
    write_checkpoint(tmp_path / "start", SPEC, weights)
    chain = ["a.pt", "b.npz", "c.keras", "d", "e.weights.h5", "f.safetensors", "g.pt"]
    source = tmp_path / "start"
    for name in chain:
        convert(source, tmp_path / name, to_format="mlx" if name == "f.safetensors" else None)
        source = tmp_path / name
    first, last = (torch.load(tmp_path / name, weights_only=True) for name in ("a.pt", "g.pt"))
    assert first["config"] == last["config"]
    for name, tensor in first["state_dict"].items():
        other = last["state_dict"][name]
        assert (tensor.dtype, tensor.shape) == (other.dtype, other.shape)
        assert torch.equal(tensor.view(torch.uint8), other.view(torch.uint8))
    assert_same_bits(held_in(source, tmp_path)[1], weights)


@each_file
@pytest.mark.parametrize("change", ["transposed", "strided", "flipped", "broadcast"])
def test_arrays_of_any_strides_survive_every_writer(name, to_format, change, tmp_path):
    # safetensors 0.8.0 writes such arrays wrongly, without an error.
    odd = {}
    for place, (tensor, array) in enumerate(weights_of(SPEC).items()):
        if change == "transposed":
            odd[tensor] = np.array(array.T, order="C").T
        elif change == "strided":
            odd[tensor] = np.repeat(array, 2, axis=0)[::2]
        elif change == "flipped":
            odd[tensor] = np.array(array[::-1])[::-1]
        else:
            odd[tensor] = np.broadcast_to(np.float32(place), array.shape)
    assert not all(array.flags.c_contiguous for array in odd.values())
    path = tmp_path / name
    formats.get_format(to_format or formats.destination_format(path).NAME).write(path, SPEC, odd)
    found = held_in(path, tmp_path)[1]
    assert_same_bits(found, {tensor: np.array(array) for tensor, array in odd.items()})


# The frameworks' own reading and writing


def test_torch_loads_strictly(backends, tmp_path):
    if "torch" not in backends:
        pytest.skip("needs the torch backend")
    weights = weights_of(SPEC)
    write_checkpoint(tmp_path / "start", SPEC, weights)
    convert(tmp_path / "start", tmp_path / "file.pt")
    model = tcnzoo.create(SPEC, "torch", seed=9)
    held = torch.load(tmp_path / "file.pt", weights_only=True)
    model.load_state_dict(held["state_dict"], strict=True)
    assert_same_bits(tcnzoo.get_weights(model), weights)


def test_plain_state_dict_is_read_with_its_spec(backends, tmp_path):
    if "torch" not in backends:
        pytest.skip("needs the torch backend")
    model = tcnzoo.create(SPEC, "torch", weights=weights_of(SPEC))
    torch.save(model.state_dict(), tmp_path / "plain.pt")
    hints = {"spec": SPEC.model_dump(mode="json")}
    convert(tmp_path / "plain.pt", tmp_path / "held", from_format="torch", hints=hints)
    assert_same_bits(read_checkpoint(tmp_path / "held")[1], weights_of(SPEC))


@pytest.mark.parametrize("name", ["file.safetensors", "file.npz"])
def test_mlx_loads_and_saves(name, backends, tmp_path):
    if "mlx" not in backends:
        pytest.skip("needs the MLX backend")
    weights = weights_of(SPEC)
    write_checkpoint(tmp_path / "start", SPEC, weights)
    convert(tmp_path / "start", tmp_path / name, to_format="mlx")
    model = tcnzoo.create(SPEC, "mlx", seed=9)
    model.load_weights(str(tmp_path / name), strict=True)
    assert_same_bits(tcnzoo.get_weights(model), weights)
    model.save_weights(str(tmp_path / f"own-{name}"))
    hints = {"spec": SPEC}
    convert(tmp_path / f"own-{name}", tmp_path / "held", from_format="mlx", hints=hints)
    assert_same_bits(read_checkpoint(tmp_path / "held")[1], weights)


def test_bfloat16_passes_to_mlx_and_back_in_npz(backends, tmp_path):
    if "mlx" not in backends:
        pytest.skip("needs the MLX backend")
    mx = importlib.import_module("mlx.core")
    weights = bits("bfloat16")
    write_checkpoint(tmp_path / "start", SPEC, weights)
    convert(tmp_path / "start", tmp_path / "file.npz")
    arrays = mx.load(str(tmp_path / "file.npz"))
    assert {array.dtype for array in arrays.values()} == {mx.bfloat16}
    mx.savez(str(tmp_path / "own.npz"), **arrays)
    hints = {"spec": SPEC}
    convert(tmp_path / "own.npz", tmp_path / "held", from_format="mlx", hints=hints)
    assert_same_bits(read_checkpoint(tmp_path / "held")[1], weights)


# Keras's own writer calls numpy in the older way.
keras_warns = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@keras_warns
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_keras_loads_and_saves(dtype, backends, tmp_path):
    if "keras" not in backends:
        pytest.skip("needs the Keras backend")
    keras = importlib.import_module("keras")
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    weights = {name: array.astype(kind) for name, array in weights_of(SPEC).items()}
    write_checkpoint(tmp_path / "start", SPEC, weights)
    convert(tmp_path / "start", tmp_path / "file.keras")
    convert(tmp_path / "start", tmp_path / "file.weights.h5")
    model = keras.saving.load_model(tmp_path / "file.keras")
    assert_same_bits(tcnzoo.get_weights(model), weights)
    other = tcnzoo.create(SPEC, "keras", seed=9, dtype=dtype)
    other.load_weights(tmp_path / "file.weights.h5")
    assert_same_bits(tcnzoo.get_weights(other), weights)
    model.save(tmp_path / "own.keras")
    assert_same_bits(held_in(tmp_path / "own.keras", tmp_path)[1], weights)
    model.save_weights(tmp_path / "own.weights.h5")
    convert(tmp_path / "own.weights.h5", tmp_path / "again", hints={"spec": SPEC})
    assert_same_bits(read_checkpoint(tmp_path / "again")[1], weights)


@keras_warns
def test_state_of_training_is_dropped_from_keras_files(backends, tmp_path):
    if "keras" not in backends:
        pytest.skip("needs the Keras backend")
    spec = {"kind": "dense", "in_features": 3, "out_features": 2}
    model = tcnzoo.create(spec, "keras")
    model.compile("adam", "mse")
    model.fit(np.zeros((4, 3)), np.ones((4, 2)), verbose=0)
    model.save(tmp_path / "trained.keras")
    report = convert(tmp_path / "trained.keras", tmp_path / "held")
    assert_same_bits(read_checkpoint(tmp_path / "held")[1], tcnzoo.get_weights(model))
    assert set(report.dropped.values()) == {"state of training"}
    assert all(name.startswith("optimizer/") for name in report.dropped)


def test_layouts_are_those_of_the_backends(native):
    backend = importlib.import_module(f"tcnzoo.backends.{native}.weights")
    converter = importlib.import_module(f"tcnzoo.weights_convert.{native}")
    assert dict(converter.LAYOUT) == dict(backend.LAYOUT)
