"""Writes that are killed by SIGKILL at every step: the old files or the new, and nothing else."""

import json

import pytest

from tests.conftest import NATIVE
from tests.support.processes import printed_by

# Kills a copy of itself before the first, second, ... step that changes the disk, and looks.
SCRIPT = """
import hashlib, json, sys
from pathlib import Path
import numpy as np
import tcnzoo
from tcnzoo.checkpoints import streaming_states
from tcnzoo.files.atomic import replacing, settle_committed
from tcnzoo.files.signals import write_signal
from tests.support.processes import killed_at

TCN = {"kind": "tcn", "in_channels": 3, "channels": [8, 8], "kernel_size": 3, "causal": True}
NEW = TCN | {"channels": [8, 6]}
MAMBA = {"kind": "mamba2", "channels": 4, "head_dim": 2, "d_state": 3}
CHAIN = {"kind": "sequential", "layers": {
    "a": {"kind": "dense", "in_features": 3, "out_features": 4},
    "b": {"kind": "dense", "in_features": 4, "out_features": 2}}}
top = Path(sys.argv[1])


def converted(name, form, old=TCN, new=NEW, **options):
    for version, spec in (("old", old), ("new", new)):
        tcnzoo.save(tcnzoo.create(spec, "numpy", seed=7), work / "from" / f"{name} {version}")

    def write(folder, version):
        tcnzoo.convert(work / "from" / f"{name} {version}", folder / name, to_format=form,
                       overwrite=True, **(options if version == "new" else {}))

    return write


def signal_in(name):
    return lambda folder, version: write_signal(
        folder / name, np.full((2, 5), float(version == "new"), np.float32))


def state(folder, version):
    x = np.full(5, version == "new", float)
    streaming_states.write_state(folder / "s.safetensors", {"x": x})


def bundle(folder, version):
    with replacing(folder / "net.mlpackage") as place:
        (place / "Data").mkdir(parents=True)
        for name in ("Manifest.json", "Data/model"):
            (place / name).write_text(version)


CASES = {
    "bundle": lambda: bundle,
    "directory": lambda: converted("net", "tcnzoo"),
    "one to shards": lambda: converted("net", "tcnzoo", max_shard_size=200),
    "transformers-mamba2": lambda: converted(
        "net", "transformers-mamba2", MAMBA, MAMBA | {"norm_eps": 0.5}),
    "mlx npz": lambda: converted("net.npz", "mlx"),
    "safetensors": lambda: converted("net.safetensors", "torch"),
    "npy": lambda: signal_in("y.npy"),
    "csv": lambda: signal_in("y.csv"),
    "state": lambda: state,
    "pytorch-tcn": lambda: converted("net.pt", "pytorch-tcn",
                                     TCN | {"norm": "weight_norm"}, NEW | {"norm": "weight_norm"}),
    "torch-sequential": lambda: converted("net.safetensors", "torch-sequential", CHAIN, CHAIN | {
        "layers": CHAIN["layers"] | {"c": {"kind": "activation", "name": "relu"}}}),
}


def snapshot(folder):
    return {str(one.relative_to(folder)): hashlib.sha256(one.read_bytes()).hexdigest()
            for one in sorted(folder.rglob("*"))
            if one.is_file() and ".tcnzoo" not in str(one.relative_to(folder))}


def trial(name):
    global work
    work = top / name
    write = CASES[name]()
    plain = {}
    for version in ("old", "new"):
        (work / version).mkdir(parents=True)
        if version == "new":
            write(work / version, "old")
        write(work / version, version)
        plain[version] = snapshot(work / version)
    assert plain["old"] != plain["new"]
    seen = []
    for point in range(1, 400):
        folder = work / f"at {point}"
        folder.mkdir(parents=True)
        write(folder, "old")
        if not killed_at(point, lambda: write(folder, "new")):
            break
        for place in (folder, folder / "net"):
            settle_committed(place)
        found = snapshot(folder)
        seen.append(next((v for v in plain if plain[v] == found), f"a mixture at {point}"))
        write(folder, "old")
        hidden = [str(one) for one in folder.rglob(".*")]
        assert not hidden and snapshot(folder) == plain["old"], (point, hidden)
    return seen


print(json.dumps({name: trial(name) for name in sys.argv[2:]}))
"""
BARE = [
    "bundle",
    "directory",
    "one to shards",
    "transformers-mamba2",
    "mlx npz",
    "safetensors",
    "npy",
]
BARE += ["csv", "state"]
TORCH = ["pytorch-tcn", "torch-sequential"] if "torch" in NATIVE else []


CASES = [*BARE, *TORCH]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What was found after each kill, by case."""
    return json.loads(printed_by(SCRIPT, tmp_path_factory.mktemp("kills"), *CASES))


@pytest.mark.parametrize("name", CASES)
def test_a_killed_write_leaves_the_old_or_the_new_and_the_next_one_cleans_up(name, outcomes):
    # The old files up to some step, and the new ones from there on.
    assert set(outcomes[name]) == {"old", "new"}
    assert outcomes[name] == sorted(outcomes[name], reverse=True)
