"""Names, files and destinations that are wrong are refused before any framework is imported."""

import os
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.cli import app

# Runs the command line in this process, and tells which frameworks it imported.
LOOK = """
import sys
from tcnzoo.cli import app
frameworks = ("torch", "tensorflow", "keras", "mlx.core", "jax")
for line in sys.stdin:
    try:
        app(line.split(), prog_name="tcnzoo")
    except SystemExit as end:
        code = end.code
    loaded = [one for one in frameworks if one in sys.modules]
    print("LOOKED", code, *loaded, file=sys.stderr, flush=True)
"""

WRONG = """\
parity no-such-model
parity tcn-base no-such-model
parity tcn-base --train 2 --optimizer foo
parity tcn-base --train 2 --schedule foo
parity tcn-base --train 2 --clip-norm 0
parity tcn-base --train 2 --clip-value nan
bench no-such-model
compare tcn-base no-such-model
compare tcn-base --figure x.jpg
compare tcn-base --figure x.npy/y.png
describe no-such-model
init no-such-model out
export no-such-model out.onnx
export net x.npy/y.onnx
predict no-such --input x.npy
predict net --input none.npy
predict net --input x.npy --output x.npy/y.npy
predict net --input x.npy --output net/
predict net --input x.npy --embedding none.npy
stream no-such --input x.npy
stream net --input x.npy --state-out x.npy/state.safetensors
stream net --input x.npy --state-in none.safetensors
stream net --input x.npy --embedding none.npy
segment net x.npy
segment net x.npy --rate nan
segment no-such x.npy
segment net x.npy --output x.npy/y.csv
segment net x.npy --figure x.npy/y.png
detect no-such night.edf
detect net night.edf --output x.npy/y.tsv
detect net night.edf --figure x.npy/y.png
train no-such
cross-validate no-such
curves no-such
simulate x.npy
demo --input none.npy
demo --output x.npy
demo-behaviour --output x.npy
"""


@pytest.fixture
def folder(tmp_path):
    """A checkpoint and a signal."""
    spec = {"kind": "tcn", "in_channels": 3, "channels": [5], "kernel_size": 3}
    tcnzoo.save(tcnzoo.create(spec, "numpy"), tmp_path / "net")
    np.save(tmp_path / "x.npy", np.zeros((3, 37)))
    return tmp_path


def test_nothing_is_imported_or_written_for_what_is_refused(folder):
    before = sorted(folder.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        input=WRONG, capture_output=True, text=True, cwd=folder, check=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    looked = [line for line in done.stderr.splitlines() if line.startswith("LOOKED")]
    asked = WRONG.splitlines()
    assert len(looked) == len(asked)
    assert dict(zip(asked, looked, strict=True)) == dict.fromkeys(asked, "LOOKED 2")
    assert "Traceback" not in done.stderr
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    "args, sentence",
    [
        ("predict net --input x.npy --output x.npy/y.npy", "'x.npy/y.npy' cannot be written: "),
        ("predict net --input x.npy --output other.npy", "'other.npy' is a folder; name a file in"),
        ("convert net x.npy/y.npz", "'x.npy/y.npz' cannot be written: "),
        ("export net x.npy/y.onnx", "'x.npy/y.onnx' cannot be written: "),
        ("demo --output x.npy", "'x.npy' is a file; name a folder"),
        ("segment net x.csv --output x.csv", "'x.csv' is named twice"),
        ("segment net x.csv --figure a.png --durations ./a.png", "'a.png' is named twice"),
    ],
)
def test_a_place_that_cannot_be_written_is_named(folder, monkeypatch, args, sentence):
    monkeypatch.chdir(folder)
    (folder / "other.npy").mkdir()
    result = CliRunner().invoke(app, args.split())
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())


class _Without:
    """An import system that does not find matplotlib."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name="matplotlib")


def test_a_figure_without_its_package_is_refused_before_anything_is_measured(folder, monkeypatch):
    for name in [one for one in sys.modules if one.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Without(), *sys.meta_path])
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, ["compare", "tcn-base", "--figure", "x.png"])
    assert result.exit_code == 2
    assert "a figure needs matplotlib, which is not installed" in " ".join(result.stderr.split())
