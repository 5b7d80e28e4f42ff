"""Large files: tensors are read one at a time, and memory stays low."""

import mmap
import os
import struct
import subprocess
import sys
import weakref
import zipfile
from collections import OrderedDict
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import open_checkpoint, read_checkpoint, write_checkpoint
from tcnzoo.errors import WeightError
from tcnzoo.files import safetensors as safetensors_files
from tcnzoo.files.safetensors import open_safetensors, read_safetensors, write_safetensors
from tcnzoo.formats.protocol import convert, inspect
from tests.support.checkpoints import FILES, SPEC, refusal, rewritten
from tests.support.compare import assert_same_bits, weights_of

ROOT = Path(__file__).parents[2]


# Lazy reading


@pytest.fixture
def saved(tmp_path):
    """A checkpoint directory in shards."""
    write_checkpoint(tmp_path / "saved", SPEC, weights_of(SPEC), max_shard_size=500)
    return tmp_path / "saved"


def test_tensors_are_read_only_views_of_the_file(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", {"x": np.arange(3.0)})
    array = open_safetensors(tmp_path / "a.safetensors")[0]["x"]
    assert not array.flags.writeable
    assert not array.flags.owndata
    assert read_safetensors(tmp_path / "a.safetensors")[0]["x"].flags.writeable


def test_what_was_opened_stays_when_the_file_is_replaced(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", {"x": np.arange(3.0)})
    tensors, _ = open_safetensors(tmp_path / "a.safetensors")
    write_safetensors(tmp_path / "a.safetensors", {"x": np.zeros(5000)})
    np.testing.assert_array_equal(tensors["x"], np.arange(3.0))
    (tmp_path / "a.safetensors").unlink()
    np.testing.assert_array_equal(tensors["x"], np.arange(3.0))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files by /proc")
def test_files_are_closed_with_the_last_view(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", {"x": np.arange(3.0)})

    def opened():
        targets = [os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()]
        return targets.count(str(tmp_path / "a.safetensors"))

    tensors, _ = open_safetensors(tmp_path / "a.safetensors")
    array = tensors["x"].reshape(3, 1).T
    assert opened() > 0
    del tensors
    np.testing.assert_array_equal(array, [[0, 1, 2]])
    del array
    assert opened() == 0


def test_a_checkpoint_is_looked_at_without_reading_a_tensor(saved, monkeypatch):
    monkeypatch.setattr(safetensors_files, "_mapped", None)
    spec, tensors = open_checkpoint(saved)
    assert spec == SPEC
    assert tensors.keys() == SPEC.params().keys()
    assert len(inspect(saved).tensors) == len(tensors)
    with pytest.raises(TypeError):
        tensors["head.weight"]


@pytest.mark.parametrize("name, to_format", [*FILES, ("more", None)])
def test_tensors_are_converted_one_at_a_time(name, to_format, saved, tmp_path, monkeypatch):
    if name.endswith((".keras", ".h5")):
        pytest.importorskip("h5py")
    if name.endswith(".pt"):
        pytest.importorskip("torch")
    made, most = [], 0

    class Watched(mmap.mmap):
        def __new__(cls, *args, **options):
            nonlocal most
            made.append(weakref.ref(one := super().__new__(cls, *args, **options)))
            most = max(most, sum(reference() is not None for reference in made))
            return one

    size = 700 if name == "more" else None
    with monkeypatch.context() as patch:
        patch.setattr(mmap, "mmap", Watched)
        convert(saved, tmp_path / name, to_format=to_format, max_shard_size=size)
    assert len(made) == len(SPEC.params())
    # A loop holds on to one while the next is made, and nothing of that one is read yet.
    assert most <= 2
    convert(tmp_path / name, tmp_path / "back")
    assert_same_bits(read_checkpoint(tmp_path / "back")[1], weights_of(SPEC))


def test_a_view_of_a_cut_file_is_refused(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", {"x": np.arange(3000.0)})
    tensors, _ = open_safetensors(tmp_path / "a.safetensors")
    os.truncate(tmp_path / "a.safetensors", 200)
    with pytest.raises(WeightError, match="a.safetensors' was cut short while it was read"):
        tensors["x"]


# Memory


MEASURE = """
import os, resource, sys
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.formats.protocol import convert, format_modules, get_format

def peak():
    if os.path.exists("/proc/self/status"):
        lines = open("/proc/self/status").read().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

source, target, to_format, size = sys.argv[1:]
small = os.path.join(os.path.dirname(source), "small")
convert(small, target, to_format=to_format, overwrite=True)  # imports all that takes part
before = peak()
if to_format == "all at once":
    kept = read_checkpoint(source)
else:
    options = {"max_shard_size": size} if size else {}
    convert(source, target, to_format=to_format, overwrite=True, **options)
print(peak() - before)
"""
TENSORS, LARGEST = 12, 8  # MiB each


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A checkpoint of 96 MiB in four shards, and a small one."""
    folder = tmp_path_factory.mktemp("large")
    for name, width in (("small", 8), ("large", 1024)):
        conv = {"kind": "conv1d", "in_channels": width, "out_channels": width, "kernel_size": 2}
        layers = {f"conv{place}": conv for place in range(TENSORS)}
        spec = tcnzoo.load_spec({"kind": "sequential", "layers": layers})
        weights = {
            row: np.full(param.shape, place, np.float32)
            for place, (row, param) in enumerate(spec.params().items())
        }
        write_checkpoint(folder / name, spec, weights, max_shard_size="25MiB")
    return folder / "large"


def growth(source, target, to_format, size=""):
    """MiB by which the peak of a fresh process grows through one conversion."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, source, target, to_format, size],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "name, to_format, size",
    [
        ("a.safetensors", "mlx", ""),
        ("a.safetensors", "torch", ""),
        ("a", "tcnzoo", ""),
        ("a", "tcnzoo", "40MB"),
        ("a.npz", "mlx", ""),
        ("a.weights.h5", "keras", ""),
        ("a.keras", "keras", ""),
    ],
)
def test_memory_is_that_of_one_tensor(name, to_format, size, large, tmp_path):
    if to_format == "keras":
        pytest.importorskip("h5py")
    # The line is 1.5 tensors and 300 MiB, which here is more than the whole checkpoint: so 16 MiB
    # for what Python itself needs; measured 8 to 16 in all.
    assert growth(large, tmp_path / name, to_format, size) < 1.5 * LARGEST + 16


def test_the_measurement_sees_a_checkpoint_that_is_read_at_once(large, tmp_path):
    target = tmp_path / "a"
    code = MEASURE.replace("convert(small, target, to_format=to_format, overwrite=True)", "")
    done = subprocess.run(
        [sys.executable, "-c", code, large, target, "all at once", ""],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) > TENSORS * LARGEST


# Archives, of which a checksum is known before anything is written


def test_a_changed_byte_far_into_an_npz_is_found_at_once(tmp_path):
    spec = tcnzoo.load_spec({"kind": "dense", "in_features": 300, "out_features": 200})
    write_checkpoint(tmp_path / "start", spec, weights_of(spec))
    convert(tmp_path / "start", tmp_path / "a.npz")
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[200_000] ^= 1
    (tmp_path / "a.npz").write_bytes(data)
    assert "is cut short or damaged" in refusal(tmp_path / "a.npz")
    with pytest.raises(WeightError, match="is cut short or damaged"):
        inspect(tmp_path / "a.npz")


# Archives of torch, which are mapped


def test_torch_archives_are_mapped_and_packed_ones_read(tmp_path):
    torch = pytest.importorskip("torch")
    from tcnzoo.weights_convert.containers.pt import arrays_of, read_pt

    state = OrderedDict(a=torch.arange(5000.0), b=torch.ones(3, dtype=torch.bfloat16))
    torch.save(state, tmp_path / "a.pt")
    packed = zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "a.pt") as stored, packed:
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    for name in ("a.pt", "packed.pt"):
        found = arrays_of(tmp_path / name, read_pt(tmp_path / name))
        np.testing.assert_array_equal(found["a"], np.arange(5000, dtype=np.float32))
        assert found["b"].dtype == ml_dtypes.bfloat16
    maps = Path("/proc/self/maps")
    if maps.exists():
        held = read_pt(tmp_path / "a.pt")
        assert str(tmp_path / "a.pt") in maps.read_text()
        del held


@pytest.mark.parametrize("more", [1, 8, 1000])
def test_a_torch_tensor_longer_than_its_record_is_refused(more, tmp_path):
    torch = pytest.importorskip("torch")
    from tcnzoo.weights_convert.containers.pt import read_pt

    torch.save({"a": torch.ones(70000), "b": torch.ones(90000)}, tmp_path / "a.pt")
    old, new = (b"J" + struct.pack("<i", length) for length in (70000, 70000 + more))

    def claim(held):
        name = next(name for name in held if name.endswith("data.pkl"))
        assert held[name].count(old) == 2  # of the record, and of the shape
        held[name] = held[name].replace(old, new)

    rewritten(tmp_path / "a.pt", claim)
    with pytest.raises(WeightError, match="is damaged: a tensor is not as long as its record"):
        read_pt(tmp_path / "a.pt")


def test_a_document_that_holds_itself_many_times_takes_no_time(tmp_path):
    torch = pytest.importorskip("torch")
    from tcnzoo.weights_convert.containers.pt import read_pt

    document = [torch.ones(2)]
    for _ in range(60):
        document = [document, document]
    document.append(document)
    torch.save({"a": torch.ones(3), "more": document}, tmp_path / "a.pt")
    assert read_pt(tmp_path / "a.pt")["a"].shape == (3,)
