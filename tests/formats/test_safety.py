"""Files that are broken or meant to do harm: refused with one sentence, and nothing in them run."""

import io
import json
import pickle
import shutil
import struct
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from tcnzoo.errors import WeightError
from tcnzoo.formats.protocol import inspect
from tcnzoo.weights_convert.containers.pt import read_pt
from tests.support.checkpoints import SMALL_FILES, refusal, rewritten, write_small

torch = pytest.importorskip("torch")
h5py = pytest.importorskip("h5py")

HUGE = 2**45


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A whole file of each kind."""
    return write_small(tmp_path_factory.mktemp("originals"))


@pytest.fixture
def good(originals, tmp_path):
    """Copies of them, to be broken."""
    return Path(shutil.copytree(originals, tmp_path / "good"))


# Code


class Touch:
    """Leaves a mark where it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("from_format", [None, "torch", "pytorch-tcn"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_torch_file_is_not_run(from_format, protocol, tmp_path):
    marker = tmp_path / "marker"
    state = {"network.0.conv1.weight": torch.ones(2, 3, 1), "more": Touch(marker)}
    torch.save(state, tmp_path / "evil.pt", pickle_protocol=protocol)
    sentence = refusal(tmp_path / "evil.pt", from_format)
    assert "holds more than tensors" in sentence
    assert "was not run" in sentence
    with pytest.raises(WeightError):
        inspect(tmp_path / "evil.pt", from_format=from_format)
    assert not marker.exists()
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("from_format", [None, "torch", "pytorch-tcn"])
def test_code_in_a_bare_pickle_is_not_run(from_format, tmp_path):
    marker = tmp_path / "marker"
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Touch(marker)))
    assert "bare pickle, which may hold code" in refusal(tmp_path / "evil.pt", from_format)
    assert not marker.exists()


def test_what_torch_itself_refuses_is_refused(tmp_path):
    class Calls:
        def __reduce__(self):
            return torch.nn.functional.softplus, (torch.ones(2),)

    torch.save({"weight": Calls()}, tmp_path / "calls.pt")
    sentence = refusal(tmp_path / "calls.pt", "torch")
    assert "holds more than tensors, so it was not run" in sentence
    assert "softplus" in sentence


def test_of_paths_only_text_is_read(tmp_path):
    class Written:
        def __init__(self, *parts):
            self.parts = parts

        def __reduce__(self):
            return PurePosixPath, self.parts

    held = {"weight": torch.ones(2), "cache": Written("/", "data", "cache")}
    torch.save(held, tmp_path / "path.pt")
    assert read_pt(tmp_path / "path.pt")["cache"] == "/data/cache"
    torch.save({**held, "cache": Written("data", 3)}, tmp_path / "number.pt")
    assert "holds more than tensors, so it was not run" in refusal(tmp_path / "number.pt", "torch")


def test_code_in_a_second_pickle_is_not_run(tmp_path):
    marker = tmp_path / "marker"
    torch.save({"weight": torch.ones(2, 3)}, tmp_path / "a.pt")
    evil = pickle.dumps(Touch(marker))
    rewritten(tmp_path / "a.pt", lambda held: held.update({"other/Data.pkl": evil}))
    assert "holds more than tensors" in refusal(tmp_path / "a.pt", "torch")
    assert not marker.exists()


def test_a_whole_module_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 3), tmp_path / "module.pt")
    assert "save model.state_dict() alone" in refusal(tmp_path / "module.pt", "torch")


def test_code_in_an_array_of_objects_is_not_run(tmp_path):
    marker = tmp_path / "marker"
    np.savez(tmp_path / "evil.npz", weight=np.array([Touch(marker)], dtype=object))
    assert "'weight' holds object, not numbers" in refusal(tmp_path / "evil.npz", "mlx")
    assert not marker.exists()


# Zip archives


ARCHIVES = pytest.mark.parametrize("name", ["file.pt", "file.npz", "file.keras"])
OUTSIDE = ["../up.npy", "/etc/rooted.npy", "a/../../b.npy", "C:\\drive.npy", "..\\up.npy"]


@ARCHIVES
@pytest.mark.parametrize("member", OUTSIDE)
def test_members_that_lead_outside_are_refused(name, member, good):
    rewritten(good / name, lambda held: held.update({member: b"x"}))
    assert "leads out of the archive" in refusal(good / name)
    assert "leads out of the archive" in refusal(good / name, SMALL_FILES[name])


@ARCHIVES
def test_a_bomb_is_refused(name, good, monkeypatch):
    monkeypatch.setattr("tcnzoo.weights_convert.containers.detect.ALWAYS_ALLOWED", 0)
    with zipfile.ZipFile(good / name, "a", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("zeros.npy", bytes(2**24))
    assert "claim to hold" in refusal(good / name)


@ARCHIVES
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_one_name_are_refused(name, good):
    with zipfile.ZipFile(good / name, "a") as opened:
        opened.writestr(opened.namelist()[0], b"again")
    assert "two of its members have the same name" in refusal(good / name)


def test_a_password_is_refused(good):
    data = bytearray((good / "file.npz").read_bytes())
    for place in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data[place] |= 1
    (good / "file.npz").write_bytes(data)
    assert "has a password" in refusal(good / "file.npz")


# Shapes that the file does not fill


def safetensors_claiming(path, shape, end):
    """A .safetensors file whose header claims what its eight bytes of data do not hold."""
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}
    header = json.dumps({"__metadata__": {"format": "tcnzoo-torch"}, "weight": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    return path


@pytest.mark.parametrize("shape, end", [([HUGE], 4 * HUGE), ([HUGE], 8), ([2**62, 16], 8)])
def test_a_safetensors_header_is_not_trusted(shape, end, tmp_path):
    sentence = refusal(safetensors_claiming(tmp_path / "a.safetensors", shape, end))
    assert "is not a whole safetensors file" in sentence


def test_a_safetensors_header_longer_than_the_file_is_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", 2**60) + b'{"a":1}')
    assert "is not a whole safetensors file" in refusal(tmp_path / "a.safetensors")


def npy_claiming(shape, descr="<f4"):
    """A .npy file of eight bytes of data with any header."""
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + bytes(8)


@pytest.mark.parametrize("shape", [(HUGE,), (2**62, 16), (3,), (1,)])
def test_an_npz_header_is_not_trusted(shape, good):
    rewritten(good / "file.npz", lambda held: held.update({"weight.npy": npy_claiming(shape)}))
    assert "claims shape" in refusal(good / "file.npz")


@pytest.mark.parametrize(
    "data",
    [b"", b"\x93NUMPY", npy_claiming((-2,)), npy_claiming((2,))[:40], b"no array at all, really"],
)
def test_a_broken_npy_is_refused(data, good):
    rewritten(good / "file.npz", lambda held: held.update({"weight.npy": data}))
    assert "'weight'" in refusal(good / "file.npz")


def test_a_tensor_of_repeated_values_is_refused(tmp_path):
    # Four bytes in the file; every copy of the tensor would take all the memory there is.
    torch.save({"weight": torch.ones(1).expand(HUGE)}, tmp_path / "a.pt")
    assert "holds too few values" in refusal(tmp_path / "a.pt", "torch")


def test_a_storage_larger_than_its_record_is_refused(tmp_path):
    torch.save({"weight": torch.ones(4)}, tmp_path / "a.pt")

    def claim(held):
        name = next(name for name in held if name.endswith("data.pkl"))
        assert held[name].count(b"K\x04") == 2
        held[name] = held[name].replace(b"K\x04", b"J" + struct.pack("<i", 2**30))

    rewritten(tmp_path / "a.pt", claim)
    assert "is damaged" in refusal(tmp_path / "a.pt", "torch")


def test_an_h5_shape_is_not_trusted(good):
    with h5py.File(good / "file.weights.h5", "a") as file:
        del file["vars/weight"]
        file.create_dataset("vars/weight", shape=(HUGE,), dtype="f4", chunks=(1024,))
    assert "'vars/weight' of " in refusal(good / "file.weights.h5")
    assert "claims shape" in refusal(good / "file.weights.h5")


# HDF5 that leads elsewhere


def test_h5_links_are_not_followed(good):
    secret = good / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["weight"] = np.ones((3, 2), np.float32)
    for link in (h5py.ExternalLink(secret, "weight"), h5py.SoftLink("/vars/bias")):
        with h5py.File(good / "file.weights.h5", "a") as file:
            del file["vars/weight"]
            file["vars/weight"] = link
        assert "1 are missing, the first 'weight'" in refusal(good / "file.weights.h5")


def test_h5_values_in_other_files_are_refused(good):
    (good / "secret").write_bytes(bytes(24))
    with h5py.File(good / "file.weights.h5", "a") as file:
        del file["vars/weight"]
        outside = [(str(good / "secret"), 0, 24)]
        file.create_dataset("vars/weight", shape=(3, 2), dtype="f4", external=outside)
    assert "lies in another file" in refusal(good / "file.weights.h5")
    with h5py.File(good / "file.weights.h5", "a") as file:
        del file["vars/weight"]
        layout = h5py.VirtualLayout((3, 2), "f4")
        layout[:] = h5py.VirtualSource(good / "other.h5", "weight", (3, 2))
        file.create_virtual_dataset("vars/weight", layout)
    assert "lies in another file" in refusal(good / "file.weights.h5")
