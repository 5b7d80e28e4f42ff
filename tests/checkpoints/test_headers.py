"""Headers of .safetensors files held against the file, and arrays of any strides."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save as library_save

from tcnzoo.errors import WeightError
from tcnzoo.files import safetensors as safetensors_files
from tcnzoo.files.safetensors import (
    CODES,
    open_safetensors,
    pieces,
    read_safetensors,
    write_safetensors,
)
from tests.support.checkpoints import SPEC
from tests.support.compare import assert_same_bits, weights_of


def raw(path, header, data=bytes(8)):
    """A file with any header, text or document, before its data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(start, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


# Headers


BROKEN = {
    "overlap": ({"a": entry(0, 8, [2]), "b": entry(4, 8, [1])}, "'b' begins at 4, but .* at 8"),
    "gap": ({"a": entry(0, 4, [1]), "b": entry(6, 8, [1], "I16")}, "'b' begins at 6, but .* at 4"),
    "beyond": ({"a": entry(0, 16, [4])}, "take 16 bytes, but 8 are there"),
    "left over": ({"a": entry(0, 4, [1])}, "take 4 bytes, but 8 are there"),
    "backwards": ({"a": entry(8, 0, [2])}, "has -8 bytes"),
    "shape": ({"a": entry(0, 8, [3])}, "claims shape .3,. of F32, but has 8 bytes"),
    "empty but wide": ({"a": entry(0, 0, [0, 2**62, 2**62])}, "claims shape"),
    "axes": ({"a": entry(0, 8, [1] * 40 + [2])}, "entry of tensor 'a' is malformed"),
    "negative": ({"a": entry(0, 8, [-1, -2])}, "entry of tensor 'a' is malformed"),
    "fraction": ({"a": entry(0, 8, [2.0])}, "entry of tensor 'a' is malformed"),
    "truth": ({"a": entry(False, 8, [2])}, "entry of tensor 'a' is malformed"),
    "huge": ({"a": entry(0, 2**63, [2**61])}, "entry of tensor 'a' is malformed"),
    "one place": ({"a": entry(0, 8, [2]) | {"data_offsets": [8]}}, "entry of tensor 'a'"),
    "no type": ({"a": {"shape": [2], "data_offsets": [0, 8]}}, "entry of tensor 'a' is malformed"),
    "no entry": ({"a": [0, 8]}, "entry of tensor 'a' is malformed"),
    "twins": (b'{"a":1,"a":2}', "two entries of the header have one name"),
    "list": (b"[[]]", "the header is no mapping"),
    "metadata": ({"__metadata__": {"format": 1}}, "its metadata are not text"),
    "metadata list": ({"__metadata__": ["pt"]}, "its metadata are not text"),
    "no JSON": (b'{"a":', "is not a whole safetensors file"),
    "no UTF-8": (b'{"\xff":1}', "is not a whole safetensors file"),
    "deep": (b'{"a":' + b"[" * 100_000, "is not a whole safetensors file"),
    "no number": (b'{"a":{"more":Infinity}}', "holds Infinity, which is no JSON"),
    "digits": (b'{"a":' + b"9" * 5000 + b"}", "is not a whole safetensors file"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_header_that_the_file_does_not_bear_out_is_refused(case, tmp_path):
    header, sentence = BROKEN[case]
    path = raw(tmp_path / "a.safetensors", header)
    with pytest.raises(WeightError, match=sentence) as raised:
        open_safetensors(path)
    assert str(raised.value).startswith(f"{str(path)!r} is not a whole safetensors file: ")
    assert "\n" not in str(raised.value)


def test_the_header_that_they_all_began_from_is_read(tmp_path):
    path = raw(tmp_path / "a.safetensors", {"b": entry(4, 8, [1]), "a": entry(0, 4, [1, 1])})
    tensors, metadata = open_safetensors(path)
    assert (list(tensors), metadata) == (["b", "a"], {})


def test_a_header_longer_than_any_is_refused(tmp_path, monkeypatch):
    path = raw(tmp_path / "a.safetensors", {"a": entry(0, 8, [2])})
    monkeypatch.setattr(safetensors_files, "LONGEST_HEADER", 40)
    with pytest.raises(WeightError, match="have no room for the header"):
        open_safetensors(path)


@pytest.mark.parametrize("code", ["F4", "F8_E8M0", "X", "f32"])
def test_an_unknown_type_is_named(code, tmp_path):
    path = raw(tmp_path / "a.safetensors", {"a": entry(0, 8, [2], code)})
    with pytest.raises(WeightError, match=f"a type that numpy cannot: .*'a' is of type '{code}'"):
        open_safetensors(path)


# The format's own library


@pytest.mark.parametrize("code", CODES)
def test_every_type_is_the_librarys(code, tmp_path):
    dtype = CODES[code]
    bits = np.arange(6 * dtype.itemsize, dtype=np.uint8) % (2 if code == "BOOL" else 251)
    array = bits.view(dtype).reshape(2, 3)
    write_safetensors(tmp_path / "a.safetensors", {"x": array}, {"format": "np"})
    if not code.startswith("F8"):  # which it writes from torch only
        data = library_save({"x": array}, metadata={"format": "np"})
        assert (tmp_path / "a.safetensors").read_bytes() == data
        assert_same_bits(load_file(tmp_path / "a.safetensors"), {"x": array})
    assert_same_bits(read_safetensors(tmp_path / "a.safetensors")[0], {"x": array})


def test_files_of_the_library_are_read(tmp_path):
    weights = weights_of(SPEC) | {"a": np.zeros((0, 3), np.int8), "b": np.float16(2)[...]}
    (tmp_path / "a.safetensors").write_bytes(library_save(weights))
    found, metadata = read_safetensors(tmp_path / "a.safetensors")
    assert metadata == {}
    assert_same_bits({name: found[name] for name in weights}, weights)


def test_types_of_mixed_width_are_aligned(tmp_path):
    mixed = {"a": np.int8([1, 2, 3]), "b": np.float64([4]), "c": np.float16([5]), "d": np.int8([6])}
    write_safetensors(tmp_path / "a.safetensors", mixed)
    tensors, _ = open_safetensors(tmp_path / "a.safetensors")
    assert list(tensors) == ["b", "c", "a", "d"]
    assert all(array.flags.aligned for array in tensors.values())
    assert_same_bits({name: tensors[name] for name in mixed}, mixed)


@pytest.mark.parametrize("array", [np.zeros(2, np.complex128), np.array(["a"])])
def test_a_type_without_a_name_is_refused(array, tmp_path):
    with pytest.raises(WeightError, match="'x' of type .* cannot be written as safetensors"):
        write_safetensors(tmp_path / "a.safetensors", {"x": array})
    assert list(tmp_path.iterdir()) == []


# Pieces


@pytest.mark.parametrize("order", ["ijk", "kji", "jki", "ikj", "kij", "jik"])
@pytest.mark.parametrize("dtype", ["f4", ">f4", "f2", "bfloat16"])
def test_pieces_make_the_whole_and_are_small(order, dtype, monkeypatch):
    limit = 96
    monkeypatch.setattr(safetensors_files, "PIECE", limit)
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    array = np.arange(5 * 7 * 9, dtype=np.float32).astype(kind).reshape(5, 7, 9)
    view = array.transpose(["ijk".index(letter) for letter in order])
    found = list(pieces(view))
    assert b"".join(piece.tobytes() for piece in found) == view.astype(
        kind.newbyteorder("<")
    ).tobytes("C")
    assert max(piece.nbytes for piece in found) <= limit
    assert len(found) > 5
    assert all(np.shares_memory(piece, view) for piece in found) == (
        order == "ijk" and dtype != ">f4"
    )


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (1, 1, 1)])
def test_pieces_of_small_arrays(shape):
    array = np.ones(shape, ">f8")
    found = b"".join(piece.tobytes() for piece in pieces(array))
    assert found == array.astype("<f8").tobytes()
