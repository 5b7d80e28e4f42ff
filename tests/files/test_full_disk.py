"""A disk that is full: one OSError that names the file, and nothing left, in every format."""

import json

import pytest

from tests.conftest import NATIVE
from tests.support.processes import printed_by

# Writes over an old file while no file may have more than so many bytes.
SCRIPT = """
import json, os, resource, sys
from pathlib import Path
import numpy as np
import tcnzoo
from tcnzoo.checkpoints import streaming_states
from tcnzoo.files.signals import write_signal

top = Path(sys.argv[1])
SPEC = {"kind": "sequential", "layers": {
    "a": {"kind": "conv1d", "in_channels": 8, "out_channels": 64, "kernel_size": 25},
    "b": {"kind": "activation", "name": "relu"},
    "c": {"kind": "conv1d", "in_channels": 64, "out_channels": 64, "kernel_size": 25}}}
TCN = {"kind": "tcn", "in_channels": 64, "channels": [64, 64], "kernel_size": 20, "causal": True,
       "norm": "weight_norm"}
MAMBA = {"kind": "mamba2", "channels": 128, "head_dim": 16, "d_state": 64}
SPECS = {"pytorch-tcn": TCN, "transformers-mamba2": MAMBA}
for name, spec in {"": SPEC, **SPECS}.items():
    tcnzoo.save(tcnzoo.create(spec, "numpy", seed=0), top / "from" / f"net {name}")


def converted(name, form, **options):
    source = top / "from" / f"net {form if form in SPECS else ''}"
    return name, lambda path: tcnzoo.convert(
        source, path, to_format=form, overwrite=True, **options)


def exported(name):
    return name, lambda path: tcnzoo.export(top / "from" / "net ", path, overwrite=True)


def drawn(path):
    from tcnzoo.training.charts import sheet, write_figure
    figure = sheet(14.0, 9.0, "noise")
    figure.add_subplot().imshow(np.random.default_rng(0).random((900, 1400)))
    write_figure(path, figure)


def simulated(path):
    from tcnzoo.training.data.event_files import write_csv, write_json
    from tcnzoo.training.data.events import simulate
    (write_csv if path.suffix == ".csv" else write_json)(path, list(simulate(1, 1, 0)))


noise = np.random.default_rng(0).standard_normal((4, 30000))
CASES = {
    "npy": ("y.npy", lambda path: write_signal(path, noise)),
    "csv": ("y.csv", lambda path: write_signal(path, noise)),
    "state": ("s.safetensors", lambda path: streaming_states.write_state(path, {"x": noise})),
    "directory": converted("net", "tcnzoo"),
    "shards": converted("shards", "tcnzoo", max_shard_size=100_000),
    "mamba2 directory": converted("mamba", "transformers-mamba2"),
    "safetensors": converted("a.safetensors", "torch"),
    "npz": converted("a.npz", "mlx"),
    "events csv": ("events.csv", simulated),
    "events json": ("events.json", simulated),
    "png": ("figure.png", drawn),
    "pt": converted("a.pt", "torch"),
    "pt and json": converted("b.pt", "pytorch-tcn"),
    "weights.h5": converted("a.weights.h5", "keras"),
    "keras": converted("a.keras", "keras"),
    "keras's keras": converted("b.keras", "keras-sequential"),
    "keras's h5": converted("b.h5", "keras-sequential"),
    "keras's weights": converted("b.weights.h5", "keras-sequential"),
    "onnx": exported("a.onnx"),
    "litert": exported("a.tflite"),
}


def snapshot(folder):
    return {str(one.relative_to(folder)): one.read_bytes() if one.is_file() else None
            for one in folder.rglob("*")}


def trial(name, room):
    folder = top / f"{name} {room}"
    folder.mkdir()
    path, write = folder / CASES[name][0], CASES[name][1]
    write(path)
    before = snapshot(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        write(path)
        sentence = "written"
    except OSError as error:
        sentence = f"{error.errno} {os.path.basename(error.filename or '')} {error.strerror}"
    except BaseException as error:
        sentence = f"{type(error).__name__} {error}"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    same = snapshot(folder) == before
    write(path)  # the library has not been left in disorder
    return sentence, same


rooms, names = json.loads(sys.argv[2]), sys.argv[3:]
found = {f"{name} {room}": trial(name, room) for name in names for room in rooms}
print("found", json.dumps(found))
"""
BARE = ["npy", "csv", "state", "directory", "shards", "mamba2 directory", "safetensors", "npz"]
BARE += ["events csv", "events json", "png"]
NEEDED = {
    "torch": ["pt", "pt and json"],
    "keras": ["weights.h5", "keras", "keras's keras", "keras's h5", "keras's weights"],
}
CASES = BARE + [one for name, cases in NEEDED.items() if name in NATIVE for one in cases]
# Bytes that fit: a little of each file, or most of it.
ROOMS = [5000, 90_000]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What came of each write."""
    top = tmp_path_factory.mktemp("full")
    printed = printed_by(SCRIPT, top, json.dumps(ROOMS), *CASES)
    return json.loads(printed.split("found ")[-1])


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("name", CASES)
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(name, room, outcomes):
    sentence, same = outcomes[f"{name} {room}"]
    assert same, sentence
    # EFBIG: the limit of this test, which every file system has too.
    assert sentence.startswith("27 "), sentence
    assert sentence.endswith(
        "File too large; nothing of it is left, and what was there is as it was"
    )
